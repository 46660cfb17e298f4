//! Where one arrives: the first workspace, or the choice of one, or the making of one.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::routing::get;

use super::shell::in_workspace;
use super::{Done, Needs, Page, SignedIn};

pub(super) fn routes(needs: Needs) -> Router {
    Router::new().route("/", get(enter)).route("/workspaces", get(workspaces)).with_state(needs)
}

/// `GET /`: into the only workspace, or to the choice.
async fn enter(signed: SignedIn) -> Done {
    match signed.workspaces() {
        [only] => Done::to(in_workspace(only, "")),
        [] => Done::to("/workspaces/new"),
        _ => Done::to("/workspaces"),
    }
}

#[derive(Template)]
#[template(path = "workspaces.html")]
struct Workspaces {
    signed: SignedIn,
}

async fn workspaces(State(_): State<Needs>, signed: SignedIn) -> Page<Workspaces> {
    Page::new(Workspaces { signed })
}
