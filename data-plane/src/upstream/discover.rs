//! Looking at a server nobody has reviewed yet: step by step, so that each thing that may be wrong is told by itself.

mod items;

use std::time::{Duration, Instant as Began};

use ::http::{Method, Request};
use bytes::Bytes;
use domain::relay::{Failed, Found, FoundItems, Step, StepName};
use domain::{EraPin, Transport};
use egress::{EgressError, Scheme, Target};
use http_body_util::Full;
use mcp::message::Outcome;
use mcp::tools::{Hop, Page};
use mcp::{Era, Id, Limits, Message, hello, message};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use url::Url;

use super::http::{dial_fault, status_fault};
use super::legacy::{self, stamp};
use super::sessions::Session;
use super::wires::{Endpoint, Wires};
use super::{Bounds, Fault, Line, Stop, Upstreams, modern, probe, uri};
use crate::credentials::Presented;

/// Most bytes of one answer.
const ANSWER_MAX: u64 = 8 * 1024 * 1024;
/// Most tools of a server.
const TOOLS_MAX: usize = 2_000;
/// Most pages of a list.
const PAGES_MAX: usize = 200;

/// Longest wait for what a server that speaks the modern era says to `initialize`: it may not know the word.
const OTHER_ERA_WITHIN: Duration = Duration::from_secs(5);

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Tools: whoever asks knows nothing else.
    Tools,
    /// Prompts and resources too, and whether it speaks both eras.
    Everything,
}

/// One look at a server.
pub(crate) struct Probe<'a> {
    upstreams: &'a Upstreams,
    wires: Wires,
    endpoint: Endpoint,
    credential: &'a Presented,
    bounds: Bounds,
    steps: mpsc::Sender<Step>,
    id: u64,
}

/// What a server says of itself, and the session it says more in.
struct Introduced {
    version: mcp::Version,
    server_info: Option<Box<RawValue>>,
    instructions: Option<String>,
    capabilities: Option<Box<RawValue>>,
    /// Whether it says it has prompts, and resources.
    has_prompts: bool,
    has_resources: bool,
    /// `None` for a modern server.
    session: Option<Session>,
}

impl<'a> Probe<'a> {
    pub(crate) fn new(
        upstreams: &'a Upstreams,
        endpoint: &Url,
        credential: &'a Presented,
        (within, steps): (Duration, mpsc::Sender<Step>),
    ) -> Self {
        let wires = Wires::new(upstreams.dialer().clone());
        let bounds = Bounds::new(within, ANSWER_MAX);
        Self { upstreams, wires, endpoint: Endpoint::new(uri(endpoint)), credential, bounds, steps, id: 0 }
    }

    /// Takes all steps, telling of each as it ends.
    pub(crate) async fn look(&mut self, pin: EraPin, depth: Depth) -> Result<Found, Failed> {
        self.dial().await?;
        let began = Began::now();
        let era = match pin {
            EraPin::Modern => Era::Modern,
            EraPin::Legacy => Era::Legacy,
            EraPin::Auto => {
                let id = self.next_id();
                let found = probe::era(&self.line(), id, self.bounds).await;
                found.map_err(|fault| failed(step_of(fault, StepName::Era), fault))?
            }
        };
        let introduced = self.introduce(era).await.map_err(|fault| failed(step_of(fault, StepName::Era), fault))?;
        self.tell(StepName::Era, format!("It speaks {}.", introduced.version), began).await;
        self.tell(StepName::Auth, "It takes our credential.".to_owned(), Began::now()).await;
        let began = Began::now();
        let tools = self.tools(introduced.session.as_ref()).await?;
        self.tell(StepName::Tools, format!("It has {} tools.", tools.len()), began).await;
        let (mut items, mut findings, mut speaks) = (FoundItems::default(), Vec::new(), None);
        if depth == Depth::Everything {
            (items, findings) = self.items(&introduced).await;
        }
        if let Some(session) = &introduced.session {
            self.leave(session).await;
        }
        if depth == Depth::Everything && pin == EraPin::Auto {
            speaks = self.speaks(introduced.version).await;
        }
        Ok(Found {
            era: if era == Era::Modern { EraPin::Modern } else { EraPin::Legacy },
            protocol_version: introduced.version.to_string(),
            server_info: introduced.server_info,
            instructions: introduced.instructions,
            tools,
            items,
            capabilities: introduced.capabilities,
            speaks,
            transport: Some(Transport::StreamableHttp),
            findings,
        })
    }

    /// The versions it speaks, one of each era, where `first` is known; none where it did not say in time.
    async fn speaks(&mut self, first: mcp::Version) -> Option<Vec<String>> {
        let mut spoken = vec![first.to_string()];
        // The era was found by probing: a legacy server has said that it is no modern one.
        if first.era() == Era::Legacy {
            return Some(spoken);
        }
        let until = self.bounds.until.min(Bounds::new(OTHER_ERA_WITHIN, ANSWER_MAX).until);
        let id = self.next_id();
        let opened = legacy::open(&self.line(), id, Bounds { until, ..self.bounds }).await;
        match opened {
            Ok(opened) => {
                spoken.push(opened.session.version.to_string());
                self.leave(&opened.session).await;
            }
            Err(
                Stop::OtherEra | Stop::Absent | Stop::Fault(Fault::NotMcp | Fault::Malformed | Fault::NoCommonVersion),
            ) => {}
            Err(Stop::Fault(_) | Stop::NoSession(_)) => return None,
        }
        Some(spoken)
    }

    /// Address, connection and TLS, each by itself; the connection is not used further.
    async fn dial(&self) -> Result<(), Failed> {
        let dialer = self.upstreams.dialer();
        let fail = |step, error: &EgressError| failed(step, dial_fault(error));
        let mut began = Began::now();
        let target = Target::of(&self.endpoint.uri).map_err(|fault| fail(StepName::Address, &fault.into()))?;
        let until = self.bounds.until;
        let addresses = dialer.resolve(&target, until).await.map_err(|error| fail(StepName::Address, &error))?;
        self.tell(StepName::Address, "Its address may be dialled.".to_owned(), began).await;
        began = Began::now();
        let (stream, peer) =
            dialer.connect(&addresses, until).await.map_err(|error| fail(StepName::Connect, &error))?;
        self.tell(StepName::Connect, "It takes connections.".to_owned(), began).await;
        if target.scheme == Scheme::Https {
            began = Began::now();
            dialer.secure(&target, stream, peer, until).await.map_err(|error| fail(StepName::Tls, &error))?;
            self.tell(StepName::Tls, "Its certificate holds.".to_owned(), began).await;
        }
        Ok(())
    }

    async fn introduce(&mut self, era: Era) -> Result<Introduced, Fault> {
        let id = self.next_id();
        match era {
            Era::Modern => {
                let request = modern::asking(&self.line(), id, "server/discover", None);
                let bytes = self.ask(request, id).await?;
                introduced(&result(&bytes, id)?, None)
            }
            Era::Legacy => match legacy::open(&self.line(), id, self.bounds).await {
                Ok(opened) => introduced(&opened.result, Some(opened.session)),
                Err(Stop::Fault(fault) | Stop::NoSession(fault)) => Err(fault),
                Err(Stop::OtherEra | Stop::Absent) => Err(Fault::NotMcp),
            },
        }
    }

    async fn tools(&mut self, session: Option<&Session>) -> Result<Vec<Box<RawValue>>, Failed> {
        let fail = |fault| failed(step_of(fault, StepName::Tools), fault);
        let (mut tools, mut cursor): (Vec<Box<RawValue>>, Option<String>) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let id = self.next_id();
            let request = self.listing((id, "tools/list"), session, cursor.as_deref());
            let bytes = self.ask(request, id).await.map_err(fail)?;
            let text = result(&bytes, id).map_err(fail)?;
            let (found, next) = page(&text).ok_or_else(|| fail(Fault::Malformed))?;
            tools.extend(found);
            if tools.len() > TOOLS_MAX {
                break;
            }
            let Some(next) = next else { return Ok(tools) };
            cursor = Some(next);
        }
        Err(Failed {
            step: StepName::Tools,
            code: "too_many_tools".to_owned(),
            detail: format!("It has more than {TOOLS_MAX} tools."),
        })
    }

    fn listing(
        &self,
        (id, method): (u64, &'static str),
        session: Option<&Session>,
        cursor: Option<&str>,
    ) -> Request<Full<Bytes>> {
        let line = self.line();
        let Some(session) = session else { return modern::asking(&line, id, method, cursor) };
        let body = message::request(&Id::number(id), method, Hop::Legacy.params(cursor).raw());
        let mut request = line.post(body.into_string());
        stamp(&mut request, session);
        request
    }

    async fn ask(&self, request: Request<Full<Bytes>>, id: u64) -> Result<Bytes, Fault> {
        let response = self.line().send(request, self.bounds.until).await?;
        if !response.status().is_success() {
            return Err(status_fault(response.status()));
        }
        legacy::one_answer(response, id, self.bounds).await
    }

    /// Ends the session that was opened for the look; a courtesy.
    async fn leave(&self, session: &Session) {
        let line = self.line();
        let mut request = line.bare(Method::DELETE);
        stamp(&mut request, session);
        let _ = line.send(request, self.bounds.until).await;
    }

    async fn tell(&self, step: StepName, detail: String, began: Began) {
        self.tell_how(step, (true, detail), began).await;
    }

    async fn tell_how(&self, step: StepName, (ok, detail): (bool, String), began: Began) {
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let _ = self.steps.send(Step { step, ok, detail, ms }).await;
    }

    const fn line(&self) -> Line<'_> {
        Line { wires: &self.wires, endpoint: &self.endpoint, credential: self.credential }
    }

    const fn next_id(&mut self) -> u64 {
        self.id += 1;
        self.id
    }
}

/// The text of a response's result.
fn result(bytes: &Bytes, id: u64) -> Result<Bytes, Fault> {
    let Ok(Message::Response(response)) = Message::parse(bytes, &Limits::default()) else {
        return Err(Fault::Malformed);
    };
    match response.outcome {
        Outcome::Result(result) if response.id == Some(Id::number(id)) => {
            Ok(bytes.slice_ref(result.raw().get().as_bytes()))
        }
        _ => Err(Fault::NotMcp),
    }
}

fn introduced(text: &Bytes, session: Option<Session>) -> Result<Introduced, Fault> {
    let raw = super::conversation::checked(text).ok_or(Fault::Malformed)?;
    let object = raw.object().ok_or(Fault::Malformed)?;
    let read = match &session {
        Some(_) => hello::Upstream::initialized(&object),
        None => hello::Upstream::discovered(&object),
    };
    let said = read.map_err(|strange| match strange {
        hello::Strange::NoCommonVersion => Fault::NoCommonVersion,
        hello::Strange::Malformed => Fault::Malformed,
    })?;
    Ok(Introduced {
        version: said.version,
        has_prompts: said.capabilities.get("prompts").is_some(),
        has_resources: said.capabilities.get("resources").is_some(),
        capabilities: raw_value(said.capabilities.raw().get()),
        server_info: said.server_info.and_then(|info| raw_value(info.raw().get())),
        instructions: said.instructions.map(std::borrow::Cow::into_owned),
        session,
    })
}

fn page(text: &Bytes) -> Option<(Vec<Box<RawValue>>, Option<String>)> {
    let object = super::conversation::checked(text)?.object()?;
    let page = Page::read(&object)?;
    let tools = page.tools.iter().filter_map(|tool| raw_value(tool.definition.raw().get())).collect();
    Some((tools, page.next_cursor.map(std::borrow::Cow::into_owned)))
}

fn raw_value(text: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(text.to_owned()).ok()
}

/// At which step a fault belongs, wherever it was met.
const fn step_of(fault: Fault, met: StepName) -> StepName {
    match fault {
        Fault::Unauthorized => StepName::Auth,
        Fault::AddressRefused | Fault::Unresolved => StepName::Address,
        Fault::Unreachable => StepName::Connect,
        Fault::Tls => StepName::Tls,
        _ => met,
    }
}

/// What a fault is called at the relay, and what to do about it.
pub(crate) fn failed(step: StepName, fault: Fault) -> Failed {
    let (code, advice) = match fault {
        Fault::AddressRefused => ("address_refused", "Use an address on the public internet, over https."),
        Fault::Unresolved => ("unresolved", "Check the host's name."),
        Fault::Unreachable | Fault::CutOff => ("unreachable", "Check that the server runs and that its port is open."),
        Fault::Tls => ("tls", "Check the server's certificate."),
        Fault::Late => ("timeout", "Check that the server answers."),
        Fault::Unauthorized => ("unauthorized", "Check the credential."),
        Fault::TooLarge => ("too_large", "The server's answer must be smaller."),
        Fault::Malformed => ("malformed", "Check that this is the server's MCP endpoint."),
        _ => ("not_mcp", "Check that this is the server's MCP endpoint."),
    };
    let mut sentence = fault.to_string();
    if let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    Failed { step, code: code.to_owned(), detail: format!("{sentence}. {advice}") }
}
