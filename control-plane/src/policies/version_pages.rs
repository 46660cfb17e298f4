//! One version of a policy: what it changes, and putting it in force or taking it out.

use std::cmp::Reverse;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::{Clock, Permission, PolicyId, PolicyText};
use serde::Deserialize;
use store::policies::{self, Policy, Version};
use store::{TenantTx, people, servers};

use super::actions::{self, PolicyError};
use super::edit_pages::{Checked, look};
use super::highlight::{self, Line};
use super::live_pages::{self, LiveView};
use super::pages::{named, names};
use super::reach::{self, Flip};
use super::reach_pages::exposed;
use super::{Needs, api, worlds};
use crate::access::{Can, Permitted, may};
use crate::console::{Done, Page, Shell};
use crate::diff;
use crate::input::{At, Form};
use crate::problem::Problem;

/// Most changed tools that are listed.
const FLIPS_MAX: usize = 100;
/// Most answers, each of a kind of people and a tool, that are worked out for one page.
const ANSWERS_MAX: usize = 20_000;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Against {
    /// The version to compare with; none: what is in force, else the one before.
    #[serde(default)]
    against: String,
}

#[derive(Debug, Template)]
#[template(path = "policies/version.html")]
struct VersionPage {
    shell: Shell,
    policy: Policy,
    version: Version,
    written_by: String,
    /// The version it is compared with; none when there is no other.
    against: Option<u32>,
    /// All other versions, newest first.
    others: Vec<u32>,
    diff: Vec<diff::Line>,
    lines: Vec<Line>,
    checked: Checked,
    /// What publishing it would change.
    effect: Effect,
    live: LiveView,
    /// What somebody else did since it was looked at; mostly empty.
    meanwhile: String,
}

/// What publishing a version would change, as far as it can be said before a call.
#[derive(Debug, Default)]
struct Effect {
    flips: Vec<Flip>,
    looser: usize,
    stricter: usize,
    /// Why it can't be said.
    unknown: String,
    /// For how many people, of how many, it was worked out.
    people: (usize, usize),
}

/// `GET …/policies/{policy}/versions/{version}`.
pub(super) async fn show(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ViewPolicies>,
    At((_, policy, version)): At<(String, PolicyId, u32)>,
    Form(query): Form<Against>,
) -> Result<Response, Problem> {
    Ok(Page::new(page(needs, shell, &can, (policy, version), &query).await?).into_response())
}

async fn page<P: Permitted>(
    Needs { clock, live, .. }: Needs,
    shell: Shell,
    can: &Can<P>,
    (policy, version): (PolicyId, u32),
    query: &Against,
) -> Result<VersionPage, Problem> {
    let mut tx = can.begin().await?;
    let policy = policies::find(&mut tx, policy).await?.ok_or_else(Problem::not_found)?;
    let versions = policies::list_written(&mut tx, policy.id).await?;
    let version = policies::find_version(&mut tx, policy.id, version).await?.ok_or_else(Problem::not_found)?;
    let other = query.against.parse().ok().or(policy.active_version.filter(|active| *active != version.version));
    let other = match other.or_else(|| version.version.checked_sub(1)) {
        Some(other) => policies::find_version(&mut tx, policy.id, other).await?,
        None => None,
    };
    let written_by = named(&names(&mut tx).await?, version.written_by);
    let live = live_pages::view(&mut tx, &live).await?;
    // One connection at a time: whoever holds one and waits for another may wait for ever.
    drop(tx);
    let checked = look(can, &version.text).await?;
    let effect = if policy.active_version == Some(version.version) || checked.errors() > 0 {
        Effect::default()
    } else {
        effect(can.begin().await?, &policy, Some(&version), &clock).await?
    };
    Ok(VersionPage {
        diff: other.as_ref().map(|other| diff::lines(&other.text, &version.text)).unwrap_or_default(),
        against: other.map(|other| other.version),
        others: versions.iter().map(|one| one.version).filter(|number| *number != version.version).collect(),
        lines: highlight::lines(&version.text),
        shell,
        policy,
        written_by,
        version,
        checked,
        effect,
        live,
        meanwhile: String::new(),
    })
}

/// What the policies would do with this version in force, beside what they do.
async fn effect(
    mut tx: TenantTx,
    policy: &Policy,
    version: Option<&Version>,
    clock: &Clock,
) -> Result<Effect, Problem> {
    let present = worlds::present(&mut tx).await?;
    let people = people::list(&mut tx).await?;
    let servers = servers::list(&mut tx).await?;
    drop(tx);
    let before = &present.texts;
    let mut after: Vec<PolicyText> = before.iter().filter(|text| text.id != policy.id).cloned().collect();
    after.extend(version.map(|version| PolicyText {
        id: policy.id,
        version: version.version,
        name: policy.name.clone(),
        text: version.text.clone(),
        sha256: version.sha256.clone(),
    }));
    let texts: Vec<&str> = before.iter().chain(&after).map(|text| text.text.as_str()).collect();
    let mut kinds = reach::kinds(people, &texts);
    let all = kinds.iter().map(Vec::len).sum();
    let tools: usize = present.vocabulary.servers.iter().map(|server| server.tools.len()).sum();
    asked_of(&mut kinds, tools);
    let asked = kinds.iter().map(Vec::len).sum();
    match reach::flips(present, after, kinds, clock.now()).await {
        Ok(mut flips) => {
            let looser = flips.iter().filter(|flip| flip.is_looser()).count();
            let stricter = flips.len() - looser;
            flips.truncate(FLIPS_MAX);
            for flip in &mut flips {
                flip.name = exposed(&servers, &flip.name);
            }
            Ok(Effect { flips, looser, stricter, unknown: String::new(), people: (asked, all) })
        }
        Err(PolicyError::NotCompiled(why)) => Ok(Effect { unknown: why, ..Effect::default() }),
        Err(error) => Err(error.into()),
    }
}

/// Keeps the kinds that most people are of, as many as are worked out in a moment with so many tools; one at least.
fn asked_of<T>(kinds: &mut Vec<Vec<T>>, tools: usize) {
    kinds.sort_by_key(|kind| Reverse(kind.len()));
    kinds.truncate((ANSWERS_MAX / tools.max(1)).max(1));
}

#[derive(Debug, Deserialize)]
pub(super) struct Revision {
    revision: u64,
}

/// `POST …/policies/{policy}/versions/{version}/publish`; an earlier one rolls back.
pub(super) async fn publish(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::Publish>,
    At((_, policy, version)): At<(String, PolicyId, u32)>,
    Form(sent): Form<Revision>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    policies::find(&mut tx, policy).await?.ok_or_else(Problem::not_found)?;
    let found = policies::find_version(&mut tx, policy, version).await?.ok_or_else(Problem::not_found)?;
    drop(tx);
    // Tools may have changed since it was written.
    api::checked(&can, &found.text).await?;
    let mut tx = can.begin().await?;
    let named = (policy, sent.revision);
    let is_other = match actions::activate(&mut tx, &can.author(&needs.clock), named, Some(version)).await {
        Ok(after) => {
            tx.commit().await?;
            after.revision != sent.revision
        }
        Err(PolicyError::ChangedMeanwhile(_)) => {
            drop(tx);
            let mut page = page(needs, shell, &can, (policy, version), &Against::default()).await?;
            page.meanwhile = match page.policy.active_version {
                Some(active) => format!("Somebody changed this policy while you looked at it: v{active} is in force."),
                None => "Somebody changed this policy while you looked at it: none of it is in force.".to_owned(),
            };
            return Ok(Page::new(page).status(StatusCode::CONFLICT).into_response());
        }
        Err(error) => return Err(error.into()),
    };
    let path = shell.to(&format!("policies/{policy}/versions/{version}"));
    let said = if is_other { "is published." } else { "is in force already. Nothing changed." };
    Ok(Done::to(path).saying(format!("Version {version} {said}")).into_response())
}

/// `POST …/policies/{policy}/deactivate`.
pub(super) async fn deactivate(
    State(clock): State<Clock>,
    shell: Shell,
    can: Can<may::Publish>,
    At((_, policy)): At<(String, PolicyId)>,
    Form(sent): Form<Revision>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let policy = actions::activate(&mut tx, &can.author(&clock), (policy, sent.revision), None).await?;
    tx.commit().await?;
    let path = shell.to(&format!("policies/{}", policy.id));
    Ok(Done::to(path).saying(format!("{} is switched off. Its text is kept.", policy.name)).into_response())
}

/// `POST …/policies/{policy}/remove`.
pub(super) async fn remove(
    State(clock): State<Clock>,
    shell: Shell,
    can: Can<may::WritePolicies>,
    At((_, policy)): At<(String, PolicyId)>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let policy = policies::find_locked(&mut tx, policy).await?.ok_or_else(Problem::not_found)?;
    if policy.active_version.is_some() {
        can.also(Permission::Publish)?;
    }
    actions::remove(&mut tx, &can.author(&clock), &policy).await?;
    tx.commit().await?;
    Ok(Done::to(shell.to("policies")).saying(format!("{} is removed.", policy.name)).into_response())
}

impl Effect {
    /// How many tools' answers become looser, or stricter.
    const fn of(&self, looser: bool) -> usize {
        if looser { self.looser } else { self.stricter }
    }

    const fn all(&self) -> usize {
        self.looser + self.stricter
    }

    const fn is_of_some(&self) -> bool {
        self.people.0 < self.people.1
    }
}

impl VersionPage {
    /// The policy's path, below the workspace.
    fn path(&self) -> String {
        format!("policies/{}", self.policy.id)
    }

    fn is_live(&self) -> bool {
        self.policy.active_version == Some(self.version.version)
    }

    /// Whether it is compared with what is in force.
    fn is_against_live(&self) -> bool {
        self.against.is_some() && self.against == self.policy.active_version
    }

    /// Whether publishing it puts an earlier text in force again.
    fn is_rollback(&self) -> bool {
        self.policy.active_version.is_some_and(|active| self.version.version < active)
    }

    fn may_publish(&self) -> bool {
        self.shell.may(Permission::Publish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_kinds_are_asked_and_no_more_than_a_moment_allows() {
        let kinds = || vec![vec![(); 1], vec![(); 30], vec![(); 7]];
        for (tools, sizes) in [(0, vec![30, 7, 1]), (6_000, vec![30, 7, 1]), (10_000, vec![30, 7]), (90_000, vec![30])]
        {
            let mut asked = kinds();
            asked_of(&mut asked, tools);
            assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), sizes, "{tools}");
        }
    }
}
