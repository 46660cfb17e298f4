//! A base backup of a deployment's Postgres with the keys beside it, and the way back to it that docs/operate.md tells.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::{Child, Command};

use crate::behind::Postgres;
use crate::patience::{until, until_within};
use crate::stack::{Stack, Stopped, family, has_ended, program, signal};

/// The number of the next backup of a test process.
static NEXT: AtomicU16 = AtomicU16::new(0);
/// How long Postgres may take to start on a backup, and `sluice restore` to find nobody before it.
const PATIENCE: Duration = Duration::from_secs(90);

/// What an operator keeps: a base backup, and the keys in another place.
#[derive(Debug, Clone)]
pub struct Backup {
    cluster: PathBuf,
    keys: PathBuf,
}

impl Backup {
    /// Takes one while everything runs.
    pub async fn take(stack: &Stack) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let cluster = cluster(stack.folder()).with_file_name(format!("backup-{number}"));
        let url = Postgres::of(&stack.endpoints, stack.folder()).url().to_owned();
        let mut command = as_owner(&programs(stack).join("pg_basebackup"), stack.folder());
        command.args(["-X", "stream", "-c", "fast", "-D"]).arg(&cluster).args(["-d", &url]);
        succeeds(&mut command).await;
        let kept = stack.folder().join(format!("keys-{number}"));
        copy(&keys(stack.folder()), &kept).await;
        Self { cluster, keys: kept }
    }
}

/// A deployment in an operator's hands: its control plane has ended, nothing is started again by itself, nodes go on.
pub struct Maintenance<'a> {
    stack: &'a Stack,
    supervisor: Option<Stopped>,
    /// The control plane's settings.
    settings: BTreeMap<String, String>,
    programs: PathBuf,
    before: BTreeMap<String, u32>,
    postgres: Option<Child>,
}

impl<'a> Maintenance<'a> {
    /// Ends the control plane in order.
    pub async fn begin(stack: &'a Stack) -> Self {
        let before = stack.current().unwrap().pids;
        let control_plane = before["control-plane"];
        let environment = std::fs::read(format!("/proc/{control_plane}/environ")).unwrap();
        let environment = String::from_utf8(environment).unwrap();
        let settings = environment.split('\0').filter_map(|pair| pair.split_once('='));
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let programs = programs(stack);
        let supervisor = Some(stack.pause_supervisor());
        signal(control_plane, Signal::TERM);
        until("the control plane has ended", async || has_ended(control_plane).then_some(())).await;
        Self { stack, supervisor, settings, programs, before, postgres: None }
    }

    /// Postgres as it is now.
    pub fn postgres(&self) -> Postgres {
        Postgres::of(&self.stack.endpoints, self.stack.folder())
    }

    /// The machine of Postgres is lost with all that is on it, and the keys with it.
    pub async fn lose_everything(&mut self) {
        for pid in family(self.before["postgres"]) {
            signal(pid, Signal::KILL);
        }
        let postgres = self.postgres();
        until("Postgres is gone", async || (!postgres.answers().await).then_some(())).await;
        std::fs::remove_dir_all(cluster(self.stack.folder())).unwrap();
        std::fs::remove_dir_all(keys(self.stack.folder())).unwrap();
    }

    /// Puts a backup in the place of what was lost, and starts Postgres on it.
    pub async fn put_back(&mut self, backup: &Backup) {
        let folder = self.stack.folder();
        copy(&backup.cluster, &cluster(folder)).await;
        copy(&backup.keys, &keys(folder)).await;
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("restored.log")).unwrap();
        let mut command = as_owner(&self.programs.join("postgres"), folder);
        command.arg("-D").arg(cluster(folder)).stdout(log.try_clone().unwrap()).stderr(log);
        self.postgres = Some(command.kill_on_drop(true).spawn().unwrap());
        let postgres = self.postgres();
        until_within(PATIENCE, "the backup answers", async || postgres.answers().await.then_some(())).await;
    }

    /// Runs `sluice restore`, again where it says that somebody may still publish, and gives what it said.
    pub async fn restore(&self, options: &[&str]) -> String {
        until_within(PATIENCE, "`sluice restore` is through", async || {
            let mut command = Command::new(program());
            command.arg("restore").args(options).env_clear().envs(&self.settings).stdin(Stdio::null());
            let output = command.output().await.unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let waits = said.contains("a control plane is running, or another restore");
            assert!(output.status.success() || waits, "{said}");
            output.status.success().then_some(said)
        })
        .await
    }

    /// Lets everything be started again, and waits until it serves.
    pub async fn end(mut self) {
        if let Some(mut postgres) = self.postgres.take() {
            signal(postgres.id().unwrap(), Signal::INT);
            postgres.wait().await.unwrap();
        }
        drop(self.supervisor.take());
        tokio::task::block_in_place(|| {
            self.stack.waits_for_new("postgres", self.before["postgres"]);
            self.stack.waits_for_new("control-plane", self.before["control-plane"]);
        });
        let ready = format!("{}/readyz", self.stack.endpoints.control_plane_url);
        until_within(PATIENCE, "the control plane is ready", async || {
            reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success()).then_some(())
        })
        .await;
    }
}

fn cluster(folder: &Path) -> PathBuf {
    folder.join("data/postgres/cluster")
}

fn keys(folder: &Path) -> PathBuf {
    folder.join("data/keys")
}

/// The folder of the programs of the Postgres that runs.
fn programs(stack: &Stack) -> PathBuf {
    let pids = family(stack.current().unwrap().pids["postgres"]);
    let mut files = pids.iter().filter_map(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok());
    let postgres = files.find(|file| file.ends_with("postgres")).unwrap();
    postgres.parent().unwrap().to_owned()
}

/// A program that runs as whoever owns Postgres' data: Postgres refuses to run as root.
fn as_owner(program: &Path, folder: &Path) -> Command {
    let owner = std::fs::metadata(folder.join("data/postgres")).unwrap();
    let mut command = Command::new(program);
    command.uid(owner.uid()).gid(owner.gid()).current_dir("/").stdin(Stdio::null());
    command
}

/// Copies a folder with owners and rights.
async fn copy(from: &Path, to: &Path) {
    succeeds(Command::new("cp").arg("-a").args([from, to])).await;
}

async fn succeeds(command: &mut Command) {
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
