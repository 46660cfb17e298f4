use std::sync::{Arc, Mutex};

use secrets::{Scope, Store};
use serde_json::json;
use sqlx::PgPool;

use crate::app::{App, tool};

const CANARY: &str = "canary-6f1c0e9a";

/// Everything in the tenant's rows, as text.
async fn dump(pool: &PgPool, tenant: domain::TenantId) -> String {
    let mut text = String::new();
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
         where n.nspname = 'public' and c.relkind = 'r'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert!(tables.len() > 10);
    for table in tables {
        let mut tx = pool.begin().await.unwrap();
        let fence = format!("set local app.tenant_id = '{}'", tenant.uuid());
        sqlx::raw_sql(sqlx::AssertSqlSafe(fence)).execute(&mut *tx).await.unwrap();
        let rows = format!("select coalesce(string_agg(row_to_json(t)::text, ' '), '') from {table} t");
        let found: String = sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_one(&mut *tx).await.unwrap();
        text.push_str(&found);
    }
    text
}

/// What was logged by the whole process, every library's every word.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> Self {
        let log = Self::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
        subscriber.init();
        log
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_value_goes_in_and_never_comes_out(pool: PgPool) {
    let log = Log::begin();
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let server = app.server(&owner, "wiki", &[tool("search", "x")]).await;
    let path = format!("{}/servers/{server}/credential", owner.path());
    let mut answers = Vec::new();
    answers.push(app.put(&owner, &path, json!({"kind": "bearer", "value": CANARY})).await.expect(200));
    answers.push(
        app.put(&owner, &path, json!({"kind": "header", "name": "X-API-Key", "value": CANARY})).await.expect(200),
    );
    assert_eq!(answers[1].json()["name"], "x-api-key");
    assert_eq!((answers[0].text_at("/version"), answers[1].text_at("/version")), ("1".to_owned(), "2".to_owned()));
    // In places where it does not belong it is refused, and not repeated.
    answers.push(app.put(&owner, &path, json!({"kind": CANARY, "value": "x"})).await.expect(422));
    answers.push(app.put(&owner, &path, json!({"kind": "bearer", "value": {"a": CANARY}})).await.expect(422));
    answers.push(app.put(&owner, &path, json!({"kind": "bearer", "value": format!("{CANARY}\n")})).await.expect(422));
    answers.push(app.put(&owner, &path, json!({"kind": "header", "name": "host", "value": CANARY})).await.expect(422));
    for read in ["/credential", "", "/tools", "/versions"] {
        answers.push(app.get(&owner, &format!("{}/servers/{server}{read}", owner.path())).await.expect(200));
    }
    app.post(&owner, &format!("{}/servers/{server}/probe", owner.path()), json!({})).await.expect(200);
    assert!(answers.iter().all(|answer| !answer.text.contains(CANARY)));
    assert!(!dump(&pool, owner.tenant).await.contains(CANARY));
    let sent = app.node_was_sent();
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(log.contains("insert into credentials") && !log.contains(CANARY));
    assert!(!log.contains(&owner.token[4..]), "a token is in the log");
    assert!(!sent.is_empty() && sent.iter().all(|envelope| !String::from_utf8_lossy(envelope).contains(CANARY)));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_is_stored_opens_for_whoever_holds_the_keys(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let server = app.server(&owner, "wiki", &[]).await;
    let path = format!("{}/servers/{server}/credential", owner.path());
    app.put(&owner, &path, json!({"kind": "bearer", "value": CANARY})).await.expect(200);
    let mut tx = store::TenantTx::begin(&pool, owner.tenant).await.unwrap();
    let stored = store::credentials::find(&mut tx, server.parse().unwrap()).await.unwrap().unwrap();
    let wrapped = store::tenants::get_key(&mut tx, store::tenants::KeyPurpose::Data).await.unwrap();
    let data_key = app.parts.master.unwrap(owner.tenant, &wrapped).unwrap();
    let scope = Scope { tenant: owner.tenant, data_key: &data_key };
    assert_eq!(Store::Sealed.get(scope, &stored.place).await.unwrap().expose(), CANARY);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_removed_credential_is_gone_and_the_next_is_another(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let server = app.server(&owner, "wiki", &[]).await;
    let path = format!("{}/servers/{server}/credential", owner.path());
    let first = app.put(&owner, &path, json!({"kind": "bearer", "value": "a"})).await.expect(200).text_at("/id");
    app.delete(&owner, &path).await.expect(204);
    app.get(&owner, &path).await.expect(404);
    app.delete(&owner, &path).await.expect(404);
    let second = app.put(&owner, &path, json!({"kind": "bearer", "value": "b"})).await.expect(200).text_at("/id");
    assert_ne!(first, second);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn of_two_who_set_a_credential_at_once_nobody_is_told_what_is_not_so(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let server = app.server(&owner, "wiki", &[]).await;
    let path = format!("{}/servers/{server}/credential", owner.path());
    let set = |value: &'static str| app.put(&owner, &path, json!({"kind": "header", "name": value, "value": value}));
    let (one, two) = tokio::join!(set("x-one"), set("x-two"));
    let stored = app.get(&owner, &path).await.expect(200);
    let last =
        [&one, &two].into_iter().filter(|answer| answer.status == 200).max_by_key(|answer| answer.text_at("/version"));
    assert_eq!(last.unwrap().text_at("/id"), stored.text_at("/id"));
    assert_eq!(last.unwrap().text_at("/name"), stored.text_at("/name"));
}
