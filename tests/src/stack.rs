//! A whole deployment, started as a user starts it: `sluice up` in a folder of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::patience::{PATIENCE, block_until};

/// The first port of the first stack of a test process; each stack takes 60.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);
/// The number of the next folder of a test process.
static NEXT_FOLDER: AtomicU16 = AtomicU16::new(0);

/// Set for a deployment that ends with the thread that started it.
const BOUND: &str = "SLUICE_TEST_BOUND";

/// The content of `endpoints.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Endpoints {
    /// The demo tenant's slug.
    pub tenant: String,
    /// Its MCP endpoint, over all nodes.
    pub tenant_url: String,
    /// A gateway token of its owner.
    pub token: String,
    /// The control plane's API.
    pub api_url: String,
    /// An API token of the owner.
    pub api_token: String,
    /// The console.
    pub console_url: String,
    /// Who owns the demo tenant.
    pub owner_email: String,
    /// What they sign in with.
    pub owner_password: String,
    /// The control plane.
    pub control_plane_url: String,
    /// Each node by itself.
    pub data_plane_urls: Vec<String>,
    /// Each node's metrics, and the control plane's.
    pub metrics_urls: Vec<String>,
    /// Postgres, as the program's role.
    pub postgres_url: String,
    /// Redis, as the control plane.
    pub redis_url: String,
    /// Process ids by name.
    pub pids: BTreeMap<String, u32>,
}

/// A running deployment; it ends when dropped.
pub struct Stack {
    folder: PathBuf,
    /// What `sluice up` was told.
    environment: Vec<(String, String)>,
    child: Mutex<Child>,
    /// As they were when it was ready.
    pub endpoints: Endpoints,
}

/// A folder that no other deployment of this process has.
pub fn test_folder() -> PathBuf {
    let number = NEXT_FOLDER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("sluice-test-{}-{number}", std::process::id()))
}

/// A process and all it has started.
pub fn family(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let mut next = 0;
    while let Some(pid) = pids.get(next).copied() {
        // A child is its parent's by the thread that started it.
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            pids.extend(children.split_whitespace().map(|child| child.parse::<u32>().unwrap()));
        }
        next += 1;
    }
    pids
}

/// Whether a process has ended, though whoever started it may not have seen it.
pub fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// The program under test: `SLUICE_BIN`, or the release build.
pub fn program() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "the test command says where the program is")]
    let named = std::env::var("SLUICE_BIN");
    let path =
        named.map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/sluice"), PathBuf::from);
    assert!(path.exists(), "{} is not built: run `make build`, or name the program in SLUICE_BIN", path.display());
    path.canonicalize().unwrap()
}

impl Stack {
    /// Starts one with this many nodes and waits until it is ready.
    pub fn start(nodes: u16, environment: &[(&str, &str)]) -> Self {
        Self::start_in(&test_folder(), nodes, environment)
    }

    /// Like [`Stack::start`], but it also ends when the calling thread does, however that comes.
    pub fn start_bound(nodes: u16, environment: &[(&str, &str)]) -> Self {
        let mut environment = environment.to_vec();
        environment.push((BOUND, "1"));
        Self::start(nodes, &environment)
    }

    /// Starts one in a folder that may hold the data of an earlier one.
    pub fn start_in(folder: &Path, nodes: u16, environment: &[(&str, &str)]) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        // A start that was killed leaves its endpoints behind.
        let left = read_endpoints(folder).map(|endpoints| endpoints.pids).unwrap_or_default();
        let (port, nodes) = (free_ports().to_string(), nodes.to_string());
        let always = [("SLUICE_PORT", port.as_str()), ("SLUICE_NODES", &nodes)];
        let environment =
            always.iter().chain(environment).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment: Vec<_> = environment.collect();
        let child = Mutex::new(spawn(folder, &environment));
        let mut stack = Self { folder: folder.to_owned(), environment, child, endpoints: unready() };
        stack.endpoints = stack.wait_for_endpoints(|endpoints| endpoints.pids != left);
        stack
    }

    /// The deployment's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The endpoints as they are now; process ids change when a process is started again.
    pub fn current(&self) -> Option<Endpoints> {
        read_endpoints(&self.folder)
    }

    /// Kills a process as the kernel does when memory is short, and waits until the supervisor has started it again.
    pub fn kill(&self, name: &str) {
        let pid = self.current().unwrap().pids[name];
        signal(pid, rustix::process::Signal::KILL);
        self.waits_for_new(name, pid);
    }

    /// Kills a process and all it has started at once, as when a machine loses power.
    pub fn kill_family(&self, name: &str) {
        let pid = self.current().unwrap().pids[name];
        // Children first: the kernel tells them of their parent's death, and they would end in order.
        for pid in family(pid).into_iter().rev() {
            signal(pid, rustix::process::Signal::KILL);
        }
        self.waits_for_new(name, pid);
    }

    /// Kills every process of the deployment at once, as when its machine loses power.
    pub fn kill_all(&self) -> Killed<'_> {
        let pids = family(self.supervisor());
        // Nobody may see another's death and do something about it: so children die first, and while all stand still.
        for pid in &pids {
            signal(*pid, rustix::process::Signal::STOP);
        }
        for pid in pids.iter().rev() {
            signal(*pid, rustix::process::Signal::KILL);
        }
        Killed(self, pids)
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn supervisor(&self) -> u32 {
        self.child().id()
    }

    /// Waits until the supervisor has started a process again that was this one.
    pub fn waits_for_new(&self, name: &str, old: u32) {
        self.wait_for_endpoints(|endpoints| endpoints.pids.get(name).is_some_and(|new| *new != old));
    }

    /// Stops the supervisor itself: what dies meanwhile is started again when it goes on.
    pub fn pause_supervisor(&self) -> Stopped {
        signal(self.supervisor(), rustix::process::Signal::STOP);
        Stopped(vec![self.supervisor()])
    }

    /// Tells a process to end in order, and gives its id; the supervisor starts it again once it has ended.
    pub fn begin_end(&self, name: &str) -> u32 {
        let pid = self.current().unwrap().pids[name];
        signal(pid, rustix::process::Signal::TERM);
        pid
    }

    /// Waits until the supervisor has started a process again, whose id was this.
    pub fn has_begun_again(&self, name: &str, before: u32) {
        self.wait_for_endpoints(|endpoints| endpoints.pids.get(name).is_some_and(|new| *new != before));
    }

    /// Stops a process and all it has started, as if its machine had hung.
    pub fn stop_process(&self, name: &str) -> Stopped {
        stop_family(self.current().unwrap().pids[name])
    }

    /// Everything the deployment has written to its logs.
    pub fn logs(&self) -> String {
        let logs = std::fs::read_dir(&self.folder).unwrap().flatten().map(|entry| entry.path());
        logs.filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned())
            .collect()
    }

    fn wait_for_endpoints(&self, wanted: impl Fn(&Endpoints) -> bool) -> Endpoints {
        let patience = Instant::now() + Duration::from_secs(90);
        loop {
            if let Some(endpoints) = self.current().filter(|endpoints| wanted(endpoints)) {
                return endpoints;
            }
            assert!(
                Instant::now() < patience,
                "the deployment in {} is not ready:\n{}",
                self.folder.display(),
                self.logs()
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Kills `sluice up` itself, which ends nothing in order, and keeps its folder.
    pub fn kill_supervisor(mut self) -> PathBuf {
        signal(self.supervisor(), rustix::process::Signal::KILL);
        let _ = self.child().wait();
        std::mem::take(&mut self.folder)
    }

    /// Ends the deployment in order and keeps its folder.
    pub fn end(mut self) -> PathBuf {
        self.end_child();
        std::mem::take(&mut self.folder)
    }

    fn end_child(&mut self) {
        let mut child = self.child();
        if child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        signal(child.id(), rustix::process::Signal::TERM);
        let _ = child.wait();
    }
}

/// A deployment of which no process runs, and the processes it had.
#[must_use]
pub struct Killed<'a>(&'a Stack, Vec<u32>);

impl Killed<'_> {
    /// Starts it again in its place, and waits until it is ready.
    pub fn start_again(self) {
        let Self(stack, pids) = self;
        let _ = stack.child().wait();
        // To Postgres, a process that ended and was not yet waited for still runs.
        let is_gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
        block_until("every process is gone", || pids.iter().all(is_gone).then_some(()));
        let left = stack.current().map(|endpoints| endpoints.pids).unwrap_or_default();
        *stack.child() = spawn(&stack.folder, &stack.environment);
        stack.wait_for_endpoints(|endpoints| endpoints.pids != left);
    }
}

fn spawn(folder: &Path, environment: &[(String, String)]) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("up.log")).unwrap();
    let mut command = Command::new(program());
    if environment.iter().any(|(name, _)| name == BOUND) {
        command.arg("child").arg("--").arg(program());
    }
    command
        .arg("up")
        .env("SLUICE_DIR", folder)
        .env_remove("DATABASE_URL")
        .env_remove("REDIS_URL")
        .env_remove("VAULT_ADDR")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn read_endpoints(folder: &Path) -> Option<Endpoints> {
    serde_json::from_str(&std::fs::read_to_string(folder.join("endpoints.json")).ok()?).ok()
}

/// Runs `sluice up` where it can't start; gives its exit code and what it said.
pub fn failed_start(folder: &Path, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut child = Command::new(program())
        .arg("up")
        .env("SLUICE_DIR", folder)
        .env("SLUICE_PORT", free_ports().to_string())
        .env_remove("DATABASE_URL")
        .env_remove("REDIS_URL")
        .env_remove("VAULT_ADDR")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = child.stderr.take().unwrap();
    let said = std::thread::spawn(move || std::io::read_to_string(&mut errors).unwrap());
    let end = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() && Instant::now() < end {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let in_time = child.try_wait().unwrap();
    if in_time.is_none() {
        signal(child.id(), rustix::process::Signal::TERM);
    }
    let said = said.join().unwrap();
    let ended = in_time
        .unwrap_or_else(|| panic!("no end of a start with {environment:?} within {} s: {said}", PATIENCE.as_secs()));
    let _ = child.wait();
    (ended.code(), said)
}

/// Stops a process and all it has started.
pub fn stop_family(pid: u32) -> Stopped {
    let pids = family(pid);
    for pid in &pids {
        signal(*pid, rustix::process::Signal::STOP);
    }
    Stopped(pids)
}

/// Processes that hang until they are let go on.
pub struct Stopped(Vec<u32>);

impl Stopped {
    /// Lets them go on.
    pub fn go_on(self) {}
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for pid in &self.0 {
            signal(*pid, rustix::process::Signal::CONT);
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.end_child();
        if !self.folder.as_os_str().is_empty() && !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// Sends a signal to one process.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
}

/// The first of 60 ports that are free, different for each stack of this process and mostly for each process.
pub fn free_ports() -> u16 {
    loop {
        let turn = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let first = 20_000 + (u16::try_from(std::process::id() % 97).unwrap() * 2 + turn * 7) % 190 * 60;
        if (first..first + 60).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
}

fn unready() -> Endpoints {
    Endpoints {
        tenant: String::new(),
        tenant_url: String::new(),
        token: String::new(),
        api_url: String::new(),
        api_token: String::new(),
        console_url: String::new(),
        owner_email: String::new(),
        owner_password: String::new(),
        control_plane_url: String::new(),
        data_plane_urls: Vec::new(),
        metrics_urls: Vec::new(),
        postgres_url: String::new(),
        redis_url: String::new(),
        pids: BTreeMap::new(),
    }
}
