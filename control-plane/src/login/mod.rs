//! Accounts and signing in: sign-up, sign-in, sessions, forgotten passwords, and the person's own account.

mod account_pages;
mod actions;
mod invited;
mod links;
mod mail;
mod noted;
mod pages;
mod password;
mod sign_up_pages;
mod throttle;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, post};
use chrono::Duration;
use secrets::MasterKey;
use url::Url;

pub use actions::give_password;
pub(crate) use invited::{Invited, may_mail, send_invitation};
pub(crate) use mail::Letter;
pub use mail::{Mail, MailError};
pub use password::Passwords;

use crate::access::Access;
use crate::console::Site;

/// How long a session lasts that is not used.
pub(crate) const IDLE: Duration = Duration::hours(12);
/// How long a session lasts at most.
pub(crate) const LASTS: Duration = Duration::days(7);
/// How exactly it is known when a session was last used.
pub(crate) const SEEN_EVERY: Duration = Duration::minutes(1);
/// How long a link to sign up is good.
pub(crate) const SIGN_UP_WITHIN: Duration = Duration::hours(24);
/// How long a link to choose a password, or to take an address, is good.
pub(crate) const RESET_WITHIN: Duration = Duration::hours(1);

/// What this feature needs.
#[derive(Debug, Clone, FromRef)]
pub(crate) struct Needs {
    pub(crate) access: Access,
    pub(crate) site: Site,
    pub(crate) master: Arc<MasterKey>,
    pub(crate) passwords: Passwords,
    pub(crate) mail: Mail,
    /// Where clients reach the data plane.
    pub(crate) gateway_url: Arc<Url>,
    /// How many tenants a person may make.
    pub(crate) tenants_per_person: u32,
}

impl Needs {
    /// What stands before a workspace's slug in its gateway's address, as people read it: `mcp.example.com/`.
    fn before_slug(&self) -> String {
        let shown = self.gateway_url.as_str();
        shown.split_once("://").map_or(shown, |(_, rest)| rest).to_owned()
    }
}

/// Pages for everybody.
pub(crate) fn open_routes(needs: Needs) -> Router {
    Router::new()
        .route("/sign-in", get(pages::sign_in).post(pages::do_sign_in))
        .route("/sign-out", post(pages::sign_out))
        .route("/sign-up", get(sign_up_pages::ask).post(sign_up_pages::do_ask))
        .route("/sign-up/{token}", get(sign_up_pages::confirm).post(sign_up_pages::do_confirm))
        .route("/invitations/{token}", get(invited::show).post(invited::accept))
        .route("/forgot", get(pages::forgot).post(pages::do_forgot))
        .route("/reset/{token}", get(pages::reset).post(pages::do_reset))
        .with_state(needs)
}

/// Pages for whoever is signed in.
pub(crate) fn routes(needs: Needs) -> Router {
    Router::new()
        .route("/account", get(account_pages::account))
        .route("/account/password", post(account_pages::change_password))
        .route("/account/email", post(account_pages::change_email))
        .route("/account/email/{token}", get(account_pages::confirm_email).post(account_pages::do_confirm_email))
        .route("/account/sessions/{session}/end", post(account_pages::end_session))
        .route("/account/sessions/end-others", post(account_pages::end_others))
        .route("/workspaces/new", get(sign_up_pages::new_workspace).post(sign_up_pages::do_new_workspace))
        .with_state(needs)
}
