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

/// The titles of the API tokens a person sees.
async fn titles(app: &App, person: &crate::app::Person) -> Vec<String> {
    let listed = app.get(person, &format!("{}/api-tokens", person.path())).await.expect(200).json();
    let title = |token: &serde_json::Value| token["title"].as_str().unwrap().to_owned();
    let mut titles: Vec<String> = listed["tokens"].as_array().unwrap().iter().map(title).collect();
    titles.sort();
    titles
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn api_tokens_of_all_are_seen_by_whoever_sees_tokens(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let (admin, _) = app.member(&owner, "ada@acme.example", "admin").await;
    let (auditor, _) = app.member(&owner, "aud@acme.example", "auditor").await;
    let (mia, id) = app.member(&owner, "mia@acme.example", "member").await;
    let body = json!({"title": "by ada for mia", "member": id, "days": 1});
    app.post(&admin, &format!("{}/api-tokens", owner.path()), body).await.expect(201);
    let all = ["First token", "by ada for mia", "test", "test", "test"];
    for person in [&owner, &admin, &auditor] {
        assert_eq!(titles(&app, person).await, all);
    }
    assert_eq!(titles(&app, &mia).await, ["by ada for mia", "test"]);

    let listed = app.get(&owner, &format!("{}/api-tokens", owner.path())).await.json();
    let members = app.get(&owner, &format!("{}/members", owner.path())).await.json();
    let user = |email: &str| {
        let members = members["members"].as_array().unwrap();
        members.iter().find(|member| member["email"] == email).unwrap()["user"].clone()
    };
    let token = listed["tokens"].as_array().unwrap().iter().find(|token| token["title"] == all[1]).unwrap();
    assert_eq!((&token["issued_by"], &token["user"]), (&user("ada@acme.example"), &user("mia@acme.example")));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn others_api_tokens_are_revoked_by_whoever_may_and_it_is_recorded(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let path = format!("{}/api-tokens", owner.path());
    let (admin, _) = app.member(&owner, "ada@acme.example", "admin").await;
    let (auditor, _) = app.member(&owner, "aud@acme.example", "auditor").await;
    let (author, _) = app.member(&owner, "pat@acme.example", "policy_author").await;
    let (mia, id) = app.member(&owner, "mia@acme.example", "member").await;
    let issued = app.post(&admin, &path, json!({"title": "x", "member": id, "days": 1})).await.expect(201);
    let token = format!("{path}/{}", issued.text_at("/token/id"));
    let stolen = crate::app::Person { token: issued.text_at("/secret"), ..mia.clone() };
    app.get(&stolen, &owner.path()).await.expect(200);
    app.delete(&auditor, &token).await.expect(403);
    app.delete(&author, &token).await.expect(404);
    app.delete(&admin, &token).await.expect(204);
    app.get(&stolen, &owner.path()).await.expect(401);
    app.delete(&owner, &token).await.expect(204);
    let records = "select count(*) from audit_inbox where position('token.revoke'::bytea in body) > 0";
    let mut tx = pool.begin().await.unwrap();
    sqlx::raw_sql("set local role sluice_ingest").execute(&mut *tx).await.unwrap();
    let count: i64 = sqlx::query_scalar(records).fetch_one(&mut *tx).await.unwrap();
    assert_eq!(count, 1, "revoking it again changes nothing");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_admin_shuts_no_owner_out(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let path = format!("{}/api-tokens", owner.path());
    let (admin, _) = app.member(&owner, "ada@acme.example", "admin").await;
    let (second, _) = app.member(&owner, "o2@acme.example", "owner").await;
    let first = app.get(&owner, &path).await.json()["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .find(|token| token["title"] == "First token")
        .unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let refused = app.delete(&admin, &format!("{path}/{first}")).await;
    insta::assert_snapshot!(refused.shown(), @r#"
    403 Forbidden
    {"type":"not-permitted","title":"Your role does not allow this","status":403,"detail":"`owners.manage` is required"}
    "#);
    app.delete(&second, &format!("{path}/{first}")).await.expect(204);
    app.get(&owner, &owner.path()).await.expect(401);
}
