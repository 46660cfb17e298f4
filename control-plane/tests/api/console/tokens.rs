use sqlx::PgPool;

use super::browser::Browser;
use super::markup::text;
use crate::app::{App, tool};

/// The token a page shows.
fn secret(page: &str, prefix: &str) -> String {
    let start = page.find(&format!("<code>{prefix}")).unwrap() + "<code>".len();
    page[start..].split('<').next().unwrap().to_owned()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_token_is_shown_once_with_the_set_up_of_each_client(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    app.server(&person, "wiki", &[tool("search", "x"), tool("delete_page", "x")]).await;
    let form = owner.get("/w/acme/tokens/new").await.expect(200);
    assert!(text(&form.text).contains("1 tool of now"), "{}", text(&form.text));
    let opened = form.text.split("name=\"opened\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let fields = [("title", "Laptop"), ("days", "30"), ("risk", "read"), ("opened", &*opened)];
    let issued = owner.post("/w/acme/tokens/new", &fields).await.expect(200);
    super::markup::check_page("issued", &issued);
    let token = secret(&issued.text, "slc_");
    for line in [
        "claude mcp add --transport http sluice https://mcp.example.com/acme/mcp --header",
        "codex mcp add sluice --url https://mcp.example.com/acme/mcp --bearer-token-env-var SLUICE_TOKEN",
        "mcpServers",
        "code --add-mcp",
    ] {
        assert!(issued.text.contains(line), "{line}");
    }
    assert!(text(&issued.text).contains("1 tool of now, in all servers"));
    // Loaded again it is issued no second time, and not shown.
    let again = owner.post("/w/acme/tokens/new", &fields).await.expect(303);
    assert!(again.location().starts_with("/w/acme/tokens/gateway/tok_"), "{}", again.location());
    let page = owner.get(again.location()).await.expect(200);
    assert!(!page.text.contains(&token) && text(&page.text).contains("issued already"));
    let list = owner.get("/w/acme/tokens").await.expect(200);
    assert!(!list.text.contains(&token) && text(&list.text).contains("Laptop"));
    assert_eq!(list.text.matches(">Laptop</a>").count(), 1);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn revoking_says_first_whom_it_stops(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _) = Browser::of_owner(&app).await;
    owner.get("/w/acme/tokens/new").await;
    let fields = [("title", "Laptop"), ("days", "30"), ("opened", "1")];
    owner.post("/w/acme/tokens/new", &fields).await.expect(200);
    let path = owner.post("/w/acme/tokens/new", &fields).await.expect(303).location().to_owned();
    let page = text(&owner.get(&path).await.expect(200).text);
    assert!(page.contains("within a second") && page.contains("never used"), "{page}");
    owner.post(&path, &[]).await.expect(303);
    let page = text(&owner.get(&path).await.expect(200).text);
    assert!(page.contains("Revoked") && !page.contains("Revoke token"), "{page}");
    assert!(!text(&owner.get("/w/acme/tokens").await.text).contains("Laptop"));
    assert!(text(&owner.get("/w/acme/tokens?show=ended").await.text).contains("Laptop"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_is_wrong_with_a_token_is_said_at_its_field(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    app.server(&person, "wiki", &[tool("delete_page", "x")]).await;
    let (_, auditor) = app.member(&person, "ada@acme.example", "auditor").await;
    owner.get("/w/acme/tokens/new").await;
    for (fields, said) in [
        (vec![("title", ""), ("days", "30")], "1 to 100 characters"),
        (vec![("title", "a"), ("days", "366")], "1 to 365"),
        (vec![("title", "a"), ("days", "-1")], "1 to 365"),
        (vec![("title", "a"), ("days", "1"), ("servers", "some")], "at least one server"),
        (vec![("title", "a"), ("days", "1"), ("servers", "some"), ("server", "srv_none")], "no such server"),
        (vec![("title", "a"), ("days", "1"), ("risk", "read")], "would reach nothing"),
        (vec![("title", "a"), ("days", "1"), ("member", &*auditor)], "calls no tools"),
    ] {
        let page = owner.post("/w/acme/tokens/new", &fields).await.expect(422);
        assert!(text(&page.text).contains(said), "{said}: {}", text(&page.text));
    }
    assert!(text(&owner.get("/w/acme/tokens").await.text).contains("No gateway token"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn each_role_issues_and_sees_what_it_may(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let (_, mei_id) = app.member(&person, "mei@acme.example", "member").await;
    let (_, ada_id) = app.member(&person, "ada@acme.example", "admin").await;
    app.member(&person, "otto@acme.example", "auditor").await;
    owner.get("/w/acme/tokens/new").await;
    let fields = [("title", "Owners"), ("days", "1"), ("opened", "1")];
    owner.post("/w/acme/tokens/new", &fields).await.expect(200);
    let owners = owner.post("/w/acme/tokens/new", &fields).await.expect(303).location().to_owned();
    let mei = Browser::of(&app, "mei@acme.example").await;
    assert!(!text(&mei.get("/w/acme/tokens").await.expect(200).text).contains("Owners"));
    mei.get(&owners).await.expect(404);
    mei.get("/w/acme/tokens/new").await.expect(200);
    mei.post(&owners, &[]).await.expect(404);
    // Fields her form does not have do nothing for her.
    let for_other = [("title", "x"), ("days", "1"), ("member", &*ada_id)];
    mei.post("/w/acme/tokens/new", &for_other).await.expect(403);
    mei.post("/w/acme/tokens/new", &[("title", "Own"), ("days", "1"), ("kind", "api")]).await.expect(200);
    let ada = Browser::of(&app, "ada@acme.example").await;
    assert!(text(&ada.get("/w/acme/tokens").await.expect(200).text).contains("Owners"));
    ada.get("/w/acme/tokens/new").await;
    ada.post("/w/acme/tokens/new", &[("title", "For Mei"), ("days", "1"), ("member", &*mei_id)]).await.expect(200);
    assert!(text(&mei.get("/w/acme/tokens").await.text).contains("For Mei"));
    let otto = Browser::of(&app, "otto@acme.example").await;
    let page = text(&otto.get(&owners).await.expect(200).text);
    assert!(page.contains("Only its holder"), "{page}");
    otto.get("/w/acme/tokens/new").await.expect(403);
    otto.post(&owners, &[]).await.expect(403);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn another_tenants_tokens_are_not_there(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    owner.get("/w/acme/tokens/new").await;
    let fields = [("title", "<b>Laptop\u{202e}"), ("days", "1"), ("opened", "1")];
    assert!(!owner.post("/w/acme/tokens/new", &fields).await.expect(200).text.contains("<b>Laptop"));
    let path = owner.post("/w/acme/tokens/new", &fields).await.expect(303).location().to_owned();
    for page in ["/w/acme/tokens", &path] {
        let answer = owner.get(page).await.expect(200);
        assert!(!answer.text.contains("<b>Laptop") && !answer.text.contains('\u{202e}'), "{page}");
    }
    app.stranger(&person).await;
    let greta = Browser::of(&app, "greta@globex.example").await;
    greta.get("/w/globex/tokens").await.expect(200);
    for path in [path.clone(), path.replace("/acme/", "/globex/"), "/w/acme/tokens".to_owned()] {
        greta.get(&path).await.expect(404);
    }
    greta.get("/w/globex/tokens/new").await.expect(200);
    greta.post(&path.replace("/acme/", "/globex/"), &[]).await.expect(404);
    owner.send(Browser::form(&path), axum::body::Body::empty()).await.expect(403);
    assert!(text(&owner.get(&path).await.text).contains("Good"));
}
