-- The log's oldest day is dropped as a whole once it is old enough. Heads and hashes stay: what was exported before can
-- still be proven, and the sequence goes on. Runs as the owner: the ingest role owns no table.
--
-- Drops the oldest partition of a day before this one, and says which; none when there is none. One at a time, so that
-- the log is locked for a moment only.
create function audit_drop_partition(before date) returns date
    language plpgsql security definer set search_path = public, pg_temp
    as $$
declare
    name text;
    oldest date;
begin
    -- A frame of a spool may still be on its way: no setting is believed that would drop the day it belongs to.
    if before > (now() at time zone 'UTC')::date - 32 then
        raise exception 'the last 32 days of the audit log are never dropped';
    end if;
    -- As in audit_add_partition: two that would drop the same day wait for one another.
    perform pg_advisory_xact_lock(hashtext('audit_add_partition'));
    select c.relname, to_date(right(c.relname, 8), 'YYYYMMDD') into name, oldest
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'audit_record'::regclass and c.relname ~ '^audit_record_[0-9]{8}$'
        order by 2 limit 1;
    if name is null or oldest >= before then
        return null;
    end if;
    execute format('drop table %I', name);
    return oldest;
end
$$;
revoke execute on function audit_drop_partition(date) from public;
grant execute on function audit_drop_partition(date) to sluice_ingest;
