//! The rules of membership: who may concern themselves with owners, and that there is always one.

use std::collections::BTreeSet;

use domain::{GroupName, MembershipId, Permission, Role, UserId};
use store::people::{self, Membership};
use store::{TenantTx, invitations, outbox, tokens};

use crate::ingest::change::Change;
use crate::recorded::Author;

/// Why a membership was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeopleError {
    /// Only owners make, change and remove owners.
    #[error("`{}` is required", Permission::ManageOwners.as_str())]
    ConcernsOwners,
    /// A tenant always has an owner.
    #[error("the last owner stays")]
    LastOwner,
    /// They are a member.
    #[error("the person is a member already")]
    AlreadyMember,
    /// There is no such member.
    #[error("no such member")]
    NotFound,
    /// Many are asked already and have not come.
    #[error("too many people are asked at a time")]
    TooManyInvited,
    #[error(transparent)]
    Database(#[from] store::Error),
}

impl From<people::AddError> for PeopleError {
    fn from(error: people::AddError) -> Self {
        match error {
            people::AddError::AlreadyMember => Self::AlreadyMember,
            people::AddError::Database(error) => Self::Database(error),
        }
    }
}

/// What a member is to be.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) groups: BTreeSet<GroupName>,
}

/// Adds a person. `by` is the role of whoever does it.
pub(crate) async fn add(
    tx: &mut TenantTx,
    author: &Author,
    by: Role,
    user: UserId,
    place: Place,
) -> Result<Membership, PeopleError> {
    check_owners(by, &[place.role])?;
    let Place { name, role, groups } = place;
    let membership =
        Membership { id: MembershipId::new(&author.clock), user, name, role, groups, created_at: author.now() };
    people::add(tx, &membership).await?;
    let change = Change::new("member.add", "member", membership.id).after(&seen(&membership));
    author.noted(tx, change).await?;
    Ok(membership)
}

/// Gives a member another name, role or groups. Their gateway tokens carry the new role and groups at once; their API
/// tokens end with the role they were issued for.
pub(crate) async fn change(
    tx: &mut TenantTx,
    author: &Author,
    by: Role,
    id: MembershipId,
    wanted: impl FnOnce(&mut Place),
) -> Result<Membership, PeopleError> {
    // Always before the member's own row: two who change owners at once wait for one another, in one order.
    let owners = people::count_owners(tx).await?;
    let before = people::find(tx, id).await?.ok_or(PeopleError::NotFound)?;
    let mut place = Place { name: before.name.clone(), role: before.role, groups: before.groups.clone() };
    wanted(&mut place);
    let after = Membership { name: place.name, role: place.role, groups: place.groups, ..before.clone() };
    if after == before {
        return Ok(after);
    }
    check_owners(by, &[before.role, after.role])?;
    if before.role == Role::Owner && after.role != Role::Owner && owners <= 1 {
        return Err(PeopleError::LastOwner);
    }
    people::change(tx, &after, (author.user, author.now())).await?;
    if after.role != before.role {
        // A token acts as its holder, and somebody else may have issued it: a new role is not theirs to use.
        tokens::revoke_all_api(tx, after.user, author.now()).await?;
        // They may no longer ask in whom they asked.
        invitations::withdraw_all_by(tx, after.user).await?;
    }
    author.noted(tx, Change::new("member.change", "member", id).before(&seen(&before)).after(&seen(&after))).await?;
    for token in tokens::list_gateway_of(tx, after.user).await?.iter().filter(|token| token.revoked_at.is_none()) {
        outbox::token_changed(tx, token.id).await?;
    }
    Ok(after)
}

/// Removes a member, as they were, and revokes all their tokens in this tenant.
pub(crate) async fn remove(
    tx: &mut TenantTx,
    author: &Author,
    by: Role,
    id: MembershipId,
) -> Result<Membership, PeopleError> {
    let owners = people::count_owners(tx).await?;
    let before = people::find(tx, id).await?.ok_or(PeopleError::NotFound)?;
    check_owners(by, &[before.role])?;
    if before.role == Role::Owner && owners <= 1 {
        return Err(PeopleError::LastOwner);
    }
    for token in tokens::list_gateway_of(tx, before.user).await?.iter().filter(|token| token.revoked_at.is_none()) {
        tokens::revoke_gateway(tx, token.id, author.now()).await?;
        author.token_changed(tx, token.id, Change::new("token.revoke", "gateway_token", token.id)).await?;
    }
    tokens::revoke_all_api(tx, before.user, author.now()).await?;
    invitations::withdraw_all_by(tx, before.user).await?;
    people::remove(tx, id).await?;
    author.noted(tx, Change::new("member.remove", "member", id).before(&seen(&before))).await?;
    Ok(before)
}

pub(super) fn check_owners(by: Role, roles: &[Role]) -> Result<(), PeopleError> {
    if roles.contains(&Role::Owner) && !by.allows(Permission::ManageOwners) {
        return Err(PeopleError::ConcernsOwners);
    }
    Ok(())
}

/// What a record's digest is of.
fn seen(membership: &Membership) -> serde_json::Value {
    serde_json::json!([membership.user, membership.name, membership.role, membership.groups])
}
