//! Waiting for facts, never for time: each has a name, and 30 s to come true.

use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

/// How long a fact may take to come true.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at least: short for those who measure, long enough to leave the processor to what is waited for.
const PACE: Duration = Duration::from_millis(2);

/// Looks until there is something to see, and gives it.
pub async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    until_within(PATIENCE, what, ask).await
}

/// As [`until`], for what takes longer by its nature.
pub async fn until_within<T>(patience: Duration, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let wanted = async {
        let mut looks = tokio::time::interval(PACE);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if let Some(fact) = ask().await {
                return fact;
            }
        }
    };
    let came = tokio::time::timeout(patience, wanted).await;
    came.unwrap_or_else(|_| panic!("{what}: not within {} s", patience.as_secs()))
}

/// As [`until`], where nothing else may run meanwhile.
pub fn block_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(fact) = ask() {
            return fact;
        }
        assert!(Instant::now() < end, "{what}: not within {} s", PATIENCE.as_secs());
        std::thread::park_timeout(PACE);
    }
}

/// Waits until somebody listens on this port of 127.0.0.1.
pub fn block_until_listening(what: &str, port: u16) {
    block_until(&format!("{what} listens on port {port}"), || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
}
