//! A call that policy denies, made on purpose, so that a person sees a denial before their agent meets one.
//!
//! It goes the way of every call: to the gateway's public address, with a token of the person, and onto the record. Nothing
//! may come of it if a policy is loosened in the same second, so four things must hold: every node has today's policies, these
//! policies deny the call, the tool needs arguments and gets none, and the token reaches this one tool and is revoked at once.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::principal::Reach;
use domain::snapshot::Prefix;
use domain::{Permission, Principal, Role, ServerId, TenantSnapshot, TokenId, TokenScope, TokenText, ToolId};
use policy::{CallContext, Effect, World};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use service::Drain;
use store::{PgPool, TenantTx, people, published};
use tokio::sync::oneshot;
use tokio::time::Instant;
use url::Url;

use super::Needs;
use crate::access::{Can, may};
use crate::problem::Problem;
use crate::publish::snapshot;
use crate::recorded::Author;
use crate::tokens::actions::{self as tokens, Wanted};

/// How long the nodes get to learn of the token.
const TOKEN_WITHIN: Duration = Duration::from_secs(5);
/// Time between two tries.
const TURN: Duration = Duration::from_millis(200);
/// Longest wait for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Most bytes of an answer that are read.
const ANSWER_MAX: usize = 64 * 1024;
/// The protocol version the call is made in.
const VERSION: &str = "2026-07-28";

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tried {
    /// It was denied, and this is what a model reads.
    Blocked { tool: String, says: String },
    /// There is nothing to try it with; why.
    Not(&'static str),
}

/// A tool whose calls policy denies, and that does nothing without arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Deniable {
    id: ToolId,
    server: ServerId,
    name: String,
}

/// Looks for a tool that is denied, calls it, and says what came back.
pub(super) async fn attempt(needs: &Needs, can: &Can<may::CallTools>) -> Result<Tried, Problem> {
    can.also(Permission::OwnTokens)?;
    let author = can.author(&needs.clock);
    let mut tx = can.begin().await?;
    let status = published::status(&mut tx).await?;
    let Some(publication) = status.published.filter(|published| published.revision == status.revision) else {
        return Ok(Tried::Not("Your last change is not live yet. Try again in a moment."));
    };
    let snapshot = snapshot::build(&mut tx, can.actor().slug().clone(), publication.epoch).await?;
    let member = people::find_user(&mut tx, can.actor().user()).await?.ok_or_else(Problem::not_found)?;
    let principal = Principal {
        tenant: can.actor().tenant(),
        user: member.user,
        token: TokenId::new(&needs.clock),
        role: member.role,
        groups: member.groups,
        scope: TokenScope::default(),
        issued_at: needs.clock.now(),
        expires_at: needs.clock.now() + chrono::Duration::days(1),
    };
    let reach = needs.live.publication(can.actor().tenant(), &publication).await;
    if !reach.is_ok_and(|reach| reach.of > 0 && reach.live == reach.of) {
        return Ok(Tried::Not("Not every node has your last change yet. Try again in a moment."));
    }
    let now = needs.clock.now();
    let found = tokio::task::spawn_blocking(move || deniable(&snapshot, &principal, now)).await.ok().flatten();
    let Some(tool) = found else {
        return Ok(Tried::Not(
            "Every tool that could safely be tried is allowed to you, so there is nothing to block. Choose a stricter policy first.",
        ));
    };
    let scope = TokenScope {
        servers: Reach::Only(BTreeSet::from([tool.server])),
        tools: Reach::Only(BTreeSet::from([tool.id])),
    };
    let (by, endpoint) = (can.actor().role(), needs.endpoint(can.actor().slug()));
    let brief = Brief { pool: needs.access.pool.clone(), author, by, scope };
    let name = tool.name.clone();
    let called = brief.run(&needs.drain, tx, move |token| async move { call(&endpoint, token.expose(), &name).await });
    Ok(called.await?.map_or_else(Tried::Not, |says| Tried::Blocked { tool: tool.name, says }))
}

/// A token for as long as one call takes.
struct Brief {
    pool: PgPool,
    author: Author,
    /// The role of whoever tries.
    by: Role,
    scope: TokenScope,
}

impl Brief {
    /// Issues the token, calls with it and revokes it, as one task: a browser that goes away meanwhile, which drops what
    /// waits here, leaves no token behind that is good.
    async fn run<C, T>(
        self,
        drain: &Drain,
        tx: TenantTx,
        call: impl FnOnce(TokenText) -> C + Send + 'static,
    ) -> Result<T, Problem>
    where
        C: Future<Output = T> + Send,
        T: Send + 'static,
    {
        let (send, called) = oneshot::channel();
        drain.spawn(async move {
            if let Err(Err(problem)) = send.send(self.used(tx, call).await) {
                tracing::warn!(?problem, "a call that was to be blocked failed, and nobody waits for it");
            }
        });
        called.await.map_err(|_| Problem::internal())?
    }

    async fn used<C: Future>(self, mut tx: TenantTx, call: impl FnOnce(TokenText) -> C) -> Result<C::Output, Problem> {
        let tenant = tx.tenant();
        let wanted = Wanted { member: None, title: "Try a blocked call".to_owned(), days: 1 };
        let (token, text) = tokens::issue_gateway(&mut tx, &self.author, self.by, wanted, self.scope).await?;
        tx.commit().await?;
        let called = call(text).await;
        let mut tx = TenantTx::begin(&self.pool, tenant).await?;
        tokens::revoke_gateway(&mut tx, &self.author, self.by, token.id).await?;
        tx.commit().await?;
        Ok(called)
    }
}

/// The first tool whose calls are denied; one whose denial says why comes before others.
fn deniable(snapshot: &TenantSnapshot, principal: &Principal, now: chrono::DateTime<chrono::Utc>) -> Option<Deniable> {
    let world = World::new(snapshot).ok()?;
    let caller = world.caller(principal);
    let nothing = RawValue::from_string("{}".to_owned()).ok()?;
    let context = CallContext { now, ip: None, client_name: None, client_version: None, seen_labels: None };
    let tools = snapshot.servers.iter().flat_map(|server| server.tools.iter().map(move |tool| (server, tool)));
    let names = names(snapshot);
    let mut found: Vec<(bool, Deniable)> = Vec::new();
    for ((server, tool), name) in tools.zip(names) {
        // A tool that shares its name with another is not offered.
        let Ok(name) = name else { continue };
        let decision = caller.decide(tool.id, &context, &nothing);
        if decision.effect != Effect::Allow && needs_arguments(&tool.definition) && !server.paused {
            found.push((!decision.visible, Deniable { id: tool.id, server: server.id, name }));
        }
    }
    found.sort_by_key(|(is_hidden, _)| *is_hidden);
    found.into_iter().next().map(|(_, tool)| tool)
}

/// What clients call each tool, in the snapshot's order.
fn names(snapshot: &TenantSnapshot) -> Vec<Result<String, mcp::name::Collision>> {
    let prefix = match snapshot.prefix {
        Prefix::Always => mcp::name::Prefix::Always,
        Prefix::OnConflict => mcp::name::Prefix::OnConflict,
        Prefix::None => mcp::name::Prefix::None,
    };
    let tools = snapshot.servers.iter().flat_map(|server| server.tools.iter().map(move |tool| (server, tool)));
    let named = tools.map(|(server, tool)| mcp::name::Named { alias: server.alias.as_str(), tool: &tool.name });
    mcp::name::expose(prefix, &named.collect::<Vec<_>>(), &secrets::sha256)
}

#[derive(Debug, Deserialize)]
struct Definition {
    #[serde(rename = "inputSchema")]
    input_schema: Schema,
}

#[derive(Debug, Deserialize)]
struct Schema {
    #[serde(default)]
    required: Vec<String>,
}

fn needs_arguments(definition: &RawValue) -> bool {
    serde_json::from_str::<Definition>(definition.get())
        .is_ok_and(|definition| !definition.input_schema.required.is_empty())
}

/// Calls a tool through the gateway, without arguments; gives what a model would read of the denial.
async fn call(endpoint: &Url, token: &str, tool: &str) -> Result<String, &'static str> {
    const AWAY: &str = "The gateway did not answer. Nothing was called.";
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(ANSWER_WITHIN).build();
    let client = client.map_err(|_| AWAY)?;
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "sluice-console", "version": env!("CARGO_PKG_VERSION")}}}})
        .to_string();
    let until = Instant::now() + TOKEN_WITHIN;
    loop {
        let request = client
            .post(endpoint.clone())
            .bearer_auth(token)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", VERSION)
            .header("mcp-method", "tools/call")
            .header("mcp-name", tool)
            .body(body.clone());
        let response = request.send().await.map_err(|error| {
            tracing::warn!(error = %crate::problem::causes(&error), "the gateway's own address can't be reached");
            AWAY
        })?;
        if response.status() == StatusCode::UNAUTHORIZED && Instant::now() < until {
            tokio::time::sleep(TURN).await;
            continue;
        }
        let text = read(response).await.ok_or(AWAY)?;
        return denial(&text)
            .ok_or("The gateway answered, but not with a denial. Look at Activity to see what it did.");
    }
}

async fn read(mut response: reqwest::Response) -> Option<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if bytes.len() + chunk.len() > ANSWER_MAX {
            return None;
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).ok()
}

/// What a model reads of a denial: the result's text, or the error's message.
fn denial(answer: &str) -> Option<String> {
    // An answer may be one message, or an event stream whose last event holds it.
    let last = answer.lines().rev().find_map(|line| line.strip_prefix("data:")).unwrap_or(answer);
    let message: Value = serde_json::from_str(last).ok()?;
    if let Some(said) = message.pointer("/error/message").and_then(Value::as_str) {
        return Some(said.to_owned());
    }
    let result = message.get("result").filter(|result| result["isError"] == true)?;
    let texts: Vec<&str> = result["content"].as_array()?.iter().filter_map(|block| block["text"].as_str()).collect();
    Some(texts.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_is_read_as_a_model_reads_it_and_a_success_is_none() {
        let denied = r#"{"jsonrpc":"2.0","id":1,"result":{"isError":true,"content":[{"type":"text","text":"Denied by policy."}]}}"#;
        assert_eq!(denial(denied).as_deref(), Some("Denied by policy."));
        assert_eq!(denial(&format!("event: message\ndata: {denied}\n\n")).as_deref(), Some("Denied by policy."));
        let unknown = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool"}}"#;
        assert_eq!(denial(unknown).as_deref(), Some("Unknown tool"));
        assert_eq!(denial(r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}}"#), None);
        assert_eq!(denial("bad gateway"), None);
    }

    #[test]
    fn only_a_tool_that_does_nothing_without_arguments_is_tried() {
        let is_tried = |schema: &str| {
            let text = format!(r#"{{"name":"x","inputSchema":{schema}}}"#);
            needs_arguments(&RawValue::from_string(text).unwrap())
        };
        assert!(is_tried(r#"{"type":"object","required":["name"]}"#));
        assert!(!is_tried(r#"{"type":"object","required":[]}"#));
        assert!(!is_tried(r#"{"type":"object"}"#));
    }
    /// A workspace with an owner.
    async fn workspace(pool: &PgPool, clock: &domain::Clock) -> (domain::TenantId, Author) {
        let tenant = domain::TenantId::new(clock);
        let mut platform = store::PlatformTx::begin(pool).await.unwrap();
        let new = domain::UserId::new(clock);
        let user = people::find_or_add_user(&mut platform, "a@example.com", new, clock.now()).await.unwrap();
        store::tenants::add(&mut platform, tenant, &"acme".parse().unwrap(), user, clock.now()).await.unwrap();
        let mut tx = platform.into_tenant(tenant).await.unwrap();
        let settings = store::tenants::Settings { title: "Acme".to_owned(), blind_max_s: 60, prefix: Prefix::Always };
        store::tenants::add_settings(&mut tx, &settings).await.unwrap();
        let owner = people::Membership {
            id: domain::MembershipId::new(clock),
            user,
            name: "Ada".to_owned(),
            role: Role::Owner,
            groups: BTreeSet::new(),
            created_at: clock.now(),
        };
        people::add(&mut tx, &owner).await.unwrap();
        tx.commit().await.unwrap();
        let actor = crate::ingest::change::Actor::System;
        (tenant, Author { user, actor, clock: clock.clone() })
    }

    #[sqlx::test(migrator = "store::MIGRATOR")]
    async fn the_token_is_revoked_though_the_browser_goes_away_during_the_call(pool: PgPool) {
        let (clock, drain) = (service::clock(), Drain::new());
        let (tenant, author) = workspace(&pool, &clock).await;
        let tx = TenantTx::begin(&pool, tenant).await.unwrap();
        let brief = Brief { pool: pool.clone(), author, by: Role::Owner, scope: TokenScope::default() };
        let (begin, begun) = oneshot::channel();
        let (answer, answered) = oneshot::channel::<()>();
        let call = move |_| async move {
            begin.send(()).unwrap();
            let _ = answered.await;
        };
        tokio::select! {
            _ = brief.run(&drain, tx, call) => panic!("the call is not over"),
            begun = begun => begun.unwrap(),
        }
        let mut tx = TenantTx::begin(&pool, tenant).await.unwrap();
        let is_revoked = async |tx: &mut TenantTx| -> Vec<bool> {
            let tokens = store::tokens::list_gateway(tx).await.unwrap();
            tokens.iter().map(|token| token.revoked_at.is_some()).collect()
        };
        assert_eq!(is_revoked(&mut tx).await, [false]);
        answer.send(()).unwrap();
        drain.finish(Duration::from_secs(30)).await.unwrap();
        assert_eq!(is_revoked(&mut tx).await, [true]);
    }
}
