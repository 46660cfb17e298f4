//! "Who called the production database tool yesterday at 3 p.m.?": questions, answers by person, and what is near.

use axum::body::Body;
use axum::http::{Request, header};
use chrono::{SecondsFormat, TimeDelta};
use futures_util::StreamExt as _;
use serde_json::Value;
use sqlx::PgPool;
use tower::ServiceExt as _;

use super::activity::{records, seed};
use super::browser::Browser;
use super::markup::{self, text};
use crate::app::{App, Person};

async fn label(app: &App, owner: &Person, labels: &str) {
    let tenant = owner.tenant.uuid();
    let sql = format!("begin; set local app.tenant_id = '{tenant}'; update servers set labels = '{labels}'; commit");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&app.parts.pool).await.unwrap();
}

/// Where a question leads.
async fn asked(browser: &Browser<'_>, question: &str) -> String {
    let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", question).finish();
    let path = browser.get(&format!("/w/acme/activity?{query}")).await.expect(303).location().to_owned();
    path.strip_prefix("/w/acme/activity").unwrap().to_owned()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_question_becomes_filters_and_is_answered_by_person(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 2400, 86_400).await;
    label(&app, &person, "{env:prod,kind:database}").await;
    let query = asked(&owner, "Who called the production database tool 2h ago?").await;
    assert!(query.starts_with("?label=env%3Aprod%2Ckind%3Adatabase&from="), "{query}");
    assert!(query.ends_with("&group=person"), "{query}");
    let page = owner.get(&format!("/w/acme/activity{query}")).await.expect(200);
    let shown = text(&page.text);
    // A call each 36 seconds for an hour: each third by somebody who is gone, each fiftieth by a program of its own.
    for part in [
        "100 records by 2 people with 2 clients",
        "Olive",
        "claude-code",
        "usr_somebodygone",
        "allowed",
        "denied",
        "UTC",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let links = markup::tags(&page.text);
    let olive = links.iter().find_map(|tag| {
        tag.get("href").filter(|href| href.contains("&amp;caller=usr_") || href.contains("caller=usr_"))
    });
    let olive = olive.unwrap().replace("&amp;", "&").replace("&#38;", "&");
    assert!(!records(&owner.get(&olive).await.expect(200).text).is_empty());

    let typed = asked(&owner, "wiki decision:denied yesterday").await;
    assert!(typed.contains("server=wiki") && typed.contains("decision=denied") && !typed.contains("group"), "{typed}");
    assert_eq!(asked(&owner, "who label:env:prod").await, "?label=env%3Aprod&group=person");
    let page = owner.get("/w/acme/activity?label=env:test&group=colour").await.expect(200);
    for part in ["no server or tool has this label", "only by person"] {
        assert!(text(&page.text).contains(part), "{part}");
    }
    let quoted = owner.get("/w/acme/activity?q=%22wiki+yesterday%22&range=1h").await.expect(200);
    assert!(text(&quoted.text).contains("No records match"), "what stands in quotes is a text");
    let texts = owner.get("/w/acme/activity?q=delete_page&range=6h&group=person").await.expect(200);
    assert!(text(&texts.text).contains("records by"), "callers of records that hold a text");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn times_are_read_and_shown_in_the_viewer_s_zone(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 30, 600).await;
    assert!(text(&owner.get("/w/acme/activity").await.expect(200).text).contains("Time, UTC"));
    owner.set_cookie("zone", "Asia/Kolkata");
    let query = asked(&owner, "yesterday 3pm").await;
    assert!(query.contains("T14%3A30%3A00%2B05%3A30") && query.contains("T15%3A30%3A00%2B05%3A30"), "{query}");
    let page = text(&owner.get(&format!("/w/acme/activity{query}")).await.expect(200).text);
    assert!(page.contains("14:30 to 15:30, Asia/Kolkata"), "{page}");
    for path in ["/w/acme/activity", "/w/acme/live"] {
        assert!(text(&owner.get(path).await.expect(200).text).contains("Time, Asia/Kolkata"), "{path}");
    }
    owner.set_cookie("zone", "<script>");
    assert!(text(&owner.get("/w/acme/activity").await.expect(200).text).contains("Time, UTC"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn where_nothing_is_found_the_nearest_is_named(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 30, 600).await;
    let hours = |hours| (app.parts.clock.now() + TimeDelta::hours(hours)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let path = format!("/w/acme/activity?decision=denied&from={}&until={}", hours(2), hours(3));
    let page = owner.get(&path).await.expect(200);
    let shown = text(&page.text);
    assert!(shown.contains("Nearest activity: 2 h earlier (2 calls)."), "{shown}");
    let tags = markup::tags(&page.text);
    let show = tags.iter().find(|tag| tag.get("class") == Some("btn primary")).unwrap().get("href").unwrap();
    let near = owner.get(&show.replace("&amp;", "&").replace("&#38;", "&")).await.expect(200);
    assert_eq!(records(&near.text).len(), 2);

    app.member(&person, "mia@acme.example", "member").await;
    let mia = Browser::of(&app, "mia@acme.example").await;
    let page = mia.get(&path).await.expect(200);
    assert!(!text(&page.text).contains("Nearest"), "other people's calls are not told of");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_file_of_everybody_s_calls_is_not_everybody_s_to_take(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 30, 600).await;
    owner.get("/w/acme/activity").await.expect(200);
    for (email, role, count) in [
        ("adm@acme.example", "admin", 30),
        ("aud@acme.example", "auditor", 30),
        ("pol@acme.example", "policy_author", 0),
        ("mia@acme.example", "member", 0),
    ] {
        app.member(&person, email, role).await;
        let browser = Browser::of(&app, email).await;
        let page = browser.get("/w/acme/activity").await.expect(200);
        assert_eq!(text(&page.text).contains("only owners, admins and auditors"), role == "policy_author", "{role}");
        let file = browser.post("/w/acme/activity/export", &[("format", "ndjson")]).await.expect(200);
        let lines: Vec<Value> = file.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), count + 1, "{role}");
        assert_eq!(lines[0]["export"]["whose"], if count > 0 { "everybody" } else { "own" }, "{role}");
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_stream_ends_when_the_program_does(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _) = Browser::of_owner(&app).await;
    let cookies: Vec<String> = owner.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = Request::get("/w/acme/live/events").header(header::COOKIE, cookies.join("; ")).body(Body::empty());
    let response = app.router.clone().oneshot(request.unwrap()).await.unwrap();
    let mut body = response.into_body().into_data_stream();
    app.parts.drain.begin();
    let end = tokio::time::timeout(std::time::Duration::from_secs(5), body.next()).await;
    assert!(end.unwrap().is_none(), "an open page would hold the program up for minutes");
}
