//! What can go wrong with a deployment, and how it is brought about.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::json;
use sluice_tests::behind::{Postgres, Redis};
use sluice_tests::client::Client;
use sluice_tests::load::NumberedLoad;
use sluice_tests::patience::{block_until_listening, until, until_within};
use sluice_tests::stack::{Stack, Stopped, free_ports, has_ended, program, signal, stop_family};
use sluice_tests::upstream::Upstream;

use super::set_back::{Age, SetBack};

/// Calls that must end before and after each fault, so that it falls into the middle of work.
pub(super) const CALLS: usize = 100;
/// Calls that must end while something hangs: some callers hang with it.
pub(super) const CALLS_MEANWHILE: usize = 30;
/// How long another control plane may take to own the log when its owner hangs: a lease of 5 s, and a statement or two.
pub(super) const TAKES_OVER: Duration = Duration::from_mins(1);
/// The node whose spool stands on a disk of its own.
const SMALL: &str = "node-2";
/// And how large that disk is.
const SMALL_DISK: &str = "size=64m";

/// One way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A process is killed, as the kernel does when memory is short.
    Killed(&'static str),
    /// A process hangs, as if its machine were swapping, and goes on.
    Hung(&'static str),
    /// Redis loses all it has.
    RedisFlushed,
    /// A node dies in the middle of a write to its spool.
    TornSpool,
    /// A node's disk is full, and then Redis hangs besides.
    FullDisk,
    /// The log's owner hangs until another owns the log, and wakes.
    TwoOwners,
    /// The machine's clock jumps an hour ahead, then two back, and then is right again.
    ClockJumps,
    /// Postgres is lost, and set back to a base backup.
    SetBack(Age),
}

/// Every way that one deployment survives without a person, in the order of the table.
pub(super) const FAULTS: [Fault; 12] = [
    Fault::Killed("node-1"),
    Fault::Killed("control-plane"),
    Fault::Killed("redis"),
    Fault::Killed("postgres"),
    Fault::Hung("node-1"),
    Fault::Hung("control-plane"),
    Fault::Hung("redis"),
    Fault::Hung("postgres"),
    Fault::RedisFlushed,
    Fault::TornSpool,
    Fault::FullDisk,
    Fault::TwoOwners,
];

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Killed(name) => write!(f, "kill -9 {name}"),
            Self::Hung(name) => write!(f, "SIGSTOP {name}"),
            Self::RedisFlushed => f.write_str("FLUSHALL"),
            Self::TornSpool => f.write_str("torn spool tail"),
            Self::FullDisk => f.write_str("full disk"),
            Self::TwoOwners => f.write_str("two owners"),
            Self::ClockJumps => f.write_str("clock +1 h, -1 h"),
            Self::SetBack(age) => write!(f, "{age}"),
        }
    }
}

/// What faults strike.
pub(super) struct World<'a> {
    pub(super) stack: &'a Stack,
    pub(super) upstream: &'a Upstream,
    pub(super) load: &'a NumberedLoad,
    /// The second control plane.
    pub(super) second: &'a mut SecondControlPlane,
    /// What each restored backup took.
    pub(super) set_backs: &'a mut Vec<SetBack>,
}

impl Fault {
    /// Whether it kills a node, whose open calls nobody will end.
    pub(super) fn kills_a_node(self) -> bool {
        matches!(self, Self::Killed(name) if name.starts_with("node")) || self == Self::TornSpool
    }

    /// Strikes in the middle of work, and lets the work go on.
    pub(super) async fn strike(self, world: &mut World<'_>, round: usize) {
        world.load.goes_on_for(CALLS).await;
        match self {
            Self::Killed(name) => tokio::task::block_in_place(|| world.stack.kill_family(name)),
            Self::Hung(name) => world.hang(name).await,
            Self::RedisFlushed => Redis::of(&world.stack.endpoints).await.flush().await,
            Self::TornSpool => tokio::task::block_in_place(|| world.tear_spool(round)),
            Self::FullDisk => world.fill_disk().await,
            Self::TwoOwners => world.wake_old_owner().await,
            Self::ClockJumps => world.jump().await,
            Self::SetBack(age) => world.set_back(age).await,
        }
        world.load.goes_on_for(CALLS).await;
    }
}

impl World<'_> {
    async fn hang(&self, name: &str) {
        let stopped = self.stack.stop_process(name);
        self.load.goes_on_for(CALLS_MEANWHILE).await;
        let reached = self.upstream.numbers().len();
        self.load.goes_on_for(CALLS_MEANWHILE).await;
        assert!(self.upstream.numbers().len() > reached, "calls must reach the upstream while {name} hangs");
        stopped.go_on();
    }

    /// Kills a node and leaves at the end of its spool what a write may leave that was cut off.
    fn tear_spool(&self, round: usize) {
        let (node, supervisor) = self.kill_unnoticed("node-1");
        for file in spool_files(self.stack.folder(), "node-1") {
            let start = std::fs::read(&file).unwrap();
            let half = &start[..start.len().min(600)];
            let tail: Vec<u8> = match round % 4 {
                0 => vec![0; 4096],
                1 => half[..half.len() / 2].to_vec(),
                2 => vec![0xff; 8],
                _ => half.iter().rev().copied().collect(),
            };
            OpenOptions::new().append(true).open(file).unwrap().write_all(&tail).unwrap();
        }
        supervisor.go_on();
        self.stack.waits_for_new("node-1", node);
    }

    /// Kills a process and stops the supervisor before that has seen it; stopped first, it would bring no calls.
    fn kill_unnoticed(&self, name: &str) -> (u32, Stopped) {
        loop {
            let pid = self.stack.current().unwrap().pids[name];
            signal(pid, rustix::process::Signal::KILL);
            let supervisor = self.stack.pause_supervisor();
            if has_ended(pid) {
                return (pid, supervisor);
            }
            supervisor.go_on();
            self.stack.waits_for_new(name, pid);
        }
    }

    async fn fill_disk(&self) {
        let ballast = spool(self.stack.folder(), SMALL).join("ballast");
        let file = std::fs::File::create(&ballast).unwrap();
        let block = vec![0x5a; 1 << 16];
        let stuff = || while (&file).write_all(&block).is_ok() {};
        stuff();
        self.load.goes_on_for(CALLS).await;
        let redis = self.stack.stop_process("redis");
        let urls = &self.stack.endpoints.data_plane_urls;
        let node =
            Client::new(&format!("{}/{}/mcp", urls[1], self.stack.endpoints.tenant), &self.stack.endpoints.token);
        until("the node refuses what it can't record", async || {
            // What took effect before Redis stood still leaves the disk, and makes room.
            stuff();
            (node.call("load__echo", json!({"message": "full"})).await.status == 503).then_some(())
        })
        .await;
        self.load.goes_on_for(CALLS_MEANWHILE).await;
        drop(file);
        std::fs::remove_file(ballast).unwrap();
        redis.go_on();
        until("the node takes calls again", async || {
            (node.call("load__echo", json!({"message": "room"})).await.status == 200).then_some(())
        })
        .await;
    }

    async fn jump(&self) {
        let postgres = Postgres::of(&self.stack.endpoints, self.stack.folder());
        for (offset, hours) in [("+1h", 1), ("-1h", -1), ("+0", 0)] {
            Clock::set(self.stack.folder(), offset);
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            let jumped = format!("select abs(extract(epoch from clock_timestamp()) - {now} - {hours} * 3600) < 600");
            until("Postgres' clock has jumped", async || (postgres.query(&jumped).await == "t").then_some(())).await;
            self.load.goes_on_for(CALLS).await;
        }
    }

    /// Each control plane in turn hangs until the other owns the whole log, and wakes: for a moment there are two.
    async fn wake_old_owner(&mut self) {
        self.second.runs(self.stack).await;
        for hung in [self.stack.current().unwrap().pids["control-plane"], self.second.pid()] {
            let asleep = stop_family(hung);
            let postgres = Postgres::of(&self.stack.endpoints, self.stack.folder());
            let stopped_at = postgres.query("select clock_timestamp()").await;
            // A lease is given for 5 s.
            let taken = format!(
                "select bool_and(lease_until > timestamptz '{stopped_at}' + interval '5 s') and count(distinct owner) = 1 \
                 from audit_shard"
            );
            until_within(TAKES_OVER, "the other control plane owns the log", async || {
                (postgres.query(&taken).await == "t").then_some(())
            })
            .await;
            self.load.goes_on_for(CALLS_MEANWHILE).await;
            asleep.go_on();
            self.load.goes_on_for(CALLS).await;
        }
        self.second.ends();
    }
}

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

    fn set(folder: &Path, offset: &str) {
        std::fs::write(Self::file(folder), offset).unwrap();
    }
}

fn spool(folder: &Path, node: &str) -> PathBuf {
    folder.join("data").join(node).join("spool")
}

/// The files of a node's spool, whatever its id.
fn spool_files(folder: &Path, node: &str) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(spool(folder, node)).unwrap().flatten().map(|entry| entry.path());
    let files = folders.filter(|path| path.is_dir()).flat_map(|path| std::fs::read_dir(path).unwrap().flatten());
    files.map(|entry| entry.path()).filter(|path| !path.ends_with("lock")).collect()
}

/// A second control plane of the deployment, started with the environment of the first.
#[derive(Default)]
pub(super) struct SecondControlPlane(Option<Child>);

impl SecondControlPlane {
    async fn runs(&mut self, stack: &Stack) {
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

    fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    fn ends(&mut self) {
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
