//! A private Redis without persistence: whatever it loses, the control plane writes again and the nodes send again.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use super::child;
use super::state::State;

/// The private server: how to start it and how to reach it.
pub(crate) struct Redis {
    program: PathBuf,
    port: u16,
    settings: PathBuf,
    log: PathBuf,
    control_password: String,
    node_password: String,
}

/// What a node may do: read everything, and write what is its own. It can't write configuration, tokens, revocations or
/// acks, so whoever has a node's password can't either.
const NODE_RULES: &str = "+@all -@admin -@dangerous +info +config|get resetchannels &hint &withdrawn %R~* \
                          %RW~audit:{?} %RW~audit:{??} %RW~audit:{???} %RW~nodes %RW~*:live \
                          %RW~*:session_ended:* %RW~*:session:* %RW~*:upstream_session:* %RW~*:seen_labels:* %RW~seen_labels_began %RW~relay_used:*";

impl Redis {
    /// Finds the program and writes its settings.
    pub(crate) fn prepare(state: &State, port: u16) -> anyhow::Result<Self> {
        let program = find_program(state)?;
        let (control_password, node_password) =
            (state.keep_secret("redis-control.password")?, state.keep_secret("redis-node.password")?);
        let settings = format!(
            "bind 127.0.0.1\nport {port}\nsave \"\"\nappendonly no\nmaxmemory 1gb\nmaxmemory-policy noeviction\n\
             dir {}\nuser default off\nuser control on >{control_password} ~* &* +@all\nuser node on >{node_password} {NODE_RULES}\n",
            state.data("redis")?.display()
        );
        state.write_private("redis.conf", &settings)?;
        Ok(Self {
            program,
            port,
            settings: state.path("redis.conf"),
            log: state.path("redis.log"),
            control_password,
            node_password,
        })
    }

    /// The search path with the server's program on it, for tests that start servers of their own.
    pub(crate) fn path_with_program(state: &State) -> anyhow::Result<std::ffi::OsString> {
        let program = find_program(state)?;
        let path = crate::environment("PATH").unwrap_or_default();
        let places = program.parent().map(std::path::Path::to_path_buf).into_iter().chain(std::env::split_paths(&path));
        Ok(std::env::join_paths(places)?)
    }

    /// The address for the control plane.
    pub(crate) fn control_url(&self) -> String {
        format!("redis://control:{}@127.0.0.1:{}/", self.control_password, self.port)
    }

    /// The address for nodes.
    pub(crate) fn node_url(&self) -> String {
        format!("redis://node:{}@127.0.0.1:{}/", self.node_password, self.port)
    }

    /// The server as a child process.
    pub(crate) fn command(&self) -> anyhow::Result<Command> {
        child::command(&self.program, &[self.settings.display().to_string()], None, self.log.clone())
    }

    /// Whether it takes connections.
    pub(crate) async fn is_ready(&self) -> bool {
        tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()
    }
}

/// The server's program. Debian's `redis-tools`, which starts no daemon, holds it too, under the name of a tool it also is;
/// it goes by the name it is called.
fn find_program(state: &State) -> anyhow::Result<PathBuf> {
    let path = crate::environment("PATH").unwrap_or_default();
    let places: Vec<PathBuf> =
        std::env::split_paths(&path).chain(["/usr/bin", "/opt/homebrew/bin"].map(PathBuf::from)).collect();
    if let Some(place) = places.iter().find(|place| place.join("redis-server").exists()) {
        return Ok(place.join("redis-server"));
    }
    let tool = places.iter().find(|place| place.join("redis-check-rdb").exists()).context(
        "Redis is not installed: `apt-get install redis-tools` (macOS: `brew install redis`), or set REDIS_URL",
    )?;
    let link = state.path("redis-server");
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(tool.join("redis-check-rdb"), &link)?;
    Ok(link)
}
