//! Two tenants in one database: neither sees, changes or hinders the other.
#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::snapshot::Prefix;
use domain::{ItemId, ItemKind, MembershipId, Role, ServerId, ServerVersionId, TenantId, UserId};
use sqlx::PgPool;
use store::people::{self, Membership};
use store::servers::{self, Server, WriteError};
use store::tenants::{self, AddError, Settings};
use store::{PlatformTx, StartError, TenantTx, items, tools};
use uuid::Uuid;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn at() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

/// A tenant with an owner, whose numbers begin at `number`.
async fn tenant(pool: &PgPool, number: u128, slug: &str) -> TenantId {
    let tenant = TenantId::from_uuid(id(number));
    let mut platform = PlatformTx::begin(pool).await.unwrap();
    tenants::add(&mut platform, tenant, &slug.parse().unwrap(), UserId::from_uuid(id(1)), at()).await.unwrap();
    let new = UserId::from_uuid(id(number + 1));
    let user = people::find_or_add_user(&mut platform, &format!("owner@{slug}.example"), new, at()).await.unwrap();
    let mut tx = platform.into_tenant(tenant).await.unwrap();
    let settings = Settings { title: slug.to_owned(), blind_max_s: 60, prefix: Prefix::Always };
    tenants::add_settings(&mut tx, &settings).await.unwrap();
    let membership = MembershipId::from_uuid(id(number + 2));
    let owner = Membership {
        id: membership,
        user,
        name: slug.to_owned(),
        role: Role::Owner,
        groups: BTreeSet::new(),
        created_at: at(),
    };
    people::add(&mut tx, &owner).await.unwrap();
    tx.commit().await.unwrap();
    tenant
}

fn server(number: u128, key: &str) -> Server {
    Server {
        id: ServerId::from_uuid(id(number)),
        key: key.parse().unwrap(),
        settings: servers::Settings {
            alias: key.parse().unwrap(),
            title: key.to_owned(),
            endpoint: "https://upstream.example/mcp".parse().unwrap(),
            era: domain::EraPin::Auto,
            sessions: domain::SessionMode::PerPrincipal,
            labels: BTreeSet::from(["env:prod".parse().unwrap()]),
            timeout_ms: 60_000,
            answer_max_bytes: 1_048_576,
        },
        paused: false,
        version: None,
        revision: 1,
        created_at: at(),
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_tenants_transaction_sees_and_changes_only_its_own(pool: PgPool) {
    let (acme, globex) = (tenant(&pool, 10, "acme").await, tenant(&pool, 20, "globex").await);
    let mut tx = TenantTx::begin(&pool, acme).await.unwrap();
    servers::add(&mut tx, &server(100, "wiki")).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = TenantTx::begin(&pool, globex).await.unwrap();
    assert_eq!(servers::list(&mut tx).await.unwrap(), []);
    assert_eq!(servers::find(&mut tx, ServerId::from_uuid(id(100))).await.unwrap(), None);
    servers::remove(&mut tx, ServerId::from_uuid(id(100)), at()).await.unwrap();
    people::remove(&mut tx, MembershipId::from_uuid(id(12))).await.unwrap();
    // The same key and even the same id are nobody else's business.
    servers::add(&mut tx, &server(100, "wiki")).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = TenantTx::begin(&pool, acme).await.unwrap();
    assert_eq!(servers::list(&mut tx).await.unwrap(), [server(100, "wiki")]);
    assert_eq!(people::list(&mut tx).await.unwrap().len(), 1);
    assert!(matches!(servers::add(&mut tx, &server(101, "wiki")).await, Err(WriteError::KeyTaken)));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_row_cannot_be_written_into_another_tenant(pool: PgPool) {
    let (acme, globex) = (tenant(&pool, 10, "acme").await, tenant(&pool, 20, "globex").await);
    let mut tx = pool.begin().await.unwrap();
    let fence = format!("set local app.tenant_id = '{}'", acme.uuid());
    sqlx::raw_sql(sqlx::AssertSqlSafe(fence)).execute(&mut *tx).await.unwrap();
    let written = sqlx::query("insert into tenant_keys (tenant_id, key_id, purpose, wrapped, created_at) values ($1, 'a', 'data', 'x', now())")
        .bind(globex.uuid())
        .execute(&mut *tx)
        .await;
    assert!(written.unwrap_err().to_string().contains("row-level security"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn without_a_tenant_there_is_nothing_to_see_even_after_one(pool: PgPool) {
    let acme = tenant(&pool, 10, "acme").await;
    // One connection, so that the next user of it is sure to get it.
    let mut connection = pool.acquire().await.unwrap();
    let fence = format!("begin; set local app.tenant_id = '{}'; select 1; commit", acme.uuid());
    sqlx::raw_sql(sqlx::AssertSqlSafe(fence)).execute(&mut *connection).await.unwrap();
    for table in ["tenants", "users", "memberships", "tenant_settings"] {
        let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let seen: i64 = sqlx::query_scalar(count).fetch_one(&mut *connection).await.unwrap();
        assert_eq!(seen, 0, "{table}");
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_global_tables_are_no_tenants_and_a_tenants_are_not_global(pool: PgPool) {
    let acme = tenant(&pool, 10, "acme").await;
    let count = async |begin: String, table: &str| {
        let mut tx = pool.begin_with(sqlx::AssertSqlSafe(begin)).await.unwrap();
        let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        sqlx::query_scalar::<_, i64>(count).fetch_one(&mut *tx).await.map_err(|error| error.to_string())
    };
    let fenced = format!("begin; set local app.tenant_id = '{}'", acme.uuid());
    assert_eq!(count(fenced.clone(), "memberships").await, Ok(1));
    assert_eq!(count(fenced.clone(), "users").await, Ok(0));
    assert_eq!(count(fenced, "tenants").await, Ok(0));
    let platform = "begin; set local role sluice_platform".to_owned();
    assert_eq!(count(platform.clone(), "users").await, Ok(1));
    // Of the settings it reads the title alone: people see which workspaces they are in.
    let settings = "(select blind_max_s from tenant_settings) settings";
    for table in [settings, "tenant_keys", "servers", "credentials", "policies"] {
        let refused = count(platform.clone(), table).await.unwrap_err();
        assert!(refused.contains("permission denied"), "{table}: {refused}");
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_slug_is_given_once(pool: PgPool) {
    tenant(&pool, 10, "acme").await;
    let mut platform = PlatformTx::begin(&pool).await.unwrap();
    let again = tenants::add(
        &mut platform,
        TenantId::from_uuid(id(30)),
        &"acme".parse().unwrap(),
        UserId::from_uuid(id(1)),
        at(),
    )
    .await;
    assert!(matches!(again, Err(AddError::SlugTaken)));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_tenant_that_is_half_made_is_not_made(pool: PgPool) {
    let acme = TenantId::from_uuid(id(10));
    let mut platform = PlatformTx::begin(&pool).await.unwrap();
    tenants::add(&mut platform, acme, &"acme".parse().unwrap(), UserId::from_uuid(id(1)), at()).await.unwrap();
    drop(platform.into_tenant(acme).await.unwrap());
    let mut platform = PlatformTx::begin(&pool).await.unwrap();
    assert_eq!(tenants::find_first(&mut platform).await.unwrap(), None);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_role_the_fence_does_not_hold_is_refused_at_start(pool: PgPool) {
    store::check_role(&pool).await.unwrap();
    let options = pool.connect_options().as_ref().clone().username("postgres");
    let Ok(superuser) = sqlx::postgres::PgPoolOptions::new().connect_with(options).await else {
        eprintln!("SKIPPED: this Postgres lets no superuser `postgres` in");
        return;
    };
    assert!(
        matches!(store::check_role(&superuser).await, Err(StartError::UnfencedRole { role }) if role == "postgres")
    );
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_a_server_offers_is_its_tenants_alone(pool: PgPool) {
    let (acme, globex) = (tenant(&pool, 10, "acme").await, tenant(&pool, 20, "globex").await);
    let (wiki, item) = (ServerId::from_uuid(id(100)), ItemId::from_uuid(id(200)));
    let definition = |text: &str| tools::Definition { digest: "11".repeat(32), text: text.to_owned() };
    let seen = |text: &str| items::Seen {
        id: item,
        kind: ItemKind::Prompt,
        name: "greet".to_owned(),
        position: 0,
        definition: definition(text),
    };
    // The same ids at both, with other texts.
    for (tenant, text) in [(acme, "{\"a\":1}"), (globex, "{\"g\":1}")] {
        let mut tx = TenantTx::begin(&pool, tenant).await.unwrap();
        servers::add(&mut tx, &server(100, "wiki")).await.unwrap();
        items::add_seen(&mut tx, wiki, &[seen(text)], at()).await.unwrap();
        let version = servers::Version {
            id: ServerVersionId::from_uuid(id(300)),
            server: wiki,
            number: 1,
            state: servers::VersionState::Held,
            era: domain::EraPin::Modern,
            protocol_version: "2026-07-28".to_owned(),
            server_info: None,
            instructions: None,
            found_at: at(),
            found_by: None,
            protocol: servers::Protocol { speaks: Some(vec!["2026-07-28".to_owned()]), ..Default::default() },
        };
        servers::add_version(&mut tx, &version).await.unwrap();
        assert_eq!(servers::find_version(&mut tx, wiki, version.id).await.unwrap(), Some(version.clone()));
        let change = items::Change {
            item,
            of: ItemKind::Prompt,
            name: "greet".to_owned(),
            kind: tools::ChangeKind::New,
            position: 0,
            state: tools::ChangeState::Held,
            before: None,
            after: Some(definition(text)),
        };
        items::add_changes(&mut tx, version.id, std::slice::from_ref(&change)).await.unwrap();
        assert_eq!(items::list_changes(&mut tx, version.id).await.unwrap(), [change]);
        tx.commit().await.unwrap();
    }
    let word = items::Word {
        version: ServerVersionId::from_uuid(id(300)),
        items: &[item],
        by: UserId::from_uuid(id(1)),
        at: at(),
    };
    let mut tx = TenantTx::begin(&pool, acme).await.unwrap();
    let held = tools::list_held(&mut tx).await.unwrap();
    assert_eq!((held.len(), held[0].tools, held[0].items), (1, 0, 1));
    assert_eq!(items::accept(&mut tx, &word).await.unwrap(), 1);
    assert_eq!(items::accept(&mut tx, &word).await.unwrap(), 0, "what is decided is decided once");
    items::set_labels(&mut tx, item, &BTreeSet::from(["env:prod".parse().unwrap()])).await.unwrap();
    let live = items::list_live(&mut tx).await.unwrap();
    assert_eq!((live.len(), live[0].live.clone()), (1, Some(definition("{\"a\":1}"))));
    tx.commit().await.unwrap();

    let mut tx = TenantTx::begin(&pool, globex).await.unwrap();
    assert_eq!(items::list_live(&mut tx).await.unwrap(), [], "theirs waits");
    let known = items::find(&mut tx, wiki, item).await.unwrap().unwrap();
    assert!(known.live.is_none() && known.labels.is_empty());
    assert_eq!(items::reject(&mut tx, &word).await.unwrap(), 1);
    assert_eq!(items::list_rejected(&mut tx, wiki).await.unwrap(), [(item, Some("11".repeat(32)))]);
    tx.commit().await.unwrap();
}
