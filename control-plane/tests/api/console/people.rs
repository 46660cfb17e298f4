//! The people of a workspace, and how they come in.

use axum::body::Body;
use sqlx::PgPool;

use super::browser::{Browser, PASSWORD};
use super::markup::text;
use super::sign_up::mailed;
use crate::app::App;

const MEI: &str = "mei@acme.example";

/// Invites somebody, and gives the path of the link they are mailed.
async fn invite(owner: &Browser<'_>, email: &str, role: &str) -> String {
    owner.get("/w/acme/people/invite").await.expect(200);
    mailed(&owner.post("/w/acme/people/invite", &[("email", email), ("role", role)]).await.expect(200))
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_new_person_comes_in_by_their_link_once(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _) = Browser::of_owner(&app).await;
    let path = invite(&owner, " Mei@Acme.example ", "policy_author").await;
    let mei = Browser::new(&app);
    let shown = mei.get(&path).await.expect(200);
    assert!(
        text(&shown.text).contains("Join Acme") && text(&shown.text).contains("policy author"),
        "{}",
        text(&shown.text)
    );
    for (name, password, says) in
        [("Mei", "short", "at least 10"), ("", PASSWORD, "at most 100"), ("Mei", "", "at least 10")]
    {
        let wrong = mei.post(&path, &[("name", name), ("password", password)]).await.expect(422);
        assert!(wrong.text.contains(says), "{}", text(&wrong.text));
    }
    // The role is the invitation's, whatever is sent.
    let fields = [("name", "Mei Tanaka"), ("password", PASSWORD), ("role", "owner"), ("email", "eve@evil.example")];
    assert_eq!(mei.post(&path, &fields).await.expect(303).location(), "/w/acme");
    let people = mei.get("/w/acme/people").await.expect(200);
    assert!(text(&people.text).contains("Mei Tanaka (you)") && people.text.contains("Policy author"));
    let again = Browser::new(&app);
    again.get(&path).await.expect(404);
    again.post(&path, &fields).await.expect(404);
    assert!(!owner.get("/w/acme/people").await.text.contains("/withdraw"), "the invitation is used up");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_person_with_an_account_signs_in_and_joins(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    app.stranger(&person).await;
    let greta = Browser::of(&app, "greta@globex.example").await;
    let path = invite(&owner, "greta@globex.example", "auditor").await;
    let nobody = Browser::new(&app);
    let shown = nobody.get(&path).await.expect(200);
    assert!(shown.text.contains("/sign-in?next=%2Finvitations%2F"), "{}", shown.text);
    // Whoever has the link and not the account does not get into it.
    nobody.post(&path, &[("name", "Eve"), ("password", PASSWORD)]).await.expect(422);
    assert_eq!(nobody.session(), None);
    let other = owner.get(&path).await.expect(200);
    assert!(text(&other.text).contains("signed in as somebody else"), "{}", text(&other.text));
    owner.post(&path, &[("name", "Olive")]).await.expect(422);
    // Whoever signs out there comes back; to another site nobody does.
    let away = owner.post("/sign-out", &[("next", "https://evil.example/")]).await.expect(303);
    assert_eq!(away.location(), "/sign-in");
    let somebody = Browser::of(&app, "olive@acme.example").await;
    somebody.get(&path).await.expect(200);
    assert_eq!(somebody.post("/sign-out", &[("next", &*path)]).await.expect(303).location(), path);
    greta.get(&path).await.expect(200);
    let forged = greta.send(Browser::form(&path), Body::from("name=Greta")).await;
    forged.expect(403);
    assert_eq!(greta.post(&path, &[("name", "Greta")]).await.expect(303).location(), "/w/acme");
    greta.get("/w/acme/servers-or-not").await.expect(404);
    greta.get("/w/acme/people").await.expect(200);
    greta.get("/w/globex").await.expect(200);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn whoever_is_a_member_already_gets_the_workspace_of_their_invitation(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let (opened, sent) = (invite(&owner, MEI, "admin").await, [("name", "Mei")]);
    // Somebody adds them in the meantime, as what they are then.
    app.member(&person, MEI, "member").await;
    let mei = Browser::of(&app, MEI).await;
    assert_eq!(mei.get(&opened).await.expect(303).location(), "/w/acme");
    mei.get("/account").await.expect(200);
    assert_eq!(mei.post(&opened, &sent).await.expect(303).location(), "/w/acme");
    mei.get("/w/acme/people").await.expect(403);
    // Used once, it is used up.
    mei.get(&opened).await.expect(404);
    assert!(!owner.get("/w/acme/people").await.text.contains("/withdraw"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_invitation_ends_when_it_is_withdrawn_repeated_or_its_author_falls(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let first = invite(&owner, MEI, "member").await;
    let second = invite(&owner, MEI, "auditor").await;
    let mei = Browser::new(&app);
    mei.get(&first).await.expect(404);
    mei.get(&second).await.expect(200);
    let list = owner.get("/w/acme/people").await;
    let withdraw = list.text.split('"').find(|part| part.ends_with("/withdraw")).unwrap().to_owned();
    owner.post(&withdraw, &[]).await.expect(303);
    mei.get(&second).await.expect(404);
    owner.post(&withdraw, &[]).await.expect(404);
    // An admin asks somebody in, and is no admin any more.
    let (_, adam) = app.member(&person, "adam@acme.example", "admin").await;
    let admin = Browser::of(&app, "adam@acme.example").await;
    let third = invite(&admin, MEI, "admin").await;
    mei.get(&third).await.expect(200);
    owner.get("/w/acme/people").await;
    let fields = [("name", "Adam"), ("role", "member"), ("groups", "")];
    owner.post(&format!("/w/acme/people/{adam}"), &fields).await.expect(303);
    mei.get(&third).await.expect(404);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_link_lets_one_in_of_two_who_use_it_at_once(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _) = Browser::of_owner(&app).await;
    let path = invite(&owner, MEI, "member").await;
    let (one, two) = (Browser::new(&app), Browser::new(&app));
    let fields = [("name", "Mei"), ("password", PASSWORD)];
    let (first, second) = tokio::join!(one.post(&path, &fields), two.post(&path, &fields));
    let mut answers = [first.status.as_u16(), second.status.as_u16()];
    answers.sort_unstable();
    assert_eq!(answers, [303, 404]);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn each_role_is_told_what_it_may_not_do_and_may_not(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let (_, mia) = app.member(&person, "mia@acme.example", "member").await;
    app.member(&person, "aud@acme.example", "auditor").await;
    app.member(&person, "adam@acme.example", "admin").await;
    let member = Browser::of(&app, "mia@acme.example").await;
    member.get("/w/acme/people").await.expect(403);
    let auditor = Browser::of(&app, "aud@acme.example").await;
    let page = auditor.get("/w/acme/people").await.expect(200);
    assert!(text(&page.text).contains("Only owners and admins invite") && !page.text.contains("people/invite"));
    assert!(!page.text.contains("No open invitations"), "who is invited is not everybody's to see");
    let one = auditor.get(&format!("/w/acme/people/{mia}")).await.expect(200);
    assert!(text(&one.text).contains("Only owners and admins change people"));
    auditor.get("/w/acme/people/invite").await.expect(403);
    auditor.post("/w/acme/people/invite", &[("email", MEI), ("role", "member")]).await.expect(403);
    auditor.post(&format!("/w/acme/people/{mia}"), &[("name", "M"), ("role", "owner")]).await.expect(403);
    auditor.post(&format!("/w/acme/people/{mia}/remove"), &[]).await.expect(403);
    // An admin makes no owner and touches none.
    let admin = Browser::of(&app, "adam@acme.example").await;
    let form = admin.get("/w/acme/people/invite").await.expect(200);
    assert!(!form.text.contains("value=\"owner\""));
    let refused = admin.post("/w/acme/people/invite", &[("email", MEI), ("role", "owner")]).await.expect(422);
    assert!(text(&refused.text).contains("Only owners make, change and remove owners."), "{}", text(&refused.text));
    let own = owner.get("/w/acme/people").await;
    let olive = own.text.split('"').find(|part| part.starts_with("/w/acme/people/mem_")).unwrap().to_owned();
    assert!(text(&admin.get(&olive).await.expect(200).text).contains("Only owners change owners"));
    admin.post(&olive, &[("name", "O"), ("role", "member")]).await.expect(422);
    admin.post(&format!("{olive}/remove"), &[]).await.expect(403);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_last_owner_stays_and_others_are_changed_and_removed(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let (_, mia) = app.member(&person, "mia@acme.example", "member").await;
    let page = owner.get("/w/acme/people").await.expect(200);
    let olive = page.text.split('"').find(|part| part.starts_with("/w/acme/people/mem_")).unwrap().to_owned();
    assert!(text(&owner.get(&olive).await.expect(200).text).contains("The last owner"));
    let stays = owner.post(&olive, &[("name", "Olive"), ("role", "member")]).await.expect(422);
    assert!(text(&stays.text).contains("always has an owner"), "{}", text(&stays.text));
    owner.post(&format!("{olive}/remove"), &[]).await.expect(409);
    let path = format!("/w/acme/people/{mia}");
    let wrong = owner.post(&path, &[("name", "Mia"), ("role", "king"), ("groups", "")]).await.expect(422);
    assert!(text(&wrong.text).contains("Choose one."), "{}", text(&wrong.text));
    owner.post(&path, &[("name", "Mia"), ("role", "member"), ("groups", "Not A Group")]).await.expect(422);
    let fields = [("name", "Mia \u{202e}aiM"), ("role", "auditor"), ("groups", "on-call, engineering")];
    owner.post(&path, &fields).await.expect(303);
    let list = owner.get("/w/acme/people").await.expect(200);
    assert!(list.text.contains("on-call") && list.text.contains("U+202E") && !list.text.contains('\u{202e}'));
    let mia = Browser::of(&app, "mia@acme.example").await;
    mia.get("/w/acme/people").await.expect(200);
    owner.post(&format!("{path}/remove"), &[]).await.expect(303);
    mia.get("/w/acme/people").await.expect(404);
    owner.get(&path).await.expect(404);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn another_workspace_s_people_are_not_there(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let (_, mia) = app.member(&person, "mia@acme.example", "member").await;
    app.stranger(&person).await;
    invite(&owner, MEI, "member").await;
    let list = owner.get("/w/acme/people").await;
    let withdraw = list.text.split('"').find(|part| part.ends_with("/withdraw")).unwrap();
    let stranger = Browser::of(&app, "greta@globex.example").await;
    stranger.get("/account").await;
    for path in ["/w/acme/people", "/w/acme/people/invite", &format!("/w/globex/people/{mia}")] {
        stranger.get(path).await.expect(404);
    }
    for path in [format!("/w/globex/people/{mia}/remove"), withdraw.replace("acme", "globex"), withdraw.to_owned()] {
        stranger.post(&path, &[]).await.expect(404);
    }
    let fields = [("name", "M"), ("role", "owner")];
    stranger.post(&format!("/w/globex/people/{mia}"), &fields).await.expect(404);
    // Who is known elsewhere is asked like anybody else.
    stranger.get("/w/globex/people/invite").await.expect(200);
    let asked = stranger.post("/w/globex/people/invite", &[("email", "mia@acme.example"), ("role", "member")]).await;
    asked.expect(200);
    let twice =
        stranger.post("/w/globex/people/invite", &[("email", "greta@globex.example"), ("role", "member")]).await;
    let told = twice.expect(422);
    assert!(text(&told.text).contains("greta@globex.example is in this workspace already."), "{}", text(&told.text));
    assert!(text(&told.text).contains("Open Somebody") && told.text.contains("/w/globex/people/mem_"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn two_who_change_a_person_at_once_lose_nothing(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let (_, mia) = app.member(&person, "mia@acme.example", "member").await;
    app.member(&person, "ada@acme.example", "admin").await;
    let admin = Browser::of(&app, "ada@acme.example").await;
    let path = format!("/w/acme/people/{mia}");
    let was = [("was_name", "Somebody"), ("was_role", "member"), ("was_groups", "")];
    let form = |fields: [(&'static str, &'static str); 3]| [fields.as_slice(), &was].concat();
    assert!(owner.get(&path).await.expect(200).text.contains("name=\"was_role\" value=\"member\""));
    admin.get(&path).await.expect(200);
    admin.post(&path, &form([("name", "Somebody"), ("role", "auditor"), ("groups", "")])).await.expect(303);
    // The role was another's to change, the groups are mine: both stand.
    owner.post(&path, &form([("name", "Somebody"), ("role", "member"), ("groups", "on-call")])).await.expect(303);
    let members = app.get(&person, &format!("{}/members", person.path())).await.json().to_string();
    assert!(members.contains("\"auditor\"") && members.contains("on-call"), "{members}");
    // Both changed the role: I am told who was first, and keep what I typed.
    let mine = form([("name", "Mia T."), ("role", "policy_author"), ("groups", "on-call")]);
    let asked = owner.post(&path, &mine).await.expect(409);
    super::markup::check_page("conflict", &asked);
    let shown = text(&asked.text);
    assert!(shown.contains("What you sent was not saved"), "{shown}");
    assert!(shown.contains("Role: Auditor is kept, your form holds Policy author"), "{shown}");
    assert!(asked.text.contains("value=\"Mia T.\"") && asked.text.contains("name=\"was_role\" value=\"auditor\""));
    assert!(!text(&owner.get("/w/acme/people").await.text).contains("Mia T."));
    // Saved again, now that I know, it is mine.
    let now = [("was_name", "Somebody"), ("was_role", "auditor"), ("was_groups", "on-call")];
    owner.post(&path, &[&mine[..3], &now].concat()).await.expect(303);
    assert!(text(&owner.get("/w/acme/people").await.text).contains("Mia T."));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn two_owners_who_remove_each_other_leave_one(pool: PgPool) {
    let app = App::new(&pool).await;
    let (olive, person) = Browser::of_owner(&app).await;
    let (_, otto) = app.member(&person, "otto@acme.example", "owner").await;
    let otto_browser = Browser::of(&app, "otto@acme.example").await;
    let list = olive.get("/w/acme/people").await;
    let places: Vec<&str> = list.text.split('"').filter(|part| part.starts_with("/w/acme/people/mem_")).collect();
    let of_olive = places.iter().find(|path| !path.ends_with(&otto)).unwrap();
    let of_otto = format!("/w/acme/people/{otto}");
    olive.get(&of_otto).await.expect(200);
    otto_browser.get(of_olive).await.expect(200);
    for _ in 0..4 {
        let (of_otto, of_olive) = (format!("{of_otto}/remove"), format!("{of_olive}/remove"));
        let (one, two) = tokio::join!(olive.post(&of_otto, &[]), otto_browser.post(&of_olive, &[]));
        assert!(!one.status.is_server_error() && !two.status.is_server_error(), "{} {}", one.text, two.text);
    }
    let owners = "select count(*) from memberships where role = 'owner'";
    assert_eq!(app.one_of_tenant::<i64>(&person, owners).await, 1);
}
