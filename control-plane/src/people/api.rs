//! Members over HTTP.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::{Clock, GroupName, MembershipId, Permission, Role, UserId};
use serde::{Deserialize, Serialize};
use store::people::{self, Membership};
use utoipa::{IntoParams, ToSchema};

use super::actions::{self, PeopleError, Place};
use crate::access::{Can, may};
use crate::console::show;
use crate::input::{At, Body, check_title};
use crate::problem::Problem;
use crate::tenants::TenantPath;

/// The member a path names.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct MemberPath {
    member: MembershipId,
}

/// A person's place in the tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Member {
    id: MembershipId,
    user: UserId,
    email: String,
    /// What the tenant calls them.
    name: String,
    role: Role,
    groups: BTreeSet<GroupName>,
    created_at: DateTime<Utc>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Members {
    members: Vec<Member>,
}

/// Lists the members.
#[utoipa::path(get, path = "/tenants/{tenant}/members", tag = "members", params(TenantPath),
    responses((status = 200, body = Members), (status = "4XX", body = Problem)))]
pub(super) async fn list(can: Can<may::ViewMembers>) -> Result<Json<Members>, Problem> {
    let found = people::list(&mut can.begin().await?).await?;
    let users: Vec<UserId> = found.iter().map(|member| member.user).collect();
    let mut emails = can.emails(&users).await?;
    let members = found.into_iter().map(|member| {
        let email = emails.remove(&member.user).unwrap_or_default();
        shown(member, email)
    });
    Ok(Json(Members { members: members.collect() }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddMember {
    email: String,
    /// What the tenant calls them.
    name: String,
    role: Role,
    #[serde(default)]
    groups: BTreeSet<GroupName>,
}

/// Adds a person by e-mail address.
///
/// The answer is the same whether or not the person is known to Sluice through another tenant.
#[utoipa::path(post, path = "/tenants/{tenant}/members", tag = "members", params(TenantPath), request_body = AddMember,
    responses((status = 201, body = Member), (status = "4XX", body = Problem)))]
pub(super) async fn add(
    State(clock): State<Clock>,
    can: Can<may::ManageMembers>,
    Body(new): Body<AddMember>,
) -> Result<(StatusCode, Json<Member>), Problem> {
    check_title("name", &new.name, 100)?;
    check_groups(&new.groups)?;
    let email = checked_email(&new.email)?;
    let mut platform = can.begin_platform().await?;
    let user = people::find_or_add_user(&mut platform, &email, new_user(), clock.now()).await?;
    platform.commit().await?;
    let place = Place { name: new.name, role: new.role, groups: new.groups };
    let mut tx = can.begin().await?;
    let added = actions::add(&mut tx, &can.author(&clock), can.actor().role(), user, place).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(shown(added, email))))
}

/// An id without a time in it (UUIDv4): a person's must not tell another tenant how long Sluice has known them.
pub(crate) fn new_user() -> UserId {
    UserId::from_uuid(uuid::Builder::from_random_bytes(secrets::random()).into_uuid())
}

/// What to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeMember {
    name: Option<String>,
    role: Option<Role>,
    groups: Option<BTreeSet<GroupName>>,
}

/// Gives a member another name, role or groups; their tokens follow at once.
#[utoipa::path(patch, path = "/tenants/{tenant}/members/{member}", tag = "members", params(TenantPath, MemberPath),
    request_body = ChangeMember, responses((status = 200, body = Member), (status = "4XX", body = Problem)))]
pub(super) async fn change(
    State(clock): State<Clock>,
    can: Can<may::ManageMembers>,
    At(path): At<MemberPath>,
    Body(wanted): Body<ChangeMember>,
) -> Result<Json<Member>, Problem> {
    wanted.name.as_deref().map_or(Ok(()), |name| check_title("name", name, 100))?;
    wanted.groups.as_ref().map_or(Ok(()), check_groups)?;
    let mut tx = can.begin().await?;
    let changed = actions::change(&mut tx, &can.author(&clock), can.actor().role(), path.member, |place| {
        place.name = wanted.name.unwrap_or(std::mem::take(&mut place.name));
        place.role = wanted.role.unwrap_or(place.role);
        place.groups = wanted.groups.unwrap_or(std::mem::take(&mut place.groups));
    })
    .await?;
    tx.commit().await?;
    let email = can.emails(&[changed.user]).await?.remove(&changed.user);
    Ok(Json(shown(changed, email.unwrap_or_default())))
}

/// Removes a member; their tokens in this tenant are revoked.
#[utoipa::path(delete, path = "/tenants/{tenant}/members/{member}", tag = "members", params(TenantPath, MemberPath),
    responses((status = 204), (status = "4XX", body = Problem)))]
pub(super) async fn remove(
    State(clock): State<Clock>,
    can: Can<may::ManageMembers>,
    At(path): At<MemberPath>,
) -> Result<StatusCode, Problem> {
    let mut tx = can.begin().await?;
    actions::remove(&mut tx, &can.author(&clock), can.actor().role(), path.member).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<PeopleError> for Problem {
    fn from(error: PeopleError) -> Self {
        match error {
            PeopleError::ConcernsOwners => Self::not_permitted(Permission::ManageOwners),
            PeopleError::LastOwner => Self::new(StatusCode::CONFLICT, "last-owner", "A tenant always has an owner")
                .detail("make somebody else an owner first"),
            PeopleError::AlreadyMember => {
                Self::new(StatusCode::CONFLICT, "already-member", "The person is a member already")
            }
            PeopleError::NotFound => Self::not_found(),
            PeopleError::TooManyInvited => {
                Self::new(StatusCode::CONFLICT, "limit-reached", "Many people are asked already")
                    .detail("withdraw some invitations first")
            }
            PeopleError::Database(error) => error.into(),
        }
    }
}

fn shown(member: Membership, email: String) -> Member {
    let Membership { id, user, name, role, groups, created_at } = member;
    Member { id, user, email, name, role, groups, created_at }
}

fn check_groups(groups: &BTreeSet<GroupName>) -> Result<(), Problem> {
    if groups.len() > 50 { Err(Problem::invalid("groups", "at most 50")) } else { Ok(()) }
}

/// The address in lower case; a rough check, since only a mail that arrives proves one.
pub(crate) fn checked_email(text: &str) -> Result<String, Problem> {
    let email = text.trim().to_lowercase();
    let parts = email.split_once('@');
    let right = parts.is_some_and(|(name, host)| {
        !name.is_empty() && !host.contains('@') && host.split('.').all(|label| !label.is_empty())
    });
    // What an address must quote no mailbox has, and what is not seen would make one look like another's.
    let odd = |letter: char| letter.is_whitespace() || show::is_hidden(letter) || "()<>[]:;,\\\"".contains(letter);
    let clean = !email.chars().any(odd);
    if right && clean && email.len() <= 254 { Ok(email) } else { Err(Problem::invalid("email", "an e-mail address")) }
}
