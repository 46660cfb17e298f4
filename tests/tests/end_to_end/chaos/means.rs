//! What faults need besides a deployment: a clock that can be set, a second control plane, a Redis that knows the real time, a
//! small disk.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sluice_tests::behind::Postgres;
use sluice_tests::patience::{block_until_listening, until_within};
use sluice_tests::stack::{Stack, free_ports, program, signal};

use super::faults::TAKES_OVER;

/// The node whose spool stands on a disk of its own.
pub(super) const SMALL: &str = "node-2";
/// And how large that disk is.
const SMALL_DISK: &str = "size=64m";

/// A clock for the processes of a deployment that can be set: libfaketime, where it is installed.
pub(super) struct Clock;

impl Clock {
    const LIBRARY: &str = "/usr/lib/*/faketime/libfaketime.so.1";

    /// What the processes must have in their environment; `None` without the library.
    pub(super) fn environment(folder: &Path) -> Option<Vec<(&'static str, String)>> {
        let [before, after] = Self::LIBRARY.split('*').collect::<Vec<_>>().try_into().unwrap_or_default();
        let library = std::fs::read_dir(before).ok()?.flatten().find_map(|entry| {
            let library = PathBuf::from(format!("{}{after}", entry.path().display()));
            library.exists().then_some(library)
        })?;
        std::fs::create_dir_all(folder).unwrap();
        Self::set(folder, "+0");
        Some(vec![
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", Self::file(folder).display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ])
    }

    fn file(folder: &Path) -> PathBuf {
        folder.join("clock")
    }

    pub(super) fn set(folder: &Path, offset: &str) {
        std::fs::write(Self::file(folder), offset).unwrap();
    }
}

/// The folder of a node's spool.
pub(super) fn spool(folder: &Path, node: &str) -> PathBuf {
    folder.join("data").join(node).join("spool")
}

/// The files of a node's spool, whatever its id.
pub(super) fn spool_files(folder: &Path, node: &str) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(spool(folder, node)).unwrap().flatten().map(|entry| entry.path());
    let files = folders.filter(|path| path.is_dir()).flat_map(|path| std::fs::read_dir(path).unwrap().flatten());
    files.map(|entry| entry.path()).filter(|path| !path.ends_with("lock")).collect()
}

/// A second control plane of the deployment, started with the environment of the first.
#[derive(Default)]
pub(super) struct SecondControlPlane(Option<Child>);

impl SecondControlPlane {
    /// Starts it, and waits until it is ready.
    pub(super) async fn runs(&mut self, stack: &Stack) {
        // It starts only where Postgres answers, and an earlier fault may have killed that.
        let postgres = Postgres::of(&stack.endpoints, stack.folder());
        until_within(TAKES_OVER, "Postgres answers", async || postgres.answers().await.then_some(())).await;
        let first = stack.current().unwrap().pids["control-plane"];
        let environment = std::fs::read(format!("/proc/{first}/environ")).unwrap();
        let environment = String::from_utf8(environment).unwrap();
        let port = free_ports();
        let log = OpenOptions::new().create(true).append(true).open(stack.folder().join("second.log")).unwrap();
        let child = Command::new(program())
            .args(["child", "--"])
            .arg(program())
            .arg("control-plane")
            .env_clear()
            .envs(environment.split('\0').filter_map(|pair| pair.split_once('=')))
            .env("SLUICE_LISTEN", format!("127.0.0.1:{port}"))
            .env("SLUICE_INTERNAL_LISTEN", format!("127.0.0.1:{}", port + 1))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.0 = Some(child);
        is_ready("the second control plane", &format!("http://127.0.0.1:{}/metrics", port + 1)).await;
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// Ends it in order.
    pub(super) fn ends(&mut self) {
        if let Some(mut child) = self.0.take() {
            signal(child.id(), rustix::process::Signal::TERM);
            let _ = child.wait();
        }
    }
}

/// Waits until a process says that it is ready, beside its metrics.
async fn is_ready(who: &str, metrics: &str) {
    let ready = metrics.replace("/metrics", "/readyz");
    until_within(TAKES_OVER, &format!("{who} is ready"), async || {
        reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success()).then_some(())
    })
    .await;
}

impl Drop for SecondControlPlane {
    fn drop(&mut self) {
        self.ends();
    }
}

/// A Redis that knows the real time: its allocator and libfaketime do not go together.
pub(super) struct OwnRedis(Child);

impl OwnRedis {
    /// Starts one; gives it and its address.
    pub(super) fn start() -> (Self, String) {
        let port = free_ports();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--maxmemory-policy", "noeviction", "--port"])
            .arg(port.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let redis = Self(child);
        block_until_listening("Redis", port);
        (redis, format!("redis://127.0.0.1:{port}"))
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A small disk below a node's spool; it goes when dropped.
pub(super) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one below the folder of a deployment that is not yet started; `None` where this process may not.
    pub(super) fn mount(folder: &Path) -> Option<Self> {
        let spool = spool(folder, SMALL);
        std::fs::create_dir_all(&spool).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SMALL_DISK, "tmpfs"]).arg(&spool).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(spool))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}
