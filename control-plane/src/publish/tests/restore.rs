//! A backup that is restored: what was published and revoked since, before and after `sluice restore`.

use domain::snapshot::CredentialStore;
use domain::{CredentialId, CredentialPlace, DestinationId};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use store::destinations::{self, Destination, State, Wanted};

use super::*;
use crate::restore::{Options, RestoreError, Restored, Step, Work};

async fn open(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new().max_connections(8).connect_with(options.clone()).await.unwrap()
}

async fn as_admin(options: &PgConnectOptions, sql: String) {
    let mut admin = PgConnection::connect_with(&options.clone().database("postgres")).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
}

/// A copy of the database, whose connections it ends.
async fn backed_up(world: &World) -> (PgConnectOptions, PgConnectOptions) {
    let options = (*world.pool.connect_options()).clone();
    world.pool.close().await;
    let name = options.get_database().unwrap();
    let copy = format!("{}_backup", &name[..name.len().min(50)]);
    // One may be left of a test that failed.
    as_admin(&options, format!(r#"drop database if exists "{copy}" with (force)"#)).await;
    as_admin(&options, format!(r#"create database "{copy}" template "{name}""#)).await;
    let copy = options.clone().database(&copy);
    (options, copy)
}

/// Raised by every publisher that took the lease.
async fn fence(pool: &PgPool) -> i64 {
    let mut tx = pool.begin_with("begin; set local role sluice_platform").await.unwrap();
    sqlx::query_scalar("select fence from publisher").fetch_one(&mut *tx).await.unwrap()
}

async fn known(world: &World, digest: TokenDigest, is_wanted: impl Fn(Option<&TokenRecord>) -> bool) {
    let started = Instant::now();
    while !is_wanted(world.token(digest).await.as_ref().map(|(_, record)| record)) {
        assert!(started.elapsed() < Duration::from_secs(30));
        a_moment().await;
    }
}

async fn restored(world: &World, options: Options) -> Result<Restored, RestoreError> {
    work(world).run(options).await
}

fn work(world: &World) -> Work {
    let keys = VerifyingKeys::from_text(&world.signing.verifying_text()).unwrap();
    let (pool, redis, clock) = (world.pool.clone(), world.redis.clone(), world.clock.clone());
    Work { pool, redis, clock, deployment: DEPLOYMENT.to_owned(), keys }
}

/// Once the lease of whoever had it has run out.
async fn restored_in_time(world: &World) -> Restored {
    loop {
        match restored(world, Options::default()).await {
            Err(RestoreError::Running) => a_moment().await,
            done => break done.unwrap(),
        }
    }
}

const fn is_live(record: Option<&TokenRecord>) -> bool {
    matches!(record, Some(TokenRecord::Live(_)))
}

const fn is_revoked(record: Option<&TokenRecord>) -> bool {
    matches!(record, Some(TokenRecord::Revoked))
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_restored_backup_is_published_once_it_is_put_right_and_revives_no_token(pool: PgPool) {
    let mut world = World::new(pool).await;
    let drain = world.publishing();
    world.change().await;
    let ((revoked, revoked_digest), (_, kept)) = (world.issue().await, world.issue().await);
    for digest in [revoked_digest, kept] {
        known(&world, digest, is_live).await;
    }
    drain.finish(Duration::from_secs(10)).await.unwrap();
    let (present, backup) = backed_up(&world).await;
    world.pool = open(&present).await;
    let drain = world.publishing();
    world.revoke(revoked).await;
    known(&world, revoked_digest, is_revoked).await;
    let (_, late) = world.issue().await;
    known(&world, late, is_live).await;
    world.change().await;
    world.until(|head| head.change == 2).await;
    end(&world, drain).await;

    world.pool = open(&backup).await;
    let before = world.head().await.unwrap();
    let drain = world.publishing();
    for _ in 0..50 {
        a_moment().await;
        assert_eq!(world.head().await.unwrap().change, before.change, "nothing is published over what is ahead");
    }
    assert!(is_revoked(world.token(revoked_digest).await.as_ref().map(|(_, record)| record)), "nor revived");
    assert!(matches!(restored(&world, Options::default()).await, Err(RestoreError::Running)));
    drain.finish(Duration::from_secs(10)).await.unwrap();
    let done = restored_in_time(&world).await;
    let expected = Restored { epoch: 2, tenants: 1, revoked_again: 1, forgotten: 1, ..Restored::default() };
    assert_eq!(done, expected);
    let drain = world.publishing();
    world.until(|head| head.epoch == 2 && head.change > 1).await;
    known(&world, revoked_digest, is_revoked).await;
    known(&world, kept, is_live).await;
    known(&world, late, |record| record.is_none()).await;
    assert_eq!(world.snapshot().await.unwrap().epoch, 2);
    drain.finish(Duration::from_secs(10)).await.unwrap();

    // Redis is lost too: nothing tells what was revoked.
    let () = ::redis::cmd("FLUSHALL").query_async(&mut world.redis.clone()).await.unwrap();
    assert!(matches!(restored(&world, Options::default()).await, Err(RestoreError::Unknown)));
    let all = Options { revoke_all: true, above_epoch: 7, ..Options::default() };
    let done = restored(&world, all).await.unwrap();
    assert_eq!((done.epoch, done.revoked), (8, 1));
    let drain = world.publishing();
    world.until(|head| head.epoch == 8).await;
    known(&world, kept, is_revoked).await;
    end(&world, drain).await;
    as_admin(&present, format!(r#"drop database "{}" with (force)"#, backup.get_database().unwrap())).await;
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_restore_that_is_cut_off_revives_nothing_and_is_run_again(pool: PgPool) {
    let mut world = World::new(pool).await;
    let drain = world.publishing();
    world.change().await;
    let ((revoked, revoked_digest), (_, kept)) = (world.issue().await, world.issue().await);
    for digest in [revoked_digest, kept] {
        known(&world, digest, is_live).await;
    }
    drain.finish(Duration::from_secs(10)).await.unwrap();
    let (present, backup) = backed_up(&world).await;
    world.pool = open(&present).await;
    let drain = world.publishing();
    // Nothing but this was done since.
    world.revoke(revoked).await;
    known(&world, revoked_digest, is_revoked).await;
    let head = world.until(|head| head.revocation == 1).await;
    end(&world, drain).await;

    world.pool = open(&backup).await;
    for cut_off in 0..=Step::ALL.len() {
        let mut done = Restored::default();
        work(&world).steps(&Step::ALL[..cut_off], Options::default(), &mut done).await.unwrap();
        let before = fence(&world.pool).await;
        let drain = world.publishing();
        while fence(&world.pool).await == before {
            a_moment().await;
        }
        for _ in 0..20 {
            a_moment().await;
            let now = world.head().await.unwrap();
            assert_eq!((now.epoch, now.change, now.revocation), (head.epoch, head.change, head.revocation));
        }
        assert!(is_revoked(world.token(revoked_digest).await.as_ref().map(|(_, record)| record)), "after {cut_off}");
        drain.finish(Duration::from_secs(10)).await.unwrap();
    }
    assert_eq!(restored_in_time(&world).await.epoch, 2);
    let again = restored(&world, Options::default()).await.unwrap();
    assert_eq!((again.epoch, again.revoked_again, again.forgotten), (3, 0, 0), "at once: the lease was given back");
    let drain = world.publishing();
    world.until(|head| head.epoch == 3 && head.change > 1).await;
    known(&world, kept, is_live).await;
    assert!(is_revoked(world.token(revoked_digest).await.as_ref().map(|(_, record)| record)));
    end(&world, drain).await;
    as_admin(&present, format!(r#"drop database "{}" with (force)"#, backup.get_database().unwrap())).await;
}

/// A destination of that name in that state.
fn destination(world: &World, name: &str, state: State) -> Destination {
    let (id, now) = (CredentialId::new(&world.clock), world.clock.now());
    let store = CredentialStore::Sealed { envelope: "sealed".to_owned() };
    Destination {
        id: DestinationId::new(&world.clock),
        name: name.to_owned(),
        kind: "webhook".to_owned(),
        format: "native".to_owned(),
        settings: r#"{"url":"https://siem.example/"}"#.to_owned(),
        wanted: Wanted::default(),
        personal: false,
        state,
        revision: 1,
        shape: 1,
        secret: CredentialPlace { id, version: 1, store },
        created_at: now,
        created_by: world.user,
        changed_at: now,
        changed_by: world.user,
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn destinations_wait_for_a_person_after_a_restore(pool: PgPool) {
    let world = World::new(pool).await;
    let mut tx = TenantTx::begin(&world.pool, world.tenant).await.unwrap();
    for (name, state) in [("one", State::Running), ("stopped", State::Stopped), ("waiting", State::Paused)] {
        destinations::add(&mut tx, &destination(&world, name, state)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let options = Options { keep_tokens: true, ..Options::default() };
    assert_eq!(restored(&world, options).await.unwrap().paused, 1);
    let mut tx = TenantTx::begin(&world.pool, world.tenant).await.unwrap();
    let mut now = destinations::list(&mut tx).await.unwrap();
    now.sort_by(|one, other| one.name.cmp(&other.name));
    let states: Vec<_> = now.iter().map(|one| (one.name.as_str(), one.state, one.revision)).collect();
    let expected = [("one", State::Paused, 2), ("stopped", State::Stopped, 1), ("waiting", State::Paused, 1)];
    assert_eq!(states, expected, "who changes it next has seen that it was paused");
    drop(tx);
    let mut tx = world.pool.begin_with("begin; set local role sluice_ingest").await.unwrap();
    let told = "select count(*) from audit_inbox where convert_from(body, 'UTF8') like '%destination.pause%'";
    assert_eq!(sqlx::query_scalar::<_, i64>(told).fetch_one(&mut *tx).await.unwrap(), 1, "and the log says so");
    drop(tx);
    assert_eq!(restored(&world, options).await.unwrap().paused, 0, "once");
}
