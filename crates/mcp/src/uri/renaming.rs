//! What a server says with the URIs it knows, with those that clients know. Only the members that the specification calls
//! URIs of resources are changed, never a text: all else stays as it was written.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::template::{Steps, Template};
use super::{Entry, Form, Kind};
use crate::json::Change;
use crate::{Json, Method, Object, Raw};

/// The URIs of a server of which at least one is renamed, as places among all.
#[derive(Debug, Default)]
pub(super) struct Server {
    resources: HashMap<Arc<str>, usize>,
    /// By their texts at the server, the longest literal prefix first, then in order.
    templates: Vec<(Template, usize)>,
}

impl Server {
    /// The servers that have any, by their aliases.
    pub(super) fn all(entries: &[Entry]) -> HashMap<Arc<str>, Self> {
        let renamed = entries.iter().filter(|entry| matches!(entry.form, Form::Plus | Form::Ui));
        let mut servers: HashMap<Arc<str>, Self> =
            renamed.map(|entry| (Arc::clone(&entry.alias), Self::default())).collect();
        for (index, entry) in entries.iter().enumerate() {
            let Some(server) = servers.get_mut(&entry.alias) else { continue };
            match entry.kind {
                Kind::Resource => {
                    server.resources.entry(Arc::clone(&entry.raw)).or_insert(index);
                }
                Kind::Template => {
                    server.templates.extend(Template::parse(&entry.raw).map(|template| (template, index)));
                }
            }
        }
        for server in servers.values_mut() {
            server.templates.sort_by_key(|(template, _)| Reverse(template.literal_prefix().len()));
        }
        servers
    }
}

/// How the URIs of one server are called here.
#[derive(Debug, Clone, Copy)]
pub struct Renaming<'u> {
    entries: &'u [Entry],
    server: &'u Server,
}

impl<'u> Renaming<'u> {
    pub(super) const fn new(entries: &'u [Entry], server: &'u Server) -> Self {
        Self { entries, server }
    }

    /// What clients call a URI of the server's; `None` where that is what it is, or the server has not offered it.
    #[must_use]
    pub fn uri(&self, raw: &str) -> Option<String> {
        self.pass().uri(raw)
    }

    /// The result of a request about one thing, in either era; `None` where nothing changes.
    ///
    /// That is: `contents[].uri` of `resources/read`; the `uri` of links and of embedded resources among the content of
    /// `tools/call` and of the messages of `prompts/get`; and in `_meta` what names the page of an app. What would take more
    /// than [`super::STEPS_MAX`] stays what the server calls it.
    #[must_use]
    pub fn result(&self, method: Method, result: &Object<'_>) -> Option<Json> {
        let pass = self.pass();
        let told = match method {
            Method::ToolsCall => ("content", pass.each(result, "content", Pass::block)),
            Method::PromptsGet => ("messages", pass.each(result, "messages", Pass::message)),
            Method::ResourcesRead => ("contents", pass.each(result, "contents", Pass::resource)),
            _ => return None,
        };
        changed(result, &[told, pass.meta(result)])
    }

    /// The definition of a tool, a prompt or a resource with what it says of an app's page; `None` where nothing changes.
    /// What it is itself called is for whoever lists it.
    #[must_use]
    pub fn definition(&self, definition: &Object<'_>) -> Option<Json> {
        changed(definition, &[self.pass().meta(definition)])
    }

    /// The parameters of `notifications/resources/updated`; `None` where nothing changes.
    #[must_use]
    pub fn updated(&self, params: &Object<'_>) -> Option<Json> {
        changed(params, &[self.pass().member(params, "uri")])
    }

    fn pass(&self) -> Pass<'u> {
        Pass { of: *self, steps: RefCell::default() }
    }
}

/// One look through what a server said.
struct Pass<'u> {
    of: Renaming<'u>,
    steps: RefCell<Steps>,
}

impl Pass<'_> {
    fn uri(&self, raw: &str) -> Option<String> {
        let Renaming { entries, server } = self.of;
        let mut steps = self.steps.borrow_mut();
        let mut of_a_template = || server.templates.iter().find(|(template, _)| template.matches(raw, &mut steps));
        let index = server.resources.get(raw).or_else(|| of_a_template().map(|(_, index)| index))?;
        entries[*index].renamed(raw)
    }

    /// A message of a prompt: its content is one block, or some say several.
    fn message(&self, message: Raw<'_>) -> Option<Json> {
        let message = message.object()?;
        let content = message.get("content")?;
        let content = self.block(content).or_else(|| self.each(&message, "content", Self::block));
        changed(&message, &[("content", content)])
    }

    fn block(&self, block: Raw<'_>) -> Option<Json> {
        let block = block.object()?;
        let named = match block.text("type").as_deref() {
            Some("resource_link") => self.member(&block, "uri"),
            Some("resource") => ("resource", block.get("resource").and_then(|resource| self.resource(resource))),
            _ => return None,
        };
        changed(&block, &[named, self.meta(&block)])
    }

    fn resource(&self, resource: Raw<'_>) -> Option<Json> {
        let resource = resource.object()?;
        changed(&resource, &[self.member(&resource, "uri"), self.meta(&resource)])
    }

    /// `ui.resourceUri` is where the extension for apps has it, and `ui/resourceUri` where its older servers do.
    fn meta(&self, of: &Object<'_>) -> (&'static str, Option<Json>) {
        let renamed = of.object("_meta").and_then(|meta| {
            let ui = meta.object("ui").and_then(|ui| changed(&ui, &[self.member(&ui, "resourceUri")]));
            changed(&meta, &[("ui", ui), self.member(&meta, "ui/resourceUri")])
        });
        ("_meta", renamed)
    }

    fn member(&self, of: &Object<'_>, key: &'static str) -> (&'static str, Option<Json>) {
        let renamed = of.text(key).and_then(|raw| self.uri(&raw));
        (key, renamed.map(|uri| Json::text(&uri)))
    }

    /// The array in that member; `None` where no item changes.
    fn each(&self, of: &Object<'_>, key: &str, change: fn(&Self, Raw<'_>) -> Option<Json>) -> Option<Json> {
        let items = of.get(key)?.array()?;
        let changed: Vec<Option<Json>> = items.iter().map(|item| change(self, *item)).collect();
        let is_changed = changed.iter().any(Option::is_some);
        let new = items.iter().zip(&changed).map(|(item, new)| new.as_ref().map_or(*item, Json::raw));
        is_changed.then(|| Json::array(new))
    }
}

/// The object with the members that are given; `None` where none is.
fn changed(object: &Object<'_>, members: &[(&str, Option<Json>)]) -> Option<Json> {
    let given = members.iter().filter_map(|(key, new)| Some((*key, Change::Set(new.as_ref()?.raw()))));
    let given: Vec<_> = given.collect();
    (!given.is_empty()).then(|| object.with(&given))
}

#[cfg(test)]
mod tests;
