//! What people may set, see and do.

use serde_json::json;
use sqlx::PgPool;

use super::receiver::{How, Receiver};
use super::{grow, webhook};
use crate::app::App;

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_can_not_be_used_is_refused_when_it_is_entered(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let path = format!("{}/audit/destinations", owner.path());
    let hook = |url: &str| json!({"kind": "webhook", "url": url});
    let good = "https://siem.example/hook";
    let collector = |field: &str, text: &str| json!({"kind": "splunk_hec", "url": good, field: text});
    let many = vec!["call"; 101];
    let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for (field, body) in [
        ("url", json!({"name": "x", "settings": hook("https://169.254.169.254/")})),
        ("url", json!({"name": "x", "settings": hook("https://10.0.0.1/")})),
        ("url", json!({"name": "x", "settings": hook("http://8.8.8.8/")})),
        ("url", json!({"name": "x", "settings": hook("https://user:canary@siem.example/")})),
        ("name", json!({"name": " ", "settings": hook(good)})),
        ("secret", json!({"name": "x", "settings": hook(good), "secret": "canary"})),
        ("format", json!({"name": "x", "settings": hook(good), "format": "cef"})),
        ("kinds", json!({"name": "x", "settings": hook(good), "wanted": {"kinds": ["no"]}})),
        ("kinds", json!({"name": "x", "settings": hook(good), "wanted": {"kinds": many}})),
        ("url", json!({"name": "x", "settings": hook("https://siem.example/?key=canary")})),
        ("url", json!({"name": "x", "settings": hook(&format!("{good}/{}", "a".repeat(2048)))})),
        ("secret", json!({"name": "x", "settings": hook(good), "secret": format!("{key} {key} {key}")})),
        ("source", json!({"name": "x", "settings": collector("source", &"a".repeat(257)), "secret": "a-long-token"})),
        ("index", json!({"name": "x", "settings": collector("index", "a\nb"), "secret": "a-long-token"})),
        ("secret", json!({"name": "x", "settings": {"kind": "splunk_hec", "url": good}, "secret": "sp ace canary"})),
    ] {
        let refused = app.post(&owner, &path, body.clone()).await.expect(422);
        assert_eq!(refused.json()["errors"][0]["field"], field, "{body}: {}", refused.text);
        assert!(!refused.text.contains("canary"), "{}", refused.text);
    }
    for body in [
        json!({"name": "x", "settings": {"kind": "carrier_pigeon"}}),
        json!({"name": "x", "settings": {"kind": "webhook", "url": good, "secret": "canary"}}),
    ] {
        let refused = app.post(&owner, &path, body).await.expect(422);
        assert!(!refused.text.contains("canary"), "{}", refused.text);
    }
    assert_eq!(app.get(&owner, &path).await.expect(200).json(), json!({"destinations": []}));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn another_tenants_destination_is_nobodys(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let stranger = app.stranger(&owner).await;
    let path = webhook(&app, &owner, "hook", "https://siem.example/hook").await;
    let id = path.rsplit('/').next().unwrap();
    let theirs = format!("{}/audit/destinations/{id}", stranger.path());
    for path in [&path, &theirs] {
        app.get(&stranger, path).await.expect(404);
        app.get(&stranger, &format!("{path}/dead-letters")).await.expect(404);
        app.patch(&stranger, path, json!({"revision": 2, "name": "mine"})).await.expect(404);
        app.delete(&stranger, path).await.expect(404);
        for verb in ["start", "pause", "test", "dead-letters/resend"] {
            app.post(&stranger, &format!("{path}/{verb}"), json!({})).await.expect(404);
        }
        app.post(&stranger, &format!("{path}/replay"), json!({"seq": 0})).await.expect(404);
        app.delete(&stranger, &format!("{path}/replay")).await.expect(404);
    }
    let list = app.get(&stranger, &format!("{}/audit/destinations", stranger.path())).await.expect(200);
    assert_eq!(list.json(), json!({"destinations": []}));
    assert_eq!(app.get(&owner, &path).await.expect(200).json()["name"], "hook");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_secret_is_shown_once_and_never_stored_in_clear(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let path = format!("{}/audit/destinations", owner.path());
    let new = json!({"name": "hook", "settings": {"kind": "webhook", "url": "https://siem.example/hook"}});
    let added = app.post(&owner, &path, new).await.expect(201);
    let secret = added.text_at("/secret");
    assert!(secret.starts_with("whsec_"));
    let one = format!("{path}/{}", added.text_at("/id"));
    for answer in [app.get(&owner, &one).await, app.get(&owner, &path).await] {
        assert!(!answer.expect(200).text.contains(&secret));
    }
    let rows: String = app.one_of_tenant(&owner, "select destinations::text from destinations").await;
    assert!(!rows.contains(&secret[6..]), "{rows}");
    let inbox = "select coalesce(string_agg(convert_from(body, 'UTF8'), ''), '') from audit_inbox";
    let records: String = app.one_of_tenant(&owner, inbox).await;
    assert!(records.contains("destination.add") && !records.contains(&secret));
    app.delete(&owner, &one).await.expect(204);
    app.get(&owner, &one).await.expect(404);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_test_says_what_is_wrong_and_how_long_it_took(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    grow(&pool, &owner, "call", 1).await;
    let path = webhook(&app, &owner, "hook", &receiver.url).await;
    let test = format!("{path}/test");
    let tested = app.post(&owner, &test, json!({})).await.expect(200).json();
    assert_eq!((&tested["accepted"], &tested["said"]), (&json!(true), &json!("HTTP 200")));
    let line = &receiver.kept()[0].lines[0];
    assert_eq!(line["record"]["change"]["action"], "destination.test");
    assert!(line.get("seq").is_none(), "it stands in no log");
    receiver.then(&[How::Status(503), How::Elsewhere]);
    let tested = app.post(&owner, &test, json!({})).await.expect(200).json();
    assert_eq!((&tested["accepted"], &tested["status"]), (&json!(false), &json!(503)));
    let tested = app.post(&owner, &test, json!({})).await.expect(200).json();
    assert_eq!((&tested["code"], &tested["status"]), (&json!("redirect"), &json!(302)));
    for (url, code) in [("https://nobody.invalid/", "unresolved"), ("http://127.0.0.1:1/", "unreachable")] {
        let path = webhook(&app, &owner, url, url).await;
        let tested = app.post(&owner, &format!("{path}/test"), json!({})).await.expect(200).json();
        assert_eq!(tested["code"], code, "{tested}");
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn who_changes_what_somebody_else_changed_is_told(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let path = webhook(&app, &owner, "hook", "https://siem.example/hook").await;
    app.patch(&owner, &path, json!({"revision": 1, "name": "new"})).await.expect(409);
    let shown = app.patch(&owner, &path, json!({"revision": 2, "name": "new", "format": "ecs"})).await.expect(200);
    assert_eq!((shown.text_at("/name"), shown.text_at("/format")), ("new".to_owned(), "ecs".to_owned()));
    let other = json!({"kind": "splunk_hec", "url": "https://siem.example/"});
    app.patch(&owner, &path, json!({"revision": 3, "settings": other})).await.expect(422);
    let stolen = json!({"name": "new", "settings": {"kind": "webhook", "url": "https://siem.example/"}});
    let list = format!("{}/audit/destinations", owner.path());
    app.post(&owner, &list, stolen).await.expect(409);
}

/// With chat services the path is all that a sender is known by.
#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_path_of_an_address_is_shown_to_nobody(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    let list = format!("{}/audit/destinations", owner.path());
    let (whole, masked) = ("/services/T0000000/canary-of-the-path", "/***");
    let at = |path: &str| json!({"kind": "webhook", "url": receiver.url.replace("/hook", path)});
    let added = app.post(&owner, &list, json!({"name": "hook", "settings": at(whole)})).await.expect(201);
    assert_eq!(
        (&added.json()["settings"], added.text_at("/place")),
        (&at(masked), at(masked)["url"].as_str().unwrap().to_owned())
    );
    let path = format!("{list}/{}", added.text_at("/id"));
    let renamed = json!({"revision": 1, "name": "renamed", "settings": at(masked)});
    let renamed = app.patch(&owner, &path, renamed).await.expect(200);
    let stored: String = app.one_of_tenant(&owner, "select settings->>'url' from destinations").await;
    assert!(stored.ends_with(whole), "what was not shown stays");
    let elsewhere = json!({"kind": "webhook", "url": "https://elsewhere.example/***"});
    for settings in [elsewhere, at("/***")] {
        let refused = app.post(&owner, &list, json!({"name": "other", "settings": settings})).await.expect(422);
        assert_eq!(refused.json()["errors"][0]["field"], "url");
    }
    let elsewhere = json!({"kind": "webhook", "url": "https://elsewhere.example/***"});
    app.patch(&owner, &path, json!({"revision": 2, "settings": elsewhere})).await.expect(422);
    let tested = app.post(&owner, &format!("{path}/test"), json!({})).await.expect(200);
    assert!(tested.text.contains("no webhook at"), "{}", tested.text);
    app.post(&owner, &format!("{path}/start"), json!({})).await.expect(200);
    grow(&pool, &owner, "call", 1).await;
    let _drain = super::worker(&app, std::time::Duration::from_secs(30));
    let failed = super::until(&app, &owner, &path, |shown| shown["dead_letters"] == 1).await;
    let letters = app.get(&owner, &format!("{path}/dead-letters")).await.expect(200);
    assert!(letters.text.contains("no webhook at"), "{}", letters.text);
    let inbox = "select coalesce(string_agg(convert_from(body, 'UTF8'), ''), '') from audit_inbox";
    let records: String = app.one_of_tenant(&owner, inbox).await;
    let all = app.get(&owner, &list).await.expect(200);
    for text in [&added.text, &renamed.text, &tested.text, &failed.to_string(), &letters.text, &records, &all.text] {
        assert!(!text.contains("canary") && !text.contains("T0000000"), "{text}");
    }
}
