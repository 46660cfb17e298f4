//! What a tenant's policies may speak about: its servers, tools, labels and groups.

use std::collections::BTreeSet;

use domain::{
    Annotations, EraPin, GroupName, Label, RiskClass, ServerId, ServerKey, SessionMode, TenantId, TenantSnapshot,
    ToolId,
};
use serde_json::value::RawValue;

use crate::shape::{self, Argument};

/// What a tenant's policies may speak about. The publisher and the nodes take it from a snapshot, an editor makes it from
/// the state that is being edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    /// Whose it is.
    pub tenant: TenantId,
    /// The servers with their accepted tools.
    pub servers: Vec<ServerWords>,
    /// The tenant's groups, where they are known; then a policy about another group is worth a warning.
    pub groups: Option<BTreeSet<GroupName>>,
}

/// A server as policies see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerWords {
    /// Its immutable id.
    pub id: ServerId,
    /// Its name in policies.
    pub key: ServerKey,
    /// `resource.era` of the server.
    pub era: EraPin,
    /// Shared sessions make `shared` true.
    pub sessions: SessionMode,
    /// Labels all its tools inherit.
    pub labels: BTreeSet<Label>,
    /// The accepted tools.
    pub tools: Vec<ToolWords>,
}

/// A tool as policies see it.
#[derive(Debug, Clone)]
pub struct ToolWords {
    /// Its immutable id.
    pub id: ToolId,
    /// The name the upstream knows it by.
    pub name: String,
    /// As reviewed.
    pub risk: RiskClass,
    /// Its own labels, beside the server's.
    pub labels: BTreeSet<Label>,
    /// Its claims about itself.
    pub annotations: Annotations,
    /// Its definition, whose `inputSchema` gives the arguments their types.
    pub definition: Box<RawValue>,
}

impl PartialEq for ToolWords {
    fn eq(&self, other: &Self) -> bool {
        // Every field by its name: one that is added later is compared too.
        let Self { id, name, risk, labels, annotations, definition } = self;
        (id, name, risk, labels, annotations)
            == (&other.id, &other.name, &other.risk, &other.labels, &other.annotations)
            && definition.get() == other.definition.get()
    }
}

impl Eq for ToolWords {}

impl ToolWords {
    /// The arguments policies can speak about, for an editor that completes them.
    #[must_use]
    pub fn arguments(&self) -> Vec<Argument> {
        let (fields, _) = shape::arguments(&self.name, &self.definition);
        let mut listed = Vec::new();
        shape::listed(&fields, "", &mut listed);
        listed
    }
}

impl From<&TenantSnapshot> for Vocabulary {
    fn from(snapshot: &TenantSnapshot) -> Self {
        Self {
            tenant: snapshot.tenant,
            servers: snapshot.servers.iter().map(ServerWords::from).collect(),
            groups: None,
        }
    }
}

impl From<&domain::Server> for ServerWords {
    fn from(server: &domain::Server) -> Self {
        Self {
            id: server.id,
            key: server.key.clone(),
            era: server.era,
            sessions: server.sessions,
            labels: server.labels.clone(),
            tools: server.tools.iter().map(ToolWords::from).collect(),
        }
    }
}

impl From<&domain::Tool> for ToolWords {
    fn from(tool: &domain::Tool) -> Self {
        Self {
            id: tool.id,
            name: tool.name.clone(),
            risk: tool.risk,
            labels: tool.labels.clone(),
            annotations: tool.annotations,
            definition: tool.definition.clone(),
        }
    }
}
