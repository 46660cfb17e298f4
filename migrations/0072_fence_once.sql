-- The tables that were there get the fence that asks once, each in a migration of its own. Whoever reads a table holds it
-- up to half a minute, and whoever wants it waits behind this: so it waits for 200 ms at most, and tries again for minutes.
create function audit_fence_once(target regclass) returns void
    language plpgsql set lock_timeout = '200ms'
    as $$
declare
    change text := format('alter policy tenant on %s using '
        '(tenant_id = (select nullif(current_setting(''app.tenant_id'', true), '''')::uuid))', target);
begin
    for attempt in 1 .. 300 loop
        begin
            execute change;
            return;
        exception when lock_not_available then
            perform pg_sleep(1);
        end;
    end loop;
    execute change;
end
$$;
-- Of this one the partitions keep their own policies, which nothing reads through; those made from now on have the new one.
select audit_fence_once('audit_record');
