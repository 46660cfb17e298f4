-- People asked into a tenant by a link that is mailed to them, until they come. The link's token is known by its SHA-256.
create table invitations (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint invitations_tenant_id_fkey references tenants (tenant_id),
    invitation_id uuid not null,
    digest bytea not null constraint invitations_digest_key unique
        constraint invitations_digest_check check (length(digest) = 32),
    -- The address the link was mailed to: only its account may use it.
    email text not null constraint invitations_email_check check (email = lower(email)),
    role text not null constraint invitations_role_check
        check (role in ('owner', 'admin', 'policy_author', 'auditor', 'member')),
    invited_by uuid not null constraint invitations_invited_by_fkey references users (user_id),
    created_at timestamptz not null,
    ends_at timestamptz not null,
    constraint invitations_pkey primary key (tenant_id, invitation_id),
    -- Asking somebody again takes the place of asking before.
    constraint invitations_email_key unique (tenant_id, email)
);
create index invitations_ends_at_idx on invitations (ends_at);
alter table invitations enable row level security;
alter table invitations force row level security;
create policy invitations_fence on invitations
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
-- Whoever opens a link is in no tenant yet.
create policy invitations_platform on invitations to sluice_platform using (current_user = 'sluice_platform');
grant select, delete on invitations to sluice_platform;
