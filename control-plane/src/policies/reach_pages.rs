//! What a person or a token may call, tool by tool, and which policy says so.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::{Clock, MembershipId, Permission, ServerKey, TokenId, TokenScope};
use policy::code;
use serde::Deserialize;
use store::people::Membership;
use store::servers::Server;
use store::{TenantTx, people, servers, tokens};

use super::actions::PolicyError;
use super::reach::{self, Answer, Caller, Reached};
use super::worlds;
use crate::access::{Can, may};
use crate::console::{Choice, Hx, Page, Shell, show};
use crate::input::Form;
use crate::problem::Problem;

/// Tools of a page.
const PAGE: usize = 100;

/// Whose calls are asked about, and which tools.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Query {
    /// A membership; none: whoever asks.
    #[serde(default)]
    pub(super) member: String,
    /// A gateway token, whose holder it is then.
    #[serde(default)]
    pub(super) token: String,
    /// A part of a tool's name.
    #[serde(default)]
    pub(super) q: String,
    /// `deny`, `approval`, `depends` or `allow`; else all.
    #[serde(default)]
    pub(super) answer: String,
    /// The name of the last tool of the page before.
    #[serde(default)]
    pub(super) after: String,
    /// Whether tools that the caller does not even see are left out.
    #[serde(skip)]
    pub(super) only_listed: bool,
}

/// Whom one may ask about.
#[derive(Debug)]
struct Asked {
    id: MembershipId,
    name: String,
    is_chosen: bool,
}

#[derive(Debug, Template)]
#[template(path = "policies/access.html")]
struct AccessPage {
    shell: Shell,
    people: Vec<Asked>,
    query: Query,
    who: String,
    /// The token's title, where one is asked about.
    token: Option<String>,
    shown: Found,
}

#[derive(Debug, Template)]
#[template(path = "policies/access.html", block = "results")]
struct Results {
    shell: Shell,
    who: String,
    shown: Found,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) rows: Vec<Reached>,
    pub(super) choices: Vec<Choice>,
    /// How many tools there are, whatever was asked for.
    pub(super) all: usize,
    /// Where the next ones are; empty at the end.
    pub(super) next: String,
    /// What the names of paused servers' tools begin with.
    paused: Vec<String>,
    /// Why nobody calls anything here.
    pub(super) instead: String,
    /// The part of a name that was looked for.
    q: String,
    /// The same question, without it and of any answer.
    pub(super) afresh: String,
}

/// `GET …/policies/access`.
pub(super) async fn show(
    State(clock): State<Clock>,
    shell: Shell,
    can: Can<may::ViewPolicies>,
    hx: Hx,
    Form(query): Form<Query>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let everybody = people::list(&mut tx).await?;
    let token = asked_token(&mut tx, &can, &query).await?;
    let member = chosen(&everybody, &can, &query, token.as_ref()).ok_or_else(Problem::not_found)?;
    let who = member.name.clone();
    let asked = |one: &Membership| Asked { id: one.id, name: one.name.clone(), is_chosen: one.id == member.id };
    let people = everybody.iter().map(asked).collect();
    let scope = token.as_ref().map(|token| token.scope.clone()).unwrap_or_default();
    let page = shell.to("policies/access");
    let shown = found(tx, (member.clone(), scope), &query, (&page, clock.now())).await?;
    if hx.0 {
        return Ok(Page::new(Results { shell, who, shown }).into_response());
    }
    let token = token.map(|token| token.title);
    Ok(Page::new(AccessPage { shell, people, query, who, token, shown }).into_response())
}

async fn asked_token(
    tx: &mut TenantTx,
    can: &Can<may::ViewPolicies>,
    query: &Query,
) -> Result<Option<tokens::GatewayToken>, Problem> {
    if query.token.is_empty() {
        return Ok(None);
    }
    let id: TokenId = query.token.parse().map_err(|_| Problem::not_found())?;
    let token = tokens::find_gateway(tx, id).await?.ok_or_else(Problem::not_found)?;
    if token.user != can.actor().user() && !can.actor().role().allows(Permission::ViewTokens) {
        return Err(Problem::not_found());
    }
    Ok(Some(token))
}

/// The member asked about: the token's holder, the one named, or whoever asks.
fn chosen<'a>(
    people: &'a [Membership],
    can: &Can<may::ViewPolicies>,
    query: &Query,
    token: Option<&tokens::GatewayToken>,
) -> Option<&'a Membership> {
    if let Some(token) = token {
        return people.iter().find(|member| member.user == token.user);
    }
    if query.member.is_empty() {
        return people.iter().find(|member| member.user == can.actor().user());
    }
    let id: MembershipId = query.member.parse().ok()?;
    people.iter().find(|member| member.id == id)
}

/// What this member may call through a token of this scope. `page` is the address of the one that asks.
pub(super) async fn found(
    mut tx: TenantTx,
    (member, scope): (Membership, TokenScope),
    query: &Query,
    (page, now): (&str, DateTime<Utc>),
) -> Result<Found, Problem> {
    if !member.role.allows(Permission::CallTools) {
        let role = crate::console::role_name(member.role);
        let instead = format!("{} is {role} here, and that role calls no tools.", show::visible(&member.name));
        return Ok(Found { instead, ..Found::default() });
    }
    let present = worlds::present(&mut tx).await?;
    let servers = servers::list(&mut tx).await?;
    drop(tx);
    let paused = servers.iter().filter(|server| server.paused).map(|server| format!("{}__", server.settings.alias));
    let paused = paused.collect();
    let rows = match reach::of(present, Caller { member, scope }, now).await {
        Ok(rows) if query.only_listed => rows.into_iter().filter(|row| row.is_listed).collect(),
        Ok(rows) => rows,
        Err(PolicyError::NotCompiled(why)) => {
            let instead = format!("The policies do not fit today’s tools, so this can’t be said: {why}");
            return Ok(Found { instead, ..Found::default() });
        }
        Err(error) => return Err(error.into()),
    };
    let rows: Vec<Reached> =
        rows.into_iter().map(|row| Reached { name: exposed(&servers, &row.name), ..row }).collect();
    let all = rows.len();
    let wanted = query.q.to_lowercase();
    let rows: Vec<Reached> = rows.into_iter().filter(|row| row.name.to_lowercase().contains(&wanted)).collect();
    let choices = choices(page, query, &rows);
    let mut rows: Vec<Reached> =
        rows.into_iter().filter(|row| query.answer.is_empty() || short(row.answer) == query.answer).collect();
    let begin = rows.iter().position(|row| row.name == query.after).map_or(0, |place| place + 1);
    rows.drain(..begin);
    let is_more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let last = rows.last().filter(|_| is_more).map(|row| row.name.as_str());
    let next = last.map(|last| address(page, query, (&query.answer, last))).unwrap_or_default();
    let afresh = address(page, &Query { q: String::new(), ..query.clone() }, ("", ""));
    Ok(Found { rows, choices, all, next, paused, instead: String::new(), q: query.q.clone(), afresh })
}

/// The answers with how many tools have each; those that no tool has are left out.
fn choices(page: &str, query: &Query, rows: &[Reached]) -> Vec<Choice> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        *counts.entry(short(row.answer)).or_default() += 1;
    }
    let words = [
        ("", "All"),
        ("allow", "Allowed"),
        ("approval", "Needs approval"),
        ("depends", "Depends on the call"),
        ("deny", "Denied"),
    ];
    let choice = |(word, text): (&str, &str)| {
        let number = if word.is_empty() { rows.len() } else { counts.get(word).copied().unwrap_or_default() };
        let url = address(page, query, (word, ""));
        Choice { count: show::count(number), ..Choice::new(text, url, query.answer == word) }
    };
    let is_shown = |(word, _): &(&str, &str)| word.is_empty() || counts.contains_key(word) || query.answer == *word;
    words.into_iter().filter(is_shown).map(choice).collect()
}

/// The same question, of another answer or further on.
fn address(page: &str, query: &Query, (answer, after): (&str, &str)) -> String {
    let mut address = url::form_urlencoded::Serializer::new(String::new());
    let asked = [("member", &*query.member), ("token", &*query.token), ("q", &*query.q)];
    for (name, value) in asked.into_iter().chain([("answer", answer), ("after", after)]) {
        if !value.is_empty() {
            address.append_pair(name, value);
        }
    }
    format!("{page}?{}", address.finish())
}

/// An answer in the address.
const fn short(answer: Answer) -> &'static str {
    match answer {
        Answer::Denied => "deny",
        Answer::Asks => "approval",
        Answer::Depends => "depends",
        Answer::Allowed => "allow",
    }
}

/// A tool as policies name it.
pub(super) fn tool_name(server: &ServerKey, tool: &str) -> String {
    format!("{server}/{tool}")
}

/// A tool as agents see it, where policies name it `wiki/read`: everywhere in the console it is called so.
pub(super) fn exposed(servers: &[Server], name: &str) -> String {
    let Some((key, tool)) = name.split_once('/') else { return name.to_owned() };
    let alias = servers.iter().find(|server| server.key.as_str() == key).map(|server| server.settings.alias.as_str());
    format!("{}__{tool}", alias.unwrap_or(key))
}

impl Reached {
    /// The server's part of the name, and the tool's.
    pub(super) fn parts(&self) -> (&str, &str) {
        match self.name.split_once("__") {
            Some((alias, _)) => self.name.split_at(alias.len() + 2),
            None => ("", &self.name),
        }
    }

    /// What is said where no policy speaks.
    pub(super) fn unsaid(&self) -> &'static str {
        match self.code {
            code::OUTSIDE_TOKEN_SCOPE => "The token does not reach it",
            code::NOT_PERMITTED => "No policy allows it",
            code::POLICY_ERROR => "A policy fails, and so the call is denied",
            _ => "–",
        }
    }
}

impl Found {
    pub(super) fn all_said(&self) -> String {
        show::plural(self.all, "tool", "tools")
    }

    /// That nothing was found, and of what.
    pub(super) fn none_said(&self) -> String {
        match self.q.as_str() {
            "" => "No tool matches".to_owned(),
            wanted => format!("No tool matches {}", show::clip(&show::visible(wanted), 60)),
        }
    }

    pub(super) fn is_paused(&self, row: &Reached) -> bool {
        self.paused.iter().any(|prefix| prefix == row.parts().0)
    }
}
