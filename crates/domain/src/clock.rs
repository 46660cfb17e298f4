//! Time and randomness as a value, so that pure code and tests decide what "now" is.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

/// Tells the time and gives the random bits of new ids.
///
/// Cloning is cheap. The system clock is made by the `service` crate; a test makes its own with [`Clock::new`].
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    entropy: Arc<dyn Fn() -> [u8; 10] + Send + Sync>,
}

impl Clock {
    /// Makes a clock from a source of time and a source of random bytes.
    pub fn new(
        now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static,
        entropy: impl Fn() -> [u8; 10] + Send + Sync + 'static,
    ) -> Self {
        Self { now: Arc::new(now), entropy: Arc::new(entropy) }
    }

    /// The present time, UTC.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        (self.now)()
    }

    /// Ten fresh random bytes.
    #[must_use]
    pub fn entropy(&self) -> [u8; 10] {
        (self.entropy)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
