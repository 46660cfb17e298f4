//! Connections to Redis with deadlines that are ours: the client's own default is half a second.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo as _, ProtocolVersion, RedisError};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may take.
const RESPONSE: Duration = Duration::from_secs(2);
/// Longest pause between two tries to connect again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Why Redis can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is none. It is not repeated: it may hold a password.
    #[error("the Redis address must look like `redis://host:port/`")]
    Address,
    /// Redis did not answer.
    #[error("Redis can't be reached")]
    Unreachable(#[from] RedisError),
}

/// Connects, speaking RESP3. The connection is shared by clones and makes itself again when it breaks; a command whose
/// connection broke fails, and is not tried again.
///
/// # Errors
/// [`ConnectError`] when the address is none or nobody answers within 2 s.
pub async fn connect(url: &str) -> Result<ConnectionManager, ConnectError> {
    Ok(client(url)?.get_connection_manager_with_config(manager()).await?)
}

/// As [`connect`], but the first command connects: for a program that starts while Redis is away.
///
/// # Errors
/// [`ConnectError::Address`] when the address is none.
pub fn connect_lazily(url: &str) -> Result<ConnectionManager, ConnectError> {
    Ok(client(url)?.get_connection_manager_lazy(manager())?)
}

/// A connection of one's own, for commands that wait inside Redis (`XREAD BLOCK`) up to `longest_wait`.
///
/// It does not make itself again.
///
/// # Errors
/// [`ConnectError`] when the address is none or nobody answers within 2 s.
pub async fn connect_waiting(url: &str, longest_wait: Duration) -> Result<MultiplexedConnection, ConnectError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(longest_wait + RESPONSE));
    Ok(client(url)?.get_multiplexed_async_connection_with_config(&config).await?)
}

/// A client that speaks RESP3, for connections of special needs; set a response time-out on each.
///
/// # Errors
/// [`ConnectError::Address`] when the address is none.
pub fn client(url: &str) -> Result<Client, ConnectError> {
    let info = url.into_connection_info().map_err(|_| ConnectError::Address)?;
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Client::open(info.set_redis_settings(settings)).map_err(|_| ConnectError::Address)
}

fn manager() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(RESPONSE))
        .set_number_of_retries(1)
        .set_max_delay(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[tokio::test]
    async fn a_wrong_address_is_refused_without_being_repeated() {
        for wrong in ["", "canary", "http://:canary@host/", "redis://:canary@host:port/"] {
            let error = connect(wrong).await.map(|_| ()).unwrap_err();
            let shown = format!("{error} {error:?} {:?}", error.source());
            assert!(matches!(error, ConnectError::Address), "{shown}");
            assert!(!shown.contains("canary"), "{shown}");
        }
    }

    #[tokio::test]
    async fn nobody_listening_is_said_at_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        drop(listener);
        assert!(matches!(connect(&url).await.map(|_| ()), Err(ConnectError::Unreachable(_))));
        assert!(connect_lazily(&url).is_ok(), "a program may start while Redis is away");
    }
}
