//! What one may call oneself.

use serde_json::json;
use sqlx::PgPool;

use super::browser::Browser;
use super::markup::{check_tags, tags, text};
use crate::app::{App, Person, tool};

const RULES: &str = "@id(\"search\")\n\
    permit (principal, action == Sluice::Action::\"call:wiki/search\", resource);\n\
    @id(\"no\")\n@visible\n@reason(\"Pages are kept.\")\n\
    forbid (principal, action == Sluice::Action::\"call:wiki/delete_page\", resource);";

async fn set_up(app: &App) -> Person {
    let (_, person) = Browser::of_owner(app).await;
    app.server(&person, "wiki", &[tool("search", "x"), tool("delete_page", "x")]).await;
    app.server(&person, "payroll", &[tool("list_salaries", "x")]).await;
    app.in_force(&person, "House rules", RULES).await;
    person
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn each_role_sees_what_it_may_call_and_why(pool: PgPool) {
    let app = App::new(&pool).await;
    let person = set_up(&app).await;
    for role in ["admin", "policy_author", "member"] {
        let email = format!("{role}@acme.example");
        app.member(&person, &email, role).await;
        let browser = Browser::of(&app, &email).await;
        let page = browser.get("/w/acme/access").await.expect(200);
        let shown = text(&page.text);
        assert!(shown.contains("wiki__search") && shown.contains("House rules"), "{role}: {shown}");
        assert!(shown.contains("delete_page") && shown.contains("Pages are kept."), "{role}: {shown}");
        assert!(!shown.contains("payroll"), "{role} does not see it at the gateway: {shown}");
        assert_eq!(page.text.contains("/w/acme/policies/pol_"), role != "member", "{role}: a link to the policy");
        let part = browser.get_part("/w/acme/access?q=SEARCH").await.expect(200);
        check_tags("own", &tags(&part.text));
        assert!(part.text.contains("search") && !part.text.contains("delete_page") && !part.text.contains("<html"));
    }
    app.member(&person, "ada@acme.example", "auditor").await;
    let auditor = Browser::of(&app, "ada@acme.example").await;
    let page = text(&auditor.get("/w/acme/access").await.expect(200).text);
    assert!(page.contains("Your role here is Auditor") && !page.contains("delete_page"), "{page}");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn nobody_asks_there_about_anybody_else(pool: PgPool) {
    let app = App::new(&pool).await;
    let person = set_up(&app).await;
    let (_, olga) = app.member(&person, "olga@acme.example", "member").await;
    app.member(&person, "mei@acme.example", "member").await;
    let body = |member: Option<&str>| json!({"title": "Of Olga", "days": 1, "member": member});
    let path = format!("{}/gateway-tokens", person.path());
    let hers = app.post(&person, &path, body(Some(&olga))).await.expect(201).text_at("/token/id");
    let mei = Browser::of(&app, "mei@acme.example").await;
    let own = mei.get("/w/acme/access").await.expect(200);
    let asked = mei.get(&format!("/w/acme/access?member={olga}")).await.expect(200);
    assert_eq!(text(&own.text), text(&asked.text));
    for token in [hers.as_str(), "tok_none"] {
        mei.get(&format!("/w/acme/access?token={token}")).await.expect(404);
    }
    mei.get("/w/acme/policies/access").await.expect(403);
    // Not even the owner here: the page for that is another.
    let owner = Browser::of(&app, "olive@acme.example").await;
    owner.get(&format!("/w/acme/access?token={hers}")).await.expect(404);
    app.stranger(&person).await;
    Browser::of(&app, "greta@globex.example").await.get("/w/acme/access").await.expect(404);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn why_policies_do_not_fit_is_not_a_members_to_read(pool: PgPool) {
    let app = App::new(&pool).await;
    let person = set_up(&app).await;
    app.member(&person, "mei@acme.example", "member").await;
    let broken = "update policy_versions set text = 'permit (principal, action, resource) when { secret_word };'";
    assert_eq!(app.in_tenant(&person, broken).await, 1);
    let mei = Browser::of(&app, "mei@acme.example").await;
    let page = text(&mei.get("/w/acme/access").await.expect(200).text);
    assert!(page.contains("An owner can mend it") && !page.contains("secret_word"), "{page}");
}
