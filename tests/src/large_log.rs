//! A log with millions of records: Postgres copies the record of one real call with other callers, tools, times and traces,
//! and counts the copies as ingest does.

use serde_json::json;

use crate::api::Api;
use crate::behind::Postgres;
use crate::client::Client;
use crate::fast_upstream;
use crate::stack::Stack;

/// Over how many days the copies lie.
pub const DAYS: usize = 4;
/// Of how many tools they are.
pub const TOOLS: usize = 500;
/// Records of one statement.
const CHUNK: usize = 250_000;

/// A deployment with one server of [`TOOLS`] tools, and the record of the call that is copied; gives the server's id.
pub async fn deployment() -> (Stack, Api, Postgres, String) {
    let upstream = fast_upstream::start(TOOLS).await;
    let stack = Stack::start(1, &[]);
    let api = Api::of(&stack.endpoints);
    let server = api.add_server("bench", &format!("http://{upstream}/mcp")).await;
    api.allow_everything().await;
    api.is_live().await;
    let client = Client::new(&stack.endpoints.tenant_url, &stack.endpoints.token);
    let answer = client.call("bench__echo", json!({"message": "copied"})).await;
    api.wait_for_records(&answer.trace_id(), 1).await;
    let postgres = Postgres::of(&stack.endpoints, stack.folder());
    (stack, api, postgres, server)
}

/// Copies the record of a call of `bench__echo`, and counts the copies.
pub async fn fill(postgres: &Postgres, records: usize) {
    let days = format!(
        "select audit_add_partition((now() at time zone 'UTC')::date - day) from generate_series(0, {DAYS}) day"
    );
    postgres.query(&days).await;
    let columns = "tenant_id, time, id, part_time, displaced, received_at, epoch, seq, leaf_hash, kind, final, call_id, actor_kind, \
                   actor_id, token_id, client_name, method, server_id, tool_id, tool_name, definition_hash, arguments_hmac, \
                   result_bytes, result_is_error, effect, decision_code, policy_ids, status, duration_us, policy_us, \
                   credential_us, upstream_us, trace_id, session_id, node, change_action, change_target_kind, change_target_id, body, pii";
    let spread = DAYS * 86_400_000 / records.max(1);
    for first in (0..records).step_by(CHUNK) {
        let last = (first + CHUNK).min(records) - 1;
        postgres
            .query(&format!(
                "create temporary table one as select * from audit_record where kind = 'call' and tool_name = 'bench__echo' and seq < 1000000 limit 1; \
                 insert into audit_record ({columns}) \
                 select tenant_id, t, gen_random_uuid(), t, false, t, epoch, 1000000 + n, leaf_hash, kind, final, \
                     gen_random_uuid(), actor_kind, 'usr_' || lpad(to_hex(n * 7919 % 200), 26, '0'), token_id, client_name, \
                     method, server_id, tool_id, 'bench__tool_' || n * 31 % {TOOLS}, definition_hash, md5(n::text), result_bytes, \
                     result_is_error, case when n % 50 = 0 then 'deny' else effect end, decision_code, policy_ids, \
                     case when n % 50 = 0 then 'denied' else status end, 1000 + n % 90000, policy_us, credential_us, upstream_us, \
                     md5(n::text), session_id, node, change_action, change_target_kind, change_target_id, body, pii \
                 from one, generate_series({first}::bigint, {last}) n, lateral (select now() - n * interval '{spread} ms' t) _"
            ))
            .await;
    }
    let calls = "from audit_record where kind = 'call' and seq >= 1000000";
    let counted = "count(*), sum(duration_us)";
    for (table, start) in [("minute", "minute"), ("hour", "hour")] {
        postgres
            .query(&format!(
                "insert into audit_rollup_{table} select tenant_id, date_trunc('{start}', time), server_id, tool_name, effect, status, \
                 3, {counted} {calls} group by 1, 2, 3, 4, 5, 6 on conflict do nothing"
            ))
            .await;
    }
    postgres
        .query(
            "insert into audit_rollup_server select tenant_id, start, server_id, effect, status, bucket, sum(count), sum(duration_us) \
             from audit_rollup_hour group by 1, 2, 3, 4, 5, 6 on conflict do nothing",
        )
        .await;
    postgres
        .query(&format!(
            "insert into audit_rollup_caller select tenant_id, date_trunc('hour', time), kind, coalesce(actor_kind, ''), actor_id, \
             coalesce(client_name, ''), effect, status, count(*), min(time), max(time) {calls} group by 1, 2, 3, 4, 5, 6, 7, 8 \
             on conflict do nothing"
        ))
        .await;
    postgres.query("update audit_shard set counted_from = '-infinity'").await;
    postgres.query("vacuum analyze").await;
}

/// What people look for in it: in words, and as the API is asked.
pub async fn searches(postgres: &Postgres) -> Vec<(&'static str, String)> {
    let one = "select trace_id || ' ' || actor_id from audit_record \
               where (tenant_id, epoch, seq) in (select tenant_id, epoch, 1012345 from audit_record limit 1)";
    let one = postgres.query(one).await;
    let (trace, caller) = one.split_once(' ').unwrap();
    vec![
        ("the latest 50", "limit=50".to_owned()),
        ("one tool, the latest 50", "limit=50&tool=bench__tool_7".to_owned()),
        ("one tool in an hour of yesterday", format!("limit=50&tool=bench__tool_7&{}", yesterday(postgres).await)),
        ("one caller, the latest 50", format!("limit=50&person={caller}")),
        ("a tool that is hardly used", "limit=50&tool=bench__echo".to_owned()),
        ("what was denied, the latest 50", "limit=50&decision=deny".to_owned()),
        ("what was refused, the latest 50", "limit=50&status=denied".to_owned()),
        ("what was changed", "limit=50&kind=admin".to_owned()),
        ("one trace", format!("trace={trace}")),
    ]
}

/// An hour of which all partitions are older than today's.
async fn yesterday(postgres: &Postgres) -> String {
    let at = "date_trunc('hour', now() at time zone 'UTC') - interval '1 day'";
    let text = |offset: &str| format!("to_char({at} + interval '{offset}', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
    postgres.query(&format!("select 'from=' || {} || '&until=' || {}", text("0 h"), text("1 h"))).await
}
