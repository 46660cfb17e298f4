-- Where a tenant's records are sent as they enter its log, and how far each destination has got.
create table destinations (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint destinations_tenant_id_fkey references tenants (tenant_id),
    destination_id uuid not null,
    name text not null,
    kind text not null
        constraint destinations_kind_check check (kind in ('webhook', 'splunk_hec', 's3', 'syslog')),
    format text not null constraint destinations_format_check check (format in ('native', 'ocsf', 'ecs', 'cef')),
    -- How it is reached, by kind; nothing secret.
    settings jsonb not null,
    -- What is sent: kinds of records; of those with an effect or a server, these; all where a list is empty.
    kinds text[] not null default '{}',
    effects text[] not null default '{}',
    servers uuid[] not null default '{}',
    -- paused and running by a person, stopped by Sluice.
    state text not null constraint destinations_state_check check (state in ('paused', 'running', 'stopped')),
    -- Raised with each change.
    revision bigint not null default 1,
    -- Raised when the same places would be sent as something else.
    shape bigint not null default 1,
    -- Where the secret rests, never the secret (see `credentials`).
    secret_id uuid not null,
    secret_version bigint not null,
    secret_store text not null
        constraint destinations_secret_store_check check (secret_store in ('sealed', 'vault')),
    secret_place text not null,
    created_at timestamptz not null,
    created_by uuid not null,
    changed_at timestamptz not null,
    changed_by uuid not null,
    constraint destinations_pkey primary key (tenant_id, destination_id),
    constraint destinations_name_key unique (tenant_id, name)
);
alter table destinations enable row level security;
alter table destinations force row level security;
create policy destinations_fence on destinations
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
create policy destinations_platform on destinations for select to sluice_platform
    using (current_user = 'sluice_platform');
grant select (tenant_id, destination_id, kind) on destinations to sluice_platform;

-- Cursors: `live` follows the log, `replay` goes over a part of it once more, `letters` sends dead letters again.
create table destination_lanes (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid,
    destination_id uuid not null,
    lane text not null constraint destination_lanes_lane_check check (lane in ('live', 'replay', 'letters')),
    -- Which replay, or which wish for letters, of the destination's.
    number bigint not null default 0,
    is_on boolean not null,
    -- The place of the first record that is not dealt with.
    epoch bigint not null,
    next bigint not null,
    -- Of a replay: the place it ends before, where it began, and most records in a second.
    until bigint,
    first bigint,
    rate integer,
    -- The last place of the batch that is under way: it is sent within the same bounds again, whatever happens.
    pending bigint,
    pending_shape bigint,
    -- Who sends. The fence is raised by every new owner, and only its holder moves the cursor.
    owner uuid,
    fence bigint not null default 0,
    lease_until timestamptz not null default '-infinity',
    due_at timestamptz not null default '-infinity',
    -- Tries in a row that failed.
    failures integer not null default 0,
    -- Since when records wait; none while none does.
    behind_since timestamptz,
    sent bigint not null default 0,
    sent_at timestamptz,
    error_at timestamptz,
    error_code text,
    error_said text,
    error_status integer,
    -- The last signed checkpoint that was sent along.
    checkpoint_size bigint not null default 0,
    checkpoint_at timestamptz not null default '-infinity',
    constraint destination_lanes_pkey primary key (tenant_id, destination_id, lane),
    constraint destination_lanes_destination_id_fkey foreign key (tenant_id, destination_id)
        references destinations (tenant_id, destination_id) on delete cascade
);
create index destination_lanes_due_idx on destination_lanes (due_at) where is_on;
alter table destination_lanes enable row level security;
alter table destination_lanes force row level security;
create policy destination_lanes_fence on destination_lanes
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
-- Whoever looks for what is to be sent sees how far each is, and takes it; nothing else.
create policy destination_lanes_platform_select on destination_lanes for select to sluice_platform
    using (current_user = 'sluice_platform');
create policy destination_lanes_platform_update on destination_lanes for update to sluice_platform
    using (current_user = 'sluice_platform');
grant select (tenant_id, destination_id, lane, is_on, epoch, next, fence, lease_until, due_at, behind_since, checkpoint_size,
    checkpoint_at, failures), update (owner, fence, lease_until, behind_since) on destination_lanes to sluice_platform;
create policy platform_select on audit_head for select to sluice_platform using (current_user = 'sluice_platform');
grant select (tenant_id, epoch, size, signed_size) on audit_head to sluice_platform;

-- Records that a receiver never takes: where they are in the log, and what it said.
create table dead_letters (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid,
    destination_id uuid not null,
    epoch bigint not null,
    seq bigint not null,
    record_id uuid not null,
    time timestamptz not null,
    code text not null,
    said text not null,
    status integer,
    failed_at timestamptz not null,
    -- The number of the wish to send it again, while that is under way.
    wish bigint,
    constraint dead_letters_pkey primary key (tenant_id, destination_id, epoch, seq),
    constraint dead_letters_destination_id_fkey foreign key (tenant_id, destination_id)
        references destinations (tenant_id, destination_id) on delete cascade
);
alter table dead_letters enable row level security;
alter table dead_letters force row level security;
create policy dead_letters_fence on dead_letters
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

-- What was sent, by the hour.
create table destination_hours (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid,
    destination_id uuid not null,
    start timestamptz not null,
    records bigint not null,
    bytes bigint not null,
    batches bigint not null,
    failures bigint not null,
    constraint destination_hours_pkey primary key (tenant_id, destination_id, start),
    constraint destination_hours_destination_id_fkey foreign key (tenant_id, destination_id)
        references destinations (tenant_id, destination_id) on delete cascade
);
alter table destination_hours enable row level security;
alter table destination_hours force row level security;
create policy destination_hours_fence on destination_hours
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
