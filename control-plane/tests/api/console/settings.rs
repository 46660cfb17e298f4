//! The settings of a workspace.

use axum::body::Body;
use sqlx::PgPool;

use super::browser::Browser;
use super::markup::text;
use super::servers::values;
use crate::app::App;

const PATH: &str = "/w/acme/settings";

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn each_form_changes_its_own_part(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let page = owner.get(PATH).await.expect(200);
    assert!(text(&page.text).contains("https://mcp.example.com/acme/mcp"));
    owner.post(PATH, &[("title", "Acme <b>Rockets</b>"), ("slug", "other"), ("revision", "9")]).await.expect(303);
    owner.post(PATH, &[("prefix", "on_conflict")]).await.expect(303);
    owner.post(PATH, &[("blind_max_s", "15")]).await.expect(303);
    let tenant = app.get(&person, &person.path()).await.expect(200).json();
    let kept = (tenant["title"].as_str(), tenant["prefix"].as_str(), tenant["blind_max_s"].as_u64());
    assert_eq!(kept, (Some("Acme <b>Rockets</b>"), Some("on_conflict"), Some(15)));
    assert_eq!(tenant["slug"], "acme");
    // What another tab asks for by itself in between is not where it is said.
    owner.get_part("/w/acme").await.expect(200);
    let page = owner.get(PATH).await.expect(200);
    assert!(page.text.contains("The settings are saved.") && !page.text.contains("<b>Rockets"));
}

/// How many changes of a workspace's configuration there were, and how many are recorded.
async fn changes(app: &App, person: &crate::app::Person) -> (i64, i64) {
    let records = app.one_of_tenant(person, "select count(*) from audit_inbox").await;
    (app.one_of_tenant(person, "select revision from tenant_settings").await, records)
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_form_that_changes_nothing_says_so_and_makes_nothing_new(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let server = app.server(&person, "wiki", &[crate::app::tool("search", "Searches.")]).await;
    let tools = app.get(&person, &format!("/tenants/acme/servers/{server}/tools")).await.expect(200);
    let (server, tool) = (format!("/w/acme/servers/{server}"), tools.text_at("/tools/0/id"));
    let rule = "permit (principal, action, resource);";
    let policy = serde_json::json!({"name": "All", "text": rule});
    let policy = app.post(&person, "/tenants/acme/policies", policy).await.expect(201).text_at("/policy/id");
    let policy = format!("/w/acme/policies/{policy}");
    let (_, mei) = app.member(&person, "mei@acme.example", "member").await;
    let page = owner.get(&format!("{server}/settings")).await.expect(200).text;
    let names = ["title", "endpoint", "alias", "labels", "timeout", "largest"];
    let settings: Vec<(&str, String)> = names.into_iter().map(|name| (name, values(&page, name)[0].clone())).collect();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (member, review) = (format!("/w/acme/people/{mei}"), format!("{server}/tools/{tool}"));
    let publish = format!("{policy}/versions/1/publish");
    // What comes first changes something; sent again it changes nothing.
    let text_of = |revision| [("text", rule), ("revision", revision), ("do", "save")];
    owner.post(&publish, &[("revision", "1")]).await.expect(303);
    owner.post(&review, &[("risk", "write"), ("labels", "env:prod")]).await.expect(303);
    owner.post(PATH, &[("title", "Acme Rockets")]).await.expect(303);
    let place = [("name", "Mei"), ("role", "member"), ("groups", "ops")];
    owner.post(&member, &place).await.expect(303);
    let before = changes(&app, &person).await;
    for (path, fields) in [
        (publish.as_str(), &[("revision", "2")][..]),
        (&policy, &text_of("2")[..]),
        (&review, &[("risk", "write"), ("labels", "env:prod")][..]),
        (&format!("{server}/settings"), &settings[..]),
        (PATH, &[("title", "Acme Rockets"), ("blind_max_s", "60")][..]),
        (&member, &place[..]),
    ] {
        let to = owner.post(path, fields).await.expect(303).location().to_owned();
        let said = text(&owner.get(&to).await.expect(200).text);
        assert!(said.contains("Nothing changed"), "{path}: {said}");
        assert_eq!(changes(&app, &person).await, before, "{path}");
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_does_not_fit_is_said_and_changes_nothing(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    owner.get(PATH).await;
    for (name, value, says) in [
        ("title", " ", "at most 100"),
        ("prefix", "sometimes", "Choose one."),
        ("blind_max_s", "61", "0 to 60"),
        ("blind_max_s", "-1", "0 to 60"),
    ] {
        let wrong = owner.post(PATH, &[(name, value)]).await.expect(422);
        assert!(text(&wrong.text).contains(says), "{name}={value}: {}", text(&wrong.text));
    }
    assert_eq!(app.get(&person, &person.path()).await.json()["blind_max_s"], 60);
    owner.send(Browser::form(PATH), Body::from("title=Forged")).await.expect(403);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn who_may_not_change_them_reads_them(pool: PgPool) {
    let app = App::new(&pool).await;
    let (_, person) = Browser::of_owner(&app).await;
    for (email, role) in
        [("pol@acme.example", "policy_author"), ("aud@acme.example", "auditor"), ("mia@acme.example", "member")]
    {
        app.member(&person, email, role).await;
        let browser = Browser::of(&app, email).await;
        let page = browser.get(PATH).await.expect(200);
        assert!(text(&page.text).contains("Only owners and admins") && !page.text.contains("name=\"title\""), "{role}");
        browser.post(PATH, &[("title", "Mine")]).await.expect(403);
    }
    app.stranger(&person).await;
    let stranger = Browser::of(&app, "greta@globex.example").await;
    stranger.get(PATH).await.expect(404);
    stranger.get("/account").await;
    stranger.post(PATH, &[("title", "Mine")]).await.expect(404);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn two_who_change_the_settings_at_once_lose_nothing(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    app.member(&person, "ada@acme.example", "admin").await;
    let admin = Browser::of(&app, "ada@acme.example").await;
    assert!(admin.get(PATH).await.expect(200).text.contains("name=\"was_blind_max_s\" value=\"60\""));
    owner.get(PATH).await;
    admin.post(PATH, &[("blind_max_s", "20"), ("was_blind_max_s", "60")]).await.expect(303);
    // Another field is nobody's quarrel, and a form that changes nothing takes nothing back.
    owner.post(PATH, &[("title", "Acme Corp"), ("was_title", "Acme")]).await.expect(303);
    owner.post(PATH, &[("blind_max_s", "60"), ("was_blind_max_s", "60")]).await.expect(303);
    let asked = owner.post(PATH, &[("blind_max_s", "30"), ("was_blind_max_s", "60")]).await.expect(409);
    super::markup::check_page("conflict", &asked);
    let shown = text(&asked.text);
    assert!(shown.contains("20 is kept, your form holds 30"), "{shown}");
    assert!(asked.text.contains("value=\"30\"") && asked.text.contains("name=\"was_blind_max_s\" value=\"20\""));
    assert_eq!(app.get(&person, &person.path()).await.json()["blind_max_s"], 20);
    owner.post(PATH, &[("blind_max_s", "30"), ("was_blind_max_s", "20")]).await.expect(303);
    let tenant = app.get(&person, &person.path()).await.json();
    assert_eq!((&tenant["blind_max_s"], &tenant["title"]), (&30.into(), &"Acme Corp".into()));
}
