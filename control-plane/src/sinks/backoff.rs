//! How long to wait after a try that failed: full jitter, doubled each time, never less than the receiver asks.

use std::time::Duration;

/// After the first failure, at most.
const FIRST: Duration = Duration::from_secs(1);
/// After any number of them, at most.
const MOST: Duration = Duration::from_mins(5);
/// At least.
const LEAST: Duration = Duration::from_millis(100);

/// A wait after so many failures in a row, `dice` of it: any number of 2^32.
pub(super) fn wait(failures: u32, asked: Option<Duration>, dice: u32) -> Duration {
    let most = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(MOST);
    let drawn = most.mul_f64(f64::from(dice) / f64::from(u32::MAX)).max(LEAST);
    asked.map_or(drawn, |asked| asked + drawn.min(FIRST))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let most = |failures| wait(failures, None, u32::MAX).as_secs();
        assert_eq!([1, 2, 3, 4, 8, 9, 10, 4000].map(most), [1, 2, 4, 8, 128, 256, 300, 300]);
        assert_eq!(wait(9, None, 0), LEAST);
    }

    proptest! {
        #[test]
        fn nobody_comes_again_before_they_were_asked_to(failures: u32, asked in 0..4000_u64, dice: u32) {
            let asked = Duration::from_secs(asked);
            let wait = wait(failures, Some(asked), dice);
            prop_assert!(wait >= asked && wait <= asked + FIRST);
        }
    }
}
