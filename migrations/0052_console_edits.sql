-- When an API token last made a request, at most a minute late.
alter table api_tokens add column last_used_at timestamptz;
create policy api_tokens_platform_use on api_tokens for update to sluice_platform
    using (current_user = 'sluice_platform');
grant update (last_used_at) on api_tokens to sluice_platform;

-- Who last changed these and when, to be told to whoever was changing them at the same time.
alter table memberships add column changed_by uuid, add column changed_at timestamptz;
alter table tenant_settings add column changed_by uuid, add column changed_at timestamptz;

-- A token that was just issued, until the browser that issued it has shown it. It is sealed with a key that only that
-- browser's cookie gives; the row stays for a while without it, so that a form that is sent twice issues one token.
create table shown_once (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint shown_once_tenant_id_fkey references tenants (tenant_id),
    session_id uuid not null,
    -- What the form carried, made when it was opened.
    form bytea not null constraint shown_once_form_check check (length(form) = 16),
    -- Without one while the form is at work; no other transaction sees that.
    token_id uuid,
    sealed bytea,
    ends_at timestamptz not null,
    constraint shown_once_pkey primary key (tenant_id, session_id, form)
);
create index shown_once_ends_at_idx on shown_once (tenant_id, ends_at);
alter table shown_once enable row level security;
alter table shown_once force row level security;
create policy shown_once_fence on shown_once
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
