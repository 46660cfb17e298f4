//! The calls of legacy sessions that are running here, so that `notifications/cancelled` finds them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Identifies a running call: the session's nonce and the client's request id, as it was written.
type Key = ([u8; 16], String);

/// The running calls of legacy sessions.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<Mutex<HashMap<Key, CancellationToken>>>);

/// A running call; leaves the list when dropped.
#[derive(Debug)]
pub struct Running {
    calls: InFlight,
    key: Key,
    /// Fires when the client cancels the call.
    pub cancelled: CancellationToken,
}

impl InFlight {
    /// Lists a call. Of two calls with one id, only the later can be cancelled.
    #[must_use]
    pub fn begin(&self, session: [u8; 16], request: &str) -> Running {
        let cancelled = CancellationToken::new();
        let key = (session, request.to_owned());
        self.lock().insert(key.clone(), cancelled.clone());
        Running { calls: self.clone(), key, cancelled }
    }

    /// Cancels a call; `false` when it does not run here.
    #[must_use]
    pub fn cancel(&self, session: [u8; 16], request: &str) -> bool {
        let found = self.lock().remove(&(session, request.to_owned()));
        found.is_some_and(|call| {
            call.cancel();
            true
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_running_call_of_the_same_session_is_cancelled() {
        let calls = InFlight::default();
        let running = calls.begin([1; 16], "7");
        assert!(!calls.cancel([2; 16], "7"));
        assert!(!calls.cancel([1; 16], "\"7\""));
        assert!(calls.cancel([1; 16], "7") && running.cancelled.is_cancelled());
        let again = calls.begin([1; 16], "7");
        drop(again);
        assert!(!calls.cancel([1; 16], "7"));
    }
}
