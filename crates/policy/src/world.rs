//! A tenant's policies, compiled against its own tools.

use std::sync::Arc;

use domain::{PolicyId, PolicyText, Principal, TenantSnapshot};

use crate::{CallerView, Finding, Vocabulary};

/// A tenant's policies, compiled against its own tools: one for each revision. Cheap to clone.
#[derive(Debug, Clone)]
pub struct World(#[expect(dead_code, reason = "filled by the next commit")] Arc<()>);

/// Why a tenant's policies can't be used. Whoever publishes refuses such a configuration.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Policies are wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Policies(Vec<PolicyFinding>),
    /// Two tools of one server have the same name.
    #[error("the tool `{0}` exists twice")]
    ToolTwice(String),
    /// No schema could be made of the tools.
    #[error("no schema could be made of the tools: {0}")]
    Schema(Box<dyn std::error::Error + Send + Sync>),
}

/// What is wrong with one of a tenant's policies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy `{name}`, {finding}")]
pub struct PolicyFinding {
    /// The policy.
    pub policy: PolicyId,
    /// Its name for people.
    pub name: String,
    /// What is wrong, and where.
    pub finding: Finding,
}

impl World {
    /// Compiles a snapshot's policies. Costs milliseconds; done once per revision.
    ///
    /// # Errors
    /// [`CompileError`] when a policy does not validate against the snapshot's own tools.
    pub fn new(snapshot: &TenantSnapshot) -> Result<Self, CompileError> {
        Self::compile(&Vocabulary::from(snapshot), &snapshot.policies)
    }

    /// Compiles policies against a vocabulary, for whoever has no snapshot.
    ///
    /// # Errors
    /// As [`World::new`].
    pub fn compile(_vocabulary: &Vocabulary, _policies: &[PolicyText]) -> Result<Self, CompileError> {
        Ok(Self(Arc::new(())))
    }

    /// What this principal meets. Keep it for as long as the principal and the revision: it remembers what it works out.
    #[must_use]
    pub fn caller(&self, _principal: &Principal) -> CallerView {
        CallerView(())
    }
}
