//! A private Postgres: found, initialised once, run as our child.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::child::{self, OtherUser};
use super::state::State;

/// The private server: how to start it and how to reach it.
pub(crate) struct Postgres {
    binaries: PathBuf,
    data: PathBuf,
    log: PathBuf,
    user: Option<OtherUser>,
    port: u16,
    password: String,
}

/// What a data-less test run may give up; `up` keeps its data safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Safety {
    /// Commits are on disk when they are answered.
    Durable,
    /// Faster, for databases that are thrown away.
    Throwaway,
}

impl Postgres {
    /// Finds the programs and initialises the cluster and its roles if that was not done before.
    pub(crate) fn prepare(state: &State, port: u16, safety: Safety) -> anyhow::Result<Self> {
        let binaries = find_binaries()?;
        let user = other_user()?;
        let parent = state.data("postgres")?;
        if let Some(user) = user {
            std::os::unix::fs::chown(&parent, Some(user.uid), Some(user.gid))?;
        }
        let password = state.keep_secret("postgres.password")?;
        let postgres =
            Self { binaries, data: parent.join("cluster"), log: state.path("postgres.log"), user, port, password };
        if !postgres.data.join("initialised").exists() {
            postgres.initialise(state, &parent)?;
        }
        fs::write(postgres.data.join("sluice.conf"), settings(port, safety))?;
        Ok(postgres)
    }

    /// The address for the program's own role.
    pub(crate) fn url(&self) -> String {
        format!("postgres://sluice:{}@127.0.0.1:{}/sluice", self.password, self.port)
    }

    /// The server as a child process.
    pub(crate) fn command(&self) -> anyhow::Result<Command> {
        let arguments = ["-D".to_owned(), self.data.display().to_string()];
        child::command(&self.binaries.join("postgres"), &arguments, self.user, self.log.clone())
    }

    /// Whether it takes connections.
    pub(crate) fn is_ready(&self) -> bool {
        let port = self.port.to_string();
        let ready = Command::new(self.binaries.join("pg_isready"))
            .args(["-q", "-h", "127.0.0.1", "-p", &port])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        ready.is_ok_and(|status| status.success())
    }

    fn initialise(&self, state: &State, parent: &Path) -> anyhow::Result<()> {
        crate::say("initialising a private Postgres");
        if self.data.exists() {
            fs::remove_dir_all(&self.data)?;
        }
        let password_file = parent.join("password");
        fs::write(&password_file, state.keep_secret("postgres-superuser.password")?)?;
        if let Some(user) = self.user {
            std::os::unix::fs::chown(&password_file, Some(user.uid), Some(user.gid))?;
        }
        let data = self.data.display().to_string();
        let password_option = format!("--pwfile={}", password_file.display());
        let options = ["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions"];
        let made = self.run("initdb", &[&["-D", &data, &password_option][..], &options].concat(), "");
        fs::remove_file(&password_file)?;
        made?;
        let configuration = self.data.join("postgresql.conf");
        let text = fs::read_to_string(&configuration)?;
        fs::write(&configuration, format!("{text}\ninclude = 'sluice.conf'\n"))?;
        fs::write(self.data.join("sluice.conf"), "")?;
        // Single-user mode: one statement a line, no server running yet.
        let roles = include_str!("../../../infra/postgres/roles.sql");
        let statements = format!(
            "{roles}\nalter schema public owner to sluice;\nalter role sluice password '{}';\ncreate database sluice owner sluice;\n",
            self.password
        );
        let statements: String = statements
            .lines()
            .filter(|line| !line.starts_with("--"))
            .fold(String::new(), |all, line| all + line + "\n");
        // New databases are copies of this one, whose schema must be the role's own: it inherits nothing.
        self.run("postgres", &["--single", "-D", &data, "template1"], &statements)?;
        fs::write(self.data.join("initialised"), "")?;
        Ok(())
    }

    /// Runs one of Postgres' programs to its end, as the user it may run as.
    fn run(&self, program: &str, arguments: &[&str], input: &str) -> anyhow::Result<()> {
        use std::io::Write;
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(self.binaries.join(program));
        command.args(arguments).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(user) = self.user {
            command.gid(user.gid).uid(user.uid);
        }
        let mut child = command.spawn().with_context(|| format!("can't start {program}"))?;
        child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() || said.contains("ERROR:") {
            bail!("{program} failed: {}", said.trim());
        }
        Ok(())
    }
}

/// What differs from Postgres' defaults.
fn settings(port: u16, safety: Safety) -> String {
    let mut text = format!(
        "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nmax_connections = 200\nmax_locks_per_transaction = 256\n\
         shared_buffers = '128MB'\nlog_min_messages = warning\n"
    );
    if safety == Safety::Throwaway {
        text.push_str("fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n");
    }
    text
}

/// The folder with `initdb` and `postgres`: `SLUICE_PG_BIN`, what `pg_config` says, Debian's and Homebrew's places.
fn find_binaries() -> anyhow::Result<PathBuf> {
    let mut places: Vec<PathBuf> = crate::environment("SLUICE_PG_BIN").map(PathBuf::from).into_iter().collect();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        places.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    for parent in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        let versions = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut versions: Vec<PathBuf> = versions
            .filter(|path| parent == "/usr/lib/postgresql" || path.display().to_string().contains("postgresql"))
            .collect();
        versions.sort();
        places.extend(versions.into_iter().rev().map(|path| path.join("bin")));
    }
    let found = places.into_iter().find(|place| place.join("initdb").exists() && place.join("postgres").exists());
    found.context("Postgres is not installed: `apt-get install postgresql` (macOS: `brew install postgresql@17`), or name its folder of programs in SLUICE_PG_BIN, or set DATABASE_URL")
}

/// As root: the user Debian's package makes for Postgres, which refuses to run as root.
fn other_user() -> anyhow::Result<Option<OtherUser>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let find = |name: &str| {
        passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.first() == Some(&name))
            .and_then(|fields| Some(OtherUser { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? }))
    };
    find("postgres").or_else(|| find("nobody")).map(Some).context(
        "neither a user `postgres` nor `nobody` exists to run Postgres as; run `sluice up` as an ordinary user",
    )
}
