//! The rules of policies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::{PolicyId, PolicyVersionId, ServerId};
use policy::{Finding, ServerWords, Severity, ToolWords, Vocabulary};
use serde_json::value::RawValue;
use store::policies::{self, Policy, Version, WriteError};
use store::{TenantTx, people, servers, tools};
use tokio::sync::Semaphore;

use super::worlds::Present;
use crate::ingest::change::Change;
use crate::recorded::Author;

/// Longest text, bytes.
pub(crate) const TEXT_MAX_BYTES: usize = 256 * 1024;
/// Most policies of a tenant.
pub(crate) const POLICIES_MAX: usize = 1_000;

/// Why something was not done to a policy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyError {
    /// There is no such policy or version.
    #[error("no such thing")]
    NotFound,
    /// Somebody else changed it.
    #[error("it is at revision {0}")]
    ChangedMeanwhile(u64),
    /// Another policy has the name.
    #[error("the name is taken")]
    NameTaken,
    /// There are too many.
    #[error("a tenant has at most {POLICIES_MAX} policies")]
    TooMany,
    /// The check failed, so the text is not known to be right.
    #[error("the text could not be checked")]
    NotChecked,
    /// What is in force does not fit the tools of now.
    #[error("{0}")]
    NotCompiled(String),
    /// The text is wrong.
    #[error("the text has errors")]
    Wrong(Vec<Finding>),
    #[error(transparent)]
    Database(#[from] store::Error),
}

impl From<WriteError> for PolicyError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NameTaken => Self::NameTaken,
            WriteError::Database(error) => Self::Database(error),
        }
    }
}

/// What the tenant's policies may speak of, as it is now.
pub(crate) async fn vocabulary(tx: &mut TenantTx) -> Result<Vocabulary, store::Error> {
    let mut by_server: BTreeMap<ServerId, Vec<ToolWords>> = BTreeMap::new();
    for tool in tools::list_live(tx).await? {
        let Some(live) = tool.live else { continue };
        let unreadable = store::Error::Unreadable { column: "tool_definitions.definition" };
        let read = crate::servers::annotations(&live.text);
        let definition = RawValue::from_string(live.text).map_err(|_| unreadable)?;
        let words = ToolWords {
            id: tool.id,
            name: tool.name,
            risk: tool.risk,
            labels: tool.labels,
            annotations: read,
            definition,
        };
        by_server.entry(tool.server).or_default().push(words);
    }
    let words = servers::list(tx).await?.into_iter().map(|server| ServerWords {
        tools: by_server.remove(&server.id).unwrap_or_default(),
        id: server.id,
        key: server.key,
        era: server.settings.era,
        sessions: server.settings.sessions,
        labels: server.settings.labels,
    });
    let words = words.collect();
    let groups: BTreeSet<_> = people::list(tx).await?.into_iter().flat_map(|member| member.groups).collect();
    Ok(Vocabulary { tenant: tx.tenant(), servers: words, groups: Some(groups) })
}

/// Checks a text; gives the warnings.
pub(crate) async fn check(text: String, present: Arc<Present>) -> Result<Vec<Finding>, PolicyError> {
    let work = move || match present.checker() {
        Ok(checker) => Ok(checker.check(&text)),
        Err(error) => Err(error),
    };
    let findings = aside(work).await.ok_or(PolicyError::NotChecked)??;
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(PolicyError::Wrong(findings));
    }
    Ok(findings)
}

/// At most so many checks at a time: a schema may have to be made of all the tenant's tools first.
static CHECKS: Semaphore = Semaphore::const_new(4);

/// Runs what takes long on a thread of its own, a few at a time. `None` when it panicked.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let turn = CHECKS.acquire().await.ok()?;
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        // Only now: a caller who has gone leaves the work going on.
        drop(turn);
        done
    });
    done.await.ok()
}

/// Adds a policy with its first text, which was checked. It is in force once it is activated.
pub(crate) async fn add(
    tx: &mut TenantTx,
    author: &Author,
    name: String,
    text: String,
) -> Result<(Policy, Version), PolicyError> {
    if policies::list(tx).await?.len() >= POLICIES_MAX {
        return Err(PolicyError::TooMany);
    }
    let policy = Policy {
        id: PolicyId::new(&author.clock),
        name,
        active_version: None,
        latest_version: 1,
        revision: 1,
        created_at: author.now(),
    };
    policies::add(tx, &policy).await?;
    let version = version(author, policy.id, 1, text);
    policies::add_version(tx, &version).await?;
    let change = Change::new("policy.add", "policy", policy.id).named(policy.name.as_str()).after(&version.sha256);
    author.noted(tx, change).await?;
    Ok((policy, version))
}

/// Adds a version, whose text was checked, to a policy that is still at the revision its writer saw.
pub(crate) async fn write(
    tx: &mut TenantTx,
    author: &Author,
    named: (PolicyId, u64),
    text: String,
) -> Result<(Policy, Version), PolicyError> {
    let mut policy = at_revision(tx, named).await?;
    policy.latest_version += 1;
    let version = version(author, policy.id, policy.latest_version, text);
    policies::add_version(tx, &version).await?;
    policies::change(tx, &policy).await?;
    policy.revision += 1;
    let change = Change::new("policy.write", "policy", policy.id).named(policy.name.as_str()).after(&version.sha256);
    author.noted(tx, change).await?;
    Ok((policy, version))
}

fn version(author: &Author, policy: PolicyId, version: u32, text: String) -> Version {
    Version {
        id: PolicyVersionId::new(&author.clock),
        policy,
        version,
        sha256: hex::encode(secrets::sha256(text.as_bytes())),
        text,
        written_at: author.now(),
        written_by: author.user,
    }
}

/// Puts a version in force, an earlier one too, or none. Its text was checked against the tools of today.
pub(crate) async fn activate(
    tx: &mut TenantTx,
    author: &Author,
    named: (PolicyId, u64),
    version: Option<u32>,
) -> Result<Policy, PolicyError> {
    let before = at_revision(tx, named).await?;
    if before.active_version == version {
        return Ok(before);
    }
    if let Some(version) = version {
        policies::find_version(tx, before.id, version).await?.ok_or(PolicyError::NotFound)?;
    }
    let after = Policy { active_version: version, ..before.clone() };
    policies::change(tx, &after).await?;
    let action = if version.is_some() { "policy.activate" } else { "policy.deactivate" };
    let change = Change::new(action, "policy", after.id).named(after.name.as_str());
    author.changed(tx, change.before(&before.active_version).after(&version)).await?;
    Ok(Policy { revision: after.revision + 1, ..after })
}

/// Removes a policy, out of force if it was in force. Its versions stay, since records name them.
pub(crate) async fn remove(tx: &mut TenantTx, author: &Author, policy: &Policy) -> Result<(), PolicyError> {
    policies::remove(tx, policy.id, author.now()).await?;
    let change = Change::new("policy.remove", "policy", policy.id).named(policy.name.as_str());
    if policy.active_version.is_some() {
        author.changed(tx, change).await?;
    } else {
        author.noted(tx, change).await?;
    }
    Ok(())
}

async fn at_revision(tx: &mut TenantTx, (id, revision): (PolicyId, u64)) -> Result<Policy, PolicyError> {
    let policy = policies::find_locked(tx, id).await?.ok_or(PolicyError::NotFound)?;
    if policy.revision == revision { Ok(policy) } else { Err(PolicyError::ChangedMeanwhile(policy.revision)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_goes_away_leaves_their_turn_to_the_work_they_left() {
        let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = std::sync::Arc::new(std::sync::Mutex::new(held));
        let askers: Vec<_> = (0..4)
            .map(|_| {
                let (started, held) = (started.clone(), held.clone());
                tokio::spawn(aside(move || {
                    started.send(()).unwrap();
                    held.lock().unwrap().recv().unwrap();
                }))
            })
            .collect();
        for _ in 0..4 {
            starts.recv().await.unwrap();
        }
        for asker in askers {
            asker.abort();
            assert!(asker.await.unwrap_err().is_cancelled());
        }
        assert_eq!(CHECKS.available_permits(), 0, "a fifth would run beside the four");
        for _ in 0..4 {
            release.send(()).unwrap();
        }
        assert_eq!(aside(|| 7).await, Some(7));
    }
}
