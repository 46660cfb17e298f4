//! The system's clock.

use std::cell::RefCell;

use domain::Clock;

/// The system's time, and random bits from its random source.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
pub fn clock() -> Clock {
    Clock::new(chrono::Utc::now, || DRAWN.with_borrow_mut(Drawn::next))
}

/// Random bytes drawn ahead, so that only one id in fifty costs a system call. Ids are names, not secrets.
struct Drawn {
    bytes: [u8; 500],
    used: usize,
}

thread_local! {
    static DRAWN: RefCell<Drawn> = const { RefCell::new(Drawn { bytes: [0; 500], used: 500 }) };
}

impl Drawn {
    fn next(&mut self) -> [u8; 10] {
        if self.used == self.bytes.len() {
            // Without randomness nothing here is safe: the program ends rather than repeat an id.
            getrandom::fill(&mut self.bytes).unwrap_or_else(|_| std::process::abort());
            self.used = 0;
        }
        let mut entropy = [0; 10];
        entropy.copy_from_slice(&self.bytes[self.used..self.used + 10]);
        self.used += 10;
        entropy
    }
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
