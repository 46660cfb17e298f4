use sqlx::PgPool;

use super::browser::{Browser, PASSWORD};
use super::markup::{tags, text};
use crate::app::{Answer, App};

/// The path of the link in a mail that is shown.
pub(super) fn mailed(answer: &Answer) -> String {
    let tags = tags(&answer.text);
    let link =
        tags.iter().find_map(|tag| tag.get("href").filter(|href| href.starts_with("https://console.example.com/")));
    let link = link.unwrap_or_else(|| panic!("no link in {}", text(&answer.text)));
    link.strip_prefix("https://console.example.com").unwrap().to_owned()
}

const ANA: [(&str, &str); 4] =
    [("name", "Ana Duarte"), ("password", PASSWORD), ("title", "Kestrel Freight"), ("slug", "kestrel")];

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn from_an_address_to_a_workspace(pool: PgPool) {
    let app = App::new(&pool).await;
    let browser = Browser::new(&app);
    let mail = browser.post("/sign-up", &[("email", " Ana@Kestrel.example ")]).await.expect(200);
    let path = mailed(&mail);
    let form = browser.get(&path).await.expect(200);
    assert!(form.text.contains("value=\"Kestrel\"") && form.text.contains("value=\"kestrel\""), "{}", form.text);
    // Opening it again does no harm: programs that read mails do.
    browser.get(&path).await.expect(200);
    let done = browser.post(&path, &ANA).await.expect(303);
    assert_eq!(done.location(), "/w/kestrel");
    let overview = browser.get("/w/kestrel").await.expect(200);
    assert!(text(&overview.text).contains("Kestrel Freight") && text(&overview.text).contains("Ana Duarte"));
    // The link is used up, for everybody.
    let again = Browser::new(&app);
    again.get(&path).await.expect(404);
    again.post(&path, &ANA).await.expect(404);
    let back = Browser::new(&app);
    let fields = [("email", "ana@kestrel.example"), ("password", PASSWORD)];
    back.post("/sign-in", &fields).await.expect(303);
    back.get("/w/kestrel").await.expect(200);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_form_with_something_wrong_says_what_and_uses_nothing_up(pool: PgPool) {
    let app = App::new(&pool).await;
    app.owner().await;
    let browser = Browser::new(&app);
    browser.post("/sign-up", &[("email", "no address")]).await.expect(422);
    let path = mailed(&browser.post("/sign-up", &[("email", "ana@kestrel.example")]).await.expect(200));
    let with = |name: &'static str, value: &'static str| ANA.map(|(n, v)| if n == name { (n, value) } else { (n, v) });
    for (name, value, says) in [
        ("password", "short", "at least 10 characters"),
        ("password", "password123", "common"),
        ("slug", "acme", "is taken"),
        ("slug", "Not A Slug", "small letters"),
        ("slug", "api", "small letters"),
        ("title", " ", "at most 100"),
        ("name", "", "at most 100"),
    ] {
        let answer = browser.post(&path, &with(name, value)).await.expect(422);
        assert!(answer.text.contains(says), "{name}={value}: {}", text(&answer.text));
        assert!(!answer.text.contains(PASSWORD), "a password is written back");
        assert!(browser.session().is_none());
    }
    browser.post(&path, &ANA).await.expect(303);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_link_lets_one_in_of_two_who_use_it_at_once(pool: PgPool) {
    let app = App::new(&pool).await;
    let (one, two) = (Browser::new(&app), Browser::new(&app));
    let path = mailed(&one.post("/sign-up", &[("email", "ana@kestrel.example")]).await);
    let other = ANA.map(|(name, value)| if name == "slug" { (name, "kestrel-two") } else { (name, value) });
    let (first, second) = tokio::join!(one.post(&path, &ANA), two.post(&path, &other));
    let mut answers = [first.status.as_u16(), second.status.as_u16()];
    answers.sort_unstable();
    assert_eq!(answers, [303, 404]);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn whoever_was_added_signs_up_into_their_workspace(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    app.member(&owner, "mei@acme.example", "auditor").await;
    let browser = Browser::new(&app);
    let path = mailed(&browser.post("/sign-up", &[("email", "mei@acme.example")]).await);
    let form = browser.get(&path).await.expect(200);
    assert!(!form.text.contains("name=\"slug\"") && form.text.contains("a member of Acme"), "{}", text(&form.text));
    // A workspace that is sent all the same is not made.
    browser.post(&path, &ANA).await.expect(303);
    assert_eq!(browser.get("/").await.location(), "/w/acme");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_record_of_a_change_names_the_session_it_was_made_in(pool: PgPool) {
    let app = App::new(&pool).await;
    let browser = Browser::new(&app);
    let path = mailed(&browser.post("/sign-up", &[("email", "ana@kestrel.example")]).await);
    browser.post(&path, &ANA).await.expect(303);
    let mut tx = pool.begin_with("begin; set local role sluice_ingest").await.unwrap();
    let body: Vec<u8> = sqlx::query_scalar("select body from audit_inbox").fetch_one(&mut *tx).await.unwrap();
    let record: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(record["change"]["action"], "tenant.add");
    assert_eq!(record["actor"]["auth_method"], "session");
    assert!(record["session"]["id"].as_str().unwrap().starts_with("ses_"), "{record}");
    assert!(record["actor"].get("token_id").is_none(), "{record}");
    // Nobody was given a token they did not see.
    let mut tx = pool.begin_with("begin; set local role sluice_platform").await.unwrap();
    let tokens: i64 = sqlx::query_scalar("select count(*) from api_tokens").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(tokens, 0);
}
