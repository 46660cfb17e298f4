-- Publishing: what is to be published, what is, and who publishes.
--
-- The platform's policies ask for `current_user` as well, see migrations/README.md.

-- Ids and revision only: something of a tenant's changed and nodes must learn of it. Written in the transaction of the
-- change, deleted in the transaction that records what was made of it.
create table outbox (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid,
    outbox_id bigint generated always as identity,
    -- Of the configuration; none where a token changed.
    revision bigint,
    token_id uuid,
    at timestamptz not null default now(),
    constraint outbox_pkey primary key (tenant_id, outbox_id),
    constraint outbox_what_check check ((revision is null) <> (token_id is null))
);
alter table outbox enable row level security;
alter table outbox force row level security;
create policy outbox_fence on outbox
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
create policy outbox_platform on outbox to sluice_platform using (current_user = 'sluice_platform');
grant select, delete on outbox to sluice_platform;

-- One row: who publishes, and the numbers of the head. The fence is raised by whoever takes the lease; every statement
-- of the publisher's names its own.
create table publisher (
    singleton boolean not null default true,
    holder uuid,
    fence bigint not null default 0,
    lease_until timestamptz not null default '-infinity',
    epoch bigint not null default 1,
    change bigint not null default 0,
    revocation bigint not null default 0,
    constraint publisher_pkey primary key (singleton),
    constraint publisher_singleton_check check (singleton)
);
alter table publisher enable row level security;
alter table publisher force row level security;
create policy publisher_platform on publisher to sluice_platform using (current_user = 'sluice_platform');
grant select, insert, update on publisher to sluice_platform;

-- The published configuration of each tenant, as it was signed.
create table published (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid,
    slug text not null,
    epoch bigint not null,
    revision bigint not null,
    -- The number of the publication, over all tenants.
    change bigint not null,
    -- Of the envelope's body, hexadecimal.
    sha256 text not null,
    envelope bytea not null,
    published_at timestamptz not null,
    constraint published_pkey primary key (tenant_id)
);
-- It is compressed already.
alter table published alter column envelope set storage external;
alter table published enable row level security;
alter table published force row level security;
create policy published_fence on published
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
create policy published_platform on published to sluice_platform using (current_user = 'sluice_platform');
grant select, insert, update on published to sluice_platform;

-- Why the present configuration of a tenant is not the published one.
create table publish_refusals (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid,
    revision bigint not null,
    reason text not null,
    at timestamptz not null,
    constraint publish_refusals_pkey primary key (tenant_id)
);
alter table publish_refusals enable row level security;
alter table publish_refusals force row level security;
create policy publish_refusals_fence on publish_refusals
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
create policy publish_refusals_platform on publish_refusals to sluice_platform
    using (current_user = 'sluice_platform');
grant select, insert, update, delete on publish_refusals to sluice_platform;

-- The signed record of each gateway token that has not expired, a revoked one's tombstone among them.
create table published_tokens (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid,
    token_id uuid not null,
    digest bytea not null,
    envelope bytea not null,
    expires_at timestamptz not null,
    constraint published_tokens_pkey primary key (tenant_id, token_id)
);
create index published_tokens_expires_at_idx on published_tokens (expires_at);
alter table published_tokens enable row level security;
alter table published_tokens force row level security;
create policy published_tokens_fence on published_tokens
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
create policy published_tokens_platform on published_tokens to sluice_platform
    using (current_user = 'sluice_platform');
grant select, insert, update, delete on published_tokens to sluice_platform;

-- What nodes must forget, numbered without holes over all tenants; kept until the token would have expired.
create table revocations (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid,
    number bigint not null,
    token_id uuid not null,
    digest bytea not null,
    what text not null constraint revocations_what_check check (what in ('revoked', 'changed')),
    expires_at timestamptz not null,
    at timestamptz not null,
    constraint revocations_pkey primary key (tenant_id, number)
);
create index revocations_number_idx on revocations (number);
create index revocations_expires_at_idx on revocations (expires_at);
alter table revocations enable row level security;
alter table revocations force row level security;
create policy revocations_fence on revocations
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
create policy revocations_platform on revocations to sluice_platform using (current_user = 'sluice_platform');
grant select, insert, delete on revocations to sluice_platform;
