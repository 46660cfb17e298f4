use serde_json::json;
use sqlx::PgPool;

use crate::app::App;

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_token_is_shown_once_and_kept_as_a_digest(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let path = format!("{}/gateway-tokens", owner.path());
    let issued = app.post(&owner, &path, json!({"title": "laptop", "days": 30})).await.expect(201);
    let secret = issued.text_at("/secret");
    assert!(domain::TokenText::parse(domain::TokenKind::Gateway, &secret).is_ok());
    let listed = app.get(&owner, &path).await.expect(200);
    assert!(listed.text.contains("laptop") && !listed.text.contains(&secret[4..]), "{}", listed.text);
    let mut tx = store::TenantTx::begin(&pool, owner.tenant).await.unwrap();
    let waiting = store::tokens::list_gateway(&mut tx).await.unwrap();
    assert_eq!(waiting.len(), 1);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_member_sees_and_revokes_only_their_own(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let (mia, _) = app.member(&owner, "mia@acme.example", "member").await;
    let path = format!("{}/gateway-tokens", owner.path());
    let owners = app.post(&owner, &path, json!({"title": "o", "days": 1})).await.expect(201).text_at("/token/id");
    let own = app.post(&mia, &path, json!({"title": "m", "days": 1})).await.expect(201).text_at("/token/id");
    let listed = app.get(&mia, &path).await.json();
    assert_eq!(listed["tokens"].as_array().unwrap().len(), 1);
    app.delete(&mia, &format!("{path}/{owners}")).await.expect(404);
    app.delete(&mia, &format!("{path}/{own}")).await.expect(204);
    app.delete(&mia, &format!("{path}/{own}")).await.expect(204);
    assert_eq!(app.get(&owner, &path).await.json()["tokens"].as_array().unwrap().len(), 2);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_auditor_sees_all_tokens_and_gets_none_for_calls(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let (auditor, id) = app.member(&owner, "aud@acme.example", "auditor").await;
    let path = format!("{}/gateway-tokens", owner.path());
    let token = app.post(&owner, &path, json!({"title": "o", "days": 1})).await.expect(201).text_at("/token/id");
    assert!(app.get(&auditor, &path).await.expect(200).text.contains(&token));
    app.delete(&auditor, &format!("{path}/{token}")).await.expect(403);
    let refused = app.post(&owner, &path, json!({"title": "x", "member": id, "days": 1})).await;
    insta::assert_snapshot!(refused.shown(), @r#"
    422 Unprocessable Entity
    {"type":"invalid","title":"A value does not fit","status":422,"errors":[{"field":"member","message":"this member's role calls no tools"}]}
    "#);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_revoked_api_token_is_worth_nothing(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let path = format!("{}/api-tokens", owner.path());
    let issued = app.post(&owner, &path, json!({"title": "ci", "days": 1})).await.expect(201);
    let ci = crate::app::Person { token: issued.text_at("/secret"), ..owner.clone() };
    app.get(&ci, &owner.path()).await.expect(200);
    app.delete(&ci, &format!("{path}/{}", issued.text_at("/token/id"))).await.expect(204);
    app.get(&ci, &owner.path()).await.expect(401);
    app.get(&owner, &owner.path()).await.expect(200);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_expired_api_token_is_worth_nothing(pool: PgPool) {
    let mut app = App::new(&pool).await;
    let owner = app.owner().await;
    let real = app.parts.clock.clone();
    let later = domain::Clock::new(move || real.now() + chrono::Duration::days(366), || [0; 10]);
    app.parts.clock = later;
    app.router = control_plane::app::router(&app.parts);
    app.get(&owner, &owner.path()).await.expect(401);
}
