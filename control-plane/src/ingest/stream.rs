//! The Redis side of a shard: reading its stream, acks, ticks, trimming, and whether it is still the same stream.

use std::time::Duration;

use audit::ack::{self, Ack, StreamId};
use audit::{Source, frame};
use bytes::Bytes;
use domain::TenantId;
use domain::projection::keys;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamInfoStreamReply, StreamReadReply};
use redis::{AsyncCommands as _, RedisError};
use store::audit::checkpoint::Signed;
use tokio::time::Instant;

use super::Means;
use super::arrival::{self, Incoming, Payload};

/// Longest wait inside Redis for something new.
pub(super) const BLOCK: Duration = Duration::from_secs(1);
/// Entries asked for at once: a frame may be half a MiB.
pub(super) const COUNT: usize = 32;
/// A commit takes in so many entries, or so many bytes of them, and up to [`COUNT`] more. Frames are as small as one call
/// where there are few calls at a time; a commit costs the database much the same for one as for a thousand.
pub(super) const ENTRIES_MAX: usize = 1024;
pub(super) const BYTES_MAX: usize = 2 * 1024 * 1024;
/// Longest time that a batch is gathered: the lease goes on meanwhile.
const GATHER: Duration = Duration::from_millis(500);
/// A stream of so many bytes keeps nothing that took effect: at twice as many, nodes leave it alone and spool.
const LARGE: u64 = 128 * 1024 * 1024;
/// The field of the hash of acks that holds how far the owner itself is.
const OWNER_FIELD: &str = "owner";

/// A shard's stream, through a connection of its own.
pub(super) struct Stream {
    means: Means,
    shard: u16,
    connection: MultiplexedConnection,
}

/// What was read at once.
pub(super) struct Batch {
    pub(super) entries: Vec<Incoming>,
    /// Whether the stream had no more.
    pub(super) is_all: bool,
}

impl Batch {
    fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.what.len()).sum()
    }
}

impl Stream {
    /// Connects.
    pub(super) async fn connect(means: &Means, shard: u16) -> Result<Self, service::redis::ConnectError> {
        let connection = service::redis::connect_waiting(&means.needs.redis_url, BLOCK).await?;
        Ok(Self { means: means.clone(), shard, connection })
    }

    /// What comes after a place, as much as one commit takes in, but not more than about so many entries; waits up to
    /// [`BLOCK`] for the first of it.
    pub(super) async fn read(&mut self, after: StreamId, most: usize) -> Result<Batch, RedisError> {
        self.read_within(GATHER, after, most).await
    }

    /// As [`Stream::read`], gathered for at most so long.
    pub(super) async fn read_within(
        &mut self,
        gather: Duration,
        after: StreamId,
        most: usize,
    ) -> Result<Batch, RedisError> {
        let mut batch = Batch { entries: self.next(after, Some(BLOCK)).await?, is_all: false };
        let (mut read, began) = (batch.entries.len(), Instant::now());
        let is_enough = |batch: &Batch| batch.entries.len() >= most || batch.bytes() >= BYTES_MAX;
        while read == COUNT && !is_enough(&batch) && began.elapsed() < gather {
            let last = batch.entries.last().map_or(after, |last| last.id);
            let more = self.next(last, None).await?;
            read = more.len();
            batch.entries.extend(more);
        }
        batch.is_all = read < COUNT;
        Ok(batch)
    }

    /// The next [`COUNT`] entries.
    async fn next(&mut self, after: StreamId, block: Option<Duration>) -> Result<Vec<Incoming>, RedisError> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(COUNT);
        if let Some(block) = block {
            command.arg("BLOCK").arg(u64::try_from(block.as_millis()).unwrap_or(1000));
        }
        command.arg("STREAMS").arg(keys::audit(self.shard)).arg(after.to_string());
        let reply: Option<StreamReadReply> = command.query_async(&mut self.connection).await?;
        let entries = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids);
        Ok(entries.filter_map(|entry| Some(Incoming { id: entry.id.parse().ok()?, what: payload(&entry) })).collect())
    }

    /// The random value that names this stream, and the last place in it.
    pub(super) async fn state(&mut self) -> Result<(Option<String>, StreamId), RedisError> {
        let name: Option<String> = self.connection.get(keys::audit_incarnation(self.shard)).await?;
        let exists: bool = self.connection.exists(keys::audit(self.shard)).await?;
        if !exists {
            return Ok((name, StreamId::default()));
        }
        let info: StreamInfoStreamReply = self.connection.xinfo_stream(keys::audit(self.shard)).await?;
        Ok((name, info.last_generated_id.parse().unwrap_or_default()))
    }

    /// Gives the stream a new name: nodes send again what is not committed.
    pub(super) async fn rename(&mut self) -> Result<String, RedisError> {
        let name = hex::encode(secrets::random::<16>());
        let () = self.connection.set(keys::audit_incarnation(self.shard), &name).await?;
        Ok(name)
    }

    /// How far the last owner that wrote acks was: epoch and version.
    pub(super) async fn acked(&mut self) -> Result<Option<(u64, u64)>, RedisError> {
        let sealed: Option<Vec<u8>> = self.connection.hget(keys::audit_ack(self.shard), OWNER_FIELD).await?;
        let place = self.shard.to_be_bytes();
        let opened = sealed.and_then(|sealed| self.means.acks.open(&[b"owner", &place], &sealed).ok());
        Ok(opened.and_then(|plain| Ack::parse(&plain).ok()).map(|ack| (ack.epoch, ack.version)))
    }

    /// Writes the acks of a commit and hints that logs have grown (O4). Gives the stream's name as it is now.
    pub(super) async fn acknowledge(
        &mut self,
        own: &Ack,
        acks: &[(Source, Ack)],
        grown: &[TenantId],
    ) -> Result<Option<String>, RedisError> {
        let key = keys::audit_ack(self.shard);
        let mut pipeline = redis::pipe();
        for (source, ack) in acks {
            let aad = ack::aad(&self.means.needs.deployment, source);
            pipeline.hset(&key, source.ack_field(), self.means.acks.seal(&aad.parts(), &ack.to_bytes())).ignore();
        }
        let place = self.shard.to_be_bytes();
        pipeline.hset(&key, OWNER_FIELD, self.means.acks.seal(&[b"owner", &place], &own.to_bytes())).ignore();
        for tenant in grown {
            pipeline.publish(keys::log(*tenant), "").ignore();
        }
        pipeline.get(keys::audit_incarnation(self.shard));
        let (name,): (Option<String>,) = pipeline.query_async(&mut self.connection).await?;
        Ok(name)
    }

    /// The last checkpoint of each of these logs that is kept here.
    pub(super) async fn checkpoints(&mut self, tenants: &[TenantId]) -> Result<Vec<Option<String>>, RedisError> {
        let keys: Vec<String> = tenants.iter().map(|tenant| keys::checkpoint(*tenant)).collect();
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.get(key);
        }
        pipeline.query_async(&mut self.connection).await
    }

    /// Keeps checkpoints outside of the database that has the logs (O6).
    pub(super) async fn keep_checkpoints(&mut self, signed: &[Signed]) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        for signed in signed {
            pipeline.set(keys::checkpoint(signed.tenant), &signed.note).ignore();
        }
        pipeline.query_async(&mut self.connection).await
    }

    /// Lets the shard's clock go on (O5).
    pub(super) async fn tick(&mut self, fence: u64, tick: u64) -> Result<(), RedisError> {
        let sealed = arrival::seal_tick(&self.means, self.shard, fence, tick);
        self.connection.xadd(keys::audit(self.shard), "*", &[(frame::TICK_FIELD, sealed)]).await
    }

    /// Drops what took effect longer ago than the hold, or all of it when the stream takes its share of a quarter of
    /// Redis' memory, or [`LARGE`].
    pub(super) async fn trim(&mut self, cursor: StreamId) -> Result<(), RedisError> {
        let hold = u64::try_from(self.means.needs.hold.as_millis()).unwrap_or(u64::MAX);
        let keep = if self.is_large().await? { cursor } else { StreamId(cursor.0.saturating_sub(hold), 0) };
        let mut command = redis::cmd("XTRIM");
        command.arg(keys::audit(self.shard)).arg("MINID").arg(keep.to_string());
        command.query_async(&mut self.connection).await
    }

    async fn is_large(&mut self) -> Result<bool, RedisError> {
        let info: String = redis::cmd("INFO").arg("memory").query_async(&mut self.connection).await?;
        let most = info.lines().find_map(|line| line.strip_prefix("maxmemory:")?.trim().parse::<u64>().ok());
        let share = most.filter(|most| *most > 0).map_or(LARGE, |most| most / 4 / u64::from(self.means.needs.shards));
        let mut command = redis::cmd("MEMORY");
        command.arg("USAGE").arg(keys::audit(self.shard));
        let used: Option<u64> = command.query_async(&mut self.connection).await?;
        Ok(used.unwrap_or(0) > share.min(LARGE))
    }
}

fn payload(entry: &redis::streams::StreamId) -> Payload {
    let bytes = |field| entry.get::<Vec<u8>>(field).map(Bytes::from);
    match (bytes(frame::FIELD), bytes(frame::TICK_FIELD)) {
        (Some(wire), _) => Payload::Frame(wire),
        (None, Some(sealed)) => Payload::Tick(sealed),
        (None, None) => Payload::Foreign,
    }
}
