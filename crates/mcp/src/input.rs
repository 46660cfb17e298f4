//! Questions in the middle of a request: read from an upstream's result (multi round-trip requests, 2026-07-28), or from a
//! legacy server's own request, written for the client.

use crate::error::OWN_PREFIX;
use crate::json::{Change, Kind, Writer};
use crate::message;
use crate::meta;
use crate::session::Capabilities;
use crate::{Id, Json, Object, Raw, Request};

mod shown;

/// The longest `requestState` taken from an upstream, in bytes as it was written: ours goes around it.
pub const STATE_MAX: usize = 16 * 1024;
/// Most questions of one result.
pub const QUESTIONS_MAX: usize = 64;

/// A result that asks for input.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    result: Object<'a>,
    requests: Option<Object<'a>>,
    /// What each request asks, in the order of the requests.
    questions: Vec<Question<'a>>,
    state: Option<Raw<'a>>,
}

/// One request within such a result.
#[derive(Debug, Clone)]
struct Question<'a> {
    request: Object<'a>,
    params: Object<'a>,
    asks: Asks,
}

/// What a legacy server asks of its client while it works on a request: a request of its own (2025-03-26 to 2025-11-25).
#[derive(Debug, Clone)]
pub struct Inquiry<'a>(Question<'a>);

/// What is wanted of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// That a person fills in a form.
    Form,
    /// That a person opens a URL.
    Url,
    /// That a model answers.
    Sampling,
    /// The same, with tools at hand.
    SamplingWithTools,
    /// Which folders it works in.
    Roots,
}

/// Why a result that asks for input is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Strange {
    /// It is not what the protocol says it is.
    #[error("the questions are malformed")]
    Malformed,
    /// It asks for what the client did not say it can do.
    #[error("the client can't do what is asked of it")]
    Undeclared,
    /// It has more questions than [`QUESTIONS_MAX`], or a state over [`STATE_MAX`].
    #[error("the questions or their state are too large")]
    TooLarge,
    /// It wants a URL opened that is not `https`, or that readers may take for another.
    #[error("a URL to be opened is not https, or not clear")]
    NotHttps,
    /// It wants a model to be given what the client has of its servers: the client sees one server here, so that would be
    /// what all of ours gave.
    #[error("a model is to be given what other servers gave")]
    Context,
}

impl<'a> Asked<'a> {
    /// Reads a result whose `resultType` is `input_required`.
    ///
    /// # Errors
    /// [`Strange`] when it has neither questions nor a state, or questions that no client may be asked.
    pub fn read(result: &Object<'a>) -> Result<Self, Strange> {
        let requests = match present(result, "inputRequests") {
            None => None,
            Some(raw) => Some(raw.object().ok_or(Strange::Malformed)?),
        };
        let state = present(result, "requestState");
        if state.is_some_and(|state| state.kind() != Kind::Text) {
            return Err(Strange::Malformed);
        }
        let count = requests.as_ref().map_or(0, Object::len);
        if count == 0 && state.is_none() {
            return Err(Strange::Malformed);
        }
        if count > QUESTIONS_MAX || state.is_some_and(|state| state.get().len() > STATE_MAX + r#""""#.len()) {
            return Err(Strange::TooLarge);
        }
        let questions = requests.iter().flat_map(Object::iter).map(|(_, request)| Question::read(request));
        let questions = questions.collect::<Result<_, _>>()?;
        Ok(Self { result: result.clone(), requests, questions, state })
    }

    /// The upstream's `requestState`, a string as it was written.
    #[must_use]
    pub const fn state(&self) -> Option<Raw<'a>> {
        self.state
    }

    /// Checks that the client can do all that is asked, by the `ClientCapabilities` it declared.
    ///
    /// # Errors
    /// [`Strange::Undeclared`] when it can't.
    pub fn check(&self, declared: &Object<'_>) -> Result<(), Strange> {
        let declared = Capabilities::read(declared);
        let can = self.questions.iter().all(|question| declared.has(question.asks.needs()));
        if can { Ok(()) } else { Err(Strange::Undeclared) }
    }

    /// The result for the client: with our state in place of the upstream's, our name for its server in every message
    /// that a person reads, and ours as the answering server; without what is part of an end, and without `_meta` in the
    /// questions. All else as it was written.
    #[must_use]
    pub fn to_client(&self, state: &str, alias: &str, server_info: Raw<'_>) -> Json {
        let state = Json::text(state);
        let meta = own_meta(&self.result, server_info);
        let requests = self.requests.as_ref().map(|requests| self.questions_to_client(requests, alias));
        let mut changes = vec![
            ("requestState", Change::Set(state.raw())),
            // Such a result is not kept by anybody.
            ("ttlMs", Change::Remove),
            ("cacheScope", Change::Remove),
            // Nor is it an end: what else it says would pass nobody who reads ends.
            ("content", Change::Remove),
            ("structuredContent", Change::Remove),
            ("isError", Change::Remove),
            ("_meta", Change::Set(meta.raw())),
        ];
        match &requests {
            Some(requests) => changes.push(("inputRequests", Change::Set(requests.raw()))),
            None => changes.push(("inputRequests", Change::Remove)),
        }
        self.result.with(&changes)
    }

    fn questions_to_client(&self, requests: &Object<'_>, alias: &str) -> Json {
        let changed: Vec<_> = self.questions.iter().map(|question| question.to_client(alias)).collect();
        if changed.iter().all(Option::is_none) {
            return requests.raw().to_json();
        }
        let mut writer = Writer::with_capacity(requests.raw().get().len() + 64 * self.questions.len());
        for ((key, written), changed) in requests.iter().zip(&changed) {
            writer.member(key, changed.as_ref().map_or(written, Json::raw));
        }
        writer.finish()
    }
}

impl<'a> Inquiry<'a> {
    /// Reads a server's request.
    ///
    /// # Errors
    /// [`Strange`] when no client may be asked it; [`Strange::Undeclared`] when it is of no kind that we know.
    pub fn read(request: &Request<'a>) -> Result<Self, Strange> {
        let asks = Asks::read(&request.method, Some(&request.params)).unwrap_or(Err(Strange::Undeclared))?;
        Ok(Self(Question { request: Object::empty(), params: request.params.clone(), asks }))
    }

    /// Checks that the client can do what is asked.
    ///
    /// # Errors
    /// [`Strange::Undeclared`] when it can't.
    pub const fn check(&self, declared: Capabilities) -> Result<(), Strange> {
        if declared.has(self.0.asks.needs()) { Ok(()) } else { Err(Strange::Undeclared) }
    }

    /// Its method.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        self.0.asks.method()
    }

    /// The request for the client, under an id of ours, with what a person reads as in a result that asks; without what
    /// would make it a task, which we did not offer.
    #[must_use]
    pub fn to_client(&self, id: &Id<'_>, alias: &str) -> Json {
        let shown = self.0.params_to_client(alias);
        let params = shown.as_ref().and_then(|shown| shown.raw().object()).unwrap_or_else(|| self.0.params.clone());
        if params.has("task") {
            return message::request(id, self.method(), params.with(&[("task", Change::Remove)]).raw());
        }
        message::request(id, self.method(), params.raw())
    }
}

impl<'a> Question<'a> {
    fn read(request: Raw<'a>) -> Result<Self, Strange> {
        let request = request.object().ok_or(Strange::Malformed)?;
        let params = match present(&request, "params") {
            None => None,
            Some(raw) => Some(raw.object().ok_or(Strange::Malformed)?),
        };
        let asks = request.text("method").and_then(|method| Asks::read(&method, params.as_ref()));
        let asks = asks.unwrap_or(Err(Strange::Malformed))?;
        Ok(Self { request, params: params.unwrap_or(Object::empty()), asks })
    }

    /// The request with the server's name before its message: the client shows only ours, and people have to know who asks.
    /// `_meta` goes: it is of no use in a question, and could speak in our name. `None` where nothing changes.
    fn to_client(&self, alias: &str) -> Option<Json> {
        let params = self.params_to_client(alias);
        if params.is_none() && !self.request.has("_meta") {
            return None;
        }
        let params = params.as_ref().map(|params| ("params", Change::Set(params.raw())));
        let changes: Vec<_> = params.into_iter().chain([("_meta", Change::Remove)]).collect();
        Some(self.request.with(&changes))
    }

    fn params_to_client(&self, alias: &str) -> Option<Json> {
        let of_a_person = |member| self.params.get(member).filter(|_| self.asks.is_read_by_a_person());
        let message = of_a_person("message").and_then(|message| shown::named(message, alias));
        let schema = of_a_person("requestedSchema").and_then(shown::readable);
        if message.is_none() && schema.is_none() && !self.params.has("_meta") {
            return None;
        }
        let shown = [("message", &message), ("requestedSchema", &schema)];
        let shown = shown.into_iter().filter_map(|(member, new)| Some((member, Change::Set(new.as_ref()?.raw()))));
        let changes: Vec<_> = shown.chain([("_meta", Change::Remove)]).collect();
        Some(self.params.with(&changes))
    }
}

fn sampling(params: &Object<'_>) -> Result<Asks, Strange> {
    match params.get("includeContext").map(|wanted| wanted.text().unwrap_or_default()).as_deref() {
        None | Some("none") if params.has("tools") => Ok(Asks::SamplingWithTools),
        None | Some("none") => Ok(Asks::Sampling),
        Some(_) => Err(Strange::Context),
    }
}

fn elicitation(params: &Object<'_>) -> Result<Asks, Strange> {
    if params.get("message").is_none_or(|message| message.kind() != Kind::Text) {
        return Err(Strange::Malformed);
    }
    match params.get("mode").map(|mode| mode.text().unwrap_or_default()).as_deref() {
        None | Some("form") => Ok(Asks::Form),
        Some("url") => {
            let url = params.text("url").ok_or(Strange::Malformed)?;
            if shown::is_clear_https(&url) { Ok(Asks::Url) } else { Err(Strange::NotHttps) }
        }
        Some(_) => Err(Strange::Malformed),
    }
}

impl Asks {
    /// What a request of that method wants; `None` for what asks nothing.
    fn read(method: &str, params: Option<&Object<'_>>) -> Option<Result<Self, Strange>> {
        match (method, params) {
            ("elicitation/create", Some(params)) => Some(elicitation(params)),
            ("sampling/createMessage", Some(params)) => Some(sampling(params)),
            ("roots/list", _) => Some(Ok(Self::Roots)),
            _ => None,
        }
    }

    const fn method(self) -> &'static str {
        match self {
            Self::Form | Self::Url => "elicitation/create",
            Self::Sampling | Self::SamplingWithTools => "sampling/createMessage",
            Self::Roots => "roots/list",
        }
    }

    const fn needs(self) -> Capabilities {
        match self {
            Self::Form => Capabilities::ELICITATION_FORM,
            Self::Url => Capabilities::ELICITATION_URL,
            Self::Sampling => Capabilities::SAMPLING,
            Self::SamplingWithTools => Capabilities::SAMPLING_TOOLS,
            Self::Roots => Capabilities::ROOTS,
        }
    }

    const fn is_read_by_a_person(self) -> bool {
        matches!(self, Self::Form | Self::Url)
    }
}

/// The part of a client's capabilities that is told to upstreams: what [`Capabilities`] knows, and nothing else. What is
/// not known here can't be carried either, and `sampling.context` would let one upstream read what another gave.
#[must_use]
pub fn carried(declared: &Object<'_>) -> Json {
    Capabilities::read(declared).to_json()
}

/// A member that is there and not null.
fn present<'a>(object: &Object<'a>, key: &str) -> Option<Raw<'a>> {
    object.get(key).filter(|raw| *raw != Raw::NULL)
}

/// The result's `_meta` with our name, and without what the upstream says in it.
fn own_meta(result: &Object<'_>, server_info: Raw<'_>) -> Json {
    let meta = result.object("_meta").unwrap_or(Object::empty());
    let mut changes = vec![(meta::SERVER_INFO, Change::Set(server_info))];
    changes.extend(
        meta.iter().map(|(key, _)| key).filter(|key| key.starts_with(OWN_PREFIX)).map(|key| (key, Change::Remove)),
    );
    meta.with(&changes)
}

#[cfg(test)]
mod tests;
