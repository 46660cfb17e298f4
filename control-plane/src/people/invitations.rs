//! The rules of asking people into a tenant.

use chrono::Duration;
use domain::{InvitationId, Role};
use store::TenantTx;
use store::invitations::{self, Invitation};

use super::actions::{PeopleError, check_owners};
use crate::ingest::change::Change;
use crate::recorded::Author;

/// How long a link is good.
pub(crate) const GOOD_FOR: Duration = Duration::days(7);
/// Most people asked at a time.
const OPEN_MAX: usize = 100;

/// Asks somebody in; gives the token of the link, which is kept nowhere. `by` is the role of whoever asks.
pub(crate) async fn invite(
    tx: &mut TenantTx,
    author: &Author,
    by: Role,
    (email, role): (String, Role),
) -> Result<(Invitation, String), PeopleError> {
    check_owners(by, &[role])?;
    if invitations::list(tx, author.now()).await?.len() >= OPEN_MAX {
        return Err(PeopleError::TooManyInvited);
    }
    let (created_at, ends_at) = (author.now(), author.now() + GOOD_FOR);
    let id = InvitationId::new(&author.clock);
    let invitation = Invitation { id, email, role, invited_by: author.user, created_at, ends_at };
    let token = hex::encode(secrets::random::<32>());
    invitations::add(tx, &invitation, secrets::sha256(token.as_bytes())).await?;
    let change = Change::new("member.invite", "invitation", invitation.id).after(&seen(&invitation));
    author.noted(tx, change).await?;
    Ok((invitation, token))
}

/// Takes an invitation back. `by` is the role of whoever does it.
pub(crate) async fn withdraw(
    tx: &mut TenantTx,
    author: &Author,
    by: Role,
    id: InvitationId,
) -> Result<(), PeopleError> {
    let gone = invitations::withdraw(tx, id).await?.ok_or(PeopleError::NotFound)?;
    check_owners(by, &[gone.role])?;
    author.noted(tx, Change::new("member.uninvite", "invitation", id).before(&seen(&gone))).await?;
    Ok(())
}

/// What a record's digest is of: no address.
fn seen(invitation: &Invitation) -> serde_json::Value {
    serde_json::json!([invitation.id, invitation.role, invitation.ends_at])
}
