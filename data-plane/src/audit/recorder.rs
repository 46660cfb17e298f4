//! What the pipeline sees of the audit log.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use audit::Record;
use audit::entry::Form;
use audit::frame::Source;
use audit::record::Counter;
use audit::words::{Effect, Stage, Status};
use domain::projection::shard_of;
use domain::{BootId, CallId, Clock, NodeId, RecordId, TenantId};
use secrets::Sealer;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::OpenRecord;
use super::counters::Counters;
use super::outbox::Outbox;
use super::queue::Item;
use super::refused::Refused;
use super::ship::{self, Shard};
use super::spool::{Spool, SpoolError, SpoolSettings};

/// How often refused requests are summed up.
const MINUTE: Duration = Duration::from_mins(1);

/// How the node records.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The deployment's id.
    pub deployment: String,
    /// This node.
    pub node: NodeId,
    /// This run of it.
    pub boot: BootId,
    /// How many shards the deployment's logs are spread over.
    pub shards: u16,
    /// The program's version, for the records.
    pub version: &'static str,
    /// Where the streams are.
    pub redis_url: String,
    /// The spool on disk; without it, calls are refused while Redis is away.
    pub spool: Option<SpoolSettings>,
    /// How long a call waits for its intent to be durable in Redis before the spool is asked, or it is refused.
    pub durable_within: Duration,
    /// Bytes of frames in memory from which on frames are spooled.
    pub uncommitted_max: u64,
    /// Bytes of a shard's stream from which on frames are spooled instead.
    pub stream_max: u64,
    /// How often every source in use gives a sign of life.
    pub beat: Duration,
    /// How often acks are looked for while there is something to free.
    pub poll: Duration,
}

impl Settings {
    /// The usual settings.
    #[must_use]
    pub fn new(deployment: String, node: NodeId, boot: BootId, redis_url: String) -> Self {
        Self {
            deployment,
            node,
            boot,
            shards: 64,
            version: env!("CARGO_PKG_VERSION"),
            redis_url,
            spool: None,
            durable_within: Duration::from_millis(250),
            uncommitted_max: 64 << 20,
            stream_max: 256 << 20,
            beat: Duration::from_secs(5),
            poll: Duration::from_secs(1),
        }
    }
}

/// The keys of the audit protocol.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Seals frames (`Purpose::AuditFrame`).
    pub frames: Sealer,
    /// Opens acks (`Purpose::AuditAck`).
    pub acks: Sealer,
}

/// Why recording can't begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The Redis address is none.
    #[error(transparent)]
    Redis(#[from] service::redis::ConnectError),
    /// The spool can't be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// The record of a call could not be made durable in time: the call must not be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit record could not be made durable")]
pub struct AuditUnavailable;

/// How well recording goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// All is well.
    Well,
    /// Redis or the log's owner is away; the spool takes the frames.
    Spooling,
    /// Calls are refused.
    Refusing,
}

/// What all shards share.
pub(super) struct Common {
    pub(super) settings: Settings,
    pub(super) keys: Keys,
    pub(super) clock: Clock,
    pub(super) client: redis::Client,
    pub(super) spool: Option<Spool>,
    pub(super) counters: Arc<Counters>,
    pub(super) closing: CancellationToken,
}

impl Common {
    /// Whether a record of the tenant may be taken in: nothing that bounds memory or disk is exceeded. The outcome of a call
    /// that has begun is always taken.
    fn admits(&self, tenant: TenantId) -> bool {
        let memory = self.counters.memory_bytes();
        match &self.spool {
            Some(spool) => memory <= 2 * self.settings.uncommitted_max && spool.has_room(tenant),
            None => memory <= self.settings.uncommitted_max,
        }
    }
}

/// Records calls. Cloning is cheap; all clones are one.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    common: Arc<Common>,
    shards: Vec<OnceLock<Arc<Shard>>>,
    refused: Refused,
    tasks: TaskTracker,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recorder({})", self.0.common.settings.boot)
    }
}

impl Recorder {
    /// Begins to record. Frames that an earlier run left in the spool are sent first, under that run's name.
    ///
    /// Call it inside a Tokio runtime. Redis need not be there yet.
    ///
    /// # Errors
    /// [`StartError`] when the Redis address is none, or the spool can't be read or is another process's.
    pub fn start(settings: Settings, keys: Keys, clock: Clock) -> Result<Self, StartError> {
        let counters = Arc::new(Counters::default());
        let client = service::redis::client(&settings.redis_url)?;
        let opened = match &settings.spool {
            Some(spool) => Some(Spool::open(spool, settings.node, settings.boot)?),
            None => None,
        };
        let (spool, left) = opened.map_or((None, Vec::new()), |(spool, left)| (Some(spool), left));
        let closing = CancellationToken::new();
        let shards = (0..settings.shards.max(1)).map(|_| OnceLock::new()).collect();
        let common = Arc::new(Common { settings, keys, clock, client, spool, counters, closing });
        let recorder = Self(Arc::new(Inner { common, shards, refused: Refused::default(), tasks: TaskTracker::new() }));
        let mut shards_left: std::collections::BTreeMap<u16, Vec<Outbox>> = std::collections::BTreeMap::new();
        for (source, frames) in left {
            shards_left.entry(source.shard).or_default().push(Outbox::inherited(source, frames));
        }
        for (number, inherited) in shards_left {
            recorder.shard(number, inherited);
        }
        recorder.watch_minutes();
        Ok(recorder)
    }

    /// Makes the call's intent durable; only then may the call be forwarded.
    ///
    /// The record needs its tenant; id, call, time and counter are filled in where absent. Dropping the future is
    /// safe: an outcome `cancelled` is formed.
    ///
    /// # Errors
    /// [`AuditUnavailable`] when the intent could not be made durable within its time. The refusal is recorded where
    /// that is possible.
    pub async fn open(&self, record: impl Into<Box<Record>>) -> Result<OpenRecord, AuditUnavailable> {
        let common = &self.0.common;
        let (mut record, tenant, call) = self.prepare(record.into());
        self.admit(tenant)?;
        let shard = self.shard_for(tenant);
        shard.open.add(1);
        let key = secrets::random();
        let private = record.commit(key);
        record.gw.n = Some(Counter::Later);
        record.is_final = false;
        let leaf = record.to_leaf();
        let (waiter, durable) = oneshot::channel();
        let item = Item {
            form: Form::Intent(call),
            tenant,
            n: None,
            leaf: &leaf,
            private: private.as_ref(),
            waiter: Some(waiter),
        };
        let n = shard.queue.push(item);
        drop(leaf);
        let began = Instant::now();
        let common = Arc::clone(common);
        let mut open = OpenRecord { common, shard, record, call, tenant, n, key, private, began, finished: false };
        let stored = durable.await;
        open.record.dur.audit_wait = Some(open.common.counters.wait.observe(began.elapsed()));
        if stored.is_ok() {
            return Ok(open);
        }
        open.common.counters.refused_calls.add(1);
        open.record.decision.effect = Some(Effect::Deny);
        open.record.decision.stage = Some(Stage::Audit);
        open.record.decision.code = Some("audit_unavailable".into());
        let outcome = audit::record::Outcome { status: Some(Status::Denied), ..open.record.outcome.clone() };
        open.finish(outcome);
        Err(AuditUnavailable)
    }

    /// Records a call that is not forwarded, and waits until that is durable. Tell the decision only then.
    ///
    /// # Errors
    /// [`AuditUnavailable`] when there is no room for the record, or it could not be made durable in time; then it is formed
    /// all the same.
    pub async fn note(&self, record: impl Into<Box<Record>>) -> Result<(), AuditUnavailable> {
        let (waiter, durable) = oneshot::channel();
        self.add_final(record.into(), Some(waiter))?;
        let began = Instant::now();
        let stored = durable.await;
        self.0.common.counters.wait.observe(began.elapsed());
        stored.map_err(|_| {
            self.0.common.counters.refused_calls.add(1);
            AuditUnavailable
        })
    }

    /// Records something that is over and nobody waits for, such as a list that was answered from memory.
    ///
    /// # Errors
    /// [`AuditUnavailable`] when there is no room for the record: nothing may be told of what it was about.
    pub fn add(&self, record: impl Into<Box<Record>>) -> Result<(), AuditUnavailable> {
        self.add_final(record.into(), None)
    }

    /// Counts a request that was refused before anybody was known: one record per tenant, reason and minute. Requests
    /// that name no tenant are counted under [`audit::protocol::DEPLOYMENT`].
    pub fn refused(&self, tenant: TenantId, reason: &'static str) {
        self.0.refused.count(tenant, reason);
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.0.common.counters
    }

    /// Bytes of the spool's files.
    #[must_use]
    pub fn spool_bytes(&self) -> u64 {
        self.0.common.spool.as_ref().map_or(0, Spool::bytes)
    }

    /// How well recording goes, for readiness.
    #[must_use]
    pub fn condition(&self) -> Condition {
        let common = &self.0.common;
        let memory = common.counters.memory_bytes();
        let full = match &common.spool {
            Some(spool) => memory > 2 * common.settings.uncommitted_max || !spool.has_any_room(),
            None => memory > common.settings.uncommitted_max,
        };
        let shards = || self.0.shards.iter().filter_map(OnceLock::get);
        if full || shards().any(|shard| shard.refusing.load(std::sync::atomic::Ordering::Relaxed)) {
            return Condition::Refusing;
        }
        let away = shards().any(|shard| shard.away.load(std::sync::atomic::Ordering::Relaxed));
        if away { Condition::Spooling } else { Condition::Well }
    }

    /// Says good-bye on every source once its calls are over, and waits until all took effect or, after `patience`,
    /// is at least durable. Nothing may be recorded afterwards.
    pub async fn close(&self, patience: Duration) {
        // The last chance: what is counted is little, and would be lost.
        self.write_refused(|_| true);
        let until = Instant::now() + patience;
        for shard in self.0.shards.iter().filter_map(OnceLock::get) {
            shard.close_by(until);
        }
        self.0.common.closing.cancel();
        self.0.tasks.close();
        // What the spool still has to write comes on top.
        let _ = tokio::time::timeout_at(until + ship::LAST_WRITE, self.0.tasks.wait()).await;
    }

    fn add_final(&self, record: Box<Record>, waiter: Option<oneshot::Sender<()>>) -> Result<(), AuditUnavailable> {
        let (mut record, tenant, call) = self.prepare(record);
        self.admit(tenant)?;
        record.is_final = true;
        self.put(record, tenant, Form::Final(call), waiter);
        self.0.common.counters.final_records.add(1);
        Ok(())
    }

    /// Lets a record of the tenant in, or counts that there is no room for it.
    fn admit(&self, tenant: TenantId) -> Result<(), AuditUnavailable> {
        let common = &self.0.common;
        if common.admits(tenant) {
            return Ok(());
        }
        common.counters.refused_calls.add(1);
        self.refused(tenant, "audit_unavailable");
        Err(AuditUnavailable)
    }

    fn put(&self, mut record: Box<Record>, tenant: TenantId, form: Form, waiter: Option<oneshot::Sender<()>>) {
        let private = record.commit(secrets::random());
        record.gw.n = Some(Counter::Later);
        let leaf = record.to_leaf();
        let item = Item { form, tenant, n: None, leaf: &leaf, private: private.as_ref(), waiter };
        self.shard_for(tenant).queue.push(item);
    }

    /// Fills in what the node knows.
    fn prepare(&self, mut record: Box<Record>) -> (Box<Record>, TenantId, CallId) {
        let Common { settings, clock, .. } = &*self.0.common;
        record.id.get_or_insert_with(|| RecordId::new(clock));
        record.time.get_or_insert_with(|| clock.now());
        record.gw.node = Some(settings.node);
        record.gw.boot = Some(settings.boot);
        record.gw.version.get_or_insert(settings.version.into());
        let tenant = *record.tenant.id.get_or_insert(audit::protocol::DEPLOYMENT);
        let call = *record.call_id.get_or_insert_with(|| CallId::new(clock));
        (record, tenant, call)
    }

    fn shard_for(&self, tenant: TenantId) -> Arc<Shard> {
        self.shard(shard_of(tenant, self.0.common.settings.shards), Vec::new())
    }

    /// The shard, whose task begins with its first use.
    fn shard(&self, number: u16, inherited: Vec<Outbox>) -> Arc<Shard> {
        let inner = &self.0;
        let place = inner.shards.get(usize::from(number)).unwrap_or(&inner.shards[0]);
        let begin = || {
            let Settings { node, boot, .. } = inner.common.settings;
            let source = Source { node, boot, shard: number };
            let shard = Arc::new(Shard::new(source, Arc::clone(&inner.common.counters)));
            inner.tasks.spawn(ship::run(Arc::clone(&inner.common), Arc::clone(&shard), inherited));
            shard
        };
        Arc::clone(place.get_or_init(begin))
    }

    /// Writes the summaries of refused requests each minute.
    fn watch_minutes(&self) {
        let recorder = Arc::downgrade(&self.0);
        let closing = self.0.common.closing.clone();
        self.0.tasks.spawn(async move {
            let mut minutes = tokio::time::interval(MINUTE);
            minutes.tick().await;
            loop {
                tokio::select! {
                    _ = minutes.tick() => {}
                    () = closing.cancelled() => return,
                }
                let Some(inner) = recorder.upgrade() else { return };
                let recorder = Self(inner);
                recorder.write_refused(|tenant| recorder.0.common.admits(tenant));
            }
        });
    }

    fn write_refused(&self, has_room: impl Fn(TenantId) -> bool) {
        // What there is no room for counts on.
        for record in self.0.refused.take(&self.0.common.clock, has_room) {
            let (record, tenant, _) = self.prepare(Box::new(record));
            self.put(record, tenant, Form::Note, None);
        }
    }
}
