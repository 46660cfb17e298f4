//! What is done to an account is said in the log of every workspace its person is a member of.

use serde_json::Value;
use sqlx::PgPool;

use super::browser::{Browser, PASSWORD};
use super::routes::OTHER_PASSWORD;
use super::sign_up::mailed;
use crate::app::{App, Person};

const MEI: &str = "mei@acme.example";

/// The records of accounts that wait to be taken into a workspace's log, oldest first.
async fn records(pool: &PgPool, of: &Person) -> Vec<Value> {
    let mut tx = pool.begin_with("begin; set local role sluice_ingest").await.unwrap();
    let bodies: Vec<Vec<u8>> =
        sqlx::query_scalar("select body from audit_inbox where tenant_id = $1 order by added_at, record_id")
            .bind(of.tenant.uuid())
            .fetch_all(&mut *tx)
            .await
            .unwrap();
    let read = bodies.iter().map(|body| serde_json::from_slice(body).unwrap());
    read.filter(|record: &Value| record["kind"] == "auth").collect()
}

/// What they say was done.
fn actions(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["change"]["action"].as_str().unwrap()).collect()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn whatever_is_done_to_an_account_is_on_record_in_each_of_its_workspaces(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let stranger = app.stranger(&owner).await;
    for of in [&owner, &stranger] {
        app.member(of, MEI, "member").await;
    }
    let mei = Browser::of(&app, MEI).await;
    let other = Browser::of(&app, MEI).await;
    let page = mei.get("/account").await.expect(200);
    let end = page.text.split('"').find(|part| part.starts_with("/account/sessions/ses_")).unwrap();
    mei.post(end, &[]).await.expect(303);
    // There is no other one any more: nothing is done, and nothing said.
    mei.post("/account/sessions/end-others", &[]).await.expect(303);
    other.get("/account").await.expect(303);
    Browser::of(&app, MEI).await;
    mei.post("/account/sessions/end-others", &[]).await.expect(303);
    mei.post("/account/password", &[("present", "wrong"), ("password", OTHER_PASSWORD)]).await.expect(422);
    mei.post("/account/password", &[("present", PASSWORD), ("password", OTHER_PASSWORD)]).await.expect(303);
    mei.get("/account").await.expect(200);
    let fields = [("present", OTHER_PASSWORD), ("email", "mei@new.example")];
    let link = mailed(&mei.post("/account/email", &fields).await.expect(200));
    mei.post(&link, &[]).await.expect(303);
    mei.get("/account").await.expect(200);
    mei.post("/sign-out", &[]).await.expect(303);
    let link = mailed(&mei.post("/forgot", &[("email", "mei@new.example")]).await.expect(200));
    mei.post(&link, &[("password", PASSWORD)]).await.expect(303);
    let said = records(&pool, &owner).await;
    let begin = "session.begin";
    assert_eq!(
        actions(&said),
        [
            begin,
            begin,
            "session.end",
            begin,
            "session.end_others",
            begin,
            "account.password",
            begin,
            "account.email",
            "session.end",
            begin,
            "account.password"
        ]
    );
    assert_eq!(actions(&records(&pool, &stranger).await), actions(&said));
    for record in &said {
        assert_eq!((&record["actor"]["kind"], &record["actor"]["auth_method"]), (&"user".into(), &"session".into()));
        assert!(record["session"]["id"].as_str().unwrap().starts_with("ses_"), "{record}");
        let text = record.to_string();
        assert!(!text.contains('@') && !text.contains("0.0.0.0") && !text.contains(PASSWORD), "{text}");
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn wrong_passwords_are_one_record_when_they_lock_the_account(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    Browser::of(&app, "olive@acme.example").await;
    let visitor = Browser::new(&app);
    for email in ["olive@acme.example", "nobody@acme.example"] {
        for _ in 0..14 {
            visitor.post("/sign-in", &[("email", email), ("password", "wrong wrong wrong")]).await;
        }
    }
    let said = records(&pool, &owner).await;
    assert_eq!(actions(&said), ["session.begin", "account.lock"]);
    assert_eq!(said[1]["actor"]["kind"], "system");
    assert!(said[1]["change"]["target"]["id"].as_str().unwrap().starts_with("usr_"), "{}", said[1]);
}
