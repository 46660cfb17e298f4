use sqlx::PgPool;

use super::browser::{Browser, PASSWORD};
use super::markup::text;
use super::sign_up::mailed;
use crate::app::App;

const OLIVE: &str = "olive@acme.example";
const OTHER: &str = "granite lantern 77 moss";

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_forgotten_password_is_chosen_anew_and_ends_every_session(pool: PgPool) {
    let app = App::new(&pool).await;
    let (before, _) = Browser::of_owner(&app).await;
    let browser = Browser::new(&app);
    let path = mailed(&browser.post("/forgot", &[("email", OLIVE)]).await.expect(200));
    browser.get(&path).await.expect(200);
    browser.post(&path, &[("password", "password1")]).await.expect(422);
    browser.post(&path, &[("password", OTHER)]).await.expect(303);
    browser.get("/w/acme").await.expect(200);
    before.get("/w/acme").await.expect(303);
    Browser::new(&app).post(&path, &[("password", PASSWORD)]).await.expect(404);
    Browser::new(&app).post("/sign-in", &[("email", OLIVE), ("password", PASSWORD)]).await.expect(422);
    Browser::new(&app).post("/sign-in", &[("email", OLIVE), ("password", OTHER)]).await.expect(303);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn changing_the_password_asks_for_the_present_one_and_signs_others_out(pool: PgPool) {
    let app = App::new(&pool).await;
    let (browser, _) = Browser::of_owner(&app).await;
    let other = Browser::of(&app, OLIVE).await;
    browser.get("/account").await.expect(200);
    let wrong = browser.post("/account/password", &[("present", "no"), ("password", OTHER)]).await.expect(422);
    assert!(text(&wrong.text).contains("This is not your current password."));
    let session = browser.session();
    browser.post("/account/password", &[("present", PASSWORD), ("password", OTHER)]).await.expect(303);
    assert_ne!(browser.session(), session);
    let page = browser.get("/account").await.expect(200);
    assert!(text(&page.text).contains("Your password is changed."));
    // Said once.
    assert!(!text(&browser.get("/account").await.text).contains("Your password is changed."));
    other.get("/account").await.expect(303);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn another_address_is_taken_by_the_link_mailed_to_it(pool: PgPool) {
    let app = App::new(&pool).await;
    let (browser, owner) = Browser::of_owner(&app).await;
    browser.get("/account").await;
    let fields = [("present", PASSWORD), ("email", "olive@new.example")];
    let path = mailed(&browser.post("/account/email", &fields).await.expect(200));
    // Another person's session does not take it.
    app.member(&owner, "mei@acme.example", "admin").await;
    let mei = Browser::of(&app, "mei@acme.example").await;
    mei.get(&path).await.expect(404);
    mei.post(&path, &[]).await.expect(404);
    browser.get(&path).await.expect(200);
    browser.post(&path, &[]).await.expect(303);
    assert!(text(&browser.get("/account").await.text).contains("olive@new.example"));
    Browser::new(&app).post("/sign-in", &[("email", OLIVE), ("password", PASSWORD)]).await.expect(422);
    Browser::new(&app).post("/sign-in", &[("email", "olive@new.example"), ("password", PASSWORD)]).await.expect(303);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn own_sessions_are_listed_and_ended_and_no_others(pool: PgPool) {
    let app = App::new(&pool).await;
    let (browser, owner) = Browser::of_owner(&app).await;
    let other = Browser::of(&app, OLIVE).await;
    app.member(&owner, "mei@acme.example", "admin").await;
    let mei = Browser::of(&app, "mei@acme.example").await;
    let page = browser.get("/account").await.expect(200);
    let end = page.text.split('"').find(|part| part.starts_with("/account/sessions/ses_")).unwrap().to_owned();
    assert_eq!(page.text.matches("/account/sessions/ses_").count(), 1, "the present one has no button");
    mei.get("/account").await;
    mei.post(&end, &[]).await.expect(404);
    other.get("/account").await.expect(200);
    browser.post(&end, &[]).await.expect(303);
    other.get("/account").await.expect(303);
    let third = Browser::of(&app, OLIVE).await;
    browser.post("/account/sessions/end-others", &[]).await.expect(303);
    third.get("/account").await.expect(303);
    browser.post("/sign-out", &[]).await.expect(303);
    assert_eq!(browser.session(), None);
    browser.get("/account").await.expect(303);
    mei.get("/account").await.expect(200);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_second_workspace_is_founded_and_switched_to(pool: PgPool) {
    let app = App::new(&pool).await;
    let (browser, _) = Browser::of_owner(&app).await;
    browser.get("/workspaces/new").await.expect(200);
    let fields = [("name", "Olive"), ("title", "Second <b>"), ("slug", "second")];
    assert_eq!(browser.post("/workspaces/new", &fields).await.expect(303).location(), "/w/second");
    assert!(text(&browser.get("/w/second").await.expect(200).text).contains("Second &#60;b&#62;"));
    assert_eq!(browser.get("/").await.expect(303).location(), "/workspaces");
    browser.get("/workspaces").await.expect(200);
    browser.post("/workspaces/new", &fields).await.expect(422);
}
