//! The URIs under which the resources of several servers are offered together, and whose a URI is. A pure function of the
//! configuration (reference h.2).
//!
//! A URI stays what its server calls it. Only where two servers have the same one, or templates that match the same, both
//! are renamed: `crm+file:///a` for the `file:///a` of the server with the alias `crm`, `ui://crm/a` for its `ui://a`. Web
//! addresses never are, because clients may fetch them by themselves: the first server in order keeps it, and what others
//! have under it is left out.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

mod renaming;
mod template;

pub use renaming::Renaming;
pub use template::{PARTS_MAX, STEPS_MAX, URI_MAX};

use template::{Steps, Template};

/// What a URI stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The one resource it names.
    Resource,
    /// All resources that come of it, a template (RFC 6570).
    Template,
}

/// A resource or a template as its server offers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Offered<'o> {
    /// The server's alias, one to a server: `[a-z0-9-]+`.
    pub alias: &'o str,
    /// Which of the two it is.
    pub kind: Kind,
    /// Its `uri`, or its `uriTemplate`.
    pub uri: &'o str,
}

/// All URIs of a tenant, as its clients know them.
#[derive(Debug, Default)]
pub struct Uris {
    /// As they were offered.
    entries: Vec<Entry>,
    /// The resources by the URIs that clients know.
    resources: HashMap<Arc<str>, usize>,
    /// The templates by the texts that clients know.
    references: HashMap<Arc<str>, usize>,
    /// The templates, the longest literal prefix first, then in order.
    templates: Vec<(Template, usize)>,
    /// The servers of which anything is renamed, by their aliases.
    renamed: HashMap<Arc<str>, renaming::Server>,
}

/// Where a request for a URI goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'f> {
    /// What it is found by, as a place in what was offered.
    pub index: usize,
    /// The URI its server knows.
    pub raw: Cow<'f, str>,
}

#[derive(Debug)]
struct Entry {
    alias: Arc<str>,
    kind: Kind,
    raw: Arc<str>,
    form: Form,
}

/// How a URI is called here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    /// As its server calls it.
    Same,
    /// `alias+uri`. A scheme may hold a `+` (RFC 3986, 3.1), an alias never does: no two of these are equal.
    Plus,
    /// `ui://alias/rest`, so that it stays a URI that hosts of apps open.
    Ui,
    /// Not at all: another server has it.
    LeftOut,
}

const UI: &str = "ui://";

impl Uris {
    /// Gives everything its URI. The order of what is offered is the order of servers.
    ///
    /// Whatever looks like a URI that was given to another is renamed, too: no server can take what is another's.
    #[must_use]
    pub fn new(offered: &[Offered<'_>]) -> Self {
        let mut aliases: HashMap<&str, Arc<str>> = HashMap::new();
        let forms = forms(offered);
        let entries = offered.iter().zip(forms).map(|(offered, form)| Entry {
            alias: aliases.entry(offered.alias).or_insert_with(|| offered.alias.into()).clone(),
            kind: offered.kind,
            raw: offered.uri.into(),
            form,
        });
        let mut uris = Self { entries: entries.collect(), ..Self::default() };
        for (index, entry) in uris.entries.iter().enumerate() {
            let Some(exposed) = entry.exposed() else { continue };
            if entry.kind == Kind::Template {
                uris.templates.extend(Template::parse(&exposed).map(|template| (template, index)));
            }
            let known = if entry.kind == Kind::Resource { &mut uris.resources } else { &mut uris.references };
            known.insert(exposed, index);
        }
        uris.templates.sort_by_key(|(template, _)| Reverse(template.literal_prefix().len()));
        uris.renamed = renaming::Server::all(&uris.entries);
        uris
    }

    /// What clients call the resource or template at that place in what was offered; `None` where it is left out, because
    /// another server has the web address, or the same server has offered it before.
    #[must_use]
    pub fn exposed(&self, index: usize) -> Option<Arc<str>> {
        self.entries.get(index)?.exposed()
    }

    /// Whose a URI is: the resource's that has it, else the template's with the longest literal prefix among those it can
    /// have come of, and of two as long the first in order. Nobody is asked; and nobody has it that is not found in
    /// [`STEPS_MAX`].
    #[must_use]
    pub fn find<'f>(&'f self, uri: &'f str) -> Option<Found<'f>> {
        if let Some(index) = self.resources.get(uri) {
            return Some(Found { index: *index, raw: Cow::Borrowed(&self.entries[*index].raw) });
        }
        let mut steps = Steps::default();
        let (_, index) = self.templates.iter().find(|(template, _)| template.matches(uri, &mut steps))?;
        Some(Found { index: *index, raw: self.entries[*index].raw_of(uri) })
    }

    /// Whose arguments a `ref/resource` is about: the template's of that text, else as [`Uris::find`] says.
    #[must_use]
    pub fn find_reference<'f>(&'f self, uri: &'f str) -> Option<Found<'f>> {
        match self.references.get(uri) {
            Some(index) => Some(Found { index: *index, raw: Cow::Borrowed(&self.entries[*index].raw) }),
            None => self.find(uri),
        }
    }

    /// How the URIs of the server of that alias are called here; `None` where all are what the server calls them, so that
    /// nothing it says needs to be looked through.
    #[must_use]
    pub fn renaming(&self, alias: &str) -> Option<Renaming<'_>> {
        self.renamed.get(alias).map(|server| Renaming::new(&self.entries, server))
    }
}

impl Entry {
    /// The URI or template that clients know.
    fn exposed(&self) -> Option<Arc<str>> {
        match self.form {
            Form::Same => Some(Arc::clone(&self.raw)),
            _ => self.renamed(&self.raw).map(Arc::from),
        }
    }

    /// What a URI of the server's is called when it is called as this one; `None` where that is what it is.
    fn renamed(&self, raw: &str) -> Option<String> {
        match self.form {
            Form::Same | Form::LeftOut => None,
            Form::Plus => Some(format!("{}+{raw}", self.alias)),
            Form::Ui => Some(format!("{UI}{}/{}", self.alias, raw.strip_prefix(UI)?)),
        }
    }

    /// What the server calls a URI that clients call as this one.
    fn raw_of<'u>(&self, exposed: &'u str) -> Cow<'u, str> {
        let rest = match self.form {
            Form::Same | Form::LeftOut => None,
            Form::Plus => exposed.strip_prefix(&*self.alias).and_then(|rest| rest.strip_prefix('+')).map(Cow::Borrowed),
            Form::Ui => {
                let rest = exposed.strip_prefix(UI).and_then(|rest| rest.strip_prefix(&*self.alias)?.strip_prefix('/'));
                rest.map(|rest| Cow::Owned(format!("{UI}{rest}")))
            }
        };
        rest.unwrap_or(Cow::Borrowed(exposed))
    }
}

/// Decides how everything is called.
fn forms(offered: &[Offered<'_>]) -> Vec<Form> {
    // Who is the first to have each key, and whether another has it, too.
    let mut owners: HashMap<Cow<'_, str>, (&str, bool)> = HashMap::new();
    for (of, key) in offered.iter().flat_map(|of| keys(of).map(move |key| (of, key))) {
        let (first, is_contested) = owners.entry(key).or_insert((of.alias, false));
        *is_contested |= *first != of.alias;
    }
    let mut seen = HashSet::new();
    let decide = |of: &Offered<'_>| {
        let owned = keys(of).filter_map(|key| owners.get(&key));
        let contested: Vec<_> = owned.filter(|(_, is_contested)| *is_contested).collect();
        match is_web(of.uri) {
            _ if contested.is_empty() => Form::Same,
            false => form(of.uri),
            true if contested.iter().all(|(first, _)| *first == of.alias) => Form::Same,
            true => Form::LeftOut,
        }
    };
    let mut forms: Vec<Form> =
        offered.iter().map(|of| if seen.insert(*of) { decide(of) } else { Form::LeftOut }).collect();
    rename_what_looks_renamed(offered, &mut forms);
    forms
}

/// Renames what begins as a renamed URI does, until nothing does.
fn rename_what_looks_renamed(offered: &[Offered<'_>], forms: &mut [Form]) {
    loop {
        let given: HashSet<(&str, Form)> = offered.iter().zip(&*forms).map(|(of, form)| (of.alias, *form)).collect();
        let mut is_done = true;
        for (offered, form) in offered.iter().zip(&mut *forms).filter(|(_, form)| **form == Form::Same) {
            if begins_as(offered.uri).is_some_and(|begins| given.contains(&begins)) {
                *form = self::form(offered.uri);
                is_done = false;
            }
        }
        if is_done {
            return;
        }
    }
}

/// The alias and the form that a URI would have if it were a renamed one.
fn begins_as(uri: &str) -> Option<(&str, Form)> {
    let ui = uri.strip_prefix(UI).and_then(|rest| rest.split_once('/'));
    let plus = || uri.split_once('+').map(|(alias, _)| (alias, Form::Plus));
    ui.map(|(alias, _)| (alias, Form::Ui)).or_else(plus)
}

/// What two servers must not both have: a text, whatever it stands for, and what a template matches.
fn keys<'o>(offered: &Offered<'o>) -> impl Iterator<Item = Cow<'o, str>> {
    let template = if offered.kind == Kind::Template { Template::parse(offered.uri) } else { None };
    [Cow::Borrowed(offered.uri)].into_iter().chain(template.map(|template| Cow::Owned(template.shape())))
}

fn form(uri: &str) -> Form {
    if uri.starts_with(UI) { Form::Ui } else { Form::Plus }
}

/// Whether clients may fetch it without us. Schemes are read in either case (RFC 3986, 3.1).
fn is_web(uri: &str) -> bool {
    let scheme = uri.split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

#[cfg(test)]
mod tests;
