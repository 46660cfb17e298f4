//! One exchange of a shard with Redis: what is to be sent is read back from the spool where it is no longer in memory.

use bytes::Bytes;
use redis::aio::MultiplexedConnection;

use super::carrier::{self, Answer, Request};
use super::outbox::Bytesof;
use super::recorder::Common;

/// One exchange with Redis, over the connection there is or a new one; which is lost with it when it fails.
///
/// # Errors
/// Why, with all its causes.
pub(super) async fn exchange(
    common: &Common,
    connection: Option<MultiplexedConnection>,
    mut request: Request,
    wires: Vec<Bytesof>,
) -> Result<(MultiplexedConnection, Answer), String> {
    request.frames = load(common, wires).await.ok_or("the spool can't be read")?;
    let connected = match connection {
        Some(connection) => Ok(connection),
        None => carrier::connect(common.client.clone()).await,
    };
    let exchanged = match connected {
        Ok(mut connection) => carrier::exchange(&mut connection, &request).await.map(|answer| (connection, answer)),
        Err(error) => Err(error),
    };
    exchanged.map_err(|error| service::causes(&error))
}

/// Reads from the spool what is no longer in memory.
async fn load(common: &Common, wires: Vec<Bytesof>) -> Option<Vec<Bytes>> {
    let mut frames = Vec::with_capacity(wires.len());
    for wire in wires {
        frames.push(match (wire, &common.spool) {
            (Bytesof::Memory(frame), _) => frame,
            (Bytesof::Disk(place), Some(spool)) => spool.read(vec![place]).await.ok()?.pop()?,
            (Bytesof::Disk(_), None) => return None,
        });
    }
    Some(frames)
}
