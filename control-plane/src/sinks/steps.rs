//! What API and pages do alike, around the rules in [`actions`]: transactions, and the store of secrets between them.

use audit::export::Format;
use chrono::{DateTime, Utc};
use domain::{Clock, CredentialPlace, DestinationId, Permission, Secret, TenantId};
use secrets::StoreError;
use store::audit::delivery;
use store::destinations::{self, Destination, State as Run, Wanted};
use store::lanes::{self, Lane};
use store::{TenantTx, letters};

use super::Needs;
use super::actions::{self, Begin, DestinationError, NewSecret, Plan};
use super::api::{Filter, Shown};
use super::sender::Tested;
use super::settings::Settings;
use crate::access::{Can, may};
use crate::problem::Problem;

/// A destination with how far it is.
pub(super) async fn shown(tx: &mut TenantTx, found: Destination, now: DateTime<Utc>) -> Result<Shown, Problem> {
    let lanes = lanes::list(tx, Some(found.id)).await?;
    let letters = letters::counts(tx).await?.into_iter().find(|(id, _)| *id == found.id);
    let end = delivery::end(tx).await?;
    Shown::new(found, &lanes, (end, letters.map_or(0, |letters| letters.1)), now)
}

/// Records of the log from a lane's place on.
pub(super) fn lag(lane: &Lane, (epoch, size): (u64, u64)) -> u64 {
    if lane.epoch == epoch { size.saturating_sub(lane.next) } else { size }
}

/// Adds a destination with its secret.
pub(super) async fn add(
    needs: &Needs,
    can: &Can<may::ManageDestinations>,
    plan: Plan,
    secret: &Secret<String>,
) -> Result<Destination, Problem> {
    may_send(can, plan.personal)?;
    actions::check(needs, &plan, secret)?;
    let mut tx = can.begin().await?;
    let (tenant, data_key) = (tx.tenant(), actions::look(&mut tx, needs).await?);
    drop(tx);
    let kept = actions::keep(needs, (tenant, &data_key), secret).await?;
    let place = kept.place.clone();
    let mut tx = can.begin().await?;
    let added = match actions::add(&mut tx, &can.author(&needs.outside.clock), plan, kept).await {
        Ok(added) => added,
        Err(error) => {
            drop(tx);
            // Nothing points at it.
            forget(needs, tenant, &place).await;
            return Err(error.into());
        }
    };
    tx.commit().await?;
    Ok(added)
}

/// Whether who asks may have sent what goes along. What is personal takes more than destinations do: who may not take it
/// along does not lead it elsewhere, either, nor has any of it sent that was not. Switching it off is anybody's.
fn may_send(can: &Can<may::ManageDestinations>, personal: bool) -> Result<(), Problem> {
    if personal { can.also(Permission::ExportPersonal) } else { Ok(()) }
}

/// A destination, locked, that who asks may have records sent to.
async fn to_send(
    tx: &mut TenantTx,
    can: &Can<may::ManageDestinations>,
    id: DestinationId,
) -> Result<Destination, Problem> {
    let found = destinations::find_locked(tx, id).await?.ok_or_else(Problem::not_found)?;
    may_send(can, found.personal)?;
    Ok(found)
}

/// Starts a destination: what was never sent goes out then.
pub(super) async fn start(
    tx: &mut TenantTx,
    (can, clock): (&Can<may::ManageDestinations>, &Clock),
    id: DestinationId,
) -> Result<Destination, Problem> {
    let found = to_send(tx, can, id).await?;
    Ok(actions::switch(tx, &can.author(clock), found, Run::Running).await?)
}

/// Pauses a destination, which is anybody's who manages them.
pub(super) async fn pause(
    tx: &mut TenantTx,
    (can, clock): (&Can<may::ManageDestinations>, &Clock),
    id: DestinationId,
) -> Result<Destination, Problem> {
    let found = destinations::find_locked(tx, id).await?.ok_or_else(Problem::not_found)?;
    Ok(actions::switch(tx, &can.author(clock), found, Run::Paused).await?)
}

/// Has a part of the log sent again: its first place, and the one after its last.
pub(super) async fn replay(
    tx: &mut TenantTx,
    (can, clock): (&Can<may::ManageDestinations>, &Clock),
    id: DestinationId,
    part: (Begin, u32),
) -> Result<(u64, u64), Problem> {
    let found = to_send(tx, can, id).await?;
    Ok(actions::replay(tx, &can.author(clock), &found, part).await?)
}

/// Has all dead letters sent again: how many.
pub(super) async fn resend(
    tx: &mut TenantTx,
    (can, clock): (&Can<may::ManageDestinations>, &Clock),
    id: DestinationId,
) -> Result<u64, Problem> {
    let found = to_send(tx, can, id).await?;
    Ok(actions::resend(tx, &can.author(clock), &found).await?)
}

/// Changes a destination by what `plan` makes of it, and its secret.
pub(super) async fn alter(
    needs: &Needs,
    can: &Can<may::ManageDestinations>,
    (id, revision): (DestinationId, u64),
    secret: Option<NewSecret>,
    plan: impl FnOnce(&Destination, Settings, Format) -> Plan,
) -> Result<Destination, Problem> {
    let mut tx = can.begin().await?;
    let before = actions::at_revision(&mut tx, id, revision).await?;
    let (tenant, data_key) = (tx.tenant(), actions::look(&mut tx, needs).await?);
    drop(tx);
    let (settings, format) = actions::read(&before)?;
    let mut plan = plan(&before, settings.clone(), format);
    plan.settings = plan.settings.unmasked(&settings);
    may_send(can, plan.personal)?;
    if plan.settings.kind() != before.kind {
        return Err(Problem::invalid("settings.kind", "stays what it is: add another destination"));
    }
    let old = actions::reveal(needs, (tenant, &data_key), &before).await?;
    let is_new = secret.is_some();
    let secret = match secret {
        None => old,
        Some(NewSecret::Replacing(new)) => new,
        Some(NewSecret::Beside(_)) if before.kind != "webhook" => {
            return Err(Problem::invalid("keep_previous", "only a webhook's batches are signed with two secrets"));
        }
        Some(NewSecret::Beside(new)) => {
            // Of two that were there, the older goes.
            let first = old.expose().split(' ').next().unwrap_or_default();
            Secret::new(format!("{} {first}", new.expose()))
        }
    };
    actions::check(needs, &plan, &secret)?;
    let kept = if is_new { Some(actions::keep(needs, (tenant, &data_key), &secret).await?) } else { None };
    let place = kept.as_ref().map(|kept| kept.place.clone());
    let mut tx = can.begin().await?;
    let after = actions::alter(&mut tx, &can.author(&needs.outside.clock), (&before, plan), kept).await;
    let after = match (after, place) {
        (Ok(after), _) => after,
        (Err(error), None) => return Err(error.into()),
        (Err(error), Some(place)) => {
            drop(tx);
            forget(needs, tenant, &place).await;
            return Err(error.into());
        }
    };
    tx.commit().await?;
    if is_new {
        forget(needs, tenant, &before.secret).await;
    }
    Ok(after)
}

/// Removes a destination and its secret.
pub(super) async fn remove(
    needs: &Needs,
    can: &Can<may::ManageDestinations>,
    id: DestinationId,
) -> Result<(), Problem> {
    let mut tx = can.begin().await?;
    let (tenant, place) = (tx.tenant(), actions::remove(&mut tx, &can.author(&needs.outside.clock), id).await?);
    tx.commit().await?;
    forget(needs, tenant, &place).await;
    Ok(())
}

/// Destroys a secret that nothing points at any more. That it fails is logged: it is out of use all the same.
async fn forget(needs: &Needs, tenant: TenantId, place: &CredentialPlace) {
    if let Err(error) = needs.store.destroy(tenant, place).await {
        tracing::warn!(%error, tenant.id = %tenant, credential.id = %place.id, "a removed secret is still in Vault");
    }
}

/// Tests a destination. That somebody did is recorded first: a record leaves the workspace.
pub(super) async fn test(
    needs: &Needs,
    can: &Can<may::ManageDestinations>,
    id: DestinationId,
) -> Result<Tested, Problem> {
    let mut tx = can.begin().await?;
    let found = destinations::find(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    let (tenant, data_key) = (tx.tenant(), actions::look(&mut tx, needs).await?);
    let change = actions::change("destination.test", &found);
    can.author(&needs.outside.clock).noted(&mut tx, change).await?;
    tx.commit().await?;
    let secret = actions::reveal(needs, (tenant, &data_key), &found).await?;
    Ok(actions::test(needs, tenant, &found, &secret).await?)
}

impl From<Filter> for Wanted {
    fn from(filter: Filter) -> Self {
        Self { kinds: filter.kinds, effects: filter.effects, servers: filter.servers }
    }
}

impl From<DestinationError> for Problem {
    fn from(error: DestinationError) -> Self {
        use axum::http::StatusCode;
        match error {
            DestinationError::NotFound => Self::not_found(),
            DestinationError::ChangedMeanwhile(revision) => Self::changed_meanwhile(revision),
            DestinationError::NameTaken => {
                Self::new(StatusCode::CONFLICT, "name-taken", "A destination of that name exists")
                    .detail("choose another name")
            }
            DestinationError::TooMany => {
                Self::new(StatusCode::CONFLICT, "too-many-destinations", "There are too many destinations")
                    .detail(error.to_string())
            }
            DestinationError::Replaying => {
                Self::new(StatusCode::CONFLICT, "replay-under-way", "A replay is under way").detail("end it first")
            }
            DestinationError::NothingThere => {
                Self::new(StatusCode::CONFLICT, "nothing-there", "The log has no record from there on")
            }
            DestinationError::Wrong(field, said) => Self::invalid(field, said),
            DestinationError::Store(error @ (StoreError::Unreachable | StoreError::Late)) => {
                tracing::warn!(%error, "a destination's secret could not be stored or read");
                Self::unavailable("the store of credentials did not answer").unchanged()
            }
            DestinationError::Store(error) => {
                tracing::error!(%error, "a destination's secret could not be stored or read");
                Self::unavailable("the store of credentials did not take it").unchanged()
            }
            DestinationError::Key(error) => {
                tracing::error!(%error, "the tenant's key does not open");
                Self::internal()
            }
            DestinationError::Database(error) => error.into(),
        }
    }
}
