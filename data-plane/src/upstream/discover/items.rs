//! Lists what a server offers beside tools. A server that fails at it is looked at all the same: what it fails at is told,
//! and what is known of that stays as it is.

use std::time::Instant as Began;

use bytes::Bytes;
use domain::ItemKind;
use domain::relay::{FoundItems, StepName};
use mcp::message::Outcome;
use mcp::{Id, Limits, Message};
use serde_json::value::RawValue;

use super::super::Fault;
use super::super::http::{Media, media, status_fault};
use super::super::legacy;
use super::super::sessions::Session;
use super::{Introduced, PAGES_MAX, Probe, raw_value, result};

/// Most bytes of the definitions of one kind; they travel in one event, and are published in one snapshot.
const KIND_MAX_BYTES: usize = 4 * 1024 * 1024;
/// What a server says to a method it does not have.
const METHOD_NOT_FOUND: i64 = -32601;

/// Why those of a kind were not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Unlisted {
    #[error("{0}")]
    Fault(#[from] Fault),
    #[error("there are more than {0}")]
    TooMany(usize),
    #[error("together they have more than {KIND_MAX_BYTES} bytes")]
    TooLarge,
    #[error("they come on more than {PAGES_MAX} pages")]
    TooManyPages,
}

/// The definitions of a page, and where the next one begins.
type Page = (Vec<Box<RawValue>>, Option<String>);

/// The method that lists those of a kind, and the member of its result that has them.
const fn listed_by(kind: ItemKind) -> (&'static str, &'static str) {
    match kind {
        ItemKind::Prompt => ("prompts/list", "prompts"),
        ItemKind::Resource => ("resources/list", "resources"),
        ItemKind::Template => ("resources/templates/list", "resourceTemplates"),
    }
}

/// What people call those of a kind.
const fn word(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Prompt => "prompts",
        ItemKind::Resource => "resources",
        ItemKind::Template => "resource templates",
    }
}

impl Probe<'_> {
    /// Lists all kinds that the server says it has; what was not taken in is said in a sentence each.
    pub(super) async fn items(&mut self, introduced: &Introduced) -> (FoundItems, Vec<String>) {
        let (mut found, mut findings) = (FoundItems::default(), Vec::new());
        let steps = [
            (StepName::Prompts, introduced.has_prompts, &[ItemKind::Prompt][..]),
            (StepName::Resources, introduced.has_resources, &[ItemKind::Resource, ItemKind::Template]),
        ];
        for (step, has, kinds) in steps {
            let (began, mut counts, mut wrong) = (Began::now(), Vec::new(), Vec::new());
            for kind in kinds.iter().copied() {
                let listed = if has { self.list(kind, introduced.session.as_ref()).await } else { Ok(Vec::new()) };
                match listed {
                    Ok(definitions) => {
                        counts.push(format!("{} {}", definitions.len(), word(kind)));
                        found.set(kind, definitions);
                    }
                    Err(why) => wrong.push(format!("Its {} were not taken in: {why}.", word(kind))),
                }
            }
            let told = if wrong.is_empty() { format!("It has {}.", counts.join(" and ")) } else { wrong.join(" ") };
            self.tell_how(step, (wrong.is_empty(), told), began).await;
            findings.append(&mut wrong);
        }
        (found, findings)
    }

    async fn list(&mut self, kind: ItemKind, session: Option<&Session>) -> Result<Vec<Box<RawValue>>, Unlisted> {
        let (mut all, mut cursor, mut bytes) = (Vec::new(), None, 0_usize);
        for _ in 0..PAGES_MAX {
            let Some((found, next)) = self.page(kind, session, cursor.as_deref()).await? else {
                return if all.is_empty() { Ok(all) } else { Err(Fault::Malformed.into()) };
            };
            bytes += found.iter().map(|definition| definition.get().len()).sum::<usize>();
            all.extend(found);
            if all.len() > kind.most() {
                return Err(Unlisted::TooMany(kind.most()));
            }
            if bytes > KIND_MAX_BYTES {
                return Err(Unlisted::TooLarge);
            }
            if next.is_none() {
                return Ok(all);
            }
            cursor = next;
        }
        Err(Unlisted::TooManyPages)
    }

    /// One page of a list; none where the server has no such method.
    async fn page(
        &mut self,
        kind: ItemKind,
        session: Option<&Session>,
        cursor: Option<&str>,
    ) -> Result<Option<Page>, Fault> {
        let (method, member) = listed_by(kind);
        let id = self.next_id();
        let request = self.listing((id, method), session, cursor);
        let response = self.line().send(request, self.bounds.until).await?;
        let status = response.status();
        if !status.is_success() && media(&response) != Media::Json {
            return Err(status_fault(status));
        }
        let bytes = legacy::one_answer(response, id, self.bounds).await?;
        if is_not_found(&bytes, id) {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(status_fault(status));
        }
        read(&result(&bytes, id)?, kind, member).map(Some).ok_or(Fault::Malformed)
    }
}

/// Whether a server says that it does not have the method it was asked for.
fn is_not_found(bytes: &Bytes, id: u64) -> bool {
    let Ok(Message::Response(response)) = Message::parse(bytes, &Limits::upstream()) else { return false };
    let is_ours = response.id == Some(Id::number(id));
    matches!(response.outcome, Outcome::Error(error) if is_ours && error.code == METHOD_NOT_FOUND)
}

/// The definitions of a page that have what they are known by; others are left out, as of tools.
fn read(text: &Bytes, kind: ItemKind, member: &str) -> Option<Page> {
    let page = super::super::conversation::checked(text)?.object()?;
    let is_named = |definition: &mcp::Object<'_>| definition.text(kind.named_by()).is_some_and(|name| !name.is_empty());
    let definitions = page.get(member)?.array()?.into_iter().filter_map(mcp::Raw::object);
    let definitions = definitions.filter(is_named).filter_map(|definition| raw_value(definition.raw().get()));
    Some((definitions.collect(), page.text("nextCursor").map(std::borrow::Cow::into_owned)))
}
