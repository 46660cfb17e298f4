//! The versions of what a server offers.

use askama::Template;
use axum::response::{IntoResponse, Response};
use domain::ServerId;
use store::servers;

use super::pages::Head;
use crate::access::{Can, may};
use crate::console::{Page, Shell};
use crate::input::At;
use crate::problem::Problem;

/// A version in a line.
#[derive(Debug)]
struct Past {
    url: String,
    version: servers::Version,
    is_live: bool,
    found_by: String,
}

#[derive(Debug, Template)]
#[template(path = "servers/versions.html")]
struct VersionsPage {
    shell: Shell,
    head: Head,
    versions: Vec<Past>,
}

/// What was found at each look that found something else, newest first.
pub(super) async fn show(
    shell: Shell,
    can: Can<may::ViewServers>,
    At((_, id)): At<(String, ServerId)>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let (head, server) = Head::read(&mut tx, &shell, (id, "/versions")).await?;
    let versions = servers::list_versions(&mut tx, id).await?;
    drop(tx);
    let people: Vec<_> = versions.iter().filter_map(|version| version.found_by).collect();
    let emails = can.emails(&people).await?;
    let past = versions.into_iter().map(|version| Past {
        url: head.to(&shell, &format!("/versions/{}", version.id)),
        is_live: Some(version.id) == server.version,
        found_by: version.found_by.map_or_else(
            || "Sluice".to_owned(),
            |user| emails.get(&user).cloned().unwrap_or_else(|| "Somebody who left".to_owned()),
        ),
        version,
    });
    let versions = past.collect();
    Ok(Page::new(VersionsPage { shell, head, versions }).into_response())
}
