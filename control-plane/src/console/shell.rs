//! What surrounds a page of a workspace: the way around, who is signed in, what the last page said.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use domain::{Permission, Role};
use store::accounts::Workspace;

use super::{Present, SignedIn, Zone};
use crate::problem::{Fault, Problem};

/// The frame of a page of a workspace. Every page's template has one as `shell`.
#[derive(Debug, Clone)]
pub(crate) struct Shell {
    /// The present time; pages show how long ago things were.
    pub(crate) now: DateTime<Utc>,
    /// Where it is looked at from.
    pub(crate) zone: Zone,
    /// The person's e-mail address.
    pub(crate) email: String,
    /// What every form carries as `_csrf`.
    pub(crate) csrf: String,
    /// The workspace the page is of; `name` and `role` are the person's own there.
    pub(crate) workspace: Workspace,
    /// All workspaces of the person, by name.
    pub(crate) workspaces: Vec<Workspace>,
    /// What the last page did, to be said once.
    pub(crate) flash: Option<String>,
    /// Who asks.
    pub(crate) signed: SignedIn,
    /// The first segment below the workspace: `servers`; empty on the overview.
    section: String,
}

/// A group of links at the side.
pub(crate) struct NavGroup {
    pub(crate) title: &'static str,
    pub(crate) items: Vec<NavItem>,
}

/// A link at the side.
pub(crate) struct NavItem {
    pub(crate) url: String,
    pub(crate) icon: &'static str,
    pub(crate) text: &'static str,
    /// The letter after `G` that goes there.
    pub(crate) key: &'static str,
    pub(crate) is_current: bool,
}

/// A section, its icon, its name, its key, and what one needs to see it: any of these.
type Section = (&'static str, &'static str, &'static str, &'static str, &'static [Permission]);

const GROUPS: [(&str, &[Section]); 3] = [
    (
        "Monitor",
        &[
            ("", "layout-dashboard", "Overview", "o", &[Permission::ViewTenant]),
            ("live", "activity", "Live calls", "l", &[Permission::OwnActivity]),
            ("activity", "scroll-text", "Activity", "a", &[Permission::OwnActivity]),
            ("evidence", "fingerprint", "Evidence", "v", &[Permission::ViewActivity]),
        ],
    ),
    (
        "Gateway",
        &[
            ("servers", "server", "Servers", "s", &[Permission::ViewServers]),
            ("policies", "shield-check", "Policies", "p", &[Permission::ViewPolicies]),
            ("tokens", "key-round", "Tokens", "t", &[Permission::OwnTokens, Permission::ViewTokens]),
            ("access", "wrench", "My tools", "m", &[Permission::CallTools]),
            ("connect", "plug", "Connect a client", "c", &[Permission::CallTools]),
        ],
    ),
    (
        "Workspace",
        &[
            ("people", "users", "People", "u", &[Permission::ViewMembers]),
            ("destinations", "send", "Destinations", "d", &[Permission::ViewDestinations]),
            ("settings", "settings", "Settings", "e", &[Permission::ViewTenant]),
        ],
    ),
];

/// What one does most: the letters are those after `N`.
const DEEDS: [Section; 5] = [
    ("servers/new", "plus", "Add a server", "s", &[Permission::ManageServers]),
    ("policies/new", "shield-check", "Write a policy", "p", &[Permission::WritePolicies]),
    ("tokens/new", "key-round", "Issue a token", "t", &[Permission::OwnTokens]),
    ("people/invite", "user-plus", "Invite a person", "u", &[Permission::ManageMembers]),
    ("connect", "plug", "Connect a client", "c", &[Permission::CallTools]),
];

impl Shell {
    /// The address of a path of this workspace: `shell.to("servers")`.
    pub(crate) fn to(&self, path: &str) -> String {
        in_workspace(&self.workspace, path)
    }

    /// The present time as the person sees it.
    pub(crate) const fn present(&self) -> Present {
        Present { now: self.now, zone: self.zone }
    }

    /// Whether the person may do this here. What they may not is said, or not offered.
    pub(crate) const fn may(&self, permission: Permission) -> bool {
        self.workspace.role.allows(permission)
    }

    fn may_any(&self, permissions: &[Permission]) -> bool {
        permissions.iter().any(|permission| self.may(*permission))
    }

    /// The ways the person may go.
    pub(crate) fn nav(&self) -> Vec<NavGroup> {
        let group = |(title, sections): &(&'static str, &[Section])| NavGroup {
            title,
            items: sections
                .iter()
                .filter(|(.., needed)| self.may_any(needed))
                .map(|section| self.item(section))
                .collect(),
        };
        GROUPS.iter().map(group).filter(|group| !group.items.is_empty()).collect()
    }

    /// What one does most, as far as the person may.
    pub(crate) fn deeds(&self) -> Vec<NavItem> {
        let may = DEEDS.iter().filter(|(.., needed)| self.may_any(needed));
        may.map(|deed| self.item(deed)).collect()
    }

    fn item(&self, (path, icon, text, key, _): &Section) -> NavItem {
        // Who sees their own alone is told so.
        let text = match *path {
            "activity" if !self.may(Permission::ViewActivity) => "My activity",
            "live" if !self.may(Permission::ViewActivity) => "My live calls",
            "tokens" if !self.may(Permission::ViewTokens) => "My tokens",
            _ => text,
        };
        NavItem { url: self.to(path), icon, text, key, is_current: self.section == *path }
    }
}

/// The address of a path of a workspace.
pub(crate) fn in_workspace(workspace: &Workspace, path: &str) -> String {
    let slash = if path.is_empty() { "" } else { "/" };
    format!("/w/{}{slash}{path}", workspace.slug)
}

/// A role in words.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Owner => "Owner",
        Role::Admin => "Admin",
        Role::PolicyAuthor => "Policy author",
        Role::Auditor => "Auditor",
        Role::Member => "Member",
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Shell {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let signed = SignedIn::from_request_parts(parts, state).await?;
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| Problem::not_found())?;
        let named = params.iter().find(|(name, _)| *name == "tenant").map(|(_, value)| value);
        let workspace = named.and_then(|named| signed.workspace(named)).ok_or_else(Problem::not_found)?;
        Ok(Self {
            now: signed.now(),
            zone: Zone::of(&parts.headers),
            email: signed.email().to_owned(),
            csrf: signed.csrf().to_owned(),
            workspace: workspace.clone(),
            workspaces: signed.workspaces().to_vec(),
            flash: signed.flash().map(str::to_owned),
            signed: signed.clone(),
            section: parts.uri.path().split('/').nth(3).unwrap_or_default().to_owned(),
        })
    }
}

/// One of a row of links of which one is current: segments filter the page one is on, tabs go to another.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) text: String,
    pub(crate) url: String,
    pub(crate) is_current: bool,
    /// How many there are behind it; empty where that says nothing.
    pub(crate) count: String,
}

impl Choice {
    /// A link without a count.
    pub(crate) fn new(text: impl Into<String>, url: impl Into<String>, is_current: bool) -> Self {
        Self { text: text.into(), url: url.into(), is_current, count: String::new() }
    }
}

/// What is wrong in a form, field by field.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    /// Nothing.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// What a problem says of the form that was sent: its faults, or itself where it names none.
    pub(crate) fn of(problem: &Problem) -> Self {
        if !problem.faults().is_empty() {
            return Self(problem.faults().to_vec());
        }
        if let Some(permission) = problem.needs() {
            return Self::whole(super::refused::who_may(permission));
        }
        let said = problem.said();
        let message = if said.is_empty() { problem.title().to_owned() } else { format!("{}: {said}", problem.title()) };
        Self(vec![Fault { field: None, line: None, column: None, message }])
    }

    /// One fault of one field.
    pub(crate) fn at(field: &str, message: impl Into<String>) -> Self {
        Self(vec![Fault { field: Some(field.to_owned()), line: None, column: None, message: message.into() }])
    }

    /// One fault of the whole.
    pub(crate) fn whole(message: impl Into<String>) -> Self {
        Self(vec![Fault { field: None, line: None, column: None, message: message.into() }])
    }

    /// One more.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is wrong with a field; empty where nothing is.
    pub(crate) fn in_field(&self, field: &str) -> &str {
        self.0.iter().find(|fault| fault.field.as_deref() == Some(field)).map_or("", |fault| fault.message.as_str())
    }

    /// What is wrong with none of these fields in particular; empty where nothing is.
    pub(crate) fn in_whole(&self) -> &str {
        self.0.iter().find(|fault| fault.field.is_none()).map_or("", |fault| fault.message.as_str())
    }
}
