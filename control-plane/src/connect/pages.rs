//! The pages of connecting a client.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Duration, Utc};
use domain::{Clock, TokenId, TokenScope};
use serde::Deserialize;
use store::{policies, tokens, tools};

use super::Needs;
use super::blocked::{self, Tried};
use super::card::{self, Heard};
use super::setup::{Client, Setup};
use crate::access::{Can, may};
use crate::console::{Choice, Done, Hx, Page, Shell, show};
use crate::input::{At, Form};
use crate::policies::live_pages::{self, LiveView};
use crate::problem::Problem;
use crate::tokens::actions::{self, Wanted};
use crate::tokens::issued_pages::{Opened, taken};

/// For how long a token that is issued here is good, days.
const DAYS: u32 = 90;
/// How far back the page looks when it is opened: somebody may just have connected.
const LOOKS_BACK: Duration = Duration::minutes(10);
/// For how long it listens; then somebody has to ask again.
const LISTENS: Duration = Duration::minutes(30);

#[derive(Debug, Template)]
#[template(path = "connect/index.html")]
struct ConnectPage {
    shell: Shell,
    tabs: Vec<Choice>,
    client: Client,
    setup: Setup,
    /// The other clients' setups, on the one page that shows the token.
    others: Vec<Setup>,
    endpoint: String,
    /// A token just issued: it is on this page and on no other.
    secret: Option<String>,
    /// The mark of the form that issues one.
    form: String,
    ready: Ready,
    live: LiveCard,
    tried: Option<Tried>,
}

/// What is there to be called.
#[derive(Debug, Clone, Copy, Default)]
struct Ready {
    tools: usize,
    policies: usize,
    /// The person's tokens that are good.
    tokens: usize,
}

/// The part that listens.
#[derive(Debug, Template)]
#[template(path = "connect/index.html", block = "listener")]
struct Listener {
    shell: Shell,
    live: LiveCard,
}

/// The part that says what came of a call that was to be blocked.
#[derive(Debug, Template)]
#[template(path = "connect/index.html", block = "blocked")]
struct Blocked {
    shell: Shell,
    tried: Option<Tried>,
}

#[derive(Debug, Clone)]
struct LiveCard {
    heard: Heard,
    /// The names of the policies in force.
    policies: Vec<String>,
    /// How far they have come.
    reach: LiveView,
    /// Where the part is asked for again.
    url: String,
    /// The same page, asked for without a script.
    page: String,
    /// The page, listening for what comes from now on.
    afresh: String,
    is_listening: bool,
    /// Whether the call came since the page was opened.
    has_arrived: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Query {
    #[serde(default)]
    client: String,
    /// Listens for calls from this time on.
    #[serde(default)]
    since: String,
    /// When the page was opened: what comes later has arrived meanwhile.
    #[serde(default)]
    opened: String,
    /// The mark of the form that was sent.
    #[serde(default)]
    form: String,
}

impl Query {
    fn since(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let asked = self.since.parse::<DateTime<Utc>>().ok();
        // Nobody listens for what was longer ago: that is what Activity is for.
        asked.filter(|since| (now - Duration::days(1)..=now).contains(since)).unwrap_or(now - LOOKS_BACK)
    }

    fn opened(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.opened.parse::<DateTime<Utc>>().ok().filter(|opened| *opened <= now).unwrap_or(now)
    }
}

/// `GET /w/{tenant}/connect`.
pub(super) async fn show(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::CallTools>,
    Form(query): Form<Query>,
) -> Result<Response, Problem> {
    Ok(Page::new(page(&needs, shell, &can, &query).await?).into_response())
}

/// `POST /w/{tenant}/connect/token`: issues the person's own token, once for each form, and goes on to where it is shown.
pub(super) async fn issue(
    State(clock): State<Clock>,
    shell: Shell,
    can: Can<may::CallTools>,
    Form(query): Form<Query>,
) -> Result<Response, Problem> {
    can.also(domain::Permission::OwnTokens)?;
    let client = Client::find(&query.client);
    let opened = Opened::of(&shell.signed, &query.form);
    let mut tx = can.begin().await?;
    let before = opened.issued(&mut tx, clock.now()).await?;
    let id = if let Some(before) = before {
        before
    } else {
        let wanted = Wanted { member: None, title: client.title().to_owned(), days: DAYS };
        let (author, by) = (can.author(&clock), can.actor().role());
        let (token, text) = actions::issue_gateway(&mut tx, &author, by, wanted, TokenScope::default()).await?;
        opened.keep(&mut tx, token.id, text.expose()).await?;
        token.id
    };
    tx.commit().await?;
    Ok(Done::to(shell.to(&format!("connect/issued/{id}?client={}", client.as_str()))).into_response())
}

/// `GET /w/{tenant}/connect/issued/{token}`: the only page that shows a token that was just issued.
pub(super) async fn issued(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::CallTools>,
    At((_, id)): At<(String, TokenId)>,
    Form(query): Form<Query>,
) -> Result<Response, Problem> {
    let client = Client::find(&query.client);
    // The page first: a token that is taken and can't be shown is lost.
    let mut page = page(&needs, shell, &can, &query).await?;
    let mut tx = can.begin().await?;
    let Some(secret) = taken(&mut tx, &page.shell.signed, id, can.now()).await? else {
        let back = page.shell.to(&format!("connect?client={}", client.as_str()));
        let said = "A token is shown once only. Revoke it and issue another if it is lost.";
        return Ok(Done::to(back).saying(said).into_response());
    };
    tx.commit().await?;
    let of = |client| Setup::new(client, &page.endpoint, Some(&secret));
    let others = Client::ALL.into_iter().filter(|other| *other != client).map(of).collect();
    page.setup = of(client);
    page.others = others;
    page.secret = Some(secret);
    Ok(Page::new(page).into_response())
}

/// `GET /w/{tenant}/connect/calls`: the listening part, for htmx; anybody else gets the page.
pub(super) async fn listen(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::CallTools>,
    hx: Hx,
    Form(query): Form<Query>,
) -> Result<Response, Problem> {
    if !hx.0 {
        return show(State(needs), shell, can, Form(query)).await;
    }
    let live = live(&needs, &shell, &can, &query).await?;
    Ok(Page::new(Listener { shell, live }).into_response())
}

/// `POST /w/{tenant}/connect/blocked`.
pub(super) async fn try_blocked(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::CallTools>,
    hx: Hx,
    Form(query): Form<Query>,
) -> Result<Response, Problem> {
    let tried = Some(blocked::attempt(&needs, &can).await?);
    if hx.0 {
        return Ok(Page::new(Blocked { shell, tried }).into_response());
    }
    let mut page = page(&needs, shell, &can, &query).await?;
    page.tried = tried;
    Ok(Page::new(page).into_response())
}

async fn page(needs: &Needs, shell: Shell, can: &Can<may::CallTools>, query: &Query) -> Result<ConnectPage, Problem> {
    let client = Client::find(&query.client);
    let endpoint = needs.endpoint(can.actor().slug()).to_string();
    let live = live(needs, &shell, can, query).await?;
    let url = |client: Client| shell.to(&format!("connect?client={}", client.as_str()));
    let tabs = Client::ALL.into_iter().map(|other| Choice::new(other.short(), url(other), other == client)).collect();
    let ready = ready(can, shell.now).await?;
    let setup = Setup::new(client, &endpoint, None);
    let form = Opened::mark();
    Ok(ConnectPage {
        shell,
        tabs,
        client,
        setup,
        others: Vec::new(),
        endpoint,
        secret: None,
        form,
        ready,
        live,
        tried: None,
    })
}

async fn ready(can: &Can<may::CallTools>, now: DateTime<Utc>) -> Result<Ready, Problem> {
    let mut tx = can.begin().await?;
    let held = tokens::list_gateway_of(&mut tx, can.actor().user()).await?;
    let good = held.iter().filter(|token| token.revoked_at.is_none() && token.expires_at > now);
    Ok(Ready {
        tokens: good.count(),
        tools: tools::count_live(&mut tx).await?,
        policies: policies::list(&mut tx).await?.iter().filter(|policy| policy.active_version.is_some()).count(),
    })
}

async fn live(needs: &Needs, shell: &Shell, can: &Can<may::CallTools>, query: &Query) -> Result<LiveCard, Problem> {
    let (client, since) = (Client::find(&query.client).as_str(), query.since(shell.now));
    let mut tx = can.begin().await?;
    let heard = card::heard(&mut tx, &needs.master, can.actor().user(), (since, shell.now)).await?;
    let in_force = policies::list(&mut tx).await?.into_iter().filter(|policy| policy.active_version.is_some());
    let reach = live_pages::view(&mut tx, &needs.live).await?;
    let opened = query.opened(shell.now);
    let has_arrived = heard.call.as_ref().is_some_and(|call| call.at >= opened);
    let named =
        |path: &str, since: &DateTime<Utc>| shell.to(&format!("{path}?client={client}&since={}", show::iso(since)));
    Ok(LiveCard {
        heard,
        policies: in_force.map(|policy| policy.name).collect(),
        reach,
        url: format!("{}&opened={}", named("connect/calls", &since), show::iso(&opened)),
        page: named("connect", &since),
        afresh: named("connect", &shell.now),
        is_listening: shell.now - since < LISTENS + LOOKS_BACK,
        has_arrived,
    })
}
