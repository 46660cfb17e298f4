//! The screen of destinations.

use sqlx::PgPool;

use super::browser::Browser;
use super::markup::text;
use crate::app::App;
use crate::destinations::receiver::{How, Receiver};

const LIST: &str = "/w/acme/destinations";

/// The secret that a page offers for a webhook.
fn offered(page: &str) -> &str {
    page.split('"').find(|part| part.starts_with("whsec_") && part.len() > 20).unwrap()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_destination_is_added_tested_and_started(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let (owner, _) = Browser::of_owner(&app).await;
    assert!(text(&owner.get(LIST).await.expect(200).text).contains("Records stay here only"));
    let kinds = owner.get(&format!("{LIST}/new")).await.expect(200);
    assert!(text(&kinds.text).contains("Splunk"));
    let form = owner.get(&format!("{LIST}/new?kind=webhook")).await.expect(200);
    let secret = offered(&form.text).to_owned();
    let fields = [
        ("kind", "webhook"),
        ("name", "Se<b>cu</b>rity"),
        ("format", "ocsf"),
        ("url", &receiver.url),
        ("kinds", "call"),
        ("kinds", "admin"),
        ("secret", &secret),
    ];
    let some = [&fields[..4], &[("what", "some"), ("secret", &*secret)]].concat();
    let wrong = owner.post(&format!("{LIST}/new"), &some).await.expect(422);
    assert!(text(&wrong.text).contains("Choose at least one, or everything."), "{}", text(&wrong.text));
    let added = owner.post(&format!("{LIST}/new"), &fields).await.expect(303);
    let path = added.location().to_owned();
    let page = owner.get(&path).await.expect(200);
    assert!(text(&page.text).contains("Not started") && !page.text.contains(&secret) && !page.text.contains("<b>cu"));
    let tested = owner.post(&format!("{path}/test"), &[]).await.expect(200);
    assert!(text(&tested.text).contains("The test record arrived in"), "{}", text(&tested.text));
    receiver.then(&[How::Status(503)]);
    let tested = owner.post(&format!("{path}/test"), &[]).await.expect(200);
    assert!(text(&tested.text).contains("was not taken.HTTP 503 Service Unavailable: no, for a reason"));
    owner.post(&format!("{path}/start"), &[]).await.expect(303);
    let list = text(&owner.get(LIST).await.expect(200).text);
    assert!(list.contains("Up to date") && list.contains("OCSF"), "{list}");
    owner.post(&format!("{path}/retry"), &[]).await.expect(303);
    assert!(text(&owner.get(&path).await.expect(200).text).contains("It is tried again now."));
    owner.post(&format!("{path}/pause"), &[]).await.expect(303);
    assert!(text(&owner.get(&path).await.expect(200).text).contains("Its place in the log is kept."));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_does_not_fit_is_said_and_a_token_is_not_shown_again(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _) = Browser::of_owner(&app).await;
    owner.get(&format!("{LIST}/new?kind=splunk_hec")).await.expect(200);
    let fields = [
        ("kind", "splunk_hec"),
        ("name", "Splunk"),
        ("format", "native"),
        ("url", "https://10.1.2.3:8088"),
        ("secret", "canary-canary"),
    ];
    let wrong = owner.post(&format!("{LIST}/new"), &fields).await.expect(422);
    assert!(text(&wrong.text).contains("private address") && !wrong.text.contains("canary"), "{}", text(&wrong.text));
    let unnamed = owner.post(&format!("{LIST}/new"), &[("kind", "webhook"), ("format", "native")]).await.expect(422);
    assert!(text(&unnamed.text).contains("1 to 60 characters"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn settings_are_changed_and_a_destination_goes_when_its_name_is_typed(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let settings = serde_json::json!({"kind": "webhook", "url": "https://siem.example/hook"});
    let wanted = serde_json::json!({"kinds": ["call", "heartbeat"]});
    let new = serde_json::json!({"name": "hook", "settings": settings, "wanted": wanted});
    let api = format!("{}/audit/destinations", person.path());
    let id = app.post(&person, &api, new).await.expect(201).text_at("/id");
    let path = format!("{LIST}/{id}");
    owner.get(&path).await.expect(200);
    let fields = [
        ("revision", "1"),
        ("name", "other"),
        ("format", "ecs"),
        ("url", "https://siem.example/new"),
        ("kinds", "admin"),
    ];
    owner.post(&format!("{path}/settings"), &fields).await.expect(303);
    let shown = app.get(&person, &format!("{api}/{id}")).await.expect(200).json();
    assert_eq!((&shown["name"], &shown["format"]), (&"other".into(), &"ecs".into()));
    assert_eq!(shown["wanted"]["kinds"], serde_json::json!(["admin", "heartbeat"]), "what no page offers stays");
    owner.post(&format!("{path}/settings"), &fields).await.expect(409);
    let page = owner.get(&path).await.expect(200);
    assert!(page.text.contains("https://siem.example/***") && !page.text.contains("siem.example/new"));
    let kept = [("revision", "2"), ("name", "other"), ("format", "ecs"), ("url", "https://siem.example/***")];
    owner.post(&format!("{path}/settings"), &kept).await.expect(303);
    let all = [&kept[1..], &[("revision", "3"), ("what", "all"), ("kinds", "call")]].concat();
    owner.post(&format!("{path}/settings"), &all).await.expect(303);
    let shown = app.get(&person, &format!("{api}/{id}")).await.expect(200).json();
    assert_eq!(shown["wanted"]["kinds"], serde_json::json!([]), "everything is everything");
    let stored: String = app.one_of_tenant(&person, "select settings->>'url' from destinations").await;
    assert_eq!(stored, "https://siem.example/new", "what was not shown stays");
    owner.post(&format!("{path}/remove"), &[("typed", "hook")]).await.expect(422);
    owner.post(&format!("{path}/remove"), &[("typed", "other")]).await.expect(303);
    owner.get(&path).await.expect(404);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_is_personal_is_offered_to_whoever_may_have_it_sent(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    app.member(&person, "ada@acme.example", "admin").await;
    let admin = Browser::of(&app, "ada@acme.example").await;
    let (form, box_) = (format!("{LIST}/new?kind=syslog"), "name=\"personal\"");
    assert!(owner.get(&form).await.expect(200).text.contains(box_));
    assert!(!admin.get(&form).await.expect(200).text.contains(box_));
    let fields =
        [("kind", "syslog"), ("name", "with"), ("format", "cef"), ("host", "syslog.example"), ("personal", "yes")];
    admin.post(&format!("{LIST}/new"), &fields).await.expect(403);
    let path = owner.post(&format!("{LIST}/new"), &fields).await.expect(303).location().to_owned();
    // Nor does who may not take it along have it sent: neither what waits nor what is past.
    let (to_all, to_admin) = (owner.get(&path).await.expect(200).text, admin.get(&path).await.expect(200).text);
    for step in ["start", "replay", "resend"] {
        let action = format!("action=\"{path}/{step}\"");
        assert!(to_all.contains(&action) || step == "resend", "{step}");
        assert!(!to_admin.contains(&action), "{step}");
        admin.post(&format!("{path}/{step}"), &[("hours", "")]).await.expect(403);
    }
    assert!(text(&to_admin).contains("Only owners start it and have records sent again."), "{}", text(&to_admin));
    assert!(!text(&to_all).contains("Only owners start it"));
    // Who may not switch it on may switch it off.
    assert!(to_admin.contains(box_));
    let on = [("revision", "1"), ("name", "new"), ("format", "cef"), ("host", "syslog.example"), ("personal", "yes")];
    admin.post(&format!("{path}/settings"), &on).await.expect(403);
    admin.post(&format!("{path}/settings"), &on[..4]).await.expect(303);
    let without = admin.get(&path).await.expect(200).text;
    assert!(!without.contains(box_) && without.contains("/start\""));
    admin.post(&format!("{path}/start"), &[]).await.expect(303);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn records_are_previewed_and_sent_again(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let (owner, person) = Browser::of_owner(&app).await;
    crate::destinations::grow(&pool, &person, "call", 5).await;
    let path = crate::destinations::webhook(&app, &person, "hook", &receiver.url).await;
    let page = format!("{LIST}/{}", path.rsplit('/').next().unwrap());
    let shown = owner.get(&format!("{page}?format=ocsf")).await.expect(200);
    assert!(text(&shown.text).contains("Record 4") && shown.text.contains("class_uid"));
    owner.post(&format!("{page}/replay"), &[("hours", "1"), ("rate", "100")]).await.expect(303);
    let shown = owner.get(&page).await.expect(200);
    assert!(text(&shown.text).contains("0 of 5 records are sent again."), "{}", text(&shown.text));
    owner.post(&format!("{page}/replay"), &[("hours", "")]).await.expect(409);
    owner.post(&format!("{page}/replay-end"), &[]).await.expect(303);
    owner.post(&format!("{page}/resend"), &[]).await.expect(303);
}
