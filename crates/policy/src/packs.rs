//! The three starting packs: policies a new tenant can begin with, and how many of its own tools each allows.

use std::collections::HashMap;

use chrono::DateTime;
use domain::{PolicyId, PolicyText, Principal, Role, TokenId, TokenScope, UserId};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{CallContext, Checker, CompileError, Effect, ServerWords, ToolWords, Vocabulary, World};

/// A starting pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pack {
    /// Tools that only read are allowed; the others are listed and denied.
    ReadOnly,
    /// Tools that only read are allowed; a person approves calls of the others.
    AskBeforeWrites,
    /// Everything is allowed, and recorded like everything.
    ObserveEverything,
}

/// How many of a tenant's tools a pack allows a member to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Count {
    /// Allowed.
    pub allowed: usize,
    /// Waiting for a person.
    pub approval: usize,
    /// Denied.
    pub denied: usize,
}

impl Pack {
    /// All, strictest first.
    pub const ALL: [Self; 3] = [Self::ReadOnly, Self::AskBeforeWrites, Self::ObserveEverything];

    /// The pack's name for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::ReadOnly => "Read-only",
            Self::AskBeforeWrites => "Ask before writes",
            Self::ObserveEverything => "Observe everything",
        }
    }

    /// The written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::AskBeforeWrites => "ask_before_writes",
            Self::ObserveEverything => "observe_everything",
        }
    }

    /// Reads the written form.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pack| pack.as_str() == text)
    }

    /// Its policies. They name none of the tenant's own things, so they are valid in every tenant.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::ReadOnly => include_str!("packs/read_only.cedar"),
            Self::AskBeforeWrites => include_str!("packs/ask_before_writes.cedar"),
            Self::ObserveEverything => include_str!("packs/observe_everything.cedar"),
        }
    }

    /// Counts what each pack, alone, does to a tenant's tools. Packs look at a tool's risk and annotations, not at its name,
    /// labels or arguments: one tool of each kind is asked, and hundreds take no longer than a few.
    ///
    /// # Errors
    /// [`CompileError`] when no schema can be made of the tools.
    pub fn count_all(vocabulary: &Vocabulary) -> Result<[(Self, Count); 3], CompileError> {
        let (kinds, how_many) = kinds(vocabulary);
        let checker = Checker::new(&kinds)?;
        let mut counts = Self::ALL.map(|pack| (pack, Count::default()));
        for (pack, count) in &mut counts {
            let view = World::compile_by(&checker, &kinds, &[pack.as_policy()])?.caller(&member(&kinds));
            let tools = kinds.servers.iter().flat_map(|server| &server.tools);
            for (tool, many) in tools.zip(&how_many) {
                match view.decide(tool.id, &NO_CONTEXT, RawValue::NULL).effect {
                    Effect::Allow => count.allowed += many,
                    Effect::RequireApproval => count.approval += many,
                    Effect::Deny => count.denied += many,
                }
            }
        }
        Ok(counts)
    }

    fn as_policy(self) -> PolicyText {
        PolicyText {
            id: PolicyId::from_uuid(NOBODY),
            version: 1,
            name: self.title().to_owned(),
            text: self.text().to_owned(),
            sha256: String::new(),
        }
    }
}

/// No pack looks at any of this.
const NO_CONTEXT: CallContext<'static> =
    CallContext { now: DateTime::UNIX_EPOCH, ip: None, client_name: None, client_version: None, seen_labels: None };

/// Of each kind of tool one, and how many there are of it.
fn kinds(vocabulary: &Vocabulary) -> (Vocabulary, Vec<usize>) {
    let (mut kinds, mut how_many) = (HashMap::new(), Vec::new());
    let mut one_of_each: Vec<ServerWords> = Vec::new();
    for server in &vocabulary.servers {
        let mut tools = Vec::new();
        for tool in &server.tools {
            let place = *kinds.entry((tool.risk, tool.annotations)).or_insert_with(|| {
                tools.push(ToolWords { definition: RawValue::NULL.to_owned(), ..tool.clone() });
                how_many.push(0);
                how_many.len() - 1
            });
            how_many[place] += 1;
        }
        let ServerWords { id, ref key, era, sessions, ref labels, .. } = *server;
        one_of_each.push(ServerWords { id, key: key.clone(), era, sessions, labels: labels.clone(), tools });
    }
    (Vocabulary { tenant: vocabulary.tenant, servers: one_of_each, groups: None }, how_many)
}

const NOBODY: uuid::Uuid = uuid::Uuid::nil();

fn member(vocabulary: &Vocabulary) -> Principal {
    Principal {
        tenant: vocabulary.tenant,
        user: UserId::from_uuid(NOBODY),
        token: TokenId::from_uuid(NOBODY),
        role: Role::Member,
        groups: std::collections::BTreeSet::default(),
        scope: TokenScope::default(),
        issued_at: DateTime::UNIX_EPOCH,
        expires_at: DateTime::UNIX_EPOCH,
    }
}
