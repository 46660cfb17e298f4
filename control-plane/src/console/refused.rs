//! What somebody is told whose role does not allow a thing: who may, and whom to ask, within the console's frame.

use askama::Template;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use domain::{Permission, Role, TenantId};
use store::{TenantTx, people};

use super::{Hx, Needs, Page, Shell, role_name, show};
use crate::problem::Problem;

#[derive(Debug, Template)]
#[template(path = "refused.html")]
struct RefusedPage {
    shell: Shell,
    /// Who may.
    who: String,
    /// Whom to ask, and what one is oneself.
    ask: String,
    is_get: bool,
}

/// Says in words that a role does not allow what was asked for.
pub(super) async fn explain(State(needs): State<Needs>, request: Request, next: Next) -> Response {
    let (by_htmx, is_get) = (Hx::of(request.headers()).0, request.method() == Method::GET);
    let (mut parts, body) = request.into_parts();
    let shell = Shell::from_request_parts(&mut parts, &()).await.ok();
    let response = next.run(Request::from_parts(parts, body)).await;
    let permission = response.extensions().get::<Problem>().and_then(Problem::needs);
    let (Some(shell), Some(permission)) = (shell, permission) else { return response };
    let who = who_may(permission);
    let ask = format!("{} You are {} here.", asked(&needs, shell.workspace.tenant).await, a_role(shell.workspace.role));
    if by_htmx {
        return Problem::not_permitted(permission).detail(format!("{who} {ask}")).into_response();
    }
    Page::new(RefusedPage { shell, who, ask, is_get }).status(StatusCode::FORBIDDEN).into_response()
}

/// Whom to ask: the owner who has been here longest, by name where that can be read.
async fn asked(needs: &Needs, tenant: TenantId) -> String {
    let everybody = async {
        let mut tx = TenantTx::begin(&needs.access.pool, tenant).await?;
        people::list(&mut tx).await
    };
    let owners = everybody.await.unwrap_or_default().into_iter().filter(|member| member.role == Role::Owner);
    owners
        .min_by_key(|owner| owner.created_at)
        .map_or_else(|| "Ask an owner.".to_owned(), |owner| format!("Ask {}.", show::visible(owner.name)))
}

/// Who may, in a sentence: `Only owners and admins publish policies.`
pub(super) fn who_may(permission: Permission) -> String {
    let may: Vec<Role> = Role::ALL.into_iter().filter(|role| role.allows(permission)).collect();
    let names: Vec<String> = may.iter().map(|role| format!("{}s", role_name(*role).to_lowercase())).collect();
    let names = match names.as_slice() {
        [] => "nobody".to_owned(),
        [only] => only.clone(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    };
    format!("Only {names} {}.", what(permission))
}

fn a_role(role: Role) -> String {
    let article = if matches!(role, Role::Owner | Role::Admin | Role::Auditor) { "an" } else { "a" };
    format!("{article} {}", role_name(role).to_lowercase())
}

/// What the permission is for, as what somebody does.
const fn what(permission: Permission) -> &'static str {
    match permission {
        Permission::ViewTenant => "see this workspace",
        Permission::ManageTenant => "change the settings of a workspace",
        Permission::ViewMembers => "see the people of a workspace",
        Permission::ManageMembers => "invite and change people",
        Permission::ManageOwners => "make, change and remove owners",
        Permission::ViewServers => "see servers",
        Permission::ManageServers => "add and change servers",
        Permission::ManageCredentials => "set credentials",
        Permission::ViewPolicies => "see policies",
        Permission::WritePolicies => "write policies",
        Permission::Publish => "put policies in force",
        Permission::OwnTokens => "issue tokens",
        Permission::ViewTokens => "see the tokens of others",
        Permission::ManageTokens => "issue and revoke tokens of others",
        Permission::OwnActivity => "see calls",
        Permission::ViewActivity => "see what everybody does here, and the proof of it",
        Permission::ExportActivity => "take records along",
        Permission::ExportPersonal => "take personal data along",
        Permission::ViewDestinations => "see destinations",
        Permission::ManageDestinations => "change destinations",
        Permission::CallTools => "call tools",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_is_said_as_people_say_it() {
        assert_eq!(who_may(Permission::ViewDestinations), "Only owners, admins and auditors see destinations.");
        assert_eq!(who_may(Permission::ManageOwners), "Only owners make, change and remove owners.");
        assert_eq!(who_may(Permission::CallTools), "Only owners, admins, policy authors and members call tools.");
        assert_eq!(a_role(Role::Auditor), "an auditor");
        assert_eq!(a_role(Role::PolicyAuthor), "a policy author");
    }
}
