//! Adding a server: its address is looked at live, by a node, before anything is saved.

use std::collections::BTreeMap;
use std::convert::Infallible;

use askama::Template;
use axum::extract::State;
use axum::response::sse::{Event as ServerSent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use domain::relay::{Failed, Step, StepName};
use domain::{Credential, EraPin, RiskClass, ServerKey};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use store::tenants::{self, KeyPurpose};
use tokio::sync::mpsc::Receiver;
use url::Url;

use super::actions::{self, Imported, Rejected};
use super::api::{check, check_endpoint, usual};
use super::probe_api::{self, Offer};
use super::relay::{Event, Target};
use super::{Needs, Sandbox};
use crate::access::{Can, may};
use crate::console::{Done, Faults, Hx, Page, Shell, show};
use crate::credentials::{self, Sent};
use crate::input::Form;
use crate::problem::Problem;

/// Tools of a look that are shown; the review shows all.
const SHOWN: usize = 12;

/// The steps of a look: their names, and what each finds out.
const STEPS: [(StepName, &str, &str); 6] = [
    (StepName::Address, "Address", "Whether its name leads to an address that may be dialled."),
    (StepName::Connect, "Connection", "Whether it takes a connection."),
    (StepName::Tls, "TLS", "Whether its certificate holds."),
    (StepName::Era, "Protocol", "Whether it speaks MCP, in a version we speak."),
    (StepName::Auth, "Credential", "Whether it wants one."),
    (StepName::Tools, "Tools", "What it offers."),
];

#[derive(Debug, Template)]
#[template(path = "servers/new.html")]
pub(super) struct AddPage {
    shell: Shell,
    url: String,
    faults: Faults,
    look: Option<Look>,
    form: Option<AddForm>,
    sandbox: Option<String>,
}

/// The part in which an address is given, with what is wrong about it.
#[derive(Debug, Template)]
#[template(path = "servers/new.html", block = "address")]
struct AddressPart {
    shell: Shell,
    url: String,
    faults: Faults,
    sandbox: Option<String>,
}

/// The part that a look fills.
#[derive(Debug, Template)]
#[template(path = "servers/new.html", block = "look")]
struct LookPart {
    shell: Shell,
    look: Option<Look>,
    form: Option<AddForm>,
}

/// A look as far as it has come.
#[derive(Debug, Clone, Default)]
struct Look {
    url: String,
    steps: Vec<Step>,
    is_over: bool,
    failed: Option<Failed>,
    found: Option<Summary>,
    /// No node answered.
    nobody: bool,
}

/// What a look found.
#[derive(Debug, Clone)]
struct Summary {
    says: String,
    protocol: String,
    /// How many tools.
    count: String,
    risks: Vec<(RiskClass, String)>,
    tools: Vec<(String, String, RiskClass)>,
    /// How many tools are not shown; empty where all are.
    more: String,
    refused: Option<String>,
}

/// A step as it is shown: name, what was found or what is looked for, how far it is, how long it took.
struct Shown {
    name: &'static str,
    detail: String,
    state: &'static str,
    took: String,
}

impl Look {
    fn shown(&self) -> Vec<Shown> {
        let is_plain = self.url.starts_with("http:");
        let mut is_next = !self.is_over;
        let shown = |(name, title, looks_for): &(StepName, &'static str, &str)| {
            let open =
                |detail: &str, state| Shown { name: title, detail: detail.to_owned(), state, took: String::new() };
            if let Some(step) = self.steps.iter().find(|step| step.step == *name) {
                return self.ended(title, step);
            }
            match *name {
                StepName::Tls if is_plain => open("None: the address begins with http.", "open"),
                _ if std::mem::take(&mut is_next) => open(looks_for, "spin"),
                StepName::Era if self.wants_credential() => open("It says nothing without a credential.", "open"),
                _ if self.is_over => open("Not looked at.", "open"),
                _ => open(looks_for, "open"),
            }
        };
        STEPS.iter().map(shown).collect()
    }

    /// A step that has ended. Nodes speak of the credential they were given: here they are given none.
    fn ended(&self, name: &'static str, step: &Step) -> Shown {
        let took = if step.ms == 0 { "< 1 ms".to_owned() } else { show::took(step.ms.saturating_mul(1000)) };
        let (state, detail) = match step.step {
            StepName::Auth if step.ok => ("done", "It asks for none."),
            StepName::Auth if self.wants_credential() => ("now", "It wants one."),
            _ => (if step.ok { "done" } else { "failed" }, step.detail.as_str()),
        };
        Shown { name, detail: detail.to_owned(), state, took: if step.ok { took } else { String::new() } }
    }

    /// Where else it is worth looking: at the path most servers have, where none was given.
    fn elsewhere(&self) -> Option<String> {
        let failed = self.failed.as_ref().filter(|failed| matches!(&*failed.code, "not_mcp" | "malformed"))?;
        let mut endpoint: Url = self.url.parse().ok().filter(|_| failed.step != StepName::Tools)?;
        if !matches!(endpoint.path(), "" | "/") {
            return None;
        }
        endpoint.set_path("/mcp");
        Some(endpoint.into())
    }

    fn take(&mut self, event: Event) {
        self.is_over = !matches!(event, Event::Step(_));
        match event {
            Event::Step(step) => self.steps.push(step),
            Event::Found(found) => self.found = Some(Summary::of(Offer::from(*found))),
            Event::Failed(failed) => {
                if !self.steps.iter().any(|step| step.step == failed.step) {
                    self.steps.push(Step { step: failed.step, ok: false, detail: failed.detail.clone(), ms: 0 });
                }
                self.failed = Some(failed);
            }
            Event::NoNode => self.nobody = true,
        }
    }

    /// Whether it wants a credential, which is given when it is added.
    fn wants_credential(&self) -> bool {
        self.failed.as_ref().is_some_and(|failed| failed.code == "unauthorized")
    }

    /// The form that adds it, where adding it makes sense.
    fn form(&self) -> Option<AddForm> {
        let endpoint: Url = self.url.parse().ok()?;
        let usable = self.found.as_ref().is_some_and(|found| found.refused.is_none());
        (usable || self.wants_credential()).then(|| AddForm::guess(&endpoint, self))
    }
}

impl Summary {
    fn of(offer: Offer) -> Self {
        let mut risks: BTreeMap<usize, (RiskClass, usize)> = BTreeMap::new();
        for tool in &offer.tools {
            let place = RiskClass::ALL.iter().position(|risk| *risk == tool.risk).unwrap_or_default();
            risks.entry(place).or_insert((tool.risk, 0)).1 += 1;
        }
        let info: serde_json::Value =
            offer.server_info.and_then(|info| serde_json::from_str(info.get()).ok()).unwrap_or_default();
        let said = |name: &str| show::clip(info[name].as_str().unwrap_or_default(), 80);
        let count = offer.tools.len();
        let tools = offer.tools.into_iter().take(SHOWN);
        let tool = |tool: probe_api::Offered| {
            (tool.name, show::clip(tool.description.as_deref().unwrap_or_default(), 160), tool.risk)
        };
        Self {
            says: format!("{} {}", said("name"), said("version")).trim().to_owned(),
            protocol: offer.protocol_version,
            count: show::plural(count, "tool", "tools"),
            more: if count > SHOWN { show::count(count - SHOWN) } else { String::new() },
            risks: risks.into_values().map(|(risk, count)| (risk, show::count(count))).collect(),
            tools: tools.map(tool).collect(),
            refused: offer.refused,
        }
    }
}

/// The form that adds a server.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct AddForm {
    #[serde(default)]
    endpoint: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    key: String,
    #[serde(flatten)]
    credential: Sent,
    #[serde(skip)]
    faults: Faults,
}

impl AddForm {
    /// A name from what the server says of itself, or from where it is.
    fn guess(endpoint: &Url, look: &Look) -> Self {
        let says = look.found.as_ref().map(|found| found.says.as_str()).unwrap_or_default();
        let says = says.split_whitespace().next().unwrap_or_default();
        let host = endpoint.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let parts: Vec<&str> = host.split('.').filter(|part| !matches!(*part, "mcp" | "api" | "www")).collect();
        let is_name = matches!(endpoint.host(), Some(url::Host::Domain(_)));
        let named = if is_name && parts.len() > 1 { parts[parts.len() - 2] } else { host };
        let word = if says.is_empty() { named } else { says };
        let key: String = word
            .to_lowercase()
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
            .collect();
        let key: String = key.trim_matches('-').chars().take(32).collect();
        let key = if key.starts_with(|first: char| first.is_ascii_lowercase()) { key } else { format!("s-{key}") };
        let kind = if look.wants_credential() { "bearer" } else { "none" };
        Self {
            endpoint: endpoint.to_string(),
            title: show::visible(word),
            key: key.trim_end_matches('-').to_owned(),
            credential: Sent::of_kind(kind),
            faults: Faults::none(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Opened {
    #[serde(default)]
    url: String,
}

/// The empty page; `?url=` fills in the address.
pub(super) async fn open(
    State(sandbox): State<Sandbox>,
    shell: Shell,
    _: Can<may::ManageServers>,
    Form(opened): Form<Opened>,
) -> Page<AddPage> {
    page(shell, &sandbox, opened.url)
}

fn page(shell: Shell, sandbox: &Sandbox, url: String) -> Page<AddPage> {
    let sandbox = sandbox.0.as_ref().map(Url::to_string);
    Page::new(AddPage { shell, url, faults: Faults::none(), look: None, form: None, sandbox })
}

/// What is to be looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    url: String,
}

/// Has a node look, without a credential. htmx is shown each step as it ends, a plain form all of them.
pub(super) async fn look(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageServers>,
    hx: Hx,
    Form(wanted): Form<Wanted>,
) -> Result<Response, Problem> {
    let sandbox = needs.sandbox.0.as_ref().map(Url::to_string);
    let begun = match read(&wanted.url) {
        Ok(endpoint) => begin(&needs, &can, endpoint).await?,
        Err(faults) => Err(faults),
    };
    let (endpoint, mut events) = match begun {
        Ok(begun) => begun,
        Err(faults) => {
            if hx.0 {
                return Ok(Page::wrong(AddressPart { shell, url: wanted.url, faults, sandbox }).into_response());
            }
            return Ok(Page::wrong(AddPage { shell, url: wanted.url, faults, look: None, form: None, sandbox })
                .into_response());
        }
    };
    let mut look = Look { url: endpoint.to_string(), ..Look::default() };
    if hx.0 {
        return Ok(Sse::new(streamed(shell, look, events)).keep_alive(KeepAlive::default()).into_response());
    }
    while let Some(event) = events.recv().await {
        look.take(event);
    }
    look.is_over = true;
    let form = look.form();
    Ok(Page::new(AddPage { shell, url: look.url.clone(), faults: Faults::none(), look: Some(look), form, sandbox })
        .into_response())
}

/// Has a node look at an address, unless there were too many looks.
async fn begin(
    needs: &Needs,
    can: &Can<may::ManageServers>,
    endpoint: Url,
) -> Result<Result<(Url, Receiver<Event>), Faults>, Problem> {
    let mut tx = can.begin().await?;
    let target = Target {
        tenant: tx.tenant(),
        server: None,
        endpoint: endpoint.clone(),
        era: EraPin::default(),
        credential: Credential::None,
        data_key: tenants::get_key(&mut tx, KeyPurpose::Data).await?,
    };
    drop(tx);
    let begun = needs.relay.probe(&needs.clock, &target);
    Ok(begun.map(|events| (endpoint, events)).map_err(|error| Faults::at("url", error.to_string())))
}

/// Reads an address as people paste it.
fn read(asked: &str) -> Result<Url, Faults> {
    let asked = asked.trim();
    if asked.is_empty() {
        return Err(Faults::at("url", "Paste the address of an MCP server."));
    }
    let whole = if asked.contains("://") { asked.to_owned() } else { format!("https://{asked}") };
    let endpoint: Url = whole.parse().map_err(|_| Faults::at("url", "This is no address. It begins with https://."))?;
    check_endpoint(&endpoint)
        .map_err(|_| Faults::at("url", "An http or https address, without user, password and fragment."))?;
    Ok(endpoint)
}

/// The part as it is at first, and anew with each event.
fn streamed(shell: Shell, look: Look, events: Receiver<Event>) -> impl Stream<Item = Result<ServerSent, Infallible>> {
    stream::unfold((shell, look, events, true), async |(shell, mut look, mut events, is_first)| {
        if look.is_over {
            return None;
        }
        if !is_first {
            match events.recv().await {
                Some(event) => look.take(event),
                None => look.take(Event::NoNode),
            }
        }
        let form = if look.is_over { look.form() } else { None };
        let part = LookPart { shell: shell.clone(), look: Some(look.clone()), form };
        // A carriage return would end a line of the stream; none means anything here.
        let html = part.render().unwrap_or_default().replace('\r', "");
        Some((Ok(ServerSent::default().data(html)), (shell, look, events, false)))
    })
}

/// Adds the server, gives it its credential, and has what it offers looked at for the review.
pub(super) async fn add(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageServers>,
    Form(mut sent): Form<AddForm>,
) -> Result<Response, Problem> {
    let (added, kept) = match added(&needs, &can, &sent).await {
        Ok(added) => added,
        Err(problem) if problem.status().is_client_error() => {
            sent.faults = Faults::of(&problem);
            sent.credential.forget();
            let (url, sandbox) = (sent.endpoint.clone(), needs.sandbox.0.as_ref().map(Url::to_string));
            let page = AddPage { shell, url, faults: Faults::none(), look: None, form: Some(sent), sandbox };
            return Ok(Page::wrong(page).into_response());
        }
        Err(problem) => return Err(problem),
    };
    let title = show::visible(&added.settings.title);
    let at = |path: &str| shell.to(&format!("servers/{}{path}", added.id));
    if let Err(problem) = kept {
        let said = format!("{title} is added, but its credential was not kept: {} Set it here.", problem.said());
        return Ok(Done::to(at("/credential")).saying(said).into_response());
    }
    Ok(match probe_api::look(&needs.relay, &needs.clock, &can, (added.id, Rejected::AskAgain)).await {
        Ok(Imported::Held(version, _)) => Done::to(at(&format!("/versions/{}", version.id)))
            .saying(format!("{title} is added. Agents see its tools once you accept them.")),
        Ok(Imported::Unchanged) => Done::to(at("")).saying(format!("{title} is added.")),
        // What is wrong stands on its page.
        Err(problem) => {
            Done::to(at("")).saying(format!("{title} is added, but could not be looked at: {}", problem.said()))
        }
    }
    .into_response())
}

/// Adds it; then whether its credential was kept.
async fn added(
    needs: &Needs,
    can: &Can<may::ManageServers>,
    sent: &AddForm,
) -> Result<(store::servers::Server, Result<(), Problem>), Problem> {
    let endpoint = read(&sent.endpoint).map_err(|faults| Problem::invalid("endpoint", faults.in_field("url")))?;
    let key: ServerKey = sent.key.trim().parse().map_err(|error| Problem::invalid("key", format!("{error}")))?;
    let settings = usual(&key, None, sent.title.trim().to_owned(), endpoint)?;
    check(&settings)?;
    let credential = sent.credential.checked()?;
    let mut tx = can.begin().await?;
    let server = actions::add(&mut tx, &can.author(&needs.clock), key, settings).await.map_err(at_its_field)?;
    tx.commit().await?;
    // From here on the server is there, whatever becomes of its credential.
    let kept = match credential {
        Some(credential) => credentials::give(&needs.credentials, can, server.id, credential).await.map(drop),
        None => Ok(()),
    };
    Ok((server, kept))
}

/// Names the field, so that it is said beside it.
fn at_its_field(error: actions::ServerError) -> Problem {
    match error {
        actions::ServerError::KeyTaken => {
            Problem::invalid("key", "A server has or had this key, and a key is never given twice. Choose another one.")
        }
        actions::ServerError::AliasTaken => {
            Problem::invalid("key", "Its first 12 characters are another server's prefix. Choose another one.")
        }
        other => other.into(),
    }
}
