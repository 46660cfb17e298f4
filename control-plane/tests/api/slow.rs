//! What was begun under a token or a role that is gone by the time the body is read does nothing.

use serde_json::{Value, json};
use sqlx::PgPool;
use store::TenantTx;

use crate::app::{App, Person};

/// Runs SQL inside the tenant's fence.
pub(crate) fn changing(pool: &PgPool, person: &Person, sql: &'static str) -> impl Future<Output = ()> + Send + 'static {
    let (pool, tenant) = (pool.clone(), person.tenant);
    async move {
        let mut tx = pool.begin().await.unwrap();
        let fence = format!("set local app.tenant_id = '{}'", tenant.uuid());
        sqlx::raw_sql(sqlx::AssertSqlSafe(fence)).execute(&mut *tx).await.unwrap();
        let changed = sqlx::raw_sql(sql).execute(&mut *tx).await.unwrap();
        assert!(changed.rows_affected() > 0, "{sql}");
        tx.commit().await.unwrap();
    }
}

/// Everything of this kind that changes something, with a body that would do.
fn changes(owner: &Person) -> [(String, Value); 4] {
    let path = owner.path();
    [
        (format!("{path}/servers"), json!({"key": "wiki", "title": "Wiki", "endpoint": "https://wiki.example/mcp"})),
        (format!("{path}/members"), json!({"email": "new@acme.example", "name": "New", "role": "member"})),
        (format!("{path}/gateway-tokens"), json!({"title": "laptop", "days": 1})),
        ("/tenants".to_owned(), json!({"slug": "globex", "title": "Globex", "owner_name": "Greta"})),
    ]
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_token_revoked_while_the_body_comes_changes_nothing(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    for (number, (path, body)) in changes(&owner).into_iter().enumerate() {
        let (other, _) = app.member(&owner, &format!("o{number}@acme.example"), "owner").await;
        let revoke = "update api_tokens set revoked_at = now() where revoked_at is null and title = 'test'";
        app.post_slowly(&other, &path, body, changing(&pool, &owner, revoke)).await.expect(401);
    }
    let mut tx = TenantTx::begin(&pool, owner.tenant).await.unwrap();
    assert!(store::servers::list(&mut tx).await.unwrap().is_empty());
    assert!(store::tokens::list_gateway(&mut tx).await.unwrap().is_empty());
    assert!(!store::people::list(&mut tx).await.unwrap().iter().any(|member| member.name == "New"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_role_taken_away_while_the_body_comes_changes_nothing(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    for (number, (path, body)) in changes(&owner).into_iter().enumerate() {
        let (other, _) = app.member(&owner, &format!("o{number}@acme.example"), "owner").await;
        // Not through the API, which revokes the tokens as well.
        let demote = "update memberships set role = 'auditor' where name = 'Somebody'";
        let refused = app.post_slowly(&other, &path, body, changing(&pool, &owner, demote)).await;
        assert_eq!(refused.expect(403).json()["type"], "not-permitted", "{path}");
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn whoever_was_removed_while_the_body_comes_changes_nothing(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let (other, _) = app.member(&owner, "o@acme.example", "admin").await;
    let (path, body) = changes(&owner)[0].clone();
    let leave = "delete from memberships where name = 'Somebody'";
    app.post_slowly(&other, &path, body, changing(&pool, &owner, leave)).await.expect(401);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_slow_body_under_a_good_token_is_done(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    for (path, body) in changes(&owner) {
        app.post_slowly(&owner, &path, body, std::future::ready(())).await.expect(201);
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_owner_who_steps_down_is_told_what_became_of_it(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let (other, member) = app.member(&owner, "o@acme.example", "owner").await;
    let path = format!("{}/members/{member}", owner.path());
    let changed = app.patch(&other, &path, json!({"role": "admin"})).await.expect(200).json();
    assert_eq!((&changed["role"], &changed["email"]), (&json!("admin"), &json!("o@acme.example")));
    app.get(&other, &owner.path()).await.expect(401);
}
