-- Puts {COUNT} calls of the tenant {TENANT} into its log, spread evenly over the {SECONDS} seconds before now: by the
-- person {USER} and somebody who is gone, at the server {SERVER} (`wiki`), of six tools, or of {TOOLS} where that is more; of a hundred 94 are allowed,
-- four denied and two failed. Text {NASTY} is one tool's name. All counts are kept along,
-- and the shard says that they are whole.
begin;
set local role sluice_ingest;
select audit_add_partition((now() at time zone 'UTC')::date - back) from generate_series(0, {SECONDS} / 86400 + 1) back;
insert into audit_record (tenant_id, time, id, part_time, displaced, received_at, epoch, seq, leaf_hash, kind, final,
    call_id, actor_kind, actor_id, client_name, method, server_id, tool_name, result_bytes, effect, decision_code, status,
    duration_us, policy_us, credential_us, upstream_us, trace_id, body)
select '{TENANT}', at, id, at, false, at, 1, n, decode(repeat('ab', 32), 'hex'), 'call', true, call, 'user', actor, client,
    'tools/call', '{SERVER}', tool, 100 + n % 9000, effect, code, status, took, 900, 120,
    case when effect = 'allow' then took - 2100 end, md5(n::text),
    convert_to(jsonb_strip_nulls(jsonb_build_object(
        'schema', 'sluice.audit/1', 'kind', 'call', 'final', true,
        'actor', jsonb_build_object('id', actor, 'kind', 'user'),
        'client', jsonb_build_object('name', client, 'version', '1.0'),
        'tool', jsonb_build_object('name', tool, 'risk', 'read'), 'server', jsonb_build_object('name', 'wiki'),
        'args', jsonb_build_object('bytes', 42, 'keys', jsonb_build_array('query', 'limit'), 'hmac', 'hs256:k1:AAAA'),
        'decision', jsonb_build_object('effect', effect, 'code', code, 'policies', case when effect = 'deny' then
            jsonb_build_array(jsonb_build_object('id', 'pol_00000000000000000000000000', 'name', 'no-deletes',
                'effect', 'deny', 'version', 9)) end),
        'dur', jsonb_build_object('auth', 400, 'policy', 900, 'credential', 120, 'audit_wait', 600, 'total', took,
            'upstream', case when effect = 'allow' then took - 2100 end),
        'outcome', jsonb_build_object('status', status), 'result', jsonb_build_object('bytes', 100 + n % 9000),
        'trace', jsonb_build_object('id', md5(n::text))))::text, 'UTF8')
from (
    select n, gen_random_uuid() as id, gen_random_uuid() as call,
        now() - make_interval(secs => ({COUNT} - n) * {SECONDS}::float8 / {COUNT}) as at,
        case when n % 3 = 0 then 'usr_somebodygone' else '{USER}' end as actor,
        case when n % 50 = 7 then '=cmd|calc' else 'claude-code' end as client,
        case when n % 97 = 5 then {NASTY} else 'wiki__' || (array['search', 'read_page', 'list_pages', 'write_page',
            'delete_page'])[1 + n % 5] || case when {TOOLS} > 1 then '_' || n % {TOOLS} else '' end end as tool,
        case when n % 25 = 1 then 'deny' else 'allow' end as effect,
        case when n % 25 = 1 then 'forbidden_by_policy' else 'allowed' end as code,
        case when n % 25 = 1 then 'denied' when n % 50 = 3 then 'timeout' else 'success' end as status,
        (case when n % 25 = 1 then 1900 when n % 50 = 3 then 10000000 else 8000 + (n * 7919) % 220000 end)::bigint as took
    from generate_series(0, {COUNT} - 1) n) made;
insert into audit_rollup_minute (tenant_id, start, server_id, tool_name, effect, status, bucket, count, duration_us)
select tenant_id, date_trunc('minute', time), server_id, tool_name, effect, status,
    width_bucket(duration_us - 1, array[10000, 20000, 50000, 100000, 200000, 500000, 1000000, 2000000, 5000000, 10000000,
        30000000, 60000000, 120000000, 300000000]::bigint[]), count(*), sum(duration_us)
from audit_record where tenant_id = '{TENANT}' group by 1, 2, 3, 4, 5, 6, 7;
insert into audit_rollup_hour (tenant_id, start, server_id, tool_name, effect, status, bucket, count, duration_us)
select tenant_id, date_trunc('hour', start), server_id, tool_name, effect, status, bucket, sum(count), sum(duration_us)
from audit_rollup_minute where tenant_id = '{TENANT}' group by 1, 2, 3, 4, 5, 6, 7;
insert into audit_rollup_server (tenant_id, start, server_id, effect, status, bucket, count, duration_us)
select tenant_id, start, server_id, effect, status, bucket, sum(count), sum(duration_us)
from audit_rollup_hour where tenant_id = '{TENANT}' group by 1, 2, 3, 4, 5, 6;
insert into audit_rollup_caller
    (tenant_id, start, kind, actor_kind, actor_id, client_name, effect, status, count, first_at, last_at)
select tenant_id, date_trunc('hour', time, 'UTC'), kind, actor_kind, actor_id, client_name, effect, status, count(*),
    min(time), max(time)
from audit_record where tenant_id = '{TENANT}' group by 1, 2, 3, 4, 5, 6, 7, 8;
insert into audit_shard (shard) values (0) on conflict do nothing;
insert into audit_head (tenant_id, epoch, size) values ('{TENANT}', 1, {COUNT});
commit;
