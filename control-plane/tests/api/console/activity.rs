//! Activity, the live tail and the overview.

use axum::body::Body;
use axum::http::{Request, header};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt as _;

use super::browser::Browser;
use super::many_tools;
use super::markup::{self, text};
use crate::app::{App, Person, tool};

/// A name that would be markup, an override of direction, and long.
const NASTY: &str = "'wiki__<img src=x onerror=alert(1)>' || U&'\\202E' || repeat('x', 100)";

/// Puts calls into the log, and gives the server they went to.
pub(super) async fn seed(app: &App, owner: &Person, count: u32, seconds: u32) -> String {
    seed_of(app, owner, (count, seconds), &[tool("search", "Searches.")]).await
}

/// The same, of a server with these tools; their calls are of as many names.
async fn seed_of(app: &App, owner: &Person, (count, seconds): (u32, u32), tools: &[Value]) -> String {
    let server = app.server(owner, "wiki", tools).await;
    let members = app.get(owner, &format!("{}/members", owner.path())).await.expect(200).json();
    let list = members.as_array().or_else(|| members["members"].as_array()).unwrap().clone();
    let olive = list.iter().find(|member| member["email"] == "olive@acme.example").unwrap();
    let user = olive["user"].as_str().unwrap_or_default();
    let server_uuid = server.parse::<domain::ServerId>().unwrap().uuid();
    let sql = include_str!("seed.sql")
        .replace("{TENANT}", &owner.tenant.uuid().to_string())
        .replace("{SERVER}", &server_uuid.to_string())
        .replace("{USER}", user)
        .replace("{NASTY}", NASTY)
        .replace("{TOOLS}", &tools.len().to_string())
        .replace("{COUNT}", &count.to_string())
        .replace("{SECONDS}", &seconds.to_string());
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&app.parts.pool).await.unwrap();
    server
}

/// The records' links in a page, newest first.
pub(super) fn records(html: &str) -> Vec<String> {
    let tags = markup::tags(html);
    let links = tags.iter().filter(|tag| tag.get("class") == Some("rowlink mono"));
    links.map(|link| link.get("href").unwrap().replace("&amp;", "&").replace("&#38;", "&")).collect()
}

/// Where older ones are.
fn older(html: &str) -> Option<String> {
    let (before, _) = html.split_once("\">Older</a>")?;
    let (_, href) = before.rsplit_once("href=\"")?;
    Some(href.replace("&amp;", "&").replace("&#38;", "&"))
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_workspace_without_calls_is_told_what_comes(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let first = owner.get("/w/acme").await.expect(200);
    assert!(text(&first.text).contains("Put the first call through your gateway"));
    assert!(first.text.contains("https://mcp.example.com/acme/mcp"));
    assert!(text(&first.text).contains("Listening for the first call"));
    assert!(text(&owner.get_part("/w/acme").await.expect(200).text).contains("Listening"));
    assert!(text(&owner.get("/w/acme?guide=off").await.expect(200).text).contains("Top tools"));
    assert!(text(&owner.get("/w/acme/activity").await.expect(200).text).contains("No calls in this time"));
    assert!(text(&owner.get("/w/acme/live").await.expect(200).text).contains("No calls in the last 24 hours"));
    app.member(&person, "mia@acme.example", "member").await;
    let mia = Browser::of(&app, "mia@acme.example").await;
    assert!(text(&mia.get("/w/acme").await.expect(200).text).contains("You have not called anything"));
    assert!(text(&mia.get("/w/acme/activity").await.expect(200).text).contains("None of your calls"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn calls_are_found_page_by_page_and_opened(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 120, 3600).await;
    let page = owner.get("/w/acme/activity").await.expect(200);
    assert_eq!(records(&page.text).len(), 50);
    assert!(text(&page.text).contains("120 calls"), "{}", text(&page.text));
    let mut seen: Vec<String> = records(&page.text);
    let mut next = older(&page.text);
    while let Some(path) = next {
        let page = owner.get(&path).await.expect(200);
        seen.extend(records(&page.text));
        next = older(&page.text);
    }
    let of = |link: &String| link.split("call=").nth(1).unwrap().to_owned();
    let ids: std::collections::BTreeSet<String> = seen.iter().map(of).collect();
    assert_eq!((seen.len(), ids.len()), (120, 120));

    let denied = owner.get("/w/acme/activity?q=decision:denied").await.expect(303);
    assert_eq!(denied.location(), "/w/acme/activity?decision=denied");
    let denied = owner.get("/w/acme/activity?decision=denied&range=6h").await.expect(200);
    assert_eq!(records(&denied.text).len(), 5);
    assert!(text(&denied.text).contains("A policy forbids it"), "why, in the list too: {}", text(&denied.text));
    let opened = owner.get(&records(&denied.text)[0]).await.expect(200);
    let shown = text(&opened.text);
    for part in ["Denied by no-deletes", "v9", "never left Sluice", "Identify", "query", "Sequence", "sluice.audit/1"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let part = owner.get_part(&records(&denied.text)[0]).await.expect(200);
    assert!(part.text.contains("id=\"split\"") && !part.text.contains("<html"));
    markup::check_tags("the inspector", &markup::tags(&part.text));
    assert!(part.headers["hx-push-url"].to_str().unwrap().contains("call=rec_"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_does_not_fit_is_said_and_narrows_nothing(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 30, 600).await;
    let page =
        owner.get("/w/acme/activity?colour=red&decision=purple&caller=nobody&range=99y&after=x").await.expect(200);
    let shown = text(&page.text);
    for part in
        ["colour", "there is no such filter", "is none of allowed, denied", "nobody here is called so", "no such range"]
    {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert_eq!(records(&page.text).len(), 30);
    for odd in
        ["?call=rec_nothing", "?call=%3Cscript%3E", "?from=2026-01-01&until=2025-01-01", "?q=%25%27;--", "?server=x"]
    {
        owner.get(&format!("/w/acme/activity{odd}")).await.expect(200);
    }
    let refused = owner.get("/w/acme/activity?kind=auth").await.expect(200);
    assert!(text(&refused.text).contains("Refused requests"), "what gateways refused before they knew who called");
    owner.get("/w/acme/activity?q=%00").await.expect(400);
    let none = owner.get("/w/acme/activity?q=nothinglikethis&range=6h").await.expect(200);
    assert!(text(&none.text).contains("No records match"));
    assert!(!none.text.contains("class=\"histo"), "no bars of what the search did not find");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_change_says_what_was_changed(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 30, 600).await;
    let token = json!({"title": "Olive’s laptop", "days": 1});
    let token = app.post(&person, "/tenants/acme/gateway-tokens", token).await.expect(201).text_at("/token/id");
    // The changes as nodes bring them into the log.
    let changes = "insert into audit_record (tenant_id, time, id, part_time, displaced, received_at, epoch, seq, leaf_hash,
            kind, final, actor_kind, actor_id, change_action, body)
        select tenant_id, time, gen_random_uuid(), part_time, false, received_at, 1, 100 + row_number() over (), leaf_hash,
            'admin', true, actor_kind, actor_id, made.change #>> '{change,action}', convert_to(made.change::text, 'UTF8')
        from (select * from audit_record order by seq desc limit 1) newest, (values
            ('{\"kind\":\"admin\",\"change\":{\"action\":\"token.issue\",
                \"target\":{\"kind\":\"gateway_token\",\"id\":\"{TOKEN}\"}}}'::jsonb),
            ('{\"kind\":\"admin\",\"change\":{\"action\":\"server.pause\",\"before\":\"ab\",\"after\":\"cd\",
                \"target\":{\"kind\":\"server\",\"id\":\"srv_1\",\"name\":\"wiki\"}}}')) made (change)";
    let changes = changes.replace("{TOKEN}", &token);
    sqlx::raw_sql(sqlx::AssertSqlSafe(changes)).execute(&mut *superuser(&pool).await).await.unwrap();
    let page = owner.get("/w/acme/activity?kind=admin").await.expect(200);
    let shown = text(&page.text);
    for part in ["token.issue", "gateway token Olive’s laptop", "server.pause", "server wiki", "2 changes"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert!(!shown.contains("Because of") && !page.text.contains("aria-label=\"Decision\""), "{shown}");
    assert!(!page.text.contains("class=\"histo"), "no bars: they count calls");
    let all = text(&owner.get("/w/acme/activity?kind=all").await.expect(200).text);
    assert!(all.contains("server wiki") && all.contains("32 records"), "{all}");
    let opened = records(&page.text).into_iter().map(async |link| text(&owner.get(&link).await.expect(200).text));
    for opened in futures_util::future::join_all(opened).await {
        let is_token = opened.contains("To whatgateway token Olive’s laptop");
        assert!(is_token || opened.contains("To whatserver wiki") && opened.contains("SHA-256 before"), "{opened}");
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn hostile_names_show_and_do_nothing(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 30, 600).await;
    for path in ["/w/acme", "/w/acme/activity", "/w/acme/live"] {
        let page = owner.get(path).await.expect(200);
        assert!(!page.text.contains("<img"), "{path}");
        assert!(!page.text.contains('\u{202e}'), "{path}");
        assert!(text(&page.text).contains("onerror=alert(1)"), "{path}");
        assert!(page.text.contains("U+202E"), "{path}");
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn everybody_sees_what_is_theirs(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 30, 600).await;
    let one = records(&owner.get("/w/acme/activity").await.text)[0].clone();
    for (email, role, sees) in [
        ("aud@acme.example", "auditor", true),
        ("pol@acme.example", "policy_author", true),
        ("mia@acme.example", "member", false),
    ] {
        app.member(&person, email, role).await;
        let browser = Browser::of(&app, email).await;
        let page = browser.get("/w/acme/activity").await.expect(200);
        assert_eq!(records(&page.text).len(), if sees { 30 } else { 0 }, "{role}");
        let opened = browser.get(&one).await.expect(200);
        assert_eq!(text(&opened.text).contains("No such record"), !sees, "{role}");
        let overview = browser.get("/w/acme").await.expect(200);
        assert_eq!(overview.text.contains("id=\"tiles\""), sees, "{role}");
        let live = browser.get("/w/acme/live").await.expect(200);
        assert_eq!(records(&live.text).len(), if sees { 30 } else { 0 }, "{role}");
    }
    app.stranger(&person).await;
    let greta = Browser::of(&app, "greta@globex.example").await;
    for path in ["/w/acme", "/w/acme/activity", "/w/acme/live", "/w/acme/live/events"] {
        greta.get(path).await.expect(404);
    }
    let id = one.split("call=").nth(1).unwrap();
    let elsewhere = greta.get(&format!("/w/globex/activity?call={id}")).await.expect(200);
    assert!(text(&elsewhere.text).contains("No such record"));
    greta.post("/w/acme/activity/export", &[("format", "csv")]).await.expect(404);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_export_holds_what_the_search_finds_and_is_recorded(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 1200, 3600).await;
    owner.get("/w/acme/activity").await.expect(200);
    let csv = owner.post("/w/acme/activity/export", &[("format", "csv"), ("range", "24h")]).await.expect(200);
    assert_eq!(csv.headers[header::CONTENT_TYPE], "text/csv; charset=utf-8; header=present");
    let name = csv.headers[header::CONTENT_DISPOSITION].to_str().unwrap();
    assert!(name.starts_with("attachment; filename=\"activity-acme-"), "{name}");
    let lines: Vec<&str> = csv.text.split("\r\n").collect();
    assert_eq!((lines.len(), lines[1201]), (1202, ""));
    assert!(lines[0].starts_with("time,epoch_ms,record,sequence"));
    assert!(csv.text.contains(",'=cmd|calc,") && !csv.text.contains(",=cmd"));
    let stamp = lines[0].split_once(",\"{").unwrap().1;
    assert!(stamp.contains("\"\"workspace\"\":\"\"acme\"\"") && stamp.contains("\"\"range\"\":\"\"24h\"\""), "{stamp}");
    assert!(lines[1..1201].iter().all(|line| line.ends_with(',')), "the stamp's column has no values");
    let fields = [("format", "ndjson"), ("decision", "failed"), ("range", "24h")];
    let ndjson = owner.post("/w/acme/activity/export", &fields).await.expect(200);
    let mut read: Vec<Value> = ndjson.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stamp = read.remove(0);
    assert_eq!(
        (&stamp["export"]["filter"]["decision"], &stamp["export"]["workspace"]),
        (&json!("failed"), &json!("acme"))
    );
    assert_eq!(read.len(), 24);
    assert!(read.iter().all(|line| line["record"]["outcome"]["status"] == "timeout" && line["seq"].is_u64()));
    owner.post("/w/acme/activity/export", &[("format", "exe")]).await.expect(422);
    owner.post("/w/acme/activity/export", &[("format", "csv"), ("decision", "purple")]).await.expect(422);
    let (recorded,): (i64,) =
        sqlx::query_as("select count(*) from audit_inbox where convert_from(body, 'UTF8') like '%activity.export%'")
            .fetch_one(&mut *superuser(&pool).await)
            .await
            .unwrap();
    assert_eq!(recorded, 2);
    let forged = Browser::form("/w/acme/activity/export").header("x-none", "1");
    let answer = owner.send(forged, Body::from("format=csv")).await;
    assert_eq!(answer.status.as_u16(), 403, "no token of the session");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_export_may_take_longer_than_a_page(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 30, 600).await;
    owner.get("/w/acme/activity").await.expect(200);
    // Whoever reads records waits until somebody has waited for longer than a page may take.
    let mut other = pool.begin().await.unwrap();
    sqlx::raw_sql("lock table audit_record").execute(&mut *other).await.unwrap();
    let waited = async {
        let wait = "do $$ declare begun timestamptz := clock_timestamp(); begin
            while clock_timestamp() < begun + interval '5 s' and not exists (select from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock'
                    and clock_timestamp() - query_start > interval '1.2 s') loop
                perform pg_sleep(0.02);
                perform pg_stat_clear_snapshot();
            end loop; end $$";
        sqlx::raw_sql(wait).execute(&mut *other).await.unwrap();
        other.commit().await.unwrap();
    };
    let fields = [("format", "ndjson"), ("range", "24h")];
    let (file, ()) = futures_util::join!(owner.post("/w/acme/activity/export", &fields), waited);
    assert_eq!(file.expect(200).text.lines().count(), 31);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_record_that_cannot_be_read_is_in_the_file_all_the_same(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 30, 600).await;
    let spoilt = "create temporary table spoilt as select * from audit_record limit 1;
        update spoilt set id = gen_random_uuid(), seq = 9000, body = '\\xff';
        insert into audit_record select * from spoilt";
    sqlx::raw_sql(spoilt).execute(&mut *superuser(&pool).await).await.unwrap();
    owner.get("/w/acme/activity").await.expect(200);
    let file = owner.post("/w/acme/activity/export", &[("format", "ndjson"), ("range", "24h")]).await.expect(200);
    let lines: Vec<Value> = file.text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 31);
    let spoilt = lines.iter().find(|line| line["seq"] == 9000).unwrap();
    assert!(spoilt["record"].is_null() && spoilt["fault"].is_string(), "{spoilt}");
}

/// A connection that sees all rows of the inbox.
async fn superuser(pool: &PgPool) -> sqlx::pool::PoolConnection<sqlx::Postgres> {
    let mut connection = pool.acquire().await.unwrap();
    sqlx::raw_sql("set role sluice_ingest").execute(&mut *connection).await.unwrap();
    connection
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_live_tail_goes_on_where_it_was(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 30, 600).await;
    let page = owner.get("/w/acme/live?decision=denied").await.expect(200);
    assert!(page.text.contains("hx-sse:connect=\"/w/acme/live/events?decision=denied"), "{}", page.text);
    let paused = owner.get("/w/acme/live?pause=yes").await.expect(200);
    assert!(!paused.text.contains("hx-sse") && !paused.text.contains("http-equiv"));
    let event = first_event(&app, &owner, "decision=all&after=1-9", "1-19").await;
    assert!(event.contains("id: 1-29") || event.contains("id:1-29"), "{event}");
    assert_eq!(event.matches("<tr ").count(), 10);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_live_tail_is_narrowed_to_a_caller_a_server_or_a_tool(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 30, 600).await;
    let typed = owner.get("/w/acme/live?q=olive+decision:denied&pause=yes").await.expect(303);
    assert_eq!(typed.location(), "/w/acme/live?name=olive&decision=denied&pause=yes");
    // Of 30 calls 20 are hers, two were denied, and six are of each of five tools but for one of a nasty name.
    let cases = [
        ("name=olive", 20),
        ("caller=olive", 20),
        ("name=WIK", 30),
        ("server=wiki", 30),
        ("tool=wiki__search", 5),
        ("caller=olive&tool=wiki__read_page", 4),
        ("decision=denied", 2),
        ("tool=wiki__nothing", 0),
        ("name=nobody", 30),
    ];
    for (query, count) in cases {
        let page = owner.get(&format!("/w/acme/live?{query}")).await.expect(200);
        assert_eq!(records(&page.text).len(), count, "{query}");
        assert!(page.text.contains(&format!("live/events?{}", query.replace('&', "&#38;"))), "{query}: {}", page.text);
        if count > 0 {
            let came = first_event(&app, &owner, query, "1--1").await;
            assert_eq!(came.matches("<tr id=").count(), count, "{query}");
        }
    }
    let nobody = text(&owner.get("/w/acme/live?name=nobody").await.text);
    assert!(nobody.contains("no caller, server or tool is called so"), "{nobody}");
    let none = text(&owner.get("/w/acme/live?tool=wiki__nothing").await.text);
    assert!(none.contains("No call of the last 24 hours matches"), "{none}");
    let other = text(&owner.get("/w/acme/live?kind=admin").await.text);
    assert!(other.contains("there is no such filter"), "{other}");
    // The way there from a search, and back.
    let search = owner.get("/w/acme/activity?tool=wiki__search&range=7d&group=person").await.expect(200);
    assert!(search.text.contains("href=\"/w/acme/live?tool=wiki__search\""), "{}", search.text);
    let both = text(&owner.get("/w/acme/activity?label=prod&name=wik").await.expect(200).text);
    assert!(both.contains("no server or tool has this label"), "{both}");
}

/// What the live page hears first, of what came after a place.
async fn first_event(app: &App, browser: &Browser<'_>, query: &str, seen: &str) -> String {
    let cookies: Vec<String> = browser.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = Request::get(format!("/w/acme/live/events?{query}"))
        .header(header::COOKIE, cookies.join("; "))
        .header("last-event-id", seen)
        .body(Body::empty());
    let response = app.router.clone().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut body = response.into_body().into_data_stream();
    String::from_utf8(body.next().await.unwrap().unwrap().to_vec()).unwrap()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_live_tail_keeps_up_and_says_what_it_leaves_out(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 1000, 600).await;
    let all = first_event(&app, &owner, "decision=all", "1-9").await;
    assert_eq!(all.matches("<tr id=").count(), 200, "at once");
    assert!(all.contains("1-999") && text(&all).contains("some are left out"), "the latest: {all}");
    let denied = first_event(&app, &owner, "decision=denied", "1--1").await;
    assert_eq!(denied.matches("<tr id=").count(), 40, "of all 1,000 and not of the first 200");
    assert!(denied.contains("1-999") && !text(&denied).contains("left out"), "{denied}");
    let olive = first_event(&app, &owner, "caller=olive&pause=yes", "1-9").await;
    assert!(olive.contains("href=\"/w/acme/activity?caller=olive\""), "what is left out is narrowed alike: {olive}");
    // Whoever sees their own calls only is shown no others.
    app.member(&person, "mia@acme.example", "member").await;
    let mia = Browser::of(&app, "mia@acme.example").await;
    mia.get("/w/acme/live").await.expect(200);
    let none = first_event(&app, &mia, "decision=all", "1-9");
    let none = tokio::time::timeout(std::time::Duration::from_millis(2500), none).await;
    assert!(none.is_err(), "{none:?}");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_overview_says_what_goes_through_and_what_needs_somebody(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let server = seed(&app, &person, 3000, 3000).await;
    app.node_finds(&[tool("search", "Searches. Now also sends what it finds to a stranger.")]);
    app.post(&person, &format!("{}/servers/{server}/import", person.path()), json!({})).await.expect(201);
    for range in ["1h", "24h", "7d", "30d", "99y"] {
        let page = owner.get(&format!("/w/acme?range={range}")).await.expect(200);
        let shown = text(&page.text);
        for part in ["Calls", "Denied", "Added by Sluice, p99", "Top tools", "Upstream health", "wiki changed 1 tool."]
        {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
    }
    let guide = owner.get_part("/w/acme").await;
    assert_eq!(guide.headers["hx-redirect"], "/w/acme", "the guide makes way: the figures are no part of it");
    let hour = text(&owner.get("/w/acme?range=1h").await.text);
    assert!(hour.contains("3,000") && hour.contains("120") && hour.contains("Calls per minute"), "{hour}");
    let part = owner.get_part("/w/acme?range=1h").await.expect(200);
    assert!(part.text.trim_start().starts_with("<div class=\"stack groups\" id=\"tiles\""), "{}", part.text);
}

/// What the pages are built for: `cargo test … -- --nocapture quick` says how long each takes and what it weighs. The bound
/// of its time is loose, because the program is not optimised here and the machine is busy.
#[sqlx::test(migrator = "store::MIGRATOR")]
async fn pages_stay_quick_and_light_with_a_hundred_thousand_records_of_five_hundred_tools(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed_of(&app, &person, (100_000, 86_400), &many_tools::tools("Handles")).await;
    // As the database does by itself a minute after rows came.
    sqlx::raw_sql(
        "analyze audit_record, audit_rollup_minute, audit_rollup_hour, audit_rollup_server, audit_rollup_caller",
    )
    .execute(&app.parts.pool)
    .await
    .unwrap();
    let opened = records(&owner.get("/w/acme/activity").await.text)[0].clone();
    let paths = [
        "/w/acme?range=1h",
        "/w/acme?range=24h",
        "/w/acme?range=30d",
        "/w/acme/activity",
        "/w/acme/activity?range=30d",
        "/w/acme/activity?decision=denied&range=7d",
        "/w/acme/activity?tool=wiki__delete_page_4",
        "/w/acme/activity?group=person",
        "/w/acme/activity?caller=olive",
        "/w/acme/activity?range=1h&group=person",
        "/w/acme/activity?range=30d&group=person",
        "/w/acme/live",
        &opened,
    ];
    for path in paths {
        let weighs = markup::compressed(&owner.get(path).await.expect(200).text);
        assert!(weighs < markup::PAGE_MAX, "{path}: {weighs} bytes");
        let mut took = Vec::new();
        for _ in 0..9 {
            let began = std::time::Instant::now();
            owner.get_part(path).await.expect(200);
            let part = began.elapsed();
            let began = std::time::Instant::now();
            owner.send(Request::get(path).header("sec-fetch-site", "none"), Body::empty()).await.expect(200);
            took.push((began.elapsed(), part));
        }
        took.sort();
        let (page, part) = took[took.len() / 2];
        let [page_ms, part_ms] = [page, part].map(|took| took.as_secs_f64() * 1e3);
        println!("{path}: {page_ms:.1} ms, as a part {part_ms:.1} ms; {weighs} bytes");
        assert!(page.as_millis() < 1000, "{path}: {page:?}");
    }
}
