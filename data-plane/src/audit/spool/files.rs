//! The files of a node's spool, as the one thread sees them that writes, reads and removes them.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use audit::frame::{self, Source};
use bytes::Bytes;
use crc::{CRC_32_ISCSI, Crc, Table};
use domain::{BootId, NodeId};
use rustix::fs::{FlockOperation, flock};

use super::{Left, Place, Request, Sizes, SpoolError, SpoolSettings, Written};

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
const HEADER: usize = 8;
/// How much of the memory of a large write is kept for the next.
const OUT_KEPT: usize = 1 << 20;
/// Frames are smaller; a greater length is a torn or foreign file.
const FRAME_MAX: u32 = 64 << 20;

/// The files, as their thread sees them.
pub(super) struct Files {
    pub(super) dir: PathBuf,
    boot: BootId,
    by_number: HashMap<u64, Spooled>,
    current: Option<u64>,
    next: u64,
    /// Sources of this run.
    marks: Vec<Bytes>,
    /// What is written next; kept, because memory that is given back must be cleared to be had again.
    out: Vec<u8>,
    pub(super) sizes: Arc<Sizes>,
    file_bytes: u64,
    _lock: File,
}

struct Spooled {
    path: PathBuf,
    file: File,
    size: u64,
    /// Frames in it that did not take effect.
    live: usize,
}

impl Files {
    /// Those of a node, whose folder is nobody else's as long as they are there.
    pub(super) fn lock(settings: &SpoolSettings, node: NodeId, boot: BootId) -> Result<Self, SpoolError> {
        let dir = settings.dir.join(node.to_string());
        let disk = |error| SpoolError::Disk { path: dir.clone(), error };
        create_for_good(&dir).map_err(disk)?;
        let lock = File::create(dir.join("lock")).map_err(disk)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| SpoolError::Locked(dir.clone()))?;
        let sizes = Arc::new(Sizes {
            files: AtomicU64::new(0),
            tenants: Mutex::new(HashMap::new()),
            max: settings.max_bytes,
            tenant_max: settings.tenant_max_bytes,
        });
        Ok(Self {
            dir,
            boot,
            by_number: HashMap::new(),
            current: None,
            next: 0,
            marks: Vec::new(),
            out: Vec::new(),
            sizes,
            file_bytes: settings.file_bytes,
            _lock: lock,
        })
    }

    pub(super) fn serve(mut self, inbox: &mpsc::Receiver<Request>) {
        while let Ok(first) = inbox.recv() {
            let mut writes = Vec::new();
            for request in std::iter::once(first).chain(inbox.try_iter()) {
                match request {
                    Request::Write { frames, done } => writes.push((frames, done)),
                    Request::Mark(mark) => self.marks.push(mark),
                    Request::Read { places, done } => drop(done.send(self.read(&places))),
                    Request::Free(places) => self.free(&places),
                }
            }
            self.write_all(writes);
        }
        self.close();
    }

    /// Writes everything that has gathered, then syncs once.
    fn write_all(&mut self, writes: Vec<(Vec<Bytes>, Written)>) {
        if writes.is_empty() {
            return;
        }
        let mut appended = Vec::new();
        let written = writes.iter().try_for_each(|(frames, _)| self.append(frames).map(|places| appended.push(places)));
        match written.and_then(|()| self.sync()) {
            Ok(()) => {
                for ((_, done), places) in writes.into_iter().zip(appended) {
                    let _ = done.send(Ok(places));
                }
            }
            Err(error) => {
                tracing::error!(%error, "the audit spool can't be written");
                self.leave_current(&appended.concat());
                for (_, done) in writes {
                    let _ = done.send(Err(io::Error::new(error.kind(), error.to_string())));
                }
            }
        }
    }

    /// The file may end in half a frame, and a sync that failed says nothing about the next: another is begun. What was
    /// appended in vain counts no longer, so that the file goes, and a full disk has room again, as soon as the rest of it
    /// has taken effect.
    fn leave_current(&mut self, in_vain: &[Place]) {
        let failed = self.current.take();
        self.free(in_vain);
        if let Some(number) = failed {
            self.remove_if_dead(number);
        }
    }

    fn append(&mut self, frames: &[Bytes]) -> io::Result<Vec<Place>> {
        let number = self.writable()?;
        let spooled = self.by_number.get_mut(&number).ok_or(io::ErrorKind::NotFound)?;
        let out = &mut self.out;
        let mut places = Vec::with_capacity(frames.len());
        for frame in frames {
            let at = spooled.size + out.len() as u64 + HEADER as u64;
            let length = put(out, frame);
            places.push(Place { file: number, at, length });
        }
        let (written, bytes) = (spooled.file.write_all(out), out.len() as u64);
        // An outage's first write is of all that waited, and for long there may be no other.
        out.clear();
        out.shrink_to(OUT_KEPT);
        written?;
        spooled.size += bytes;
        spooled.live += frames.len();
        self.sizes.files.fetch_add(bytes, Ordering::Relaxed);
        Ok(places)
    }

    /// The file to append to; a new one when the present one is long enough.
    fn writable(&mut self) -> io::Result<u64> {
        if let Some(number) = self.current {
            if self.by_number.get(&number).is_some_and(|spooled| spooled.size < self.file_bytes) {
                return Ok(number);
            }
            self.sync()?;
            self.current = None;
            self.remove_if_dead(number);
        }
        let number = self.next;
        self.next += 1;
        let path = self.dir.join(format!("{}-{number}.spool", self.boot));
        let file = OpenOptions::new().create_new(true).read(true).append(true).open(&path)?;
        let mut marks = Vec::new();
        for mark in &self.marks {
            put(&mut marks, mark);
        }
        let size = marks.len() as u64;
        self.sizes.files.fetch_add(size, Ordering::Relaxed);
        let spooled = self.by_number.entry(number).or_insert(Spooled { path, file, size, live: 0 });
        self.current = Some(number);
        spooled.file.write_all(&marks)?;
        File::open(&self.dir)?.sync_all()?;
        Ok(number)
    }

    fn sync(&self) -> io::Result<()> {
        let current = self.current.and_then(|number| self.by_number.get(&number));
        current.map_or(Ok(()), |spooled| spooled.file.sync_data())
    }

    fn read(&self, places: &[Place]) -> io::Result<Vec<Bytes>> {
        let read = |place: &Place| {
            let spooled = self.by_number.get(&place.file).ok_or(io::ErrorKind::NotFound)?;
            let mut frame = vec![0; place.length as usize];
            spooled.file.read_exact_at(&mut frame, place.at)?;
            Ok(frame.into())
        };
        places.iter().map(read).collect()
    }

    fn free(&mut self, places: &[Place]) {
        for place in places {
            if let Some(spooled) = self.by_number.get_mut(&place.file) {
                spooled.live = spooled.live.saturating_sub(1);
            }
            if self.current != Some(place.file) {
                self.remove_if_dead(place.file);
            }
        }
    }

    fn remove_if_dead(&mut self, number: u64) {
        if self.by_number.get(&number).is_none_or(|spooled| spooled.live > 0) {
            return;
        }
        if let Some(spooled) = self.by_number.remove(&number) {
            if let Err(error) = fs::remove_file(&spooled.path) {
                tracing::warn!(%error, "an audit spool file could not be removed; its frames will be sent again");
            }
            self.sizes.files.fetch_sub(spooled.size, Ordering::Relaxed);
        }
    }

    /// The process stops: nothing stays but what did not take effect.
    fn close(mut self) {
        let numbers: Vec<u64> = self.by_number.keys().copied().collect();
        for number in numbers {
            self.remove_if_dead(number);
        }
    }

    /// Reads what earlier runs left, each file up to the first place where it is torn.
    pub(super) fn read_left(&mut self) -> io::Result<Left> {
        let mut sources: BTreeMap<Source, BTreeMap<u64, Place>> = BTreeMap::new();
        let mut paths: Vec<PathBuf> =
            fs::read_dir(&self.dir)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "spool"));
        paths.sort();
        for path in paths {
            self.read_file(&path, &mut sources)?;
        }
        Ok(sources.into_iter().map(|(source, frames)| (source, frames.into_iter().collect())).collect())
    }

    fn read_file(&mut self, path: &Path, sources: &mut BTreeMap<Source, BTreeMap<u64, Place>>) -> io::Result<()> {
        let number = self.next;
        self.next += 1;
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut live = 0;
        let mut reader = BufReader::new(&file);
        reader.seek(SeekFrom::Start(0))?;
        let mut at = 0;
        while let Some((wire, length)) = next_frame(&mut reader) {
            let place = Place { file: number, at: at + HEADER as u64, length };
            at += HEADER as u64 + u64::from(length);
            let Ok((source, s, _)) = frame::from_wire(&wire) else { break };
            let frames = sources.entry(source).or_default();
            if s > 0 && !frames.contains_key(&s) {
                frames.insert(s, place);
                live += 1;
            }
        }
        if at < size {
            tracing::warn!(bytes = size - at, "an audit spool file ends in bytes that are no frame: its process died");
        }
        self.sizes.files.fetch_add(size, Ordering::Relaxed);
        self.by_number.insert(number, Spooled { path: path.to_owned(), file, size, live });
        Ok(())
    }
}

/// Makes a folder and those above it that are not there, so that none of them is gone after the power was: a name is on the
/// disk once the folder it stands in is.
fn create_for_good(dir: &Path) -> io::Result<()> {
    let Some(above) = dir.parent().filter(|_| !dir.exists()) else { return Ok(()) };
    create_for_good(above)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(above)?.sync_all(),
    }
}

/// Appends a frame with its length and check, and gives its length.
fn put(out: &mut Vec<u8>, frame: &[u8]) -> u32 {
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&CRC.checksum(frame).to_le_bytes());
    out.extend_from_slice(frame);
    length
}

/// The next whole frame; `None` at the end and where the file is torn.
fn next_frame(reader: &mut impl Read) -> Option<(Vec<u8>, u32)> {
    let (mut length, mut check) = ([0; 4], [0; 4]);
    reader.read_exact(&mut length).ok()?;
    reader.read_exact(&mut check).ok()?;
    let length = Some(u32::from_le_bytes(length)).filter(|length| *length <= FRAME_MAX)?;
    let mut frame = vec![0; length as usize];
    reader.read_exact(&mut frame).ok()?;
    (CRC.checksum(&frame) == u32::from_le_bytes(check)).then_some((frame, length))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::SpoolMode;
    use super::*;

    #[test]
    fn a_large_write_keeps_no_memory_once_it_is_over() {
        let id = Uuid::from_bytes(secrets::random());
        let dir = std::env::temp_dir().join(format!("sluice-spool-{id}"));
        let settings = SpoolSettings::new(dir.clone(), SpoolMode::Fallback);
        let mut files = Files::lock(&settings, NodeId::from_uuid(id), BootId::from_uuid(id)).unwrap();
        let frames = vec![Bytes::from(vec![0; OUT_KEPT]); 4];
        assert_eq!(files.append(&frames).unwrap().len(), frames.len());
        assert!(files.out.capacity() <= OUT_KEPT, "{}", files.out.capacity());
        // The same where the disk takes none of it.
        let spooled = files.by_number.values_mut().next().unwrap();
        spooled.file = File::open(&spooled.path).unwrap();
        files.append(&frames).unwrap_err();
        assert!(files.out.capacity() <= OUT_KEPT, "{}", files.out.capacity());
        fs::remove_dir_all(dir).unwrap();
    }
}
