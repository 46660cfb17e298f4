//! Evidence in the console: what is signed, whether it verifies, and who may take it along.

use std::time::Duration;

use audit::merkle::Frontier;
use audit::note::Checkpoint;
use control_plane::evidence::Log;
use control_plane::{app::router, ingest};
use domain::projection::Sign as _;
use secrets::SigningKey;
use service::Drain;
use sqlx::{AssertSqlSafe, PgPool};

use super::browser::Browser;
use super::markup::text;
use crate::app::{App, Person};

const DEPLOYMENT: &str = "dep_0123456789abcdef";

async fn as_ingest<T>(pool: &PgPool, sql: String) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    let mut tx = pool.begin_with("begin; set local role sluice_ingest").await.unwrap();
    let value = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    value
}

/// A deployment whose owner of the shard took in what was done, and signed for it.
async fn signed(pool: &PgPool) -> (App, Person) {
    let (mut app, key, drain) = (App::new(pool).await, SigningKey::generate(), Drain::new());
    app.parts.log = Log::new(DEPLOYMENT, &key);
    app.router = router(&app.parts);
    let needs = ingest::Needs {
        pool: pool.clone(),
        redis_url: "redis://127.0.0.1:1/".to_owned(),
        deployment: DEPLOYMENT.to_owned(),
        master: app.parts.master.clone(),
        checkpoints: std::sync::Arc::new(SigningKey::generate()),
        clock: app.parts.clock.clone(),
        shards: 1,
        hold: ingest::HOLD,
        horizon: ingest::HORIZON,
        retention: "400".parse().unwrap(),
    };
    ingest::spawn(&needs, &drain).unwrap();
    let (_, owner) = Browser::of_owner(&app).await;
    app.member(&owner, "mia@acme.example", "member").await;
    app.member(&owner, "pol@acme.example", "policy_author").await;
    let taken_in = async {
        let mut turns = tokio::time::interval(Duration::from_millis(50));
        while as_ingest::<i64>(pool, "select count(*) from audit_inbox".to_owned()).await > 0 {
            turns.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), taken_in).await.unwrap();
    drain.begin();
    drain.finish(Duration::from_secs(10)).await.unwrap();
    let tenant = owner.tenant;
    let sql = format!("select frontier from audit_head where tenant_id = '{}'", tenant.uuid());
    let frontier = Frontier::parse(&as_ingest::<Vec<u8>>(pool, sql).await).unwrap();
    let origin = ingest::origin(DEPLOYMENT, tenant, 1);
    let checkpoint = Checkpoint { origin, size: frontier.size(), root: frontier.root() };
    let note = checkpoint.signed(&ingest::verifier_key(DEPLOYMENT, &key), |text| key.sign(text));
    let sql = format!(
        "with added as (insert into audit_checkpoint (tenant_id, epoch, size, note, signed_at)
             values ('{0}', 1, {1}, '{note}', now()) returning size)
         update audit_head set signed_size = added.size from added where tenant_id = '{0}' returning signed_size",
        tenant.uuid(),
        frontier.size(),
    );
    assert!(as_ingest::<i64>(pool, sql).await >= 3);
    (app, owner)
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_log_verifies_at_the_press_of_a_button_until_somebody_changes_a_record(pool: PgPool) {
    let (app, owner) = signed(&pool).await;
    let browser = Browser::of(&app, "olive@acme.example").await;
    let page = browser.get("/w/acme/evidence").await.expect(200);
    let shown = text(&page.text);
    assert!(shown.contains(&app.parts.log.key.to_string()), "the key");
    assert!(page.text.contains(&format!("/t/{}/1", owner.tenant)), "the note, to be copied");
    assert!(shown.contains("Nothing is known to be missing."));
    assert!(shown.contains("sluice audit verify acme-audit.ndjson.zst"));
    let verified = browser.post("/w/acme/evidence/verify", &[]).await.expect(200);
    assert!(text(&verified.text).contains("records are those that were signed for."), "{}", text(&verified.text));
    // A checkpoint that was kept, as a form sends it.
    let kept =
        page.text.split("<code>").find_map(|part| part.split_once("</code>").filter(|(code, _)| code.contains("/t/")));
    let kept = kept.unwrap().0.replace("&#43;", "+").replace('\n', "\r\n");
    let compared = browser.post("/w/acme/evidence/verify", &[("kept", &kept)]).await.expect(200);
    assert!(
        text(&compared.text).contains("4. The log goes on from the checkpoint kept before.Holds"),
        "{}",
        text(&compared.text)
    );
    let none = text(&verified.text);
    assert!(none.contains("Not checked Paste a checkpoint you kept below") && none.contains("not done"), "{none}");
    let wrong = browser.post("/w/acme/evidence/verify", &[("kept", "of nobody")]).await.expect(422);
    assert!(text(&wrong.text).contains("This is no checkpoint.") && wrong.text.contains(">of nobody</textarea>"));
    let changed = kept.replacen("— dep", "— dop", 1);
    let wrong = browser.post("/w/acme/evidence/verify", &[("kept", &changed)]).await.expect(422);
    assert!(text(&wrong.text).contains("did not sign it"), "{}", text(&wrong.text));
    sqlx::raw_sql(
        "alter table audit_record no force row level security;
         do $$ declare part text; begin
             for part in select c.relname from pg_inherits join pg_class c on c.oid = inhrelid
                 where inhparent = 'audit_record'::regclass loop
                 execute format('alter table %I no force row level security', part);
             end loop; end $$;
         update audit_record set body = set_byte(body, 30, get_byte(body, 30) # 1) where seq = 1;",
    )
    .execute(&pool)
    .await
    .unwrap();
    let broken = browser.post("/w/acme/evidence/verify", &[]).await.expect(200);
    assert!(text(&broken.text).contains("The log does not verify from record 1 of epoch 1 on."));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_bundle_is_for_those_who_may_take_records_along(pool: PgPool) {
    let (app, owner) = signed(&pool).await;
    let browser = Browser::of(&app, "olive@acme.example").await;
    browser.get("/w/acme/evidence").await.expect(200);
    let today = app.parts.clock.now().date_naive();
    let fields = [("from", today.to_string()), ("until", today.to_string()), ("personal", "yes".to_owned())];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let file = browser.post("/w/acme/evidence/bundle", &fields).await.expect(200);
    assert!(file.headers["content-disposition"].to_str().unwrap().contains("acme-audit-0-"));
    browser.post("/w/acme/evidence/bundle", &[("from", "yesterday")]).await.expect(422);
    for (email, role) in [("ada@acme.example", "admin"), ("aud@acme.example", "auditor")] {
        app.member(&owner, email, role).await;
        let (may, taken) = (role == "auditor", if role == "auditor" { 200 } else { 403 });
        let browser = Browser::of(&app, email).await;
        let page = browser.get("/w/acme/evidence").await.expect(200);
        assert_eq!(page.text.contains("name=\"personal\""), may, "{role}");
        assert_eq!(text(&page.text).contains("only owners and auditors take those along"), !may, "{role}");
        browser.post("/w/acme/evidence/bundle", &fields).await.expect(taken);
        browser.post("/w/acme/evidence/bundle", &fields[..2]).await.expect(200);
    }
    let author = Browser::of(&app, "pol@acme.example").await;
    let page = author.get("/w/acme/evidence").await.expect(200);
    assert!(!page.text.contains("evidence/bundle"), "nobody is offered what is refused");
    author.post("/w/acme/evidence/bundle", &[]).await.expect(403);
    let member = Browser::of(&app, "mia@acme.example").await;
    member.get("/w/acme/evidence").await.expect(403);
}
