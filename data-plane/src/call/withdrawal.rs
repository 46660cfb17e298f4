//! `notifications/cancelled` of a legacy client that met another node than its call did: told to all nodes through Redis. What
//! they tell of sessions that changed is heard on the same channel.

use std::time::Duration;

use domain::projection::keys;
use futures_util::StreamExt as _;
use redis::aio::ConnectionManager;
use secrets::Sealer;
use tokio::time::timeout;

use super::inflight::InFlight;
use super::session::Sessions;

/// How long Redis may take to pass a word on.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long to wait before listening again when Redis went away.
const PAUSE: Duration = Duration::from_secs(1);
/// What the words are bound to.
const PARTS: [&[u8]; 1] = [b"withdrawn"];

/// Tells the other nodes which calls were taken back. While Redis is away, those run to their end.
#[derive(Clone)]
pub struct Withdrawals {
    /// Redis, to speak.
    pub redis: ConnectionManager,
    /// Seals the words (`Purpose::Session`): nobody else can take calls back.
    pub sealer: Sealer,
}

impl Withdrawals {
    /// Tells which call of which session was taken back.
    pub async fn tell(&self, session: [u8; 16], request: &str) {
        let word = self.sealer.seal(&PARTS, &[&session[..], request.as_bytes()].concat());
        let mut redis = self.redis.clone();
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(keys::WITHDRAWN).arg(word);
        // A hint only: who does not hear it finishes a call nobody waits for.
        let _ = timeout(PATIENCE, publish.query_async::<()>(&mut redis)).await;
    }

    /// Listens for what other nodes tell, for as long as it is polled.
    pub async fn listen(sealer: Sealer, client: redis::Client, calls: InFlight, sessions: Sessions) {
        loop {
            if let Ok(mut words) = client.get_async_pubsub().await
                && words.subscribe(keys::WITHDRAWN).await.is_ok()
            {
                let mut heard = words.on_message();
                while let Some(message) = heard.next().await {
                    withdraw(&sealer, message.get_payload_bytes(), &calls);
                    sessions.hear(message.get_payload_bytes());
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn withdraw(sealer: &Sealer, word: &[u8], calls: &InFlight) {
    let Ok(plain) = sealer.open(&PARTS, word) else { return };
    let Some((session, request)) = plain.split_first_chunk::<16>() else { return };
    if let Ok(request) = std::str::from_utf8(request) {
        let _ = calls.cancel(*session, request);
    }
}

#[cfg(test)]
mod tests {
    use secrets::{MasterKey, Purpose};

    use super::*;

    #[test]
    fn only_a_sealed_word_takes_a_call_back() {
        let sealer = MasterKey::generate().sealer(Purpose::Session, "dep");
        let calls = InFlight::default();
        let running = calls.begin([1; 16], "7");
        let plain = [&[1; 16][..], b"7"].concat();
        withdraw(&sealer, &plain, &calls);
        withdraw(&sealer, &MasterKey::generate().sealer(Purpose::Session, "dep").seal(&PARTS, &plain), &calls);
        withdraw(&sealer, &sealer.seal(&[b"other"], &plain), &calls);
        assert!(!running.cancelled.is_cancelled());
        withdraw(&sealer, &sealer.seal(&PARTS, &plain), &calls);
        assert!(running.cancelled.is_cancelled());
    }
}
