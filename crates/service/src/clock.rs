//! The system's clock.

use domain::Clock;
use uuid::Uuid;

/// The system's time, and random bits from its random source.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
pub fn clock() -> Clock {
    Clock::new(chrono::Utc::now, || {
        // All bits of a version 4 UUID but two fields are random (RFC 9562, 5.4): bytes 6 and 8 are left out.
        let uuid = Uuid::new_v4().into_bytes();
        let mut entropy = [0; 10];
        entropy[..6].copy_from_slice(&uuid[..6]);
        entropy[6..].copy_from_slice(&uuid[9..13]);
        entropy
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_bit_of_the_entropy_varies() {
        let clock = clock();
        let (mut ones, mut zeros) = ([0_u8; 10], [0_u8; 10]);
        for _ in 0..200 {
            for (place, byte) in clock.entropy().into_iter().enumerate() {
                ones[place] |= byte;
                zeros[place] |= !byte;
            }
        }
        assert_eq!((ones, zeros), ([255; 10], [255; 10]));
    }

    #[test]
    fn ids_of_one_millisecond_differ() {
        let clock = clock();
        let ids: HashSet<_> = (0..10_000).map(|_| domain::CallId::new(&clock)).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
