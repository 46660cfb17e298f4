//! Takes in what a probe found: what differs from what is live is held for a person.

use chrono::TimeDelta;
use domain::relay::Found;
use domain::{Clock, ItemId, ServerId, ServerVersionId, ToolId, UserId};
use store::servers::{self, Protocol, Server, Version, VersionState};
use store::tools::ChangeState;
use store::{TenantTx, items, outbox, tools};

use super::{ServerError, locked};
use crate::ingest::change::{self, Change};
use crate::recorded::Author;
use crate::servers::definition::Definition;
use crate::servers::item_review::{self, BroughtItems};
use crate::servers::review::{self, Brought};

/// For how long Sluice leaves what waits for a person as it is, whatever it finds meanwhile: a server that answers
/// differently each time must not take from under a reviewer what is under review.
const WAITS_FOR: TimeDelta = TimeDelta::hours(1);
/// Most versions kept of a server; only accepted ones are kept beyond.
const VERSIONS_MAX: u16 = 50;

/// What a probe came to.
#[derive(Debug)]
pub(crate) enum Imported {
    /// A person must look at this.
    Held(Box<Version>, Changes),
    /// All is as it was accepted.
    Unchanged,
}

/// What a version changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) tools: Vec<tools::Change>,
    /// Prompts, resources and templates.
    pub(crate) items: Vec<items::Change>,
}

impl Changes {
    pub(crate) async fn read(tx: &mut TenantTx, version: ServerVersionId) -> Result<Self, store::Error> {
        Ok(Self { tools: tools::list_changes(tx, version).await?, items: items::list_changes(tx, version).await? })
    }

    /// How many wait for a decision.
    pub(crate) fn held(&self) -> usize {
        let tools = self.tools.iter().map(|change| change.state);
        let states = tools.chain(self.items.iter().map(|change| change.state));
        states.filter(|state| *state == ChangeState::Held).count()
    }
}

/// Who looks at a server.
#[derive(Debug)]
pub(crate) struct Looker {
    /// The person; none: Sluice looks by itself.
    pub(crate) person: Option<UserId>,
    /// As records name who looks.
    pub(crate) actor: change::Actor,
    pub(crate) clock: Clock,
}

impl Looker {
    /// Whether it leaves what waits as it is.
    fn leaves(&self, waiting: &Version) -> bool {
        self.person.is_none() && (self.clock.now() - waiting.found_at).abs() < WAITS_FOR
    }
}

impl From<Author> for Looker {
    fn from(author: Author) -> Self {
        Self { person: Some(author.user), actor: author.actor, clock: author.clock }
    }
}

/// What becomes of definitions a person has said no to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// They are not asked again.
    StayOut,
    /// They are asked again.
    AskAgain,
}

/// Takes in what a probe of the server, then at `revision`, found: what differs from what is live is held. What waits
/// already stays as it is, and what waited and is offered no longer is taken back; where nobody asked, not before it has
/// waited for [`WAITS_FOR`].
pub(crate) async fn import(
    tx: &mut TenantTx,
    looker: &Looker,
    (id, revision): (ServerId, u64),
    found: &Found,
    rejected: Rejected,
) -> Result<Imported, ServerError> {
    let offer = Offer::read(found)?;
    let server = locked(tx, id).await?;
    if server.revision != revision {
        return Err(ServerError::ChangedMeanwhile(server.revision));
    }
    let mut versions = servers::list_versions(tx, id).await?;
    refresh(tx, looker, (&server, &mut versions), (found, &offer)).await?;
    let waiting = versions.first().filter(|newest| newest.state == VersionState::Held);
    let waits = match waiting {
        Some(newest) => Changes::read(tx, newest.id).await?,
        None => Changes::default(),
    };
    if let Some(newest) = waiting.filter(|newest| looker.leaves(newest)) {
        return Ok(Imported::Held(Box::new(newest.clone()), waits));
    }
    let (brought, brought_items) = offer.compare(tx, looker, (id, rejected), &waits).await?;
    let is_as_it_was = brought.changes.is_empty() && brought_items.changes.is_empty();
    if is_as_it_was && is_known(&versions, &server, found, rejected) {
        if servers::supersede(tx, id).await? {
            forget(tx, id).await?;
        }
        return Ok(Imported::Unchanged);
    }
    if let Some(newest) = waiting.filter(|newest| says(newest, found))
        && brought.is_waiting(&waits.tools)
        && brought_items.is_waiting(&waits.items)
    {
        return Ok(Imported::Held(Box::new(newest.clone()), waits));
    }
    let number = versions.first().map_or(1, |newest| newest.number + 1);
    let version = hold(tx, looker, (id, number), (found, &offer), (&brought, &brought_items)).await?;
    forget(tx, id).await?;
    let change = Change::new("server.import", "server_version", version.id).named(server.key.as_str());
    change::record(tx, &looker.clock, &looker.actor, change).await?;
    Ok(Imported::Held(Box::new(version), Changes { tools: brought.changes, items: brought_items.changes }))
}

/// What was found, read.
struct Offer {
    tools: Vec<Definition>,
    items: item_review::Taken,
}

impl Offer {
    fn read(found: &Found) -> Result<Self, review::FoundError> {
        review::check_about(found)?;
        let texts: Vec<&str> = found.tools.iter().map(|tool| tool.get()).collect();
        Ok(Self { tools: review::read(&texts)?, items: item_review::read(&found.items) })
    }

    /// What differs from what is live; of what waits, what this look says nothing of stays.
    async fn compare(
        &self,
        tx: &mut TenantTx,
        looker: &Looker,
        (id, rejected): (ServerId, Rejected),
        waits: &Changes,
    ) -> Result<(Brought, BroughtItems), store::Error> {
        let known = tools::list(tx, id).await?;
        let mut brought = review::compare(&known, &self.tools, || ToolId::new(&looker.clock));
        let known = items::list(tx, id).await?;
        let mut brought_items = item_review::compare(&known, &self.items.listed, || ItemId::new(&looker.clock));
        if rejected == Rejected::StayOut {
            brought.leave_out(&tools::list_rejected(tx, id).await?);
            brought_items.leave_out(&items::list_rejected(tx, id).await?);
        }
        brought_items.take_over(&waits.items, &self.items.listed);
        Ok((brought, brought_items))
    }
}

/// Deletes what was replaced before anybody decided on it, and what only it brought.
async fn forget(tx: &mut TenantTx, id: ServerId) -> Result<(), ServerError> {
    servers::forget_versions(tx, id, VERSIONS_MAX).await?;
    tools::forget_unused(tx, id).await?;
    Ok(items::forget_unused(tx, id).await?)
}

/// Whether what a server says of itself is what is live, or what a person has said no to since.
fn is_known(versions: &[Version], server: &Server, found: &Found, rejected: Rejected) -> bool {
    let live = live(versions, server);
    let after = live.map_or(0, |live| live.number);
    let decided = versions.iter().find(|version| version.number > after && version.state == VersionState::Decided);
    live.is_some_and(|live| says(live, found))
        || rejected == Rejected::StayOut && decided.is_some_and(|decided| says(decided, found))
}

fn live<'a>(versions: &'a [Version], server: &Server) -> Option<&'a Version> {
    versions.iter().find(|version| Some(version.id) == server.version)
}

fn says(version: &Version, found: &Found) -> bool {
    version.instructions == found.instructions
        && version.protocol_version == found.protocol_version
        && version.era == found.era
}

/// How a server is spoken to, where the look could tell; else as it was known. And what the look has to say.
fn protocol(found: &Found, offer: &Offer, before: Option<&Protocol>) -> Protocol {
    let before = before.cloned().unwrap_or_default();
    Protocol {
        speaks: found.speaks.clone().or(before.speaks),
        capabilities: found.capabilities.as_ref().map(|said| said.get().to_owned()).or(before.capabilities),
        transport: found.transport.or(before.transport),
        findings: found.findings.iter().chain(&offer.items.findings).cloned().collect(),
    }
}

/// Writes how the live version and the one that waits are spoken to, where that changed. Nothing of it is for a person
/// to review: it tells how to ask, and what may be asked for is reviewed.
async fn refresh(
    tx: &mut TenantTx,
    looker: &Looker,
    (server, versions): (&Server, &mut [Version]),
    (found, offer): (&Found, &Offer),
) -> Result<(), store::Error> {
    for version in versions.iter_mut().filter(|version| says(version, found)) {
        let is_live = Some(version.id) == server.version;
        let protocol = protocol(found, offer, Some(&version.protocol));
        if !is_live && version.state != VersionState::Held || protocol == version.protocol {
            continue;
        }
        servers::set_protocol(tx, version.id, &protocol).await?;
        let before = std::mem::replace(&mut version.protocol, protocol);
        let is_published = |protocol: &Protocol| (protocol.speaks.clone(), protocol.capabilities.clone());
        if is_live && is_published(&before) != is_published(&version.protocol) {
            let change = Change::new("server.protocol", "server_version", version.id).named(server.key.as_str());
            change::record(tx, &looker.clock, &looker.actor, change).await?;
            outbox::changed(tx).await?;
        }
    }
    Ok(())
}

async fn hold(
    tx: &mut TenantTx,
    looker: &Looker,
    (server, number): (ServerId, u32),
    (found, offer): (&Found, &Offer),
    (brought, brought_items): (&Brought, &BroughtItems),
) -> Result<Version, ServerError> {
    let version = Version {
        id: ServerVersionId::new(&looker.clock),
        server,
        number,
        state: VersionState::Held,
        era: found.era,
        protocol_version: found.protocol_version.clone(),
        server_info: found.server_info.as_ref().map(|info| info.get().to_owned()),
        instructions: found.instructions.clone(),
        found_at: looker.clock.now(),
        found_by: looker.person,
        protocol: protocol(found, offer, None),
    };
    tools::add_seen(tx, server, &brought.seen, version.found_at).await?;
    items::add_seen(tx, server, &brought_items.seen, version.found_at).await?;
    servers::add_version(tx, &version).await?;
    tools::add_changes(tx, version.id, &brought.changes).await?;
    items::add_changes(tx, version.id, &brought_items.changes).await?;
    Ok(version)
}
