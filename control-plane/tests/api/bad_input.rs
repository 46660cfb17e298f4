use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use sqlx::PgPool;

use crate::app::{App, Person};

async fn raw(app: &App, person: &Person, body: impl Into<Body>) -> String {
    let request = Request::post(format!("/api/v1{}/members", person.path()))
        .header("authorization", format!("Bearer {}", person.token))
        .header("content-type", "application/json");
    app.answer(request.body(body.into()).unwrap()).await.shown()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_body_that_is_no_json_or_ambiguous_is_refused(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    insta::assert_snapshot!(raw(&app, &owner, "{").await, @r#"
    400 Bad Request
    {"type":"malformed","title":"The body can't be read","status":400,"detail":"the text is not JSON (byte 1)"}
    "#);
    insta::assert_snapshot!(raw(&app, &owner, r#"{"role":"member","role":"owner"}"#).await, @r#"
    400 Bad Request
    {"type":"malformed","title":"The body can't be read","status":400,"detail":"a key stands twice in one object (ends at byte 32)"}
    "#);
    insta::assert_snapshot!(raw(&app, &owner, r#"{"name":"a\u0000"}"#).await, @r#"
    400 Bad Request
    {"type":"malformed","title":"The body can't be read","status":400,"detail":"a text holds U+0000 (byte 10)"}
    "#);
    insta::assert_snapshot!(raw(&app, &owner, "[".repeat(100_000)).await, @r#"
    400 Bad Request
    {"type":"malformed","title":"The body can't be read","status":400,"detail":"the text is nested too deep (byte 16)"}
    "#);
    insta::assert_snapshot!(raw(&app, &owner, vec![b'"', 0xff, b'"']).await, @r#"
    400 Bad Request
    {"type":"malformed","title":"The body can't be read","status":400,"detail":"the text is not UTF-8"}
    "#);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_huge_body_is_refused(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    insta::assert_snapshot!(raw(&app, &owner, " ".repeat(1024 * 1024 + 1)).await, @r#"
    413 Payload Too Large
    {"type":"too-large","title":"The body is too large","status":413,"detail":"at most 1048576 bytes are taken"}
    "#);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_member_that_is_not_known_is_refused(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    // Whoever sends more than the form has may mean to set what is not theirs to set.
    for extra in ["id", "tenant_id", "user", "revoked_at"] {
        let mut body = json!({"email": "a@b.example", "name": "x", "role": "member"});
        body[extra] = json!("x");
        let answer = app.post(&owner, &format!("{}/members", owner.path()), body).await.expect(422);
        assert!(answer.text.contains("unknown field"), "{}", answer.text);
    }
    let server = json!({"key": "wiki", "title": "x", "endpoint": "https://x.example", "version": "x", "paused": true});
    app.post(&owner, &format!("{}/servers", owner.path()), server).await.expect(422);
    app.patch(&owner, &owner.path(), json!({"slug": "other"})).await.expect(422);
    app.patch(&owner, &owner.path(), json!({"revision": 7})).await.expect(422);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn only_json_is_taken(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let request = Request::post(format!("/api/v1{}/members", owner.path()))
        .header("authorization", format!("Bearer {}", owner.token))
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = app.answer(request.body(Body::from("role=owner")).unwrap()).await;
    insta::assert_snapshot!(answer.shown(), @r#"
    415 Unsupported Media Type
    {"type":"not-json","title":"The body must be JSON","status":415,"detail":"send it with `content-type: application/json`"}
    "#);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_path_or_method_that_is_not_known_is_a_problem_too(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    insta::assert_snapshot!(app.get(&owner, "/nowhere").await.shown(), @r#"
    404 Not Found
    {"type":"not-found","title":"There is no such thing here","status":404}
    "#);
    insta::assert_snapshot!(app.delete(&owner, &owner.path()).await.shown(), @r#"
    405 Method Not Allowed
    {"type":"method-not-allowed","title":"This can't be done here","status":405}
    "#);
    insta::assert_snapshot!(app.get(&owner, &format!("{}/servers/7", owner.path())).await.shown(), @r#"
    404 Not Found
    {"type":"not-found","title":"There is no such thing here","status":404}
    "#);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn two_authorization_headers_are_none(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let request = Request::get(format!("/api/v1{}", owner.path()))
        .header("authorization", format!("Bearer {}", owner.token))
        .header("authorization", format!("Bearer {}", owner.token));
    assert_eq!(app.answer(request.body(Body::empty()).unwrap()).await.status, 401);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn values_are_bounded(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let server = |change: serde_json::Value| {
        let mut body = json!({"key": "wiki", "title": "x", "endpoint": "https://x.example"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    for wrong in [
        json!({"key": "Wiki"}),
        json!({"title": ""}),
        json!({"title": "a\nb"}),
        json!({"endpoint": "file:///etc/passwd"}),
        json!({"endpoint": "https://user:pass@x.example"}),
        json!({"timeout_ms": 1}),
        json!({"timeout_ms": 4_294_967_295_u32}),
        json!({"answer_max_bytes": u64::MAX}),
        json!({"labels": ["A B"]}),
        json!({"alias": "much-too-long-an-alias"}),
    ] {
        app.post(&owner, &format!("{}/servers", owner.path()), server(wrong)).await.expect(422);
    }
    for days in [json!(0), json!(366), json!(-1), json!(1.5), json!("1")] {
        let body = json!({"title": "x", "days": days});
        app.post(&owner, &format!("{}/gateway-tokens", owner.path()), body).await.expect(422);
    }
    app.patch(&owner, &owner.path(), json!({"blind_max_s": 61})).await.expect(422);
}
