//! Which tools there are, under which names, and what of them a caller sees. Made from the snapshot alone: nothing here asks an
//! upstream anything.

mod view;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use audit::Text;
use audit::record::ToolAnnotations;
use domain::{Label, Server, ServerId, TenantSnapshot, Tool, ToolId};
use mcp::header::Annotated;
use mcp::name::{Collision, Named, Prefix, expose};
use mcp::{Era, Json, Limits, Raw};
use tracing::warn;

pub use view::{Listings, Page, View};

/// A tool as clients see it, and where calls to it go.
#[derive(Debug)]
pub struct Exposed {
    /// What policy decides on.
    pub id: ToolId,
    /// What clients call it.
    pub name: String,
    /// What its upstream calls it.
    pub upstream_name: Arc<str>,
    /// Its server.
    pub server_id: ServerId,
    /// The same, as an index into the tenant's servers.
    pub server: usize,
    /// Whether its server is paused.
    pub paused: bool,
    /// What whoever calls it has seen: its labels and its server's.
    pub labels: BTreeSet<Label>,
    /// What every record of a call to it says of it.
    pub recorded: audit::record::Tool,
    /// And of its server.
    pub recorded_server: audit::record::Server,
    /// The arguments that headers repeat (`x-mcp-header`).
    pub annotated: Vec<Annotated>,
    /// The definition under the exposed name, for modern and for legacy clients.
    listings: [Json; 2],
}

/// All tools of a tenant, in the order lists show them.
#[derive(Debug)]
pub struct Catalog {
    tools: Vec<Exposed>,
    by_name: HashMap<String, usize>,
    /// Raw names that only one server has: apps and texts use them. `None` where several have it.
    by_upstream_name: HashMap<Arc<str>, Option<usize>>,
}

/// Why a tool is offered to nobody.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum LeftOut {
    /// Another has its name.
    #[error(transparent)]
    Collision(#[from] Collision),
    /// Its definition has no name or input schema.
    #[error("its definition is not usable")]
    Definition,
    /// Its `x-mcp-header` is wrong: the specification has it left out.
    #[error("its x-mcp-header is not usable")]
    Header,
}

impl Catalog {
    /// Gives every tool of the snapshot its name and its listings. What can't be offered is left out alone.
    #[must_use]
    pub fn new(snapshot: &TenantSnapshot) -> Self {
        let pairs = snapshot.servers.iter().flat_map(|server| server.tools.iter().map(move |tool| (server, tool)));
        let tools_named: Vec<Named<'_>> =
            pairs.map(|(server, tool)| Named { alias: server.alias.as_str(), tool: &tool.name }).collect();
        let mut names = expose(prefix(snapshot.prefix), &tools_named, &secrets::sha256).into_iter();
        let mut tools = Vec::with_capacity(tools_named.len());
        for (server, published) in snapshot.servers.iter().enumerate() {
            for (tool, name) in published.tools.iter().zip(&mut names) {
                let exposed = name.map_err(LeftOut::from).and_then(|name| Exposed::new(tool, name, published, server));
                match exposed {
                    Ok(exposed) => tools.push(exposed),
                    Err(why) => {
                        warn!(tenant = %snapshot.tenant, server = %published.id, tool = ?tool.name, %why, "left a tool out");
                    }
                }
            }
        }
        Self::index(tools)
    }

    fn index(tools: Vec<Exposed>) -> Self {
        let by_name = tools.iter().enumerate().map(|(index, tool)| (tool.name.clone(), index)).collect();
        let mut by_upstream_name: HashMap<Arc<str>, Option<usize>> = HashMap::new();
        for (index, tool) in tools.iter().enumerate() {
            by_upstream_name.entry(tool.upstream_name.clone()).and_modify(|found| *found = None).or_insert(Some(index));
        }
        Self { tools, by_name, by_upstream_name }
    }

    /// All tools, in order.
    #[must_use]
    pub fn tools(&self) -> &[Exposed] {
        &self.tools
    }

    /// The index of the tool of that name: the exposed one, else the upstream's own where only one server has it.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied().or_else(|| self.by_upstream_name.get(name).copied().flatten())
    }
}

impl Exposed {
    fn new(tool: &Tool, name: String, server: &Server, index: usize) -> Result<Self, LeftOut> {
        let definition = Raw::check(tool.definition.get(), &Limits::default()).map_err(|_| LeftOut::Definition)?;
        let read = mcp::tools::Tool::read(definition).ok_or(LeftOut::Definition)?;
        let annotated = Annotated::find(&read.input_schema).map_err(|_| LeftOut::Header)?;
        let upstream_name: Arc<str> = tool.name.as_str().into();
        Ok(Self {
            id: tool.id,
            listings: [read.listed(&name, Era::Modern), read.listed(&name, Era::Legacy)],
            annotated,
            recorded: recorded(tool, &name, &upstream_name),
            recorded_server: recorded_server(server),
            upstream_name,
            server_id: server.id,
            server: index,
            paused: server.paused,
            labels: server.labels.union(&tool.labels).cloned().collect(),
            name,
        })
    }

    /// The definition as a client of that era is shown it.
    #[must_use]
    pub const fn listing(&self, era: Era) -> &Json {
        match era {
            Era::Modern => &self.listings[0],
            Era::Legacy => &self.listings[1],
        }
    }
}

fn recorded(tool: &Tool, name: &str, upstream_name: &Arc<str>) -> audit::record::Tool {
    let shared = |text: &str| Some(Text::Shared(text.into()));
    audit::record::Tool {
        id: Some(tool.id),
        name: shared(name),
        upstream_name: Some(Text::Shared(Arc::clone(upstream_name))),
        definition_hash: shared(&tool.digest),
        risk: Some(Text::Fixed(tool.risk.as_str())),
        annotations: ToolAnnotations {
            read_only: Some(tool.annotations.read_only),
            destructive: Some(tool.annotations.destructive),
            idempotent: Some(tool.annotations.idempotent),
            open_world: Some(tool.annotations.open_world),
        },
    }
}

fn recorded_server(server: &Server) -> audit::record::Server {
    audit::record::Server {
        id: Some(server.id),
        name: Some(Text::Shared(server.key.as_str().into())),
        host: server.endpoint.host_str().map(|host| Text::Shared(host.into())),
        revision: Some(Text::Shared(server.version.to_string().into())),
        ..audit::record::Server::default()
    }
}

const fn prefix(prefix: domain::snapshot::Prefix) -> Prefix {
    match prefix {
        domain::snapshot::Prefix::Always => Prefix::Always,
        domain::snapshot::Prefix::OnConflict => Prefix::OnConflict,
        domain::snapshot::Prefix::None => Prefix::None,
    }
}
