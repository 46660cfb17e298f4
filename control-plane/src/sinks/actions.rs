//! The rules of destinations. Secrets go into their store between two transactions, so that none waits for Vault.

use audit::export::Format;
use audit::words::{Effect, Kind as RecordKind};
use chrono::{DateTime, Utc};
use domain::{CredentialId, CredentialPlace, DestinationId, Secret, TenantId};
use secrets::{Scope, StoreError, UnwrapError};
use store::audit::delivery;
use store::destinations::{self, Destination, State, Wanted, WriteError};
use store::lanes::{self, Kind, New as NewLane};
use store::tenants::{self, KeyPurpose};
use store::{TenantTx, letters, servers};

use super::Needs;
use super::encode;
use super::sender::{Sender, Tested};
use super::settings::Settings;
use crate::ingest::change::Change;
use crate::recorded::Author;

/// Most destinations of a tenant.
pub(super) const DESTINATIONS_MAX: usize = 20;
/// Most words or servers of one list of what is wanted.
const WANTED_MAX: usize = 100;
/// How fast records are replayed when nothing else is asked for, in a second.
pub(super) const REPLAY_RATE: u32 = 500;
/// How fast at most.
pub(super) const REPLAY_RATE_MAX: u32 = 10_000;

/// Why something was not done with a destination.
#[derive(Debug, thiserror::Error)]
pub(super) enum DestinationError {
    #[error("no such thing")]
    NotFound,
    #[error("the name is taken")]
    NameTaken,
    #[error("a workspace has at most {DESTINATIONS_MAX} destinations")]
    TooMany,
    #[error("it was changed meanwhile")]
    ChangedMeanwhile(u64),
    /// A field does not fit: which, and why.
    #[error("a value does not fit")]
    Wrong(&'static str, String),
    #[error("a replay is under way")]
    Replaying,
    #[error("the log has no record from there on")]
    NothingThere,
    #[error(transparent)]
    Key(#[from] UnwrapError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Database(#[from] store::Error),
}

impl From<WriteError> for DestinationError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NameTaken => Self::NameTaken,
            WriteError::Database(error) => Self::Database(error),
        }
    }
}

/// A destination as it is to be, without its secret.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) format: Format,
    pub(super) settings: Settings,
    pub(super) wanted: Wanted,
    /// Whether what is personal goes along.
    pub(super) personal: bool,
}

/// What a new secret does to the one before it.
#[derive(Debug)]
pub(super) enum NewSecret {
    /// It takes its place.
    Replacing(Secret<String>),
    /// Both hold until the next one: a webhook signs with both.
    Beside(Secret<String>),
}

/// A secret that was put away, and the destination's revision that it is for.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) place: CredentialPlace,
}

/// Whether settings and secret can be used at all, and lead to where may be dialled.
pub(super) fn check(needs: &Needs, plan: &Plan, secret: &Secret<String>) -> Result<(), DestinationError> {
    let Plan { settings, wanted, .. } = plan;
    settings.check(&needs.outside.rules).map_err(|(field, said)| DestinationError::Wrong(field, said))?;
    for (field, count) in
        [("kinds", wanted.kinds.len()), ("effects", wanted.effects.len()), ("servers", wanted.servers.len())]
    {
        if count > WANTED_MAX {
            return Err(DestinationError::Wrong(field, format!("at most {WANTED_MAX}")));
        }
    }
    for kind in &wanted.kinds {
        RecordKind::find(kind).ok_or_else(|| DestinationError::Wrong("kinds", "no such kind of record".to_owned()))?;
    }
    for effect in &wanted.effects {
        Effect::find(effect).ok_or_else(|| DestinationError::Wrong("effects", "no such effect".to_owned()))?;
    }
    if !settings.allows(plan.format) {
        return Err(DestinationError::Wrong("format", "this kind of destination takes JSON formats only".to_owned()));
    }
    let opened = Sender::open(settings, secret, &needs.outside);
    opened.map(drop).map_err(|fault| DestinationError::Wrong("secret", fault.said))
}

/// First: whether there is room, and the key that secrets rest under.
pub(super) async fn look(tx: &mut TenantTx, needs: &Needs) -> Result<Secret<[u8; 32]>, DestinationError> {
    Ok(needs.master.unwrap(tx.tenant(), &tenants::get_key(tx, KeyPurpose::Data).await?)?)
}

/// Second, outside any transaction: a new secret goes into its store.
pub(super) async fn keep(
    needs: &Needs,
    (tenant, data_key): (TenantId, &Secret<[u8; 32]>),
    secret: &Secret<String>,
) -> Result<Kept, DestinationError> {
    let id = CredentialId::new(&needs.outside.clock);
    Ok(Kept { place: needs.store.put(Scope { tenant, data_key }, id, 0, secret).await? })
}

/// The secret of a destination, outside any transaction.
pub(super) async fn reveal(
    needs: &Needs,
    (tenant, data_key): (TenantId, &Secret<[u8; 32]>),
    destination: &Destination,
) -> Result<Secret<String>, DestinationError> {
    Ok(needs.store.get(Scope { tenant, data_key }, &destination.secret).await?)
}

/// Third: a destination that waits to be started, from the log's present end on.
pub(super) async fn add(
    tx: &mut TenantTx,
    author: &Author,
    plan: Plan,
    secret: Kept,
) -> Result<Destination, DestinationError> {
    destinations::lock_all(tx).await?;
    if destinations::list(tx).await?.len() >= DESTINATIONS_MAX {
        return Err(DestinationError::TooMany);
    }
    check_servers(tx, &plan.wanted).await?;
    let new = Destination {
        id: DestinationId::new(&author.clock),
        kind: plan.settings.kind().to_owned(),
        format: plan.format.as_str().to_owned(),
        settings: written(&plan.settings),
        name: plan.name,
        wanted: plan.wanted,
        personal: plan.personal,
        state: State::Paused,
        revision: 1,
        shape: 1,
        secret: secret.place,
        created_at: author.now(),
        created_by: author.user,
        changed_at: author.now(),
        changed_by: author.user,
    };
    destinations::add(tx, &new).await?;
    let at = delivery::end(tx).await?;
    let live = NewLane {
        destination: new.id,
        kind: Kind::Live,
        number: 0,
        is_on: false,
        at,
        replay: None,
        near: Some(author.now()),
    };
    lanes::add(tx, live).await?;
    author.noted(tx, change("destination.add", &new).after(&digest(&new))).await?;
    note_personal(tx, author, (false, &new)).await?;
    Ok(new)
}

/// Third: what people may change. A destination that was stopped goes on waiting: whoever mends it starts it.
pub(super) async fn alter(
    tx: &mut TenantTx,
    author: &Author,
    (before, plan): (&Destination, Plan),
    secret: Option<Kept>,
) -> Result<Destination, DestinationError> {
    let found = at_revision(tx, before.id, before.revision).await?;
    check_servers(tx, &plan.wanted).await?;
    let format = plan.format.as_str().to_owned();
    let is_reshaped = found.format != format || found.wanted != plan.wanted || found.personal != plan.personal;
    let after = Destination {
        name: plan.name,
        format,
        settings: written(&plan.settings),
        wanted: plan.wanted,
        personal: plan.personal,
        shape: found.shape + u64::from(is_reshaped),
        secret: secret.map_or_else(|| found.secret.clone(), |secret| secret.place),
        ..found.clone()
    };
    let after = raised(after, author);
    destinations::change(tx, &after).await?;
    author.noted(tx, change("destination.change", &after).before(&digest(&found)).after(&digest(&after))).await?;
    note_personal(tx, author, (found.personal, &after)).await?;
    Ok(after)
}

/// A record of its own of who has personal parts sent, or no longer: of what a change is, others are only a digest.
async fn note_personal(
    tx: &mut TenantTx,
    author: &Author,
    (before, after): (bool, &Destination),
) -> Result<(), DestinationError> {
    if after.personal != before {
        let action = if after.personal { "destination.personal_on" } else { "destination.personal_off" };
        author.noted(tx, change(action, after)).await?;
    }
    Ok(())
}

/// Starts or pauses one that is locked. What was under way is sent within the same bounds again.
pub(super) async fn switch(
    tx: &mut TenantTx,
    author: &Author,
    found: Destination,
    state: State,
) -> Result<Destination, DestinationError> {
    if found.state == state {
        return Ok(found);
    }
    let after = raised(Destination { state, ..found }, author);
    destinations::change(tx, &after).await?;
    lanes::switch(tx, after.id, state == State::Running).await?;
    let action = if state == State::Running { "destination.start" } else { "destination.pause" };
    author.noted(tx, change(action, &after)).await?;
    Ok(after)
}

/// Removes a destination with its cursors and dead letters; gives its secret's place, to be destroyed afterwards.
pub(super) async fn remove(
    tx: &mut TenantTx,
    author: &Author,
    id: DestinationId,
) -> Result<CredentialPlace, DestinationError> {
    let found = destinations::find_locked(tx, id).await?.ok_or(DestinationError::NotFound)?;
    destinations::remove(tx, id).await?;
    author.noted(tx, change("destination.remove", &found)).await?;
    Ok(found.secret)
}

/// Where a replay begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Begin {
    /// At a place of the log's present epoch.
    Place(u64),
    /// At the first record that began then or later.
    Time(DateTime<Utc>),
}

/// Sends again what is in the log from a place up to its present end, beside what is new, to one that is locked.
pub(super) async fn replay(
    tx: &mut TenantTx,
    author: &Author,
    found: &Destination,
    (from, rate): (Begin, u32),
) -> Result<(u64, u64), DestinationError> {
    let id = found.id;
    if lanes::list(tx, Some(id)).await?.iter().any(|lane| lane.kind == Kind::Replay) {
        return Err(DestinationError::Replaying);
    }
    let (epoch, end) = delivery::end(tx).await?;
    let near = match from {
        Begin::Place(_) => None,
        Begin::Time(time) => Some(time),
    };
    let first = match from {
        Begin::Place(place) => Some(place),
        Begin::Time(time) => {
            store::audit::leaf::places(tx, epoch, (time, DateTime::<Utc>::MAX_UTC)).await?.map(|places| places.0)
        }
    };
    let Some(first) = first.filter(|first| *first < end) else {
        return Err(DestinationError::NothingThere);
    };
    let is_on = found.state == State::Running;
    let replay = Some((end, rate.clamp(1, REPLAY_RATE_MAX)));
    let number = u64::try_from(author.now().timestamp_millis()).unwrap_or_default();
    let at = (epoch, first);
    lanes::add(tx, NewLane { destination: id, kind: Kind::Replay, number, is_on, at, replay, near }).await?;
    author.noted(tx, change("destination.replay", found).after(&(epoch, first, end))).await?;
    Ok((first, end))
}

/// Ends a replay before its end.
pub(super) async fn end_replay(tx: &mut TenantTx, author: &Author, id: DestinationId) -> Result<(), DestinationError> {
    let found = destinations::find_locked(tx, id).await?.ok_or(DestinationError::NotFound)?;
    if lanes::end(tx, id, Kind::Replay).await? {
        author.noted(tx, change("destination.replay_end", &found)).await?;
    }
    Ok(())
}

/// Sends all dead letters of one that is locked again; how many.
pub(super) async fn resend(tx: &mut TenantTx, author: &Author, found: &Destination) -> Result<u64, DestinationError> {
    let id = found.id;
    let number = u64::try_from(author.now().timestamp_millis()).unwrap_or_default();
    let asked = letters::ask(tx, id, number).await?;
    if asked == 0 {
        return Ok(0);
    }
    // An earlier wish is part of this one.
    lanes::end(tx, id, Kind::Letters).await?;
    let (is_on, at) = (found.state == State::Running, delivery::end(tx).await?);
    lanes::add(tx, NewLane { destination: id, kind: Kind::Letters, number, is_on, at, replay: None, near: None })
        .await?;
    author.noted(tx, change("destination.resend", found).after(&asked)).await?;
    Ok(asked)
}

/// Sends one marked record, outside any transaction. That somebody did is recorded before it is.
pub(super) async fn test(
    needs: &Needs,
    tenant: TenantId,
    destination: &Destination,
    secret: &Secret<String>,
) -> Result<Tested, DestinationError> {
    let (settings, format) = read(destination)?;
    let sender = Sender::open(&settings, secret, &needs.outside);
    let sender = sender.map_err(|fault| DestinationError::Wrong("secret", fault.said))?;
    Ok(sender.test(&encode::test(tenant, destination.id, format, &needs.outside.clock)).await)
}

/// What a stored destination's settings and format are.
pub(super) fn read(destination: &Destination) -> Result<(Settings, Format), store::Error> {
    let unreadable = |column| store::Error::Unreadable { column };
    let settings = serde_json::from_str(&destination.settings).map_err(|_| unreadable("destinations.settings"))?;
    Ok((settings, Format::find(&destination.format).ok_or(unreadable("destinations.format"))?))
}

/// A destination that is still at the revision that was seen.
pub(super) async fn at_revision(
    tx: &mut TenantTx,
    id: DestinationId,
    revision: u64,
) -> Result<Destination, DestinationError> {
    let found = destinations::find_locked(tx, id).await?.ok_or(DestinationError::NotFound)?;
    if found.revision == revision { Ok(found) } else { Err(DestinationError::ChangedMeanwhile(found.revision)) }
}

async fn check_servers(tx: &mut TenantTx, wanted: &Wanted) -> Result<(), DestinationError> {
    for server in &wanted.servers {
        let found = servers::find(tx, *server).await?;
        found.ok_or_else(|| DestinationError::Wrong("servers", "no such server".to_owned()))?;
    }
    Ok(())
}

fn raised(mut destination: Destination, author: &Author) -> Destination {
    destination.revision += 1;
    (destination.changed_at, destination.changed_by) = (author.now(), author.user);
    destination
}

fn written(settings: &Settings) -> String {
    serde_json::to_string(settings).unwrap_or_default()
}

pub(super) fn change(action: &'static str, destination: &Destination) -> Change {
    Change::new(action, "destination", destination.id).named(destination.name.clone())
}

/// What of a destination is recorded as a digest: all that people set.
fn digest(destination: &Destination) -> impl serde::Serialize {
    let Destination { name, format, settings, wanted, secret, personal, .. } = destination;
    let servers: Vec<String> = wanted.servers.iter().map(ToString::to_string).collect();
    serde_json::json!({
        "name": name, "format": format, "settings": settings, "kinds": wanted.kinds, "effects": wanted.effects,
        "servers": servers, "secret": secret.id, "personal": personal,
    })
}
