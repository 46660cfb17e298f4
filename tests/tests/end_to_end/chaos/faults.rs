//! What can go wrong with a deployment, and how it is brought about.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use sluice_tests::api::Api;
use sluice_tests::behind::{Postgres, Redis};
use sluice_tests::client::Client;
use sluice_tests::load::{NumberedLoad, Outcome};
use sluice_tests::patience::{block_until, until, until_within};
use sluice_tests::stack::{Stack, Stopped, has_ended, signal, stop_family};
use sluice_tests::upstream::Upstream;

use super::means::{Clock, SMALL, SecondControlPlane, spool, spool_files};
use super::set_back::{Age, SetBack};
use super::siem::Siem;

/// Calls that must end before and after each fault, so that it falls into the middle of work.
pub(super) const CALLS: usize = 100;
/// Calls that must end while something hangs: some callers hang with it.
pub(super) const CALLS_MEANWHILE: usize = 30;
/// How long another control plane may take to own the log when its owner hangs: a lease of 5 s, and a statement or two.
pub(super) const TAKES_OVER: Duration = Duration::from_mins(1);
/// How long a node may take to be declared silent: 30 ticks of a second in which the log's owner worked, and a statement or two.
pub(super) const LAPSE: Duration = Duration::from_secs(90);
/// How often each caller begins a call while that is waited for, and while the log is looked at.
pub(super) const SLOWLY: Duration = Duration::from_millis(200);
/// A call that was under way, or just over, when a node died has a number at most so far below the next one.
const UNDER_WAY: u64 = 64;
/// And when the machine died: some tenths of a second are nowhere but in the memory of its processes, while a disk is slow.
const IN_MEMORY: u64 = 512;

/// One way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A process is killed, as the kernel does when memory is short.
    Killed(&'static str),
    /// Every process is killed at once, as when the machine loses power, and the deployment is started again.
    MachineKilled(Durable),
    /// A process hangs, as if its machine were swapping, and goes on.
    Hung(&'static str),
    /// A node hangs until its calls are given up, and wakes.
    Silent(&'static str),
    /// Redis loses all it has.
    RedisFlushed,
    /// A node dies in the middle of a write to its spool.
    TornSpool,
    /// A node dies, and its disk with it.
    DiskLost,
    /// A node's disk is full, and then Redis hangs besides.
    FullDisk,
    /// The log's owner hangs until another owns the log, and wakes.
    TwoOwners,
    /// The receiver of a destination dies, and lives again later.
    SiemAway,
    /// The machine's clock jumps an hour ahead, then two back, and then is right again.
    ClockJumps,
    /// Postgres is lost, and set back to a base backup.
    SetBack(Age),
}

/// What makes a record durable: `SLUICE_AUDIT_SPOOL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    /// Redis or the disk, whichever is first (`always`).
    Either,
    /// The disk (`first`).
    Disk,
}

/// Every way that one deployment survives without a person, in the order of the table.
pub(super) const FAULTS: [Fault; 16] = [
    Fault::Killed("node-1"),
    Fault::Killed("control-plane"),
    Fault::Killed("redis"),
    Fault::Killed("postgres"),
    Fault::MachineKilled(Durable::Either),
    Fault::Hung("node-1"),
    Fault::Hung("control-plane"),
    Fault::Hung("redis"),
    Fault::Hung("postgres"),
    Fault::Silent("node-1"),
    Fault::RedisFlushed,
    Fault::TornSpool,
    Fault::DiskLost,
    Fault::FullDisk,
    Fault::TwoOwners,
    Fault::SiemAway,
];

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Killed(name) => write!(f, "kill -9 {name}"),
            Self::MachineKilled(Durable::Either) => f.write_str("kill -9 of all"),
            Self::MachineKilled(Durable::Disk) => f.write_str("kill -9 of all, `first`"),
            Self::Hung(name) => write!(f, "SIGSTOP {name}"),
            Self::Silent(name) => write!(f, "{name} silent, 30 ticks"),
            Self::RedisFlushed => f.write_str("FLUSHALL"),
            Self::TornSpool => f.write_str("torn spool tail"),
            Self::DiskLost => f.write_str("a node's disk lost"),
            Self::FullDisk => f.write_str("full disk"),
            Self::TwoOwners => f.write_str("two owners"),
            Self::SiemAway => f.write_str("SIEM away"),
            Self::ClockJumps => f.write_str("clock +1 h, -1 h"),
            Self::SetBack(age) => write!(f, "{age}"),
        }
    }
}

/// What faults strike.
pub(super) struct World<'a> {
    pub(super) stack: &'a Stack,
    pub(super) api: &'a Api,
    pub(super) upstream: &'a Upstream,
    pub(super) load: &'a NumberedLoad,
    /// Whoever gets the records, where somebody does.
    pub(super) siem: Option<&'a mut Siem>,
    pub(super) second: SecondControlPlane,
    pub(super) damage: Damage,
}

/// What faults have taken for good.
#[derive(Default)]
pub(super) struct Damage {
    /// What each restored backup took.
    pub(super) set_backs: Vec<SetBack>,
    /// The numbers of calls whose records may have been nowhere but on a disk that was lost, or in the memory of a machine:
    /// the node and Redis have lost them both (docs/audit-protocol.md, I6).
    pub(super) nowhere: Vec<Range<u64>>,
    /// How many runs of nodes ended without a word.
    pub(super) killed_runs: usize,
}

impl Fault {
    /// How many nodes it kills, whose open calls they will not end.
    pub(super) fn kills(self, nodes: usize) -> usize {
        match self {
            Self::Killed(name) => usize::from(name.starts_with("node")),
            Self::TornSpool | Self::DiskLost => 1,
            Self::MachineKilled(_) => nodes,
            _ => 0,
        }
    }

    /// Strikes in the middle of work, and lets the work go on.
    pub(super) async fn strike(self, world: &mut World<'_>, round: usize) {
        world.load.goes_on_for(CALLS).await;
        world.damage.killed_runs += self.kills(world.stack.endpoints.data_plane_urls.len());
        match self {
            Self::Killed(name) => tokio::task::block_in_place(|| world.stack.kill_family(name)),
            Self::MachineKilled(durable) => tokio::task::block_in_place(|| world.kill_machine(durable)),
            Self::Hung(name) => world.hang(name).await,
            Self::Silent(name) => world.silence(name).await,
            Self::RedisFlushed => Redis::of(&world.stack.endpoints).await.flush().await,
            Self::TornSpool => tokio::task::block_in_place(|| world.tear_spool(round)),
            Self::DiskLost => tokio::task::block_in_place(|| world.lose_disk()),
            Self::FullDisk => world.fill_disk().await,
            Self::TwoOwners => world.wake_old_owner().await,
            Self::SiemAway => world.leave_siem().await,
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
        self.calls_are_made(&format!("while {name} hangs")).await;
        stopped.go_on();
    }

    async fn calls_are_made(&self, when: &str) {
        let reached = self.upstream.numbers().len();
        self.load.goes_on_for(CALLS_MEANWHILE).await;
        assert!(self.upstream.numbers().len() > reached, "calls must reach the upstream {when}");
    }

    /// Nobody calls while nothing runs: what was under way breaks off.
    fn kill_machine(&mut self, durable: Durable) {
        let killed = self.stack.kill_all();
        self.load.hold();
        let next = self.load.next();
        if durable == Durable::Either {
            self.damage.nowhere.push(next.saturating_sub(IN_MEMORY)..next);
        }
        killed.start_again();
        self.load.goes_on();
    }

    async fn silence(&self, name: &str) {
        let postgres = Postgres::of(&self.stack.endpoints, self.stack.folder());
        let live = postgres.query("select string_agg(boot::text, ' ') from audit_source where state = 'live'").await;
        let runs = live.replace(' ', "', '");
        let is_given_up = format!("select bool_or(state = 'lapsed') from audit_source where boot in ('{runs}')");
        let stopped = self.stack.stop_process(name);
        self.load.slow_down(SLOWLY);
        self.calls_are_made("while a node is silent").await;
        until_within(LAPSE, "the silent node is given up", async || postgres.holds(&is_given_up).await.then_some(()))
            .await;
        stopped.go_on();
        self.load.goes_on();
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

    /// Kills a node, and takes its spool away before it is started again.
    fn lose_disk(&mut self) {
        let folder = self.stack.folder().to_owned();
        block_until("the node has something in its spool", || {
            (!spool_files(&folder, "node-1").is_empty()).then_some(())
        });
        let (node, supervisor) = self.kill_unnoticed("node-1");
        let next = self.load.next();
        self.damage.nowhere.push(next.saturating_sub(UNDER_WAY)..next);
        std::fs::remove_dir_all(spool(self.stack.folder(), "node-1")).unwrap();
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
            (self.load.ask(&node).await.1 == Outcome::Refused).then_some(())
        })
        .await;
        self.load.goes_on_for(CALLS_MEANWHILE).await;
        drop(file);
        std::fs::remove_file(ballast).unwrap();
        redis.go_on();
        until("the node takes calls again", async || (self.load.ask(&node).await.1 == Outcome::Answered).then_some(()))
            .await;
        // A node sums up once a minute what it refused for want of room, and when it ends in order.
        let before = self.stack.begin_end(SMALL);
        tokio::task::block_in_place(|| self.stack.has_begun_again(SMALL, before));
    }

    /// A destination's receiver dies: calls go on, and all that was recorded meanwhile comes once it lives again.
    async fn leave_siem(&mut self) {
        let Some(siem) = self.siem.take() else { return };
        siem.dies(self.api).await;
        self.calls_are_made("while the SIEM is away").await;
        siem.lives_again(self.stack).await;
        self.siem = Some(siem);
    }

    async fn jump(&self) {
        let postgres = Postgres::of(&self.stack.endpoints, self.stack.folder());
        for (offset, hours) in [("+1h", 1), ("-1h", -1), ("+0", 0)] {
            Clock::set(self.stack.folder(), offset);
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            let jumped = format!("select abs(extract(epoch from clock_timestamp()) - {now} - {hours} * 3600) < 600");
            until("Postgres' clock has jumped", async || postgres.holds(&jumped).await.then_some(())).await;
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
                postgres.holds(&taken).await.then_some(())
            })
            .await;
            self.load.goes_on_for(CALLS_MEANWHILE).await;
            asleep.go_on();
            self.load.goes_on_for(CALLS).await;
        }
        self.second.ends();
    }
}
