//! Frames on this machine's disk, for when Redis or the owner is away: files that are only appended to, one thread that
//! writes and syncs what has gathered, and an exclusive lock, so that what a dead process left is sent by one other only.
//!
//! A file holds `length | CRC-32C | frame`, the frame as it travels. A frame of number 0 holds nothing: it says that the
//! source exists.

mod files;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use audit::frame::{self, Source};
use bytes::Bytes;
use domain::{BootId, NodeId, TenantId};
use tokio::sync::oneshot;

use files::Files;

/// How the spool is used.
#[derive(Debug, Clone)]
pub struct SpoolSettings {
    /// Where the files are, in a folder per node.
    pub dir: PathBuf,
    /// When frames are written.
    pub mode: SpoolMode,
    /// Most bytes of all files; beyond, calls are refused.
    pub max_bytes: u64,
    /// Most bytes of one tenant; beyond, its calls are refused.
    pub tenant_max_bytes: u64,
    /// Bytes after which a new file is begun.
    pub file_bytes: u64,
}

impl SpoolSettings {
    /// The usual sizes.
    #[must_use]
    pub fn new(dir: PathBuf, mode: SpoolMode) -> Self {
        Self { dir, mode, max_bytes: 20 << 30, tenant_max_bytes: 4 << 30, file_bytes: 64 << 20 }
    }
}

/// When frames are written to the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolMode {
    /// Always, beside Redis; a frame is durable when either has it. For one machine, whose processes fail one by one.
    Always,
    /// Always, and a frame is durable only when the disk has it. For one machine that may lose power: Redis loses its memory
    /// with the node.
    First,
    /// While Redis or the owner is away.
    Fallback,
}

/// Why the spool can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process holds it.
    #[error("the audit spool `{0}` is in use by another process: give each node a spool folder of its own")]
    Locked(PathBuf),
    /// The disk failed.
    #[error("the audit spool `{path}` can't be used")]
    Disk {
        /// Where.
        path: PathBuf,
        /// How.
        #[source]
        error: io::Error,
    },
}

/// Where a frame is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    file: u64,
    at: u64,
    length: u32,
}

/// What an earlier run left: of each source the frames that may not have taken effect.
pub(super) type Left = Vec<(Source, Vec<(u64, Place)>)>;

/// The way to the spool's thread.
pub(super) struct Spool {
    /// Present until the spool is dropped.
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Option<JoinHandle<()>>,
    sizes: Arc<Sizes>,
    pub(super) mode: SpoolMode,
}

/// How much is in use.
struct Sizes {
    files: AtomicU64,
    tenants: Mutex<HashMap<TenantId, u64>>,
    max: u64,
    tenant_max: u64,
}

/// Tells where frames were written.
type Written = oneshot::Sender<io::Result<Vec<Place>>>;

enum Request {
    Write { frames: Vec<Bytes>, done: Written },
    Mark(Bytes),
    Read { places: Vec<Place>, done: oneshot::Sender<io::Result<Vec<Bytes>>> },
    Free(Vec<Place>),
}

impl Spool {
    /// Takes the node's spool, and reads what is left in it.
    pub(super) fn open(settings: &SpoolSettings, node: NodeId, boot: BootId) -> Result<(Self, Left), SpoolError> {
        let mut files = Files::lock(settings, node, boot)?;
        let dir = files.dir.clone();
        let disk = |error| SpoolError::Disk { path: dir.clone(), error };
        let sizes = Arc::clone(&files.sizes);
        let left = files.read_left().map_err(disk)?;
        let (requests, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new().name("audit-spool".to_owned());
        let thread = Some(thread.spawn(move || files.serve(&inbox)).map_err(disk)?);
        Ok((Self { requests: Mutex::new(Some(requests)), thread, sizes, mode: settings.mode }, left))
    }

    /// Writes frames and syncs them to the disk.
    pub(super) async fn write(&self, frames: Vec<Bytes>) -> io::Result<Vec<Place>> {
        let (done, written) = oneshot::channel();
        self.ask(Request::Write { frames, done });
        written.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// Reads frames back.
    pub(super) async fn read(&self, places: Vec<Place>) -> io::Result<Vec<Bytes>> {
        let (done, read) = oneshot::channel();
        self.ask(Request::Read { places, done });
        read.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// Notes that a source exists, so that a later run can say that it is dead.
    pub(super) fn mark(&self, source: &Source) {
        self.ask(Request::Mark(frame::to_wire(source, 0, &[])));
    }

    /// Counts a frame that was written to its tenants' shares.
    pub(super) fn charge(&self, tenants: &[(TenantId, u64)]) {
        let mut shares = self.sizes.tenants();
        for (tenant, bytes) in tenants {
            *shares.entry(*tenant).or_default() += bytes;
        }
    }

    /// Gives up frames that took effect.
    pub(super) fn free(&self, freed: Vec<(Place, Vec<(TenantId, u64)>)>) {
        if freed.is_empty() {
            return;
        }
        let mut shares = self.sizes.tenants();
        for (tenant, bytes) in freed.iter().flat_map(|(_, tenants)| tenants) {
            if let Some(share) = shares.get_mut(tenant) {
                *share = share.saturating_sub(*bytes);
            }
        }
        shares.retain(|_, share| *share > 0);
        drop(shares);
        self.ask(Request::Free(freed.into_iter().map(|(place, _)| place).collect()));
    }

    /// Whether a tenant's frames still fit.
    pub(super) fn has_room(&self, tenant: TenantId) -> bool {
        let share = self.sizes.tenants().get(&tenant).copied().unwrap_or(0);
        share < self.sizes.tenant_max && self.has_any_room()
    }

    /// Whether any frames still fit.
    pub(super) fn has_any_room(&self) -> bool {
        self.bytes() < self.sizes.max
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.sizes.files.load(Ordering::Relaxed)
    }

    fn ask(&self, request: Request) {
        // Should the thread be gone, whoever waits is told by the dropped reply.
        if let Some(requests) = self.requests.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            let _ = requests.send(request);
        }
    }
}

/// Waits for the thread, so that the lock is free afterwards.
impl Drop for Spool {
    fn drop(&mut self) {
        self.requests.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Sizes {
    fn tenants(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, u64>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
