//! The console's frame: what every page shares. Pages themselves stand in their features' `pages.rs`, over the same
//! `actions` as the API.
//!
//! A request passes, from outside in: [`answers`] (headers, problems as pages, flash), [`gate`] (who is signed in, whether
//! one of our own pages sent this), then the page.

mod answers;
pub(crate) mod assets;
pub(crate) mod chart;
#[cfg(debug_assertions)]
mod component_rows;
#[cfg(debug_assertions)]
mod components;
mod cookie;
mod gate;
mod home;
mod merge;
pub(crate) mod page;
mod palette;
mod refused;
mod session;
mod shell;
pub(crate) mod show;
mod site;
mod zone;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::middleware::{from_fn_with_state, map_response};
use axum::routing::get;

pub(crate) use answers::bare;
pub(crate) use gate::{SignedIn, Visitor};
pub(crate) use merge::{Conflict, Field};
pub(crate) use page::{Done, Hx, Page};
pub(crate) use shell::{Choice, Faults, Shell, role_name};
pub use site::{Site, SiteError};
pub(crate) use zone::{Present, Zone};

use crate::access::Access;
use crate::input::BODY_MAX_BYTES;
use crate::problem::Problem;

/// What the frame needs.
#[derive(Debug, Clone, FromRef)]
pub(crate) struct Needs {
    pub(crate) access: Access,
    pub(crate) site: Site,
}

/// All of the console: `open` pages are for everybody, `pages` for whoever is signed in.
pub(crate) fn routes(needs: Needs, open: Router, pages: Router) -> Router {
    let pages = pages
        .merge(home::routes(needs.clone()))
        .merge(palette::routes(needs.clone()))
        .merge(session::routes())
        .layer(from_fn_with_state(needs.clone(), refused::explain))
        .layer(axum::middleware::from_fn(gate::signed_in_only));
    let all = Router::new().merge(open).merge(pages);
    #[cfg(debug_assertions)]
    let all = all.merge(components::routes());
    all.fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::not_found())
        .layer(from_fn_with_state(needs.clone(), gate::pass))
        .layer(from_fn_with_state(needs, answers::finish))
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .merge(Router::new().route("/assets/{file}", get(assets::get)).layer(map_response(bare)))
}
