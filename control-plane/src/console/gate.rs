//! Who is at the door: the session of the cookie, and whether one of our own pages sent the request.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use chrono::{DateTime, Utc};
use domain::{Secret, SessionId, UserId};
use store::accounts::{self, Workspace};
use store::sessions::{self, Session};
use store::{Error, PlatformTx};

use super::{Needs, answers, cookie};
use crate::input::{BODY_MAX_BYTES, too_large, too_slow};
use crate::login;
use crate::problem::Problem;

/// What `sluice.js` adds to requests that a page repeats by itself.
const POLL_HEADER: &str = "x-poll";

/// Longest wait for the whole of a form.
const FORM_TIMEOUT: Duration = Duration::from_secs(20);

/// A browser that is signed in, and what its person may enter. Put into requests by the gate and by nothing else.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    session: Session,
    email: String,
    csrf: String,
    workspaces: Vec<Workspace>,
    now: DateTime<Utc>,
    flash: Option<String>,
    shown_key: Secret<[u8; 32]>,
}

impl SignedIn {
    /// The person.
    pub(crate) const fn user(&self) -> UserId {
        self.session.user
    }

    /// The session.
    pub(crate) const fn session(&self) -> SessionId {
        self.session.id
    }

    /// The person's e-mail address.
    pub(crate) fn email(&self) -> &str {
        &self.email
    }

    /// What forms of this session carry.
    pub(crate) fn csrf(&self) -> &str {
        &self.csrf
    }

    /// When they asked.
    pub(crate) const fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// What the last page did, to be said once.
    pub(crate) fn flash(&self) -> Option<&str> {
        self.flash.as_deref()
    }

    /// Seals what this browser alone is to be shown: it follows from the cookie, and is kept nowhere.
    pub(crate) const fn shown_key(&self) -> &Secret<[u8; 32]> {
        &self.shown_key
    }

    /// How long the session lasts if nothing more is done, in whole seconds.
    pub(crate) fn seconds_left(&self) -> i64 {
        let ends_at = self.session.ends_at.min(self.session.seen_at + login::IDLE);
        (ends_at - self.now).num_seconds().max(0)
    }

    /// Whether it ends then whatever is done.
    pub(crate) fn ends_for_good(&self) -> bool {
        self.session.ends_at <= self.session.seen_at + login::IDLE
    }

    /// The workspaces they are a member of, by name.
    pub(crate) fn workspaces(&self) -> &[Workspace] {
        &self.workspaces
    }

    /// One of them.
    pub(crate) fn workspace(&self, slug: &str) -> Option<&Workspace> {
        self.workspaces.iter().find(|workspace| workspace.slug.as_str() == slug)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(not_signed_in)
    }
}

/// Whoever asks, signed in or not: where from, and with which browser.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    /// The address the request came from.
    pub(crate) address: IpAddr,
    /// What the browser says it is, at most 200 characters.
    pub(crate) agent: String,
    /// Who is signed in.
    pub(crate) signed_in: Option<SignedIn>,
}

impl Visitor {
    /// What forms carry; nothing where nobody is signed in.
    pub(crate) fn csrf(&self) -> &str {
        self.signed_in.as_ref().map_or("", SignedIn::csrf)
    }
}

/// Where a request came from, as the gate found.
#[derive(Debug, Clone, Copy)]
struct Address(IpAddr);

/// Of a request that came over no connection: in tests.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Longest name of a browser that is kept, characters.
const AGENT_MAX: usize = 200;

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let address = parts.extensions.get::<Address>().map_or(UNKNOWN, |address| address.0);
        let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(Self {
            address,
            agent: agent.chars().filter(|char| !char.is_control()).take(AGENT_MAX).collect(),
            signed_in: parts.extensions.get::<SignedIn>().cloned(),
        })
    }
}

/// Lets a request through with whoever is signed in, and refuses what no page of ours sent.
pub(super) async fn pass(State(needs): State<Needs>, request: Request, next: Next) -> Result<Response, Problem> {
    let authority = request.uri().authority().map(axum::http::uri::Authority::as_str);
    if !needs.site.is_meant(authority, request.headers()) {
        return Err(misdirected());
    }
    let is_unsafe = !request.method().is_safe();
    if is_unsafe && !needs.site.is_own_request(request.headers()) {
        return Err(not_ours());
    }
    let signed = find(&needs, request.headers(), is_by_person(&request)).await?;
    let mut request = match &signed {
        Some(signed) if is_unsafe => with_our_token(request, signed.csrf()).await?,
        _ => request,
    };
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map_or(UNKNOWN, |peer| peer.0.ip());
    let address = Address(needs.site.address(peer, request.headers()));
    request.extensions_mut().insert(address);
    if let Some(signed) = signed {
        request.extensions_mut().insert(signed);
    }
    Ok(next.run(request).await)
}

/// Lets nobody through who is not signed in.
pub(super) async fn signed_in_only(request: Request, next: Next) -> Result<Response, Problem> {
    if request.extensions().get::<SignedIn>().is_none() {
        return Err(not_signed_in());
    }
    Ok(next.run(request).await)
}

fn not_signed_in() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "signed-out", "You are not signed in")
}

fn misdirected() -> Problem {
    Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", "This console is for its own machine")
        .detail("Set SLUICE_PUBLIC_URL to the https address it is to be reached at.")
}

fn not_ours() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "not-from-here", "This did not come from a page of Sluice")
        .detail("Nothing was changed. Open the page again and repeat what you did there.")
}

/// The session of the request's cookie, with its person and their workspaces as they are at this moment.
async fn find(needs: &Needs, headers: &HeaderMap, by_person: bool) -> Result<Option<SignedIn>, Error> {
    let Some(secret) = cookie::find(headers, needs.site.session_cookie()) else { return Ok(None) };
    let now = needs.access.clock.now();
    let mut tx = PlatformTx::begin(&needs.access.pool).await?;
    let found = sessions::find(&mut tx, secrets::sha256(secret.as_bytes()), now, now - login::IDLE).await?;
    let Some(mut session) = found else { return Ok(None) };
    let Some(account) = accounts::find_user(&mut tx, session.user).await? else { return Ok(None) };
    let workspaces = accounts::list_workspaces(&mut tx, session.user).await?;
    if by_person && now - session.seen_at >= login::SEEN_EVERY {
        session.seen_at = now;
        sessions::seen(&mut tx, session.id, now).await?;
        tx.commit().await?;
    }
    let flash = answers::flash(&needs.site, headers);
    let shown_key = Secret::new(secrets::sha256(format!("sluice shown once {secret}").as_bytes()));
    Ok(Some(SignedIn { session, email: account.email, csrf: csrf(secret), workspaces, now, flash, shown_key }))
}

/// Whether a person asks, rather than a page that looks by itself whether something is new: that one would keep a browser
/// signed in for days that nobody sits at.
fn is_by_person(request: &Request) -> bool {
    let is_poll = request.headers().contains_key(POLL_HEADER);
    !is_poll && !super::session::only_asks(request)
}

/// What a session's forms carry: nobody knows it who does not know the cookie, and it tells nothing of the cookie.
fn csrf(secret: &str) -> String {
    hex::encode(secrets::sha256(format!("sluice csrf {secret}").as_bytes()))
}

/// Refuses a request without the session's token: in its header, or in the form.
async fn with_our_token(request: Request, token: &str) -> Result<Request, Problem> {
    if let Some(sent) = request.headers().get("x-csrf-token") {
        return if secrets::equal(sent.as_bytes(), token.as_bytes()) { Ok(request) } else { Err(stale()) };
    }
    let (parts, body) = request.into_parts();
    let read = tokio::time::timeout(FORM_TIMEOUT, axum::body::to_bytes(body, BODY_MAX_BYTES)).await;
    let bytes: Bytes = read.map_err(|_| too_slow())?.map_err(|_| too_large(StatusCode::PAYLOAD_TOO_LARGE))?;
    let sent = url::form_urlencoded::parse(&bytes).find(|(name, _)| name == "_csrf");
    if !sent.is_some_and(|(_, sent)| secrets::equal(sent.as_bytes(), token.as_bytes())) {
        return Err(stale());
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

fn stale() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "stale-page", "This page is from before you signed in")
        .detail("Nothing was changed. Open the page again and repeat what you did there.")
}
