//! The two planes and the demo upstream as child processes, told by their environment where everything is.

use std::path::PathBuf;
use std::process::Command;

use service::telemetry::DEFAULT_FILTER;

use super::Settings;
use super::child;
use super::ports::Ports;
use super::services::Addresses;
use super::state::State;
use super::supervisor::Supervisor;

/// How the planes are started.
pub(crate) struct Planes {
    ports: Ports,
    nodes: u16,
    folder: PathBuf,
    http: reqwest::Client,
    control_plane: Vec<(&'static str, String)>,
    node: Vec<(&'static str, String)>,
    of_nodes: Vec<Vec<(&'static str, String)>>,
}

/// Makes keys and node ids where there are none, and works out each program's environment.
pub(crate) fn prepare(settings: &Settings, state: &State, addresses: &Addresses) -> anyhow::Result<Planes> {
    let keys = state.keys();
    // The id is written last: without it the keys are of a start that was cut off, and nothing was made with them.
    if !keys.join("deployment.id").exists() {
        let _ = std::fs::remove_dir_all(&keys);
        secrets::keys::create(&keys)?;
        crate::say("made the deployment's keys");
    }
    let ports = settings.ports;
    let local = |port: u16| format!("127.0.0.1:{port}");
    let relays: Vec<_> =
        (1..=settings.nodes).map(|number| format!("http://{}", local(ports.node_internal(number)))).collect();
    let both = [
        ("SLUICE_KEYS", keys.display().to_string()),
        ("SLUICE_GATEWAY_URL", format!("http://{}", local(ports.tenants()))),
        ("SLUICE_LOG", crate::environment("SLUICE_LOG").unwrap_or_else(|| DEFAULT_FILTER.to_owned())),
    ];
    let mut control_plane = both.to_vec();
    control_plane.extend([
        ("DATABASE_URL", addresses.database.clone()),
        ("REDIS_URL", addresses.redis_control.clone()),
        ("SLUICE_LISTEN", local(ports.control_plane())),
        ("SLUICE_INTERNAL_LISTEN", local(ports.control_plane_internal())),
        ("SLUICE_PUBLIC_URL", format!("http://{}", local(ports.control_plane()))),
        ("SLUICE_MAIL_FOLDER", state.data("mail")?.display().to_string()),
        ("SLUICE_RELAY_URLS", relays.join(",")),
        ("SLUICE_EGRESS_LOOPBACK", "on".to_owned()),
        ("SLUICE_SANDBOX_URL", format!("http://{}/mcp", local(ports.demo()))),
    ]);
    let mut node = both.to_vec();
    node.extend([
        ("REDIS_URL", addresses.redis_node.clone()),
        ("SLUICE_EGRESS_LOOPBACK", "on".to_owned()),
        ("SLUICE_ALLOWED_HOSTS", "127.0.0.1,localhost".to_owned()),
        ("SLUICE_AUDIT_SPOOL", crate::environment("SLUICE_AUDIT_SPOOL").unwrap_or_else(|| "always".to_owned())),
    ]);
    let of_nodes = (1..=settings.nodes).map(|number| of_node(state, ports, number)).collect::<anyhow::Result<_>>()?;
    let http = reqwest::Client::builder().timeout(std::time::Duration::from_secs(2)).build()?;
    Ok(Planes { ports, nodes: settings.nodes, folder: state.path(""), http, control_plane, node, of_nodes })
}

/// What differs from node to node. The id stays the same over restarts.
fn of_node(state: &State, ports: Ports, number: u16) -> anyhow::Result<Vec<(&'static str, String)>> {
    let file = format!("node-{number}.id");
    let id = if let Some(id) = state.read(&file) {
        id
    } else {
        let id = domain::NodeId::new(&service::clock()).to_string();
        state.write_private(&file, &id)?;
        id
    };
    Ok(vec![
        ("SLUICE_NODE_ID", id),
        ("SLUICE_LISTEN", format!("127.0.0.1:{}", ports.node(number))),
        ("SLUICE_INTERNAL_LISTEN", format!("127.0.0.1:{}", ports.node_internal(number))),
        ("SLUICE_DATA_DIR", state.data(&format!("node-{number}"))?.display().to_string()),
    ])
}

impl Planes {
    /// Starts the control plane, the nodes and the demo upstream.
    pub(crate) fn start(&self, supervisor: &mut Supervisor) -> anyhow::Result<()> {
        let port = self.ports.demo().to_string();
        self.start_one(supervisor, "demo-upstream", &["demo-upstream", "--port", &port], Vec::new())?;
        self.start_one(supervisor, "control-plane", &["control-plane"], self.control_plane.clone())?;
        for (index, own) in self.of_nodes.iter().enumerate() {
            let environment = self.node.iter().chain(own).cloned().collect();
            self.start_one(supervisor, &format!("node-{}", index + 1), &["data-plane"], environment)?;
        }
        Ok(())
    }

    fn start_one(
        &self,
        supervisor: &mut Supervisor,
        name: &str,
        arguments: &[&str],
        environment: Vec<(&'static str, String)>,
    ) -> anyhow::Result<()> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let log = self.folder.join(format!("{name}.log"));
        supervisor.start(name, move || {
            let program = std::env::current_exe()?;
            let mut command: Command = child::command(&program, &arguments, None, log.clone())?;
            command.env_remove("DATABASE_URL").env_remove("REDIS_URL").envs(environment.iter().cloned());
            Ok(command)
        })
    }

    /// Whether the control plane answers.
    pub(crate) async fn control_plane_is_ready(&self) -> bool {
        self.is_ready(self.ports.control_plane()).await
    }

    /// Whether every node is ready to serve.
    pub(crate) async fn nodes_are_ready(&self) -> bool {
        for number in 1..=self.nodes {
            if !self.is_ready(self.ports.node_internal(number)).await {
                return false;
            }
        }
        true
    }

    async fn is_ready(&self, port: u16) -> bool {
        let answer = self.http.get(format!("http://127.0.0.1:{port}/readyz")).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}
