-- The owner side of the audit protocol (design/audit-protocol.md) and the log that is searched.
--
-- A policy `to sluice_ingest` is also held against the login role when that role inherits its memberships, so every
-- such policy asks for `current_user` as well: only a transaction that has done `set local role sluice_ingest` passes.
-- (Create the login role with `noinherit`: then the policy is not even part of its plans.)

-- One row per shard of the stream: who owns it, and how far it has read. The row lock is the fence.
create table audit_shard (
    shard smallint not null,
    owner uuid,
    fence bigint not null default 0,
    lease_until timestamptz not null default '-infinity',
    epoch bigint not null default 1,
    version bigint not null default 0,
    incarnation text not null default '',
    cursor text not null default '0-0',
    tick bigint not null default 0,
    constraint audit_shard_pkey primary key (shard)
);

-- One row per source: one run of one node in one shard.
create table audit_source (
    node uuid not null,
    boot uuid not null,
    shard smallint not null,
    wm bigint not null default 0,
    missing int8multirange not null default '{}',
    last_tick bigint not null default 0,
    state text not null default 'live',
    last_seen timestamptz not null default clock_timestamp(),
    constraint audit_source_pkey primary key (node, boot, shard),
    constraint audit_source_state_check check (state in ('live', 'lapsed', 'ended'))
);
create index audit_source_live on audit_source (shard, last_tick) where state = 'live';

-- The last number each tenant's records had in a source, for the note that closes it.
create table audit_source_last (
    tenant_id uuid not null,
    node uuid not null,
    boot uuid not null,
    shard smallint not null,
    last_n bigint not null,
    constraint audit_source_last_pkey primary key (tenant_id, node, boot, shard)
);
create index audit_source_last_source on audit_source_last (node, boot, shard);

-- Calls whose final record is still to come, and tombstones of those whose intent may still come.
create table audit_open (
    tenant_id uuid not null,
    call_id uuid not null,
    state text not null,
    -- Of the open ones: who sent the intent, and the record so far with its personal part, sealed.
    node uuid,
    boot uuid,
    shard smallint,
    n bigint,
    intent bytea,
    pii bytea,
    -- Of the closed ones: the place of the final record that says `unknown`.
    final_seq bigint,
    changed_at timestamptz not null default clock_timestamp(),
    constraint audit_open_pkey primary key (tenant_id, call_id),
    constraint audit_open_state_check check (state in ('open', 'closed', 'done'))
);
create index audit_open_source on audit_open (node, boot, shard) where state = 'open';
create index audit_open_old on audit_open (changed_at) where state <> 'open';

-- Frames that came before the ones they follow.
create table audit_held (
    node uuid not null,
    boot uuid not null,
    shard smallint not null,
    s bigint not null,
    frame bytea not null,
    constraint audit_held_pkey primary key (node, boot, shard, s)
);

-- The control plane's own records, written in the transaction of the change they tell of.
create table audit_inbox (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid,
    record_id uuid not null,
    -- What the shard is taken from: shards are a power of two, at most 256.
    bucket smallint not null generated always as (get_byte(uuid_send(tenant_id), 15)) stored,
    body bytea not null,
    pii bytea,
    added_at timestamptz not null default clock_timestamp(),
    constraint audit_inbox_pkey primary key (tenant_id, record_id)
);
create index audit_inbox_order on audit_inbox (added_at);

-- What could not be opened, read or stored, kept whole.
create table audit_quarantine (
    quarantine_id bigint generated always as identity,
    shard smallint not null,
    -- Absent where not even the source could be read.
    node uuid,
    boot uuid,
    s bigint,
    -- Absent for what was not read from the stream just now.
    stream_id text,
    frame bytea not null,
    reason text not null,
    added_at timestamptz not null default clock_timestamp(),
    constraint audit_quarantine_pkey primary key (quarantine_id)
);
create unique index audit_quarantine_stream on audit_quarantine (shard, stream_id);

-- A tenant's Merkle log: how many leaves, and the hashes its root is made from.
create table audit_head (
    tenant_id uuid not null,
    epoch bigint not null default 1,
    size bigint not null default 0,
    -- The size, and the roots of the complete subtrees, largest first (`audit::merkle::Frontier`).
    frontier bytea not null default '\x0000000000000000',
    signed_size bigint not null default 0,
    constraint audit_head_pkey primary key (tenant_id)
);

-- Hashes of the log by 256: level 0 are leaves, one hash of level n + 1 is the root of a full tile of level n.
-- The last tile of a level is partial.
create table audit_tile (
    tenant_id uuid not null,
    epoch bigint not null,
    level smallint not null,
    index bigint not null,
    hashes bytea not null,
    constraint audit_tile_pkey primary key (tenant_id, epoch, level, index)
);
alter table audit_tile alter column hashes set storage external;

-- The log. Rows are never changed. `part_time` is the record's time where that is plausible, else the time received.
create table audit_record (
    tenant_id uuid not null,
    time timestamptz not null,
    id uuid not null,
    part_time timestamptz not null,
    displaced boolean not null,
    received_at timestamptz not null,
    epoch bigint not null,
    seq bigint not null,
    leaf_hash bytea not null,
    kind text not null,
    final boolean not null,
    call_id uuid,
    actor_kind text,
    actor_id text,
    token_id uuid,
    client_name text,
    method text,
    server_id uuid,
    tool_id uuid,
    tool_name text,
    definition_hash text,
    arguments_hmac text,
    result_bytes bigint,
    result_is_error boolean,
    effect text,
    decision_code text,
    policy_ids uuid[],
    status text,
    duration_us bigint,
    policy_us bigint,
    credential_us bigint,
    upstream_us bigint,
    trace_id text,
    session_id text,
    node uuid,
    change_action text,
    change_target_kind text,
    change_target_id text,
    -- The exact bytes of the leaf.
    body bytea not null,
    -- The personal part, under a key of `audit_subject_key`.
    pii bytea,
    constraint audit_record_pkey primary key (tenant_id, time, id, part_time)
) partition by range (part_time);
alter table audit_record alter column body set compression lz4;
create index audit_record_seq on audit_record (tenant_id, epoch, seq);
create index audit_record_id on audit_record (tenant_id, id);
create index audit_record_actor on audit_record (tenant_id, actor_id, time);
create index audit_record_tool on audit_record (tenant_id, server_id, tool_name, time);
create index audit_record_call on audit_record (tenant_id, call_id);
create index audit_record_displaced on audit_record (tenant_id, time) where displaced;

-- Keys of the personal parts, by tenant, subject and month, wrapped by the master key. Deleting one erases what it hid.
create table audit_subject_key (
    tenant_id uuid not null,
    subject text not null,
    month date not null,
    key_id text not null,
    wrapped text not null,
    constraint audit_subject_key_pkey primary key (tenant_id, subject, month)
);

-- Calls counted by minute and hour. `bucket` is the place of the duration among the bounds the program names.
create table audit_rollup_minute (
    tenant_id uuid not null,
    start timestamptz not null,
    server_id uuid not null default '00000000-0000-0000-0000-000000000000',
    tool_name text not null default '',
    effect text not null,
    status text not null,
    bucket smallint not null,
    count bigint not null,
    duration_us bigint not null,
    constraint audit_rollup_minute_pkey primary key (tenant_id, start, server_id, tool_name, effect, status, bucket)
);
create table audit_rollup_hour (like audit_rollup_minute including all);

-- When a token last made a call, at most a minute late.
create table token_last_used (
    tenant_id uuid not null,
    token_id uuid not null,
    used_at timestamptz not null,
    constraint token_last_used_pkey primary key (tenant_id, token_id)
);

-- The fences.
create function audit_fence(target regclass, read_by_tenant boolean) returns void
    language plpgsql
    as $$
begin
    execute format('alter table %s enable row level security', target);
    execute format('alter table %s force row level security', target);
    execute format(
        'create policy ingest on %s to sluice_ingest using (current_user = ''sluice_ingest'')', target);
    if read_by_tenant then
        execute format(
            'create policy tenant on %s for select using '
            '(tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)', target);
    end if;
end
$$;

-- The control plane's transport and bookkeeping: nobody's but the ingest role's.
select audit_fence(name::regclass, false) from unnest(array[
    'audit_shard', 'audit_source', 'audit_source_last', 'audit_open', 'audit_held', 'audit_quarantine']) name;
-- What a tenant may read of its own.
select audit_fence(name::regclass, true) from unnest(array[
    'audit_inbox', 'audit_head', 'audit_tile', 'audit_record', 'audit_subject_key',
    'audit_rollup_minute', 'audit_rollup_hour', 'token_last_used']) name;
-- The one thing a tenant writes.
create policy tenant_add on audit_inbox for insert
    with check (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

grant select, insert, update, delete on
    audit_shard, audit_source, audit_source_last, audit_open, audit_held, audit_inbox, audit_quarantine, audit_head,
    audit_tile, audit_subject_key, audit_rollup_minute, audit_rollup_hour, token_last_used to sluice_ingest;
-- Rows of the log are added and read; nothing changes or deletes one.
grant select, insert on audit_record to sluice_ingest;

-- Makes the partition of a day (UTC), fenced like its parent: row-level security of a parent does not cover a partition
-- that is read directly. True when it was made now. Runs as the owner: the ingest role owns no table.
create function audit_add_partition(day date) returns boolean
    language plpgsql security definer set search_path = public, pg_temp
    as $$
declare
    name text := 'audit_record_' || to_char(day, 'YYYYMMDD');
begin
    if to_regclass(name) is not null then
        return false;
    end if;
    -- Two that want the same day wait for one another here.
    perform pg_advisory_xact_lock(hashtext('audit_add_partition'));
    if to_regclass(name) is not null then
        return false;
    end if;
    execute format('create table %I partition of audit_record for values from (%L) to (%L)',
        name, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
    perform audit_fence(name::regclass, true);
    execute format('grant select, insert on %I to sluice_ingest', name);
    return true;
end
$$;
revoke execute on function audit_fence(regclass, boolean), audit_add_partition(date) from public;
grant execute on function audit_add_partition(date) to sluice_ingest;
select audit_add_partition((now() at time zone 'UTC')::date + ahead) from generate_series(-2, 7) ahead;
