//! The policies of a workspace, and the packs to begin with.

use std::collections::HashMap;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::{Permission, PolicyId, RiskClass, ServerId, UserId};
use policy::Does;
use policy::packs::Pack;
use serde::Deserialize;
use store::policies::{self, Policy, Version};
use store::{TenantTx, people, servers, tools};

use super::actions::{PolicyError, aside};
use super::live_pages::{self, LiveView};
use super::worlds;
use crate::access::{Can, may};
use crate::console::{Page, Shell, show};
use crate::input::Form;
use crate::problem::Problem;
use crate::publish::Live;

/// A policy in the list.
#[derive(Debug)]
struct Row {
    policy: Policy,
    /// What its rules do, each once.
    does: Vec<Does>,
    /// How many rules there are, and the names of those that have one.
    rules: usize,
    names: Vec<String>,
    changed_at: DateTime<Utc>,
    changed_by: String,
}

/// A pack to begin with, counted on the tenant's tools.
#[derive(Debug, Clone)]
pub(super) struct PackCard {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) text: &'static str,
    pub(super) icon: &'static str,
    pub(super) allowed: usize,
    pub(super) approval: usize,
    pub(super) denied: usize,
}

#[derive(Debug, Template)]
#[template(path = "policies/index.html")]
struct ListPage {
    shell: Shell,
    rows: Vec<Row>,
    /// Only while none is in force.
    packs: Vec<PackCard>,
    added: Option<Added>,
    live: LiveView,
}

/// A server that was just added, on the way to its first call.
#[derive(Debug)]
struct Added {
    title: String,
    url: String,
    tools: usize,
    risks: Vec<(RiskClass, usize)>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Query {
    /// A server that was just added.
    #[serde(default)]
    added: String,
}

/// `GET …/policies`.
pub(super) async fn list(
    State(live): State<Live>,
    shell: Shell,
    can: Can<may::ViewPolicies>,
    Form(query): Form<Query>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let found = present(&mut tx).await?;
    let added = match query.added.parse() {
        Ok(server) if shell.may(Permission::ViewServers) => added(&mut tx, &shell, server).await?,
        _ => None,
    };
    let live = live_pages::view(&mut tx, &live).await?;
    // Nothing is held while texts are read: that takes long, and a few at a time do it.
    drop(tx);
    let rows = rows(found).await?;
    let is_any = rows.iter().any(|row| row.policy.active_version.is_some());
    let packs = if is_any { Vec::new() } else { packs(can.begin().await?).await? };
    Ok(Page::new(ListPage { shell, rows, packs, added, live }).into_response())
}

/// What is accepted of a server.
async fn added(tx: &mut TenantTx, shell: &Shell, server: ServerId) -> Result<Option<Added>, store::Error> {
    let Some(server) = servers::find(tx, server).await? else { return Ok(None) };
    let tools: Vec<_> = tools::list(tx, server.id).await?.into_iter().filter(|tool| tool.live.is_some()).collect();
    let count = |risk: RiskClass| (risk, tools.iter().filter(|tool| tool.risk == risk).count());
    Ok(Some(Added {
        title: show::visible(server.settings.title),
        url: shell.to(&format!("servers/{}", server.id)),
        tools: tools.len(),
        risks: RiskClass::ALL.into_iter().map(count).filter(|(_, count)| *count > 0).collect(),
    }))
}

/// A policy as it is stored.
struct Present {
    policy: Policy,
    changed_at: DateTime<Utc>,
    changed_by: String,
    /// What is in force, else the newest.
    text: String,
}

async fn present(tx: &mut TenantTx) -> Result<Vec<Present>, store::Error> {
    let mut versions: HashMap<(PolicyId, u32), Version> = policies::list_present(tx)
        .await?
        .into_iter()
        .map(|version| ((version.policy, version.version), version))
        .collect();
    let names = names(tx).await?;
    let present = |policy: Policy| {
        let newest = versions.remove(&(policy.id, policy.latest_version))?;
        let in_force = policy.active_version.and_then(|version| versions.remove(&(policy.id, version)));
        Some(Present {
            policy,
            changed_at: newest.written_at,
            changed_by: named(&names, newest.written_by),
            text: in_force.map_or(newest.text, |version| version.text),
        })
    };
    Ok(policies::list(tx).await?.into_iter().filter_map(present).collect())
}

async fn rows(found: Vec<Present>) -> Result<Vec<Row>, Problem> {
    let row = |found: Present| {
        let rules = policy::outline(&found.text);
        let mut does: Vec<Does> = rules.iter().map(|rule| rule.does).collect();
        does.sort_unstable();
        does.dedup();
        let (count, names) = (rules.len(), rules.into_iter().filter_map(|rule| rule.name).collect());
        let Present { policy, changed_at, changed_by, .. } = found;
        Row { policy, does, rules: count, names, changed_at, changed_by }
    };
    let rows = aside(move || found.into_iter().map(row).collect()).await;
    Ok(rows.ok_or(PolicyError::NotChecked)?)
}

/// What the tenant calls its people.
pub(super) async fn names(tx: &mut TenantTx) -> Result<HashMap<UserId, String>, store::Error> {
    Ok(people::list(tx).await?.into_iter().map(|member| (member.user, member.name)).collect())
}

/// What the tenant calls a person; somebody who left has no name any more.
pub(super) fn named(names: &HashMap<UserId, String>, user: UserId) -> String {
    names.get(&user).cloned().unwrap_or_else(|| "Somebody who left".to_owned())
}

/// The packs, strictest first, and what each would do to the tenant's tools.
pub(super) async fn packs(mut tx: TenantTx) -> Result<Vec<PackCard>, Problem> {
    let present = worlds::present(&mut tx).await?;
    // Nothing is held while they are counted.
    drop(tx);
    let work = move || Ok::<_, PolicyError>(present.packs()?.iter().map(|(pack, count)| card(*pack, *count)).collect());
    Ok(aside(work).await.ok_or(PolicyError::NotChecked)??)
}

fn card(pack: Pack, count: policy::packs::Count) -> PackCard {
    let (icon, text) = match pack {
        Pack::ReadOnly => {
            ("eye", "Agents look and change nothing. Tools that do more are listed, and say why they are denied.")
        }
        Pack::AskBeforeWrites => {
            ("hourglass", "Tools that read are allowed. Every other call needs a person’s approval.")
        }
        Pack::ObserveEverything => {
            ("scroll-text", "Every tool is allowed, and every call recorded. To see first what is called at all.")
        }
    };
    let policy::packs::Count { allowed, approval, denied } = count;
    PackCard { id: pack.as_str(), title: pack.title(), text, icon, allowed, approval, denied }
}

impl Row {
    /// What it consists of: `2 rules · reads · writes`.
    fn rules_said(&self) -> String {
        let rules = show::plural(self.rules, "rule", "rules");
        let named = std::iter::once(rules).chain(self.names.iter().map(show::visible));
        show::clip(&named.collect::<Vec<_>>().join(" · "), 90)
    }
}

impl PackCard {
    /// How many tools there are.
    pub(super) const fn tools(&self) -> usize {
        self.allowed + self.approval + self.denied
    }

    /// Where it is taken up, below the workspace.
    pub(super) fn path(&self) -> String {
        format!("policies/new?pack={}", self.id)
    }
}
