//! A server's calls, tool by tool.

use askama::Template;
use axum::response::{IntoResponse, Response};
use domain::ServerId;
use store::audit::usage::OfTool;
use store::{TenantTx, audit};

use super::pages::Head;
use super::usage::{self, Usage};
use crate::access::{Can, may};
use crate::console::{Page, Shell};
use crate::input::At;
use crate::problem::Problem;

/// A tool's calls in a line.
#[derive(Debug)]
struct Used {
    tool: String,
    calls: u64,
    denied: u64,
    /// Parts in a hundred of the most that any tool has: of its calls, and of those that were denied.
    share: u64,
    denied_share: u64,
    activity: String,
}

#[derive(Debug, Template)]
#[template(path = "servers/calls.html")]
struct CallsPage {
    shell: Shell,
    head: Head,
    usage: Usage,
    used: Vec<Used>,
    activity: String,
}

/// A server's calls of the last day, tool by tool.
pub(super) async fn show(
    shell: Shell,
    can: Can<may::ViewServers>,
    At((_, id)): At<(String, ServerId)>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let (head, server) = Head::read(&mut tx, &shell, (id, "/calls")).await?;
    let (usage, used) = day(&mut tx, &shell, id).await?;
    let most = used.iter().map(|used| used.count).max().unwrap_or(1).max(1).unsigned_abs();
    let of_tool = |tool: &str| {
        let mut parameters = url::form_urlencoded::Serializer::new(String::new());
        parameters.append_pair("tool", tool);
        shell.to(&format!("activity?{}", parameters.finish()))
    };
    let used = used.into_iter().map(|used| Used {
        activity: of_tool(&used.tool),
        calls: used.count.unsigned_abs(),
        denied: (used.count - used.allowed).unsigned_abs(),
        share: used.count.unsigned_abs() * 100 / most,
        denied_share: (used.count - used.allowed).unsigned_abs() * 100 / most,
        tool: used.tool,
    });
    let (used, activity) = (used.collect(), of_tool(&format!("{}.*", server.settings.alias)));
    Ok(Page::new(CallsPage { head, usage, used, activity, shell: shell.clone() }).into_response())
}

async fn day(tx: &mut TenantTx, shell: &Shell, id: ServerId) -> Result<(Usage, Vec<OfTool>), store::Error> {
    let since = usage::since(shell.now);
    let mut usage = Usage::default();
    for row in audit::usage::by_server(tx, since, Some(id)).await? {
        usage.add(since, &row);
    }
    Ok((usage, audit::usage::by_tool(tx, id, since).await?))
}
