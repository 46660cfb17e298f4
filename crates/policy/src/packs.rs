//! The three starting packs: policies a new tenant can begin with, and how many of its own tools each allows.

use chrono::DateTime;
use domain::{PolicyId, PolicyText, Principal, Role, TokenId, TokenScope, UserId};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{CallContext, Checker, CompileError, Effect, Vocabulary, World};

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

    /// Counts what the pack, alone, does to a tenant's tools.
    ///
    /// # Errors
    /// [`CompileError`] when no schema can be made of the tools.
    pub fn count(self, vocabulary: &Vocabulary) -> Result<Count, CompileError> {
        self.count_by(&Checker::new(vocabulary)?, vocabulary)
    }

    /// Counts by a checker that was made of the same vocabulary.
    ///
    /// # Errors
    /// As [`Pack::count`].
    pub fn count_by(self, checker: &Checker, vocabulary: &Vocabulary) -> Result<Count, CompileError> {
        let text = PolicyText {
            id: PolicyId::from_uuid(NOBODY),
            version: 1,
            name: self.title().to_owned(),
            text: self.text().to_owned(),
            sha256: String::new(),
        };
        let view = World::compile_by(checker, vocabulary, &[text])?.caller(&member(vocabulary));
        // No pack looks at any of this.
        let context = CallContext {
            now: DateTime::UNIX_EPOCH,
            ip: None,
            client_name: None,
            client_version: None,
            seen_labels: None,
        };
        let mut count = Count::default();
        for tool in vocabulary.servers.iter().flat_map(|server| &server.tools) {
            match view.decide(tool.id, &context, RawValue::NULL).effect {
                Effect::Allow => count.allowed += 1,
                Effect::RequireApproval => count.approval += 1,
                Effect::Deny => count.denied += 1,
            }
        }
        Ok(count)
    }
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
