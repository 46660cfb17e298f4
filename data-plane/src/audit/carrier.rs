//! Redis, as the frames' way to the owner of their shard: one round trip sends, and asks what took effect.

use std::time::Duration;

use audit::ack::StreamId;
use audit::frame::FIELD;
use bytes::Bytes;
use domain::projection::keys;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError, RedisResult, Value};

/// How long Redis may take; whoever waits for a frame does not wait so long.
const PATIENCE: Duration = Duration::from_secs(2);

/// What to send and ask.
pub(super) struct Request {
    pub(super) shard: u16,
    /// In order.
    pub(super) frames: Vec<Bytes>,
    /// Fields of the hash of acks.
    pub(super) ack_fields: Vec<String>,
}

/// What Redis said.
pub(super) struct Answer {
    /// Of each frame where it stands, or why it does not.
    pub(super) sent: Vec<RedisResult<StreamId>>,
    /// Sealed acks.
    pub(super) acks: Vec<Option<Vec<u8>>>,
    pub(super) incarnation: Option<Vec<u8>>,
    /// Entries of the stream.
    pub(super) length: u64,
}

/// Connects, for one shard alone, so that its frames arrive in order.
pub(super) async fn connect(client: redis::Client) -> RedisResult<MultiplexedConnection> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// Sends frames and asks for acks, the incarnation and the length, in one pipeline.
pub(super) async fn exchange(connection: &mut MultiplexedConnection, request: &Request) -> RedisResult<Answer> {
    let stream = keys::audit(request.shard);
    let mut pipe = redis::Pipeline::with_capacity(request.frames.len() + request.ack_fields.len() + 2);
    pipe.ignore_errors();
    for frame in &request.frames {
        pipe.cmd("XADD").arg(&stream).arg("*").arg(FIELD).arg(&frame[..]);
    }
    let acks = keys::audit_ack(request.shard);
    for field in &request.ack_fields {
        pipe.cmd("HGET").arg(&acks).arg(field);
    }
    pipe.cmd("GET").arg(keys::audit_incarnation(request.shard));
    pipe.cmd("XLEN").arg(&stream);
    let values: Vec<RedisResult<Value>> = pipe.query_async(connection).await?;
    read(values.into_iter(), request)
}

fn read(mut values: impl Iterator<Item = RedisResult<Value>>, request: &Request) -> RedisResult<Answer> {
    let mut next = || values.next().unwrap_or_else(|| Err(unexpected("an answer is missing")));
    let sent = request.frames.iter().map(|_| next().and_then(stream_id)).collect();
    let acks = request.ack_fields.iter().map(|_| next().and_then(bytes)).collect::<RedisResult<_>>()?;
    let incarnation = next().and_then(bytes)?;
    let length = match next()? {
        Value::Int(length) => u64::try_from(length).unwrap_or(0),
        _ => return Err(unexpected("a length is no number")),
    };
    Ok(Answer { sent, acks, incarnation, length })
}

fn stream_id(value: Value) -> RedisResult<StreamId> {
    let text = bytes(value)?.unwrap_or_default();
    let id = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
    id.ok_or_else(|| unexpected("a place in the stream is none"))
}

fn bytes(value: Value) -> RedisResult<Option<Vec<u8>>> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        _ => Err(unexpected("a text is none")),
    }
}

fn unexpected(what: &'static str) -> RedisError {
    (redis::ErrorKind::UnexpectedReturnType, what).into()
}
