-- The fence of the tables that are read in bulk asks for the tenant once a statement, not once a row: as a function of the
-- row it took 1 µs of each, which was half of reading 17,000 counts.
create or replace function audit_fence(target regclass, read_by_tenant boolean) returns void
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
            '(tenant_id = (select nullif(current_setting(''app.tenant_id'', true), '''')::uuid))', target);
    end if;
end
$$;

-- Records counted by who made them and how they ended, by the hour they began in: what "activity by person" reads instead
-- of a day's records. Texts are as in `audit_record`; '' is one that a record has not. Displaced records are not counted:
-- their times are anybody's, and `audit_record_displaced` finds the few there are. Of the programs a caller names in an
-- hour only the first are counted by their names, the others together as '…': a client says what it is called.
create table audit_rollup_caller (
    tenant_id uuid not null,
    start timestamptz not null,
    kind text not null,
    actor_kind text not null,
    actor_id text not null,
    client_name text not null,
    effect text not null,
    status text not null,
    count bigint not null,
    -- When the first and the last of them began.
    first_at timestamptz not null,
    last_at timestamptz not null,
    -- What a caller is counted by in an hour stands together.
    constraint audit_rollup_caller_pkey
        primary key (tenant_id, start, actor_kind, actor_id, client_name, kind, effect, status)
);
-- What is dropped by age is found by age.
create index audit_rollup_caller_start_idx on audit_rollup_caller (start);
select audit_fence('audit_rollup_caller', true);
grant select, insert, update, delete on audit_rollup_caller to sluice_ingest;

-- The program before this one does not count so, and what is there is too much to be counted here. So each shard says from
-- when on its records are in these counts, and for which fence: while an owner that does not count has it, the two differ.
alter table audit_shard
    add column counted_from timestamptz not null default '-infinity',
    add column counted_fence bigint not null default 0;
-- It is read with the counts.
create policy tenant on audit_shard for select using (nullif(current_setting('app.tenant_id', true), '') is not null);
-- Hours from here on are whole in `audit_rollup_caller` and `audit_rollup_server`; none are where no shard says so.
create function audit_counted_from() returns timestamptz
    language sql stable
    as $$
select coalesce(max(case when counted_fence = fence then counted_from else 'infinity' end), 'infinity') from audit_shard
$$;
