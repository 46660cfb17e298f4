//! What a tenant calls its people, servers, tools and policies.

use std::collections::{BTreeSet, HashMap};

use domain::{Label, UserId};
use store::audit::search::Among;
use store::people::Membership;
use store::policies::Policy;
use store::servers::Server;
use store::tools::Offered;

/// What a tenant calls things.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pub(crate) people: Vec<Membership>,
    pub(crate) servers: Vec<Server>,
    /// Tools, where labels are asked for; they are not read otherwise.
    pub(crate) tools: Vec<Offered>,
    /// Policies that were not removed, by their ids.
    policies: HashMap<uuid::Uuid, String>,
    /// Where each person is among them, by the id that records have.
    places: HashMap<String, usize>,
}

impl Names {
    /// Of a tenant's people, servers and tools.
    pub(crate) fn new(people: Vec<Membership>, servers: Vec<Server>, tools: Vec<Offered>) -> Self {
        let places = people.iter().enumerate().map(|(place, person)| (person.user.to_string(), place)).collect();
        Self { people, servers, tools, policies: HashMap::new(), places }
    }

    /// With those of its policies.
    pub(crate) fn with_policies(self, policies: Vec<Policy>) -> Self {
        let policies = policies.into_iter().map(|policy| (policy.id.uuid(), policy.name)).collect();
        Self { policies, ..self }
    }

    /// The policy's name; none of one that was removed.
    pub(crate) fn policy(&self, id: uuid::Uuid) -> Option<&str> {
        self.policies.get(&id).map(String::as_str)
    }

    /// The person's name in the tenant.
    pub(crate) fn person(&self, id: &str) -> Option<&str> {
        self.known(id).map(|person| person.name.as_str())
    }

    fn known(&self, id: &str) -> Option<&Membership> {
        self.people.get(*self.places.get(id)?)
    }

    /// The server.
    pub(crate) fn server(&self, id: uuid::Uuid) -> Option<&Server> {
        self.servers.iter().find(|server| server.id.uuid() == id)
    }

    /// All labels there are.
    pub(super) fn labels(&self) -> BTreeSet<&Label> {
        let of_servers = self.servers.iter().flat_map(|server| &server.settings.labels);
        of_servers.chain(self.tools.iter().flat_map(|tool| &tool.labels)).collect()
    }

    /// Servers, and tools of others, that have all of these labels, commas between; a tool has its server's too.
    pub(super) fn labelled(&self, wanted: &str) -> Result<Among, String> {
        let wanted: Vec<&str> = wanted.split(',').map(str::trim).collect();
        let none = BTreeSet::new();
        let of_server = |id| self.servers.iter().find(|server| server.id == id).map(|server| &server.settings.labels);
        let has = |own: &BTreeSet<Label>, other: &BTreeSet<Label>| {
            wanted.iter().all(|wanted| own.iter().chain(other).any(|label| label.as_str() == *wanted))
        };
        let servers = self.servers.iter().filter(|server| has(&server.settings.labels, &none));
        let tools = self.tools.iter().filter(|tool| has(&tool.labels, of_server(tool.server).unwrap_or(&none)));
        let among = Among {
            servers: servers.map(|server| server.id.uuid()).collect(),
            tools: tools.map(|tool| tool.id.uuid()).collect(),
        };
        let is_any = !among.servers.is_empty() || !among.tools.is_empty();
        is_any.then_some(among).ok_or("no server or tool has this label".to_owned())
    }

    /// Servers, and tools of others, whose name holds this text, in either case.
    pub(super) fn called(&self, text: &str) -> Result<Among, String> {
        let wanted = text.to_lowercase();
        let holds = |name: &str| name.to_lowercase().contains(&wanted);
        let is_called = |server: &&Server| {
            holds(server.key.as_str()) || holds(server.settings.alias.as_str()) || holds(&server.settings.title)
        };
        let is_tool = |tool: &&Offered| {
            let server = self.servers.iter().find(|server| server.id == tool.server);
            server.is_some_and(|server| holds(&format!("{}__{}", server.settings.alias, tool.name)))
        };
        let tools = self.tools.iter().filter(is_tool);
        let among = Among {
            servers: self.servers.iter().filter(is_called).map(|server| server.id.uuid()).collect(),
            tools: tools.map(|tool| tool.id.uuid()).collect(),
        };
        let is_any = !among.servers.is_empty() || !among.tools.is_empty();
        is_any.then_some(among).ok_or("no caller, server or tool is called so".to_owned())
    }

    /// The id and the name of a person by name, or of anybody by their id: who has left is not among the people any more.
    pub(super) fn find_caller(&self, text: &str) -> Result<(String, String), String> {
        match self.find_person(text) {
            Ok(person) => Ok((person.user.to_string(), person.name.clone())),
            Err(_) if text.parse::<UserId>().is_ok() => Ok((text.to_owned(), text.to_owned())),
            Err(fault) => Err(fault),
        }
    }

    fn find_person(&self, text: &str) -> Result<&Membership, String> {
        let wanted = text.to_lowercase();
        if let Some(person) = self.known(text) {
            return Ok(person);
        }
        let exact: Vec<_> = self.people.iter().filter(|person| person.name.to_lowercase() == wanted).collect();
        let has = |person: &&Membership| person.name.to_lowercase().contains(&wanted);
        let found = if exact.is_empty() { self.people.iter().filter(has).collect() } else { exact };
        match found[..] {
            [one] => Ok(one),
            [] => Err("nobody here is called so".to_owned()),
            _ => Err(format!("{} people are called so", found.len())),
        }
    }

    pub(super) fn find_server(&self, text: &str) -> Option<&Server> {
        self.servers.iter().find(|server| {
            server.key.as_str() == text || server.settings.alias.as_str() == text || server.id.to_string() == text
        })
    }
}
