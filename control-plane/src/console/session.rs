//! How long the browser is still signed in, for the page that warns of the end, and staying.

use axum::Router;
use axum::extract::Request;
use axum::routing::get;

use super::gate::SignedIn;

pub(super) fn routes() -> Router {
    Router::new().route("/session", get(left).post(left))
}

/// Whether a request only asks how long: that is no use of the session; to post is.
pub(super) fn only_asks(request: &Request) -> bool {
    request.method().is_safe() && request.uri().path() == "/session"
}

/// Whole seconds.
async fn left(signed: SignedIn) -> String {
    signed.seconds_left().to_string()
}
