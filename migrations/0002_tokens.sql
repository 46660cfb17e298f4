-- Tokens: only their SHA-256 is here; the token itself was shown once.

-- For the data plane (`slc_…`).
create table gateway_tokens (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint gateway_tokens_tenant_id_fkey references tenants (tenant_id),
    token_id uuid not null,
    user_id uuid not null,
    digest bytea not null constraint gateway_tokens_digest_check check (length(digest) = 32),
    title text not null,
    scope jsonb not null,
    issued_by uuid not null,
    issued_at timestamptz not null,
    expires_at timestamptz not null,
    revoked_at timestamptz,
    constraint gateway_tokens_pkey primary key (tenant_id, token_id),
    constraint gateway_tokens_digest_key unique (tenant_id, digest)
);
create index gateway_tokens_user_id_idx on gateway_tokens (tenant_id, user_id);
alter table gateway_tokens enable row level security;
alter table gateway_tokens force row level security;
create policy gateway_tokens_fence on gateway_tokens
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

-- For the control plane's API (`sla_…`).
create table api_tokens (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint api_tokens_tenant_id_fkey references tenants (tenant_id),
    token_id uuid not null,
    user_id uuid not null,
    digest bytea not null constraint api_tokens_digest_check check (length(digest) = 32),
    title text not null,
    issued_at timestamptz not null,
    expires_at timestamptz not null,
    revoked_at timestamptz,
    constraint api_tokens_pkey primary key (tenant_id, token_id),
    constraint api_tokens_digest_key unique (digest)
);
create index api_tokens_user_id_idx on api_tokens (tenant_id, user_id);
alter table api_tokens enable row level security;
alter table api_tokens force row level security;
create policy api_tokens_fence on api_tokens
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
create policy api_tokens_platform on api_tokens for select to sluice_platform
    using (current_user = 'sluice_platform');
grant select on api_tokens to sluice_platform;
