//! The people of a workspace, and asking more in.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::{Clock, GroupName, InvitationId, MembershipId, Permission, Role, UserId};
use serde::Deserialize;
use store::invitations::{self, Invitation};
use store::people::{self, Membership};

use super::actions;
use super::{PageNeeds, checked_email, invitations as asking};
use crate::access::{Can, Permitted, may};
use crate::console::{Conflict, Done, Faults, Field, Page, Shell, Visitor, role_name, show};
use crate::input::{At, Form, check_title};
use crate::login::{self, Letter};
use crate::problem::Problem;

/// A role in words.
pub(super) struct RoleRow {
    pub(super) role: Role,
    pub(super) name: &'static str,
    pub(super) says: &'static str,
    /// For each of [`COLUMNS`].
    pub(super) may: Vec<bool>,
}

/// What the table of roles tells.
const COLUMNS: [(&str, Permission); 9] = [
    ("Call tools", Permission::CallTools),
    ("See all calls", Permission::ViewActivity),
    ("Export all calls", Permission::ExportActivity),
    ("Change servers", Permission::ManageServers),
    ("Write policies", Permission::WritePolicies),
    ("Put policies in force", Permission::Publish),
    ("Issue tokens for others", Permission::ManageTokens),
    ("Change people", Permission::ManageMembers),
    ("Change owners", Permission::ManageOwners),
];

pub(super) const fn says(role: Role) -> &'static str {
    match role {
        Role::Owner => "Can do everything. At least one person must be an owner.",
        Role::Admin => "Everything, except adding, changing or removing owners.",
        Role::PolicyAuthor => {
            "Writes policies, sees servers and everyone’s calls, calls tools. Puts no policy in force and changes no server."
        }
        Role::Auditor => "Reads everything. Changes nothing, calls no tool and issues no token.",
        Role::Member => "Calls tools, and sees their own tokens and calls. Sees no servers, policies or people.",
    }
}

fn roles() -> Vec<RoleRow> {
    let row = |role: Role| RoleRow {
        role,
        name: role_name(role),
        says: says(role),
        may: COLUMNS.iter().map(|(_, permission)| role.allows(*permission)).collect(),
    };
    Role::ALL.into_iter().map(row).collect()
}

/// The roles that somebody may give.
fn given_by(role: Role) -> Vec<RoleRow> {
    let may_give = |row: &RoleRow| row.role != Role::Owner || role.allows(Permission::ManageOwners);
    roles().into_iter().filter(may_give).collect()
}

struct PersonRow {
    member: Membership,
    email: String,
    is_you: bool,
    /// When a client of theirs was last at the gateway, at most a minute late.
    connected_at: Option<DateTime<Utc>>,
}

#[derive(Template)]
#[template(path = "people/index.html")]
struct PeoplePage {
    shell: Shell,
    people: Vec<PersonRow>,
    invited: Vec<Invitation>,
    roles: Vec<RoleRow>,
    /// The mail to somebody who was just asked, where mails are shown.
    letter: Option<Letter>,
}

async fn page<P: Permitted>(clock: &Clock, shell: Shell, can: &Can<P>) -> Result<PeoplePage, Problem> {
    let mut tx = can.begin().await?;
    let found = people::list(&mut tx).await?;
    let tokens = store::tokens::list_gateway(&mut tx).await?;
    let connected = |user: UserId| {
        let own = tokens.iter().filter(|token| token.user == user);
        own.filter_map(|token| token.last_used_at).max()
    };
    let invited =
        if shell.may(Permission::ManageMembers) { invitations::list(&mut tx, clock.now()).await? } else { Vec::new() };
    drop(tx);
    let users: Vec<UserId> = found.iter().map(|member| member.user).collect();
    let mut emails = can.emails(&users).await?;
    let people = found.into_iter().map(|member| PersonRow {
        email: emails.remove(&member.user).unwrap_or_default(),
        is_you: member.user == can.actor().user(),
        connected_at: connected(member.user),
        member,
    });
    let people = people.collect();
    Ok(PeoplePage { shell, people, invited, roles: roles(), letter: None })
}

/// `GET /w/{tenant}/people`.
pub(super) async fn list(
    State(clock): State<Clock>,
    shell: Shell,
    can: Can<may::ViewMembers>,
) -> Result<Response, Problem> {
    Ok(Page::new(page(&clock, shell, &can).await?).into_response())
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    email: String,
    #[serde(default)]
    role: String,
}

#[derive(Template)]
#[template(path = "people/invite.html")]
struct InvitePage {
    shell: Shell,
    sent: Asked,
    roles: Vec<RoleRow>,
    faults: Faults,
    /// The page of whoever has this address and is a member: its address, and their name.
    already: Option<(String, String)>,
}

/// `GET /w/{tenant}/people/invite`.
pub(super) async fn ask(shell: Shell, can: Can<may::ManageMembers>) -> Response {
    let (roles, sent) = (given_by(can.actor().role()), Asked { role: "member".to_owned(), ..Asked::default() });
    Page::new(InvitePage { shell, sent, roles, faults: Faults::none(), already: None }).into_response()
}

/// `POST /w/{tenant}/people/invite`: mails a link.
pub(super) async fn invite(
    State(needs): State<PageNeeds>,
    shell: Shell,
    visitor: Visitor,
    can: Can<may::ManageMembers>,
    Form(sent): Form<Asked>,
) -> Result<Response, Problem> {
    if let Some(member) = member_of(&can, &sent.email).await? {
        let faults = Faults::at("email", format!("{} is in this workspace already.", show::visible(sent.email.trim())));
        let already = Some((shell.to(&format!("people/{}", member.id)), show::visible(&member.name)));
        let roles = given_by(can.actor().role());
        return Ok(Page::wrong(InvitePage { shell, sent, roles, faults, already }).into_response());
    }
    match do_invite(&needs, &shell, &visitor, &can, &sent).await {
        Ok(Some(letter)) => {
            let letter = Some(letter);
            Ok(Page::new(PeoplePage { letter, ..page(&needs.clock, shell, &can).await? }).into_response())
        }
        Ok(None) => {
            let done = Done::to(shell.to("people"));
            Ok(done.saying(format!("A link is on its way to {}.", show::visible(sent.email.trim()))).into_response())
        }
        Err(problem) => {
            let faults = faults(problem)?;
            let roles = given_by(can.actor().role());
            Ok(Page::wrong(InvitePage { shell, sent, roles, faults, already: None }).into_response())
        }
    }
}

/// What a form says of a problem of the sender's; another one is an answer of its own.
fn faults(problem: Problem) -> Result<Faults, Problem> {
    if problem.status().is_client_error() && problem.status() != StatusCode::NOT_FOUND {
        return Ok(Faults::of(&problem));
    }
    Err(problem)
}

/// The member who has this address.
async fn member_of(can: &Can<may::ManageMembers>, email: &str) -> Result<Option<Membership>, Problem> {
    let Ok(email) = checked_email(email) else { return Ok(None) };
    let mut tx = can.begin().await?;
    let everybody = people::list(&mut tx).await?;
    // One connection at a time: a request that waits for a second one holds up all others.
    drop(tx);
    let users: Vec<UserId> = everybody.iter().map(|member| member.user).collect();
    let emails = can.emails(&users).await?;
    Ok(everybody.into_iter().find(|member| emails.get(&member.user) == Some(&email)))
}

async fn do_invite(
    needs: &PageNeeds,
    shell: &Shell,
    visitor: &Visitor,
    can: &Can<may::ManageMembers>,
    sent: &Asked,
) -> Result<Option<Letter>, Problem> {
    let email = checked_email(&sent.email).map_err(|_| Problem::invalid("email", "This is no e-mail address."))?;
    let role = Role::find(&sent.role).ok_or_else(|| Problem::invalid("role", "Choose one."))?;
    if !login::may_mail(&needs.login, &email, visitor.address).await? {
        return Err(Problem::invalid("email", "Too many mails were asked for. Try again in 15 minutes."));
    }
    let by = can.actor().role();
    let mut tx = can.begin().await?;
    let (_, token) = asking::invite(&mut tx, &can.author(&needs.clock), by, (email.clone(), role)).await?;
    tx.commit().await?;
    let asked = login::Invited { email, token, by: &shell.email, title: &shell.workspace.title, role: role_name(role) };
    Ok(login::send_invitation(&needs.login, asked).await)
}

/// `POST /w/{tenant}/people/invitations/{invitation}/withdraw`.
pub(super) async fn withdraw(
    State(clock): State<Clock>,
    shell: Shell,
    can: Can<may::ManageMembers>,
    At((_, invitation)): At<(String, InvitationId)>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    asking::withdraw(&mut tx, &can.author(&clock), can.actor().role(), invitation).await?;
    tx.commit().await?;
    Ok(Done::to(shell.to("people")).saying("The invitation is withdrawn; its link is worth nothing.").into_response())
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Changed {
    #[serde(default)]
    name: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    groups: String,
    /// What the fields held when the form was opened.
    was_name: Option<String>,
    was_role: Option<String>,
    was_groups: Option<String>,
}

impl Changed {
    /// A form in which nothing was changed yet.
    fn of(member: &Membership) -> Self {
        let (name, role, groups) = (member.name.clone(), member.role.as_str().to_owned(), joined(&member.groups));
        let was = (Some(name.clone()), Some(role.clone()), Some(groups.clone()));
        Self { name, role, groups, was_name: was.0, was_role: was.1, was_groups: was.2 }
    }

    fn fields<'a>(&'a self, now: &'a Self) -> [Field<'a>; 3] {
        let field = |label, was: &'a Option<String>, now, sent| Field { label, was: was.as_deref(), now, sent };
        [
            field("Name", &self.was_name, &now.name, &self.name),
            field("Role", &self.was_role, &now.role, &self.role),
            field("Groups", &self.was_groups, &now.groups, &self.groups),
        ]
    }
}

/// Groups as the form has them.
fn joined(groups: &BTreeSet<GroupName>) -> String {
    groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What came of a change.
enum Change {
    Done(Membership),
    /// All is as it was.
    None,
    /// Somebody else was first; the form as it now is.
    Contested(Conflict, Changed),
}

#[derive(Template)]
#[template(path = "people/member.html")]
struct MemberPage {
    shell: Shell,
    member: Membership,
    email: String,
    is_you: bool,
    /// Why the person may not be changed; empty where they may.
    may_not: &'static str,
    /// What their role allows, in words.
    says: &'static str,
    is_last_owner: bool,
    tokens: usize,
    sent: Changed,
    roles: Vec<RoleRow>,
    faults: Faults,
    conflict: Option<Conflict>,
}

impl MemberPage {
    fn url(&self) -> String {
        self.shell.to(&format!("people/{}", self.member.id))
    }

    /// The one, or the other on one's own page.
    const fn theirs(&self, theirs: &'static str, yours: &'static str) -> &'static str {
        if self.is_you { yours } else { theirs }
    }

    /// Where one sees what they called, below the workspace; and so on.
    fn calls_path(&self) -> String {
        format!("activity?caller={}&range=7d", self.member.user)
    }

    fn access_path(&self) -> String {
        format!("policies/access?member={}", self.member.id)
    }

    fn tokens_path(&self) -> String {
        format!("tokens?holder={}", self.member.user)
    }

    fn remove_url(&self) -> String {
        self.shell.to(&format!("people/{}/remove", self.member.id))
    }
}

/// `GET /w/{tenant}/people/{member}`.
pub(super) async fn member(
    State(clock): State<Clock>,
    shell: Shell,
    can: Can<may::ViewMembers>,
    At((_, member)): At<(String, MembershipId)>,
) -> Result<Response, Problem> {
    Ok(Page::new(member_page(clock.now(), shell, &can, member).await?).into_response())
}

async fn member_page<P: Permitted>(
    now: DateTime<Utc>,
    shell: Shell,
    can: &Can<P>,
    member: MembershipId,
) -> Result<MemberPage, Problem> {
    let mut tx = can.begin().await?;
    // Read without a lock: whoever changes somebody locks the owners first.
    let everybody = people::list(&mut tx).await?;
    let owners = everybody.iter().filter(|member| member.role == Role::Owner).count();
    let found = everybody.into_iter().find(|one| one.id == member);
    let member = found.ok_or_else(Problem::not_found)?;
    let is_last_owner = member.role == Role::Owner && owners <= 1;
    let held = store::tokens::list_gateway_of(&mut tx, member.user).await?;
    let tokens = held.iter().filter(|token| token.revoked_at.is_none() && token.expires_at > now).count();
    drop(tx);
    let email = can.emails(&[member.user]).await?.remove(&member.user).unwrap_or_default();
    let by = can.actor().role();
    let may_not = match member.role {
        _ if !by.allows(Permission::ManageMembers) => "Only owners and admins change people.",
        Role::Owner if !by.allows(Permission::ManageOwners) => "Only owners change owners.",
        _ => "",
    };
    let sent = Changed::of(&member);
    let is_you = member.user == can.actor().user();
    let (roles, faults) = (given_by(by), Faults::none());
    let says = says(member.role);
    let conflict = None;
    Ok(MemberPage { shell, member, email, is_you, may_not, says, is_last_owner, tokens, sent, roles, faults, conflict })
}

/// `POST /w/{tenant}/people/{member}`.
pub(super) async fn change(
    State(clock): State<Clock>,
    shell: Shell,
    can: Can<may::ManageMembers>,
    At((_, member)): At<(String, MembershipId)>,
    Form(sent): Form<Changed>,
) -> Result<Response, Problem> {
    match do_change(&clock, &can, member, &sent).await {
        Ok(Change::Contested(conflict, sent)) => {
            let page = member_page(clock.now(), shell, &can, member).await?;
            let page = MemberPage { sent, conflict: Some(conflict), ..page };
            Ok(Page::new(page).status(StatusCode::CONFLICT).into_response())
        }
        Ok(Change::None) => Ok(Done::to(shell.to("people")).saying("Nothing changed.").into_response()),
        Ok(Change::Done(changed)) => {
            let text = format!("{} is changed. Their tokens follow at once.", show::visible(&changed.name));
            // Who has just given up a role may no longer see this page.
            let back = if changed.user == can.actor().user() { shell.to("") } else { shell.to("people") };
            Ok(Done::to(back).saying(text).into_response())
        }
        Err(problem) => {
            let faults = faults(problem)?;
            let page = member_page(clock.now(), shell, &can, member).await?;
            Ok(Page::wrong(MemberPage { sent, faults, ..page }).into_response())
        }
    }
}

async fn do_change(
    clock: &Clock,
    can: &Can<may::ManageMembers>,
    member: MembershipId,
    sent: &Changed,
) -> Result<Change, Problem> {
    check_title("name", sent.name.trim(), 100)?;
    Role::find(&sent.role).ok_or_else(|| Problem::invalid("role", "Choose one."))?;
    let sent = Changed { name: sent.name.trim().to_owned(), groups: joined(&groups(&sent.groups)?), ..sent.clone() };
    let mut tx = can.begin().await?;
    // In the order in which every change locks.
    people::count_owners(&mut tx).await?;
    let before = people::find(&mut tx, member).await?.ok_or_else(Problem::not_found)?;
    let now = Changed::of(&before);
    let fields = sent.fields(&now);
    let last = people::last_change(&mut tx, member).await?;
    let everybody = people::list(&mut tx).await?;
    if let Some(conflict) = Conflict::find(&fields, can.actor().user(), last, &everybody) {
        let role_said = |text: &str| Role::find(text).map(role_name).unwrap_or_default().to_owned();
        let conflict = conflict.spelled("Role", role_said);
        let [name, role, groups] = fields.map(|field| field.merged());
        return Ok(Change::Contested(conflict, Changed { name, role, groups, ..now }));
    }
    let [name, role, groups_text] = fields.map(|field| field.merged());
    let role = Role::find(&role).ok_or_else(|| Problem::invalid("role", "Choose one."))?;
    let groups = groups(&groups_text)?;
    let author = can.author(clock);
    let changed = actions::change(&mut tx, &author, can.actor().role(), member, |place| {
        place.name = name;
        place.role = role;
        place.groups = groups;
    });
    let changed = changed.await?;
    tx.commit().await?;
    Ok(if changed == before { Change::None } else { Change::Done(changed) })
}

/// Names of groups, with commas between them.
fn groups(text: &str) -> Result<BTreeSet<GroupName>, Problem> {
    let wrong = |_| Problem::invalid("groups", "Use lowercase letters, digits and hyphens: engineering, on-call.");
    let named = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let groups: BTreeSet<GroupName> = named.map(str::parse).collect::<Result<_, _>>().map_err(wrong)?;
    if groups.len() > 50 { Err(Problem::invalid("groups", "At most 50.")) } else { Ok(groups) }
}

/// `POST /w/{tenant}/people/{member}/remove`.
pub(super) async fn remove(
    State(clock): State<Clock>,
    shell: Shell,
    can: Can<may::ManageMembers>,
    At((_, member)): At<(String, MembershipId)>,
) -> Result<Response, Problem> {
    let mut tx = can.begin().await?;
    let found = actions::remove(&mut tx, &can.author(&clock), can.actor().role(), member).await?;
    tx.commit().await?;
    let back = if found.user == can.actor().user() { "/workspaces".to_owned() } else { shell.to("people") };
    let text = format!("{} is no longer in this workspace. Their tokens are revoked.", show::visible(&found.name));
    Ok(Done::to(back).saying(text).into_response())
}
