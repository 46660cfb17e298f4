//! The five roles and what each may do. The matrix is a function, so that a role without an answer does not compile.

use serde::{Deserialize, Serialize};

/// What a membership allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Role {
    /// Everything; a tenant always has one.
    Owner,
    /// Everything but what concerns owners.
    Admin,
    /// Writes policies, reads the rest, sees no secrets.
    PolicyAuthor,
    /// Reads everything, changes nothing, calls nothing.
    Auditor,
    /// Calls tools and sees what concerns them.
    Member,
}

/// One thing a role may allow. The text form (`servers.manage`) is shown to whom it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// See the tenant's name and settings.
    ViewTenant,
    /// Change them.
    ManageTenant,
    /// See who is a member.
    ViewMembers,
    /// Add, change and remove members who are not owners.
    ManageMembers,
    /// Make, change and remove owners.
    ManageOwners,
    /// See servers, versions and tools.
    ViewServers,
    /// Add, probe, review, pause and remove servers.
    ManageServers,
    /// Set and remove credentials; nobody may read one.
    ManageCredentials,
    /// See policies.
    ViewPolicies,
    /// Write policy texts.
    WritePolicies,
    /// Make configuration live.
    Publish,
    /// Issue, list and revoke one's own tokens.
    OwnTokens,
    /// See everybody's tokens.
    ViewTokens,
    /// Issue for, and revoke of, others.
    ManageTokens,
    /// See one's own calls.
    OwnActivity,
    /// See everybody's calls.
    ViewActivity,
    /// Take everybody's calls along as a file.
    ExportActivity,
    /// Take what is personal in them along, or have it sent: names, addresses, what was kept of arguments.
    ExportPersonal,
    /// See where records are sent, and whether they arrive.
    ViewDestinations,
    /// Add, change, start, pause and remove destinations, and send again.
    ManageDestinations,
    /// Call tools through the gateway.
    CallTools,
}

impl Role {
    /// All five, most powerful first.
    pub const ALL: [Self; 5] = [Self::Owner, Self::Admin, Self::PolicyAuthor, Self::Auditor, Self::Member];

    /// Whether the role allows this.
    #[must_use]
    pub const fn allows(self, permission: Permission) -> bool {
        use Permission as P;
        match self {
            Self::Owner => true,
            Self::Admin => !matches!(permission, P::ManageOwners | P::ExportPersonal),
            Self::PolicyAuthor => matches!(
                permission,
                P::ViewTenant
                    | P::ViewMembers
                    | P::ViewServers
                    | P::ViewPolicies
                    | P::WritePolicies
                    | P::OwnTokens
                    | P::OwnActivity
                    | P::ViewActivity
                    | P::CallTools
            ),
            Self::Auditor => matches!(
                permission,
                P::ViewTenant
                    | P::ViewMembers
                    | P::ViewServers
                    | P::ViewPolicies
                    | P::ViewTokens
                    | P::OwnActivity
                    | P::ViewActivity
                    | P::ExportActivity
                    | P::ExportPersonal
                    | P::ViewDestinations
            ),
            Self::Member => {
                matches!(permission, P::ViewTenant | P::OwnTokens | P::OwnActivity | P::CallTools)
            }
        }
    }

    /// The role as it is written in JSON, SQL and policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::PolicyAuthor => "policy_author",
            Self::Auditor => "auditor",
            Self::Member => "member",
        }
    }

    /// Reads the written form.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl Permission {
    /// The permission as it is shown to whom it is refused.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ViewTenant => "tenant.view",
            Self::ManageTenant => "tenant.manage",
            Self::ViewMembers => "members.view",
            Self::ManageMembers => "members.manage",
            Self::ManageOwners => "owners.manage",
            Self::ViewServers => "servers.view",
            Self::ManageServers => "servers.manage",
            Self::ManageCredentials => "credentials.manage",
            Self::ViewPolicies => "policies.view",
            Self::WritePolicies => "policies.write",
            Self::Publish => "publish",
            Self::OwnTokens => "tokens.own",
            Self::ViewTokens => "tokens.view",
            Self::ManageTokens => "tokens.manage",
            Self::OwnActivity => "activity.own",
            Self::ViewActivity => "activity.view",
            Self::ExportActivity => "activity.export",
            Self::ExportPersonal => "activity.export_personal",
            Self::ViewDestinations => "destinations.view",
            Self::ManageDestinations => "destinations.manage",
            Self::CallTools => "tools.call",
        }
    }
}
