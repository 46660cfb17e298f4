-- Who there is: tenants, people, their place in a tenant, and the tenant's own keys.

-- Global: every tenant's id and name in URLs. A slug is chosen once and never used again.
create table tenants (
    tenant_id uuid not null constraint tenants_pkey primary key,
    slug text not null constraint tenants_slug_key unique,
    created_at timestamptz not null
);
alter table tenants enable row level security;
alter table tenants force row level security;
create policy tenants_platform on tenants to sluice_platform using (current_user = 'sluice_platform');
grant select, insert on tenants to sluice_platform;

-- Global: a person is known by the e-mail address, in lower case.
create table users (
    user_id uuid not null constraint users_pkey primary key,
    email text not null constraint users_email_key unique constraint users_email_check check (email = lower(email)),
    created_at timestamptz not null
);
alter table users enable row level security;
alter table users force row level security;
create policy users_platform on users to sluice_platform using (current_user = 'sluice_platform');
grant select, insert on users to sluice_platform;

-- What a tenant may change about itself, and the number of its present configuration.
create table tenant_settings (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint tenant_settings_pkey primary key
        constraint tenant_settings_tenant_id_fkey references tenants (tenant_id),
    title text not null,
    blind_max_s integer not null constraint tenant_settings_blind_max_s_check check (blind_max_s between 0 and 60),
    prefix text not null constraint tenant_settings_prefix_check check (prefix in ('always', 'on_conflict', 'none')),
    revision bigint not null
);
alter table tenant_settings enable row level security;
alter table tenant_settings force row level security;
create policy tenant_settings_fence on tenant_settings
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

create table memberships (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint memberships_tenant_id_fkey references tenants (tenant_id),
    membership_id uuid not null,
    user_id uuid not null constraint memberships_user_id_fkey references users (user_id),
    -- What the tenant calls the person: nothing of one tenant's is shown to another.
    name text not null,
    role text not null constraint memberships_role_check
        check (role in ('owner', 'admin', 'policy_author', 'auditor', 'member')),
    groups text[] not null,
    created_at timestamptz not null,
    constraint memberships_pkey primary key (tenant_id, membership_id),
    constraint memberships_user_id_key unique (tenant_id, user_id)
);
alter table memberships enable row level security;
alter table memberships force row level security;
create policy memberships_fence on memberships
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
-- Signing in by API token asks which place in which tenant the token is of.
create policy memberships_platform on memberships for select to sluice_platform
    using (current_user = 'sluice_platform');
grant select on memberships to sluice_platform;

-- The tenant's own keys, readable only with the deployment's master key.
create table tenant_keys (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint tenant_keys_tenant_id_fkey references tenants (tenant_id),
    key_id text not null,
    purpose text not null constraint tenant_keys_purpose_check check (purpose in ('data', 'arguments')),
    wrapped text not null,
    created_at timestamptz not null,
    constraint tenant_keys_pkey primary key (tenant_id, key_id),
    -- One of each; rotation will add a state.
    constraint tenant_keys_purpose_key unique (tenant_id, purpose)
);
alter table tenant_keys enable row level security;
alter table tenant_keys force row level security;
create policy tenant_keys_fence on tenant_keys
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
