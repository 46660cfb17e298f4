//! Fields that no form has, and forms that are sent twice at once.

use sqlx::PgPool;

use super::browser::{Browser, PASSWORD};
use super::routes::{OTHER_PASSWORD, World, everything, refs};
use super::sign_up::mailed;
use crate::app::App;

const OLIVE: &str = "olive@acme.example";

/// What somebody might hope that a form takes, too.
pub(super) const MORE: [(&str, &str); 24] = [
    ("role", "owner"),
    ("tenant", "acme"),
    ("tenant_id", "00000000-0000-0000-0000-000000000000"),
    ("workspace", "acme"),
    ("id", "x"),
    ("user", "x"),
    ("user_id", "00000000-0000-0000-0000-000000000000"),
    ("email", "eve@evil.example"),
    ("is_owner", "true"),
    ("is_accepted", "true"),
    ("state", "accepted"),
    ("active_version", "1"),
    ("version", "1"),
    ("issued_by", "x"),
    ("issued_at", "2020-01-01T00:00:00Z"),
    ("expires_at", "2099-01-01T00:00:00Z"),
    ("revoked_at", ""),
    ("created_at", "2020-01-01T00:00:00Z"),
    ("invited_by", "x"),
    ("found_by", "x"),
    ("phc", "x"),
    ("password_hash", "x"),
    ("paused", "true"),
    ("scope", "{}"),
];

/// The fields with all others that they do not have.
fn and_more<'a>(fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let more = MORE.into_iter().filter(|(name, _)| fields.iter().all(|(own, _)| own != name));
    fields.iter().copied().chain(more).collect()
}

/// A table as one line for each row.
async fn table(pool: &PgPool, name: &str) -> Vec<String> {
    everything(pool).await[name].lines().map(str::to_owned).collect()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn whoever_comes_in_by_a_link_is_what_the_link_says(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _) = Browser::of_owner(&app).await;
    owner.get("/w/acme/people/invite").await.expect(200);
    let asked = and_more(&[("email", "mei@acme.example"), ("role", "member")]);
    let path = mailed(&owner.post("/w/acme/people/invite", &asked).await.expect(200));
    let mei = Browser::new(&app);
    mei.post(&path, &and_more(&[("name", "Mei"), ("password", PASSWORD)])).await.expect(303);
    assert!(table(&pool, "memberships").await.iter().any(|row| row.contains("\"Mei\"") && row.contains("\"member\"")));
    assert!(!everything(&pool).await["users"].contains("evil.example"));
    mei.get("/w/acme/people").await.expect(403);
    // Signing up makes a workspace of one's own, and nobody a member of another.
    let ana = Browser::new(&app);
    let path = mailed(&ana.post("/sign-up", &and_more(&[("email", "ana@kestrel.example")])).await.expect(200));
    let fields = and_more(&[("name", "Ana"), ("password", PASSWORD), ("title", "Kestrel"), ("slug", "kestrel")]);
    ana.post(&path, &fields).await.expect(303);
    ana.get("/w/kestrel/people").await.expect(200);
    ana.get("/w/acme").await.expect(404);
    let fields = and_more(&[("name", "Ana"), ("title", "Second"), ("slug", "second")]);
    ana.post("/workspaces/new", &fields).await.expect(303);
    assert_eq!(table(&pool, "memberships").await.iter().filter(|row| row.contains("\"Ana\"")).count(), 2);
    assert!(!everything(&pool).await["users"].contains("evil.example"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn fields_that_no_form_has_change_nothing(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let world = World::of(&app, (&owner, &person), OLIVE).await;
    owner.get("/account").await.expect(200);
    let send = async |route: &str, status: u16| {
        let fields = world.fields(route);
        let fields: Vec<(&str, &str)> = refs(&fields);
        owner.post(&world.path(route), &and_more(&fields)).await.expect(status)
    };
    // A token is one's own, and ends when it was said to.
    let tokens = table(&pool, "gateway_tokens").await;
    send("/w/{tenant}/tokens/new", 303).await;
    let issued: Vec<String> =
        table(&pool, "gateway_tokens").await.into_iter().filter(|row| !tokens.contains(row)).collect();
    assert_eq!(issued.len(), 1);
    assert!(!issued[0].contains("2099") && !issued[0].contains("\"2020-"), "{}", issued[0]);
    // A policy is saved, and not in force; a server comes unreviewed and in service; a version waits.
    send("/w/{tenant}/policies/new", 303).await;
    send("/w/{tenant}/policies/{policy}", 303).await;
    let policies = table(&pool, "policies").await;
    assert!(policies.len() == 2 && policies.iter().all(|row| row.contains("\"active_version\": null")), "{policies:?}");
    app.node_finds(&[crate::app::tool("search", "x")]);
    send("/w/{tenant}/servers/add", 303).await;
    send("/w/{tenant}/servers/{server}/settings", 303).await;
    let servers = table(&pool, "servers").await;
    assert!(servers.iter().all(|row| row.contains("\"paused\": false")), "{servers:?}");
    let of_other = servers.iter().find(|row| row.contains("\"key\": \"other\"")).unwrap();
    assert!(of_other.contains("_id\": null") || of_other.contains("version\": null"), "{of_other}");
    assert!(table(&pool, "server_versions").await.iter().filter(|row| row.contains("\"held\"")).count() == 2);
    // The workspace keeps its slug, a person their address, a credential its server.
    send("/w/{tenant}/settings", 303).await;
    assert!(table(&pool, "tenants").await.iter().all(|row| row.contains("\"slug\": \"acme\"")));
    let users = table(&pool, "users").await;
    send("/w/{tenant}/people/{member}", 303).await;
    send("/w/{tenant}/servers/{server}/credential", 303).await;
    send("/account/password", 303).await;
    assert_eq!(table(&pool, "users").await, users);
    owner.get("/w/acme").await.expect(200);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn no_token_lasts_longer_than_a_year_or_is_for_whoever_is_more(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    app.member(&person, "adam@acme.example", "admin").await;
    app.member(&person, "mia@acme.example", "member").await;
    let before = (table(&pool, "gateway_tokens").await, table(&pool, "api_tokens").await);
    owner.get("/w/acme/tokens/new").await.expect(200);
    for kind in ["", "api"] {
        for days in ["0", "366", "-1", "1e3", "4294967297", "99999999999999999999", "", "1.5"] {
            let fields = [("kind", kind), ("title", "x"), ("days", days)];
            owner.post("/w/acme/tokens/new", &fields).await.expect(422);
        }
    }
    // An admin has no token of an owner's, a member none of anybody else's.
    let people = owner.get("/w/acme/people").await.expect(200).text;
    let members: Vec<&str> = people.split('"').filter_map(|part| part.strip_prefix("/w/acme/people/")).collect();
    let members: Vec<&str> = members.into_iter().filter(|part| part.starts_with("mem_")).collect();
    assert_eq!(members.len(), 3);
    let page = async |browser: &Browser<'_>| browser.get("/account").await.expect(200);
    let (adam, mia) = (Browser::of(&app, "adam@acme.example").await, Browser::of(&app, "mia@acme.example").await);
    page(&adam).await;
    page(&mia).await;
    for kind in ["", "api"] {
        let form = |member| [("kind", kind), ("title", "x"), ("days", "7"), ("member", member)];
        adam.post("/w/acme/tokens/new", &form(members[0])).await.expect(403);
        mia.post("/w/acme/tokens/new", &form(members[0])).await.expect(403);
        mia.post("/w/acme/tokens/new", &form(members[1])).await.expect(403);
    }
    assert_eq!(before, (table(&pool, "gateway_tokens").await, table(&pool, "api_tokens").await));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_link_that_is_used_twice_at_once_is_used_once(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let world = World::of(&app, (&owner, &person), OLIVE).await;
    for route in ["/sign-up/{token}", "/reset/{token}", "/invitations/{token}"] {
        let (path, fields) = (world.path(route), world.fields(route));
        let browsers: Vec<Browser<'_>> = (0..6).map(|_| Browser::new(&app)).collect();
        let answers = futures_util::future::join_all(browsers.iter().map(|browser| {
            let fields = refs(&fields);
            let path = &path;
            async move { browser.post(path, &fields).await.status.as_u16() }
        }));
        let mut answers = answers.await;
        answers.sort_unstable();
        assert_eq!(answers, [303, 404, 404, 404, 404, 404], "{route}");
        assert_eq!(browsers.iter().filter(|browser| browser.session().is_some()).count(), 1, "{route}");
    }
    // The one of a changed address, from one session twice.
    owner.get("/account").await.expect(200);
    let path = world.path("/account/email/{token}");
    let (first, second) = tokio::join!(owner.post(&path, &[]), owner.post(&path, &[]));
    let done = [first, second].iter().filter(|answer| answer.location() == "/account").count();
    assert_eq!(done, 1);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_link_is_no_more_once_another_was_mailed_or_the_password_is_another(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _) = Browser::of_owner(&app).await;
    let visitor = Browser::new(&app);
    let forgot = async || mailed(&visitor.post("/forgot", &[("email", OLIVE)]).await.expect(200));
    let (first, second) = (forgot().await, forgot().await);
    visitor.get(&first).await.expect(404);
    visitor.post(&first, &[("password", OTHER_PASSWORD)]).await.expect(404);
    visitor.get(&second).await.expect(200);
    owner.get("/account").await.expect(200);
    let change = [("present", PASSWORD), ("email", "thief@evil.example")];
    let change = mailed(&owner.post("/account/email", &change).await.expect(200));
    owner.post("/account/password", &[("present", PASSWORD), ("password", OTHER_PASSWORD)]).await.expect(303);
    visitor.get(&second).await.expect(404);
    owner.get("/account").await.expect(200);
    owner.post(&change, &[]).await.expect(404);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn two_owners_who_remove_each_other_at_once_leave_one(pool: PgPool) {
    let app = App::new(&pool).await;
    let (olive, person) = Browser::of_owner(&app).await;
    let mut other = "otto@acme.example".to_owned();
    for round in 0..4 {
        let (_, otto) = app.member(&person, &other, "owner").await;
        let two = Browser::of(&app, &other).await;
        let page = olive.get("/w/acme/people").await.expect(200);
        two.get("/w/acme/people").await.expect(200);
        let mut paths = page.text.split('"').filter(|part| part.starts_with("/w/acme/people/mem_"));
        let own = paths.find(|path| !path.ends_with(&otto)).unwrap().to_owned();
        let theirs = format!("/w/acme/people/{otto}");
        let demoted = [("name", "M"), ("role", "member"), ("groups", "")];
        let (first, second) = if round % 2 == 0 {
            let (theirs, own) = (format!("{theirs}/remove"), format!("{own}/remove"));
            tokio::join!(async { olive.post(&theirs, &[]).await }, async { two.post(&own, &[]).await })
        } else {
            tokio::join!(olive.post(&theirs, &demoted), two.post(&own, &demoted))
        };
        let owners = table(&pool, "memberships").await.iter().filter(|row| row.contains("\"owner\"")).count();
        assert_eq!(owners, 1, "round {round}: {} and {}", first.status, second.status);
        if olive.get("/w/acme/people/invite").await.status != 200 {
            return;
        }
        other = format!("otto{round}@acme.example");
    }
}
