//! Where `sluice up` keeps what it makes: one folder, one lock, the processes of the last run.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// The folder of one local deployment.
pub(crate) struct State {
    root: PathBuf,
    /// Where Postgres and the spools lie; elsewhere than `root` only where Postgres' user can't enter that.
    data: PathBuf,
    /// Held while `up` runs; the kernel lets go of it when the process ends, however it ends.
    _lock: File,
}

/// A process that was started, known by more than its number, which may come round again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) name: String,
    pub(crate) pid: u32,
    /// Ticks since boot at which it started, from `/proc`; absent where there is none.
    pub(crate) since: Option<u64>,
}

impl State {
    /// Opens the folder, makes it if need be, and takes its lock.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("can't make the folder {}", root.display()))?;
        let root = root.canonicalize()?;
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(root.join("lock"))?;
        if lock.try_lock().is_err() {
            bail!("`sluice up` is running already in {}; end it, or set SLUICE_DIR to another folder", root.display());
        }
        let data = data_folder(&root)?;
        Ok(Self { root, data, _lock: lock })
    }

    /// A file or folder of the deployment.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A folder for data, made if need be.
    pub(crate) fn data(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.data.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Writes a file whole or not at all, readable by its owner only.
    pub(crate) fn write_private(&self, name: &str, text: &str) -> anyhow::Result<()> {
        write_private(&self.root.join(name), text)
    }

    /// The last words of a process in its log.
    pub(crate) fn last_words(&self, process: &str) -> String {
        let log = self.read(&format!("{process}.log")).unwrap_or_default();
        let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        last.trim_start_matches("sluice: ").to_owned()
    }

    /// Reads a file of ours, where it is there.
    pub(crate) fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.root.join(name)).ok()
    }

    /// A password or such that is made once and kept beside the data it opens.
    pub(crate) fn keep_secret(&self, name: &str) -> anyhow::Result<String> {
        let path = self.data.join(name);
        if let Ok(text) = fs::read_to_string(&path) {
            return Ok(text.trim().to_owned());
        }
        fs::create_dir_all(&self.data)?;
        let text = format!("{:032x}", u128::from_be_bytes(secrets::random()));
        write_private(&path, &text)?;
        Ok(text)
    }

    /// Throws away all data and the passwords beside it.
    pub(crate) fn forget_data(&self) -> anyhow::Result<()> {
        if self.data.exists() {
            fs::remove_dir_all(&self.data)?;
        }
        Ok(())
    }

    /// The deployment's keys, beside the data they open.
    pub(crate) fn keys(&self) -> PathBuf {
        self.data.join("keys")
    }

    /// Notes which processes run, so that the next start can end them if this one is killed.
    pub(crate) fn note_started(&self, started: &[Started]) -> anyhow::Result<()> {
        self.write_private("processes.json", &serde_json::to_string(started)?)
    }

    /// Ends what a killed run left behind: only processes it noted, and only while they are the same ones.
    pub(crate) fn end_leftovers(&self) -> Vec<String> {
        let noted: Vec<Started> =
            self.read("processes.json").and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let alive: Vec<Started> = noted.into_iter().filter(Started::is_alive).collect();
        for process in &alive {
            process.signal(rustix::process::Signal::INT);
        }
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while alive.iter().any(Started::is_alive) && std::time::Instant::now() < patience {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        for process in alive.iter().filter(|process| process.is_alive()) {
            process.signal(rustix::process::Signal::KILL);
        }
        alive.into_iter().map(|process| process.name).collect()
    }
}

/// Writes a file whole or not at all, readable by its owner only.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    Ok(())
}

impl Started {
    /// Takes note of a process that was just started.
    pub(crate) fn new(name: &str, pid: u32) -> Self {
        Self { name: name.to_owned(), pid, since: started_at(pid) }
    }

    fn is_alive(&self) -> bool {
        self.since.is_some() && started_at(self.pid) == self.since
    }

    /// Sends a signal to exactly this process.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        if let (Some(pid), true) = (pid, started_at(self.pid) == self.since) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

/// Field 22 of `/proc/PID/stat`: when the process started. `None` when there is no such process.
fn started_at(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    // A zombie has ended.
    (fields.next()? != "Z").then_some(())?;
    fields.nth(18)?.parse().ok()
}

/// The folder for data: below `root`, or, as root where others can't enter a folder above it, below `/var/lib/sluice`,
/// because Postgres refuses to run as root.
fn data_folder(root: &Path) -> anyhow::Result<PathBuf> {
    let shut = rustix::process::geteuid().is_root()
        && root
            .ancestors()
            .skip(1)
            .any(|parent| fs::metadata(parent).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 == 0));
    if !shut {
        return Ok(root.join("data"));
    }
    let name: String =
        root.display().to_string().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let data = Path::new("/var/lib/sluice").join(name.trim_matches('-'));
    fs::create_dir_all(&data)?;
    crate::say(&format!("the data lies in {} (Postgres' user can't enter {})", data.display(), root.display()));
    Ok(data)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("sluice-state-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn sleeper() -> (Child, Started) {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let started = Started::new("sleeper", child.id());
        (child, started)
    }

    #[test]
    fn what_a_killed_run_left_is_ended_and_no_other_process() {
        let folder = folder("leftovers");
        let ((mut noted, started), (mut reborn, other)) = (sleeper(), sleeper());
        // The number came round again: the process that has it now is another one.
        let old = Started { since: other.since.map(|since| since - 1), ..other };
        State::open(&folder).unwrap().note_started(&[started, old]).unwrap();
        assert_eq!(State::open(&folder).unwrap().end_leftovers(), ["sleeper"]);
        assert!(!noted.wait().unwrap().success());
        assert!(reborn.try_wait().unwrap().is_none(), "a stranger was ended");
        reborn.kill().unwrap();
        reborn.wait().unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn one_folder_is_one_runs_at_a_time() {
        let folder = folder("lock");
        let first = State::open(&folder).unwrap();
        let refused = State::open(&folder).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("running already") && refused.contains("SLUICE_DIR"), "{refused}");
        drop(first);
        assert!(State::open(&folder).is_ok());
        fs::remove_dir_all(&folder).unwrap();
    }
}
