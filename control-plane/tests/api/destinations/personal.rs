//! What is personal: who may have it sent, to where it goes, and that what was erased does not.

use domain::RecordId;
use secrets::MasterKey;
use serde_json::{Value, json};
use sqlx::PgPool;
use store::TenantTx;
use store::audit::delivery::{self, Asked, Part, Sent, Span};
use store::destinations::Wanted;
use uuid::Uuid;

use super::receiver::Receiver;
use super::{grow, start, until, webhook, worker};
use crate::app::{App, Person};

const PATIENT: std::time::Duration = std::time::Duration::from_secs(30);

/// Gives every record of a tenant's log a personal part.
async fn seal(app: &App, pool: &PgPool, of: &Person) {
    seal_long(app, pool, of, 0).await;
}

/// As [`seal`], each with so many letters more.
async fn seal_long(app: &App, pool: &PgPool, of: &Person, more: usize) {
    let (tenant, key) = (of.tenant, secrets::new_data_key());
    let wrapped = app.parts.master.wrap(tenant, "k", &key);
    let mut tx = pool.begin().await.unwrap();
    sqlx::raw_sql("set local role sluice_ingest").execute(&mut *tx).await.unwrap();
    let sql = "insert into audit_subject_key (tenant_id, subject, month, key_id, wrapped)
        select distinct tenant_id, 'tenant', date_trunc('month', part_time, 'UTC')::date, $2, $3 from audit_record
        where tenant_id = $1";
    let insert = sqlx::query(sql).bind(tenant.uuid()).bind(&wrapped.id).bind(&wrapped.wrapped);
    insert.execute(&mut *tx).await.unwrap();
    let sql = "select id, seq from audit_record where tenant_id = $1";
    let records: Vec<(Uuid, i64)> = sqlx::query_as(sql).bind(tenant.uuid()).fetch_all(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    // Nobody changes a record but a test.
    let open = "alter table audit_record no force row level security;
        do $$ declare part text; begin
            for part in select c.relname from pg_inherits join pg_class c on c.oid = inhrelid
                where inhparent = 'audit_record'::regclass loop
                execute format('alter table %I no force row level security', part);
            end loop; end $$;";
    sqlx::raw_sql(open).execute(pool).await.unwrap();
    for (id, seq) in records {
        let mut pii = json!({"actor": {"email": format!("canary-{seq}@acme.example")}});
        if more > 0 {
            pii["arguments"] = "x".repeat(more).into();
        }
        let pii = pii.to_string();
        let plain = [[7_u8; 32].as_slice(), pii.as_bytes()].concat();
        let sealed = secrets::personal::seal(&key, tenant, RecordId::from_uuid(id), &plain);
        let update = sqlx::query("update audit_record set pii = $2 where id = $1").bind(id).bind(sealed);
        update.execute(pool).await.unwrap();
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_is_personal_goes_where_it_was_asked_for_until_it_is_erased(pool: PgPool) {
    let (app, with, without) = (App::new(&pool).await, Receiver::new().await, Receiver::new().await);
    let owner = app.owner().await;
    let new = |name: &str, url: &str, personal: bool| json!({"name": name, "settings": {"kind": "webhook", "url": url}, "personal": personal});
    let path = start(&app, &owner, new("with", &with.url, true)).await;
    start(&app, &owner, new("without", &without.url, false)).await;
    grow(&pool, &owner, "call", 3).await;
    seal(&app, &pool, &owner).await;
    let _drain = worker(&app, PATIENT);
    with.has(3).await;
    without.has(3).await;
    let line = |seq: usize, receiver: &Receiver| receiver.kept()[0].lines[seq].clone();
    assert_eq!(line(1, &with)["pii"], json!({"actor": {"email": "canary-1@acme.example"}}));
    assert_eq!(line(1, &without).get("pii"), None);
    assert_eq!(line(1, &with)["record"], line(1, &without)["record"]);
    let mut tx = pool.begin_with("begin; set local role sluice_ingest").await.unwrap();
    sqlx::query("delete from audit_subject_key").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    app.post(&owner, &format!("{path}/replay"), json!({"seq": 0})).await.expect(202);
    with.has(6).await;
    let again = with.kept().pop().unwrap();
    assert_eq!(again.lines[1]["seq"], 1);
    assert_eq!(again.lines[1].get("pii"), None);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn only_owners_have_what_is_personal_sent_and_change_where_to(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let (admin, _) = app.member(&owner, "ada@acme.example", "admin").await;
    let list = format!("{}/audit/destinations", owner.path());
    let hook = |url: &str| json!({"kind": "webhook", "url": url});
    let personal = |name: &str| json!({"name": name, "settings": hook("https://siem.example/"), "personal": true});
    for role in ["admin", "policy_author", "auditor", "member"] {
        let (person, _) = app.member(&owner, &format!("{role}2@acme.example"), role).await;
        let refused = app.post(&person, &list, personal(role)).await.expect(403);
        let wanted = if role == "admin" { "activity.export_personal" } else { "destinations.manage" };
        assert!(refused.text.contains(wanted), "{role}: {}", refused.text);
    }
    let id = app.post(&owner, &list, personal("with")).await.expect(201).text_at("/id");
    let path = format!("{list}/{id}");
    // Another address would be another reader.
    let elsewhere = json!({"revision": 1, "settings": hook("https://elsewhere.example/")});
    app.patch(&admin, &path, elsewhere.clone()).await.expect(403);
    app.patch(&admin, &path, json!({"revision": 1, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}))
        .await
        .expect(403);
    app.post(&owner, &format!("{path}/start"), json!({})).await.expect(200);
    app.post(&admin, &format!("{path}/pause"), json!({})).await.expect(200);
    app.patch(&admin, &path, json!({"revision": 3, "personal": false})).await.expect(200);
    app.patch(&admin, &path, json!({"revision": 4, "personal": true})).await.expect(403);
    app.patch(&admin, &path, json!({"revision": 4, "settings": hook("https://elsewhere.example/")})).await.expect(200);
    let shown = app.patch(&owner, &path, json!({"revision": 5, "personal": true})).await.expect(200).json();
    assert_eq!(shown["personal"], true);
    let inbox = "select jsonb_agg(convert_from(body, 'UTF8')::jsonb order by record_id) from audit_inbox";
    let records: Value = app.one_of_tenant(&owner, inbox).await;
    let who = |action: &str| -> Vec<&Value> {
        let of = records.as_array().unwrap().iter().filter(|record| record["change"]["action"] == action);
        of.map(|record| &record["actor"]["id"]).collect()
    };
    let (added, on) = (who("destination.add"), who("destination.personal_on"));
    let (paused, off) = (who("destination.pause"), who("destination.personal_off"));
    assert_eq!((on, added.len()), (vec![added[0]; 2], 1), "{records:#}");
    assert_eq!((off, paused.len()), (vec![paused[0]], 1), "{records:#}");
    assert_ne!(added, paused);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn nothing_personal_goes_out_unless_somebody_said_so(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    let path = webhook(&app, &owner, "hook", &receiver.url).await;
    grow(&pool, &owner, "call", 2).await;
    seal(&app, &pool, &owner).await;
    let _drain = worker(&app, PATIENT);
    receiver.has(2).await;
    assert!(receiver.kept().iter().all(|got| !String::from_utf8_lossy(&got.body).contains("canary")));
    let revision = app.get(&owner, &path).await.expect(200).json()["revision"].clone();
    app.patch(&owner, &path, json!({"revision": revision, "personal": true})).await.expect(200);
    grow(&pool, &owner, "call", 1).await;
    until(&app, &owner, &path, |shown: &Value| shown["progress"]["next"] == 3).await;
    app.post(&owner, &format!("{path}/replay"), json!({"seq": 0})).await.expect(202);
    until(&app, &owner, &path, |shown: &Value| shown["replay"].is_null()).await;
    let last = receiver.kept().pop().unwrap();
    assert!(String::from_utf8_lossy(&last.body).contains("canary-0@acme.example"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_page_is_bounded_by_what_is_personal_too(pool: PgPool) {
    const BYTES: usize = 300;
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    grow(&pool, &owner, "call", 10).await;
    seal(&app, &pool, &owner).await;
    let mut tx = TenantTx::begin(&pool, owner.tenant).await.unwrap();
    let (part, wanted) = (Part { epoch: 1, first: 0, end: 10 }, Wanted::default());
    let places: Vec<u64> = (0..10).collect();
    for personal in [false, true] {
        let asked = Asked { wanted: &wanted, span: Span::ALL, personal };
        let page = delivery::page(&mut tx, part, asked, (10, BYTES)).await.unwrap();
        let at = delivery::at(&mut tx, (1, &places), BYTES, personal).await.unwrap();
        for found in [&page, &at] {
            let (last, before) = found.split_last().unwrap();
            let before: usize = before.iter().map(Sent::bytes).sum();
            let is_all = found.len() == 10;
            assert!(
                before < BYTES && is_all != personal && (is_all || before + last.bytes() >= BYTES),
                "{}",
                found.len()
            );
        }
        let all = delivery::page(&mut tx, part, asked, (10, usize::MAX >> 1)).await.unwrap();
        let waiting = delivery::waiting(&mut tx, part, asked).await.unwrap();
        assert_eq!(waiting.bytes, all.iter().map(Sent::bytes).sum::<usize>() as u64);
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn large_personal_parts_are_sent_in_several_batches_and_none_is_left_out(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    let settings = json!({"kind": "webhook", "url": receiver.url});
    start(&app, &owner, json!({"name": "hook", "settings": settings, "personal": true})).await;
    grow(&pool, &owner, "call", 60).await;
    seal_long(&app, &pool, &owner, 32_000).await;
    let _drain = worker(&app, PATIENT);
    receiver.has(60).await;
    assert_eq!(receiver.places(), (0..60).collect::<Vec<u64>>());
    let kept = receiver.kept();
    assert!(kept.len() >= 3 && kept.iter().flat_map(|got| &got.lines).all(|line| line["pii"].is_object()));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_key_that_does_not_open_is_not_taken_for_an_erased_one(pool: PgPool) {
    let (app, receiver) = (App::new(&pool).await, Receiver::new().await);
    let owner = app.owner().await;
    let settings = json!({"kind": "webhook", "url": receiver.url});
    let path = start(&app, &owner, json!({"name": "hook", "settings": settings, "personal": true})).await;
    grow(&pool, &owner, "call", 2).await;
    seal(&app, &pool, &owner).await;
    let (id, wrapped): (String, String) = {
        let mut tx = pool.begin_with("begin; set local role sluice_ingest").await.unwrap();
        sqlx::query_as("select key_id, wrapped from audit_subject_key").fetch_one(&mut *tx).await.unwrap()
    };
    let another = MasterKey::generate().wrap(owner.tenant, &id, &secrets::new_data_key());
    let put = async |wrapped: &str| {
        let mut tx = pool.begin_with("begin; set local role sluice_ingest").await.unwrap();
        let sql = "with old as (delete from audit_subject_key returning *)
            select tenant_id, subject, month, key_id from old";
        let old: (Uuid, String, chrono::NaiveDate, String) = sqlx::query_as(sql).fetch_one(&mut *tx).await.unwrap();
        let sql =
            "insert into audit_subject_key (tenant_id, subject, month, key_id, wrapped) values ($1, $2, $3, $4, $5)";
        let insert = sqlx::query(sql).bind(old.0).bind(old.1).bind(old.2).bind(old.3).bind(wrapped);
        insert.execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    };
    put(&another.wrapped).await;
    let _drain = worker(&app, PATIENT);
    let shown = until(&app, &owner, &path, |shown: &Value| shown["progress"]["failures"].as_u64() >= Some(1)).await;
    assert_eq!((&shown["progress"]["error"]["code"], &shown["progress"]["next"]), (&json!("secret"), &json!(0)));
    assert!(receiver.kept().is_empty(), "without it nothing goes out");
    put(&wrapped).await;
    receiver.has(2).await;
    assert_eq!(receiver.kept()[0].lines[1]["pii"], json!({"actor": {"email": "canary-1@acme.example"}}));
}
