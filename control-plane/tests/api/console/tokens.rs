use sqlx::PgPool;

use super::browser::Browser;
use super::markup::text;
use crate::app::{App, tool};

/// Issues a token, and gives the page that shows it and the path of its own page.
async fn issued(browser: &Browser<'_>, fields: &[(&str, &str)]) -> (String, String) {
    let way = browser.post("/w/acme/tokens/new", fields).await.expect(303).location().to_owned();
    let page = browser.get(&way).await.expect(200);
    (page.text, way.strip_suffix("/issued").unwrap().to_owned())
}

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
    assert!(text(&form.text).contains("1 tool today"), "{}", text(&form.text));
    assert!(form.text.contains(r#"name="risk" value="read" checked"#));
    let mark = form.text.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let fields = [("title", "Laptop"), ("days", "30"), ("risk", "read"), ("form", &*mark)];
    let way = owner.post("/w/acme/tokens/new", &fields).await.expect(303).location().to_owned();
    let issued = owner.get(&way).await.expect(200);
    let token = secret(&issued.text, "slc_");
    for line in [
        "claude mcp add --transport http sluice https://mcp.example.com/acme/mcp --header",
        "codex mcp add sluice --url https://mcp.example.com/acme/mcp --bearer-token-env-var SLUICE_TOKEN",
        "mcpServers",
        "code --add-mcp",
    ] {
        assert!(issued.text.contains(line), "{line}");
    }
    assert!(text(&issued.text).contains("1 tool, read only, in all servers"));
    // Nothing that is kept or sent on the way holds it.
    assert!(!way.contains(&token) && !format!("{:?}", owner.cookies()).contains(&token));
    let kept: String =
        app.one_of_tenant(&person, "select coalesce(string_agg(s::text, ''), '') from shown_once s").await;
    assert!(!kept.contains(&token) && !kept.contains(&hex::encode(&token)), "{kept}");
    // Loaded again it is not shown, and the form sent again issues nothing.
    for _ in 0..2 {
        let page = owner.get(&way).await.expect(303).location().to_owned();
        assert!(page.starts_with("/w/acme/tokens/gateway/tok_") && !page.ends_with("issued"), "{page}");
        let page = owner.get(&page).await.expect(200);
        assert!(!page.text.contains(&token) && text(&page.text).contains("shown once only"));
        assert_eq!(owner.post("/w/acme/tokens/new", &fields).await.expect(303).location(), way);
    }
    let list = owner.get("/w/acme/tokens").await.expect(200);
    assert!(!list.text.contains(&token) && text(&list.text).contains("Laptop"));
    assert_eq!(list.text.matches(">Laptop</a>").count(), 1);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn revoking_says_first_whom_it_stops(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _) = Browser::of_owner(&app).await;
    owner.get("/w/acme/tokens/new").await;
    let (_, path) = issued(&owner, &[("title", "Laptop"), ("days", "30")]).await;
    let page = text(&owner.get(&path).await.expect(200).text);
    assert!(page.contains("within a second") && page.contains("never used"), "{page}");
    owner.post(&path, &[]).await.expect(303);
    let page = text(&owner.get(&path).await.expect(200).text);
    assert!(!page.contains("What it may call") && !page.contains("Expires") && page.contains("Its calls"), "{page}");
    assert!(page.contains("Revoked") && !page.contains("Revoke token"), "{page}");
    assert!(!text(&owner.get("/w/acme/tokens").await.text).contains("Laptop"));
    assert!(text(&owner.get("/w/acme/tokens?show=ended").await.text).contains("Laptop"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn revoking_a_token_in_use_names_its_holder_and_what_stops(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let mei = serde_json::json!({"email": "mei@acme.example", "name": "Mei Tanaka", "role": "admin"});
    let mei = app.post(&person, "/tenants/acme/members", mei).await.expect(201).text_at("/id");
    owner.get("/w/acme/tokens/new").await;
    for kind in ["gateway", "api"] {
        let fields = [("title", "Laptop"), ("days", "30"), ("kind", kind), ("member", &*mei)];
        let (_, path) = issued(&owner, &fields).await;
        let said = async || {
            let page = owner.get(&path).await.expect(200).text;
            let (_, revoke) = page.split_once("id=\"h-revoke\"").unwrap();
            // What is said comes before the button.
            revoke.split_once("<button").unwrap().0.to_owned()
        };
        let unused = said().await;
        assert!(unused.contains("nothing stops") && !unused.contains("<time"), "{kind}: {}", text(&unused));
        let token: domain::TokenId = path.rsplit('/').next().unwrap().parse().unwrap();
        let (tenant, token) = (person.tenant.uuid(), token.uuid());
        let used = match kind {
            "gateway" => {
                format!("insert into token_last_used values ('{tenant}', '{token}', now() - interval '5 min')")
            }
            _ => format!("update api_tokens set last_used_at = now() - interval '5 min' where token_id = '{token}'"),
        };
        let role = if kind == "gateway" { "sluice_ingest" } else { "sluice_platform" };
        let used = format!("begin; set local role {role}; {used}; commit");
        sqlx::raw_sql(sqlx::AssertSqlSafe(used)).execute(&pool).await.unwrap();
        let in_use = said().await;
        let what = text(&in_use);
        assert!(what.contains("Mei Tanaka") && what.contains("5 min"), "{kind}: {what}");
        assert!(what.contains("stop") && !what.contains("nothing stops"), "{kind}: {what}");
        owner.post(&path, &[]).await.expect(303);
        assert!(!owner.get(&path).await.expect(200).text.contains("id=\"h-revoke\""), "{kind}");
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn many_tokens_come_page_by_page_and_each_list_by_itself(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    for kind in ["gateway", "api"] {
        for number in 0..53 {
            let body = serde_json::json!({"title": format!("{kind} {number}."), "days": 30});
            app.post(&person, &format!("/tenants/acme/{kind}-tokens"), body).await.expect(201);
        }
    }
    let next = |html: &str| -> Vec<String> {
        let links = html.split("href=\"").skip(1).filter(|rest| rest.contains(">Older</a>"));
        let links = links.map(|rest| rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&"));
        links.filter(|link| link.contains("after=")).collect()
    };
    let count = |html: &str, kind: &str| html.matches(&format!(">{kind} ")).count();
    let first = owner.get("/w/acme/tokens").await.expect(200).text;
    assert_eq!((count(&first, "gateway"), count(&first, "api")), (50, 50));
    assert!(text(&first).contains("50 of 53 tokens") && first.contains(">gateway 52.<"), "{}", text(&first));
    let [gateway, api] = <[String; 2]>::try_from(next(&first)).unwrap();
    let further = owner.get(&gateway).await.expect(200).text;
    assert_eq!((count(&further, "gateway"), count(&further, "api")), (3, 50), "{gateway}");
    assert!(further.contains(">gateway 0.<") && !further.contains(">gateway 3.<"));
    // From there the other list goes on, and this one stays.
    let both = owner.get(next(&further).last().unwrap()).await.expect(200).text;
    assert!(api.contains("api_after=") && count(&both, "gateway") == 3, "{}", text(&both));
    assert!(next(&both).is_empty() && both.contains(">api 0.<"), "{}", text(&both));
    // What is no token begins at the beginning.
    let from_start = owner.get("/w/acme/tokens?after=tok_none&api_after=x").await.expect(200).text;
    assert_eq!((count(&from_start, "gateway"), count(&from_start, "api")), (50, 50));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_is_wrong_with_a_token_is_said_at_its_field(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    app.server(&person, "wiki", &[tool("delete_page", "x")]).await;
    let (_, auditor) = app.member(&person, "ada@acme.example", "auditor").await;
    // No tool is as harmless as the least that is offered: what is chosen reaches what there is.
    let form = owner.get("/w/acme/tokens/new").await.expect(200);
    assert!(form.text.contains(r#"name="risk" value="" checked"#));
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
    let (_, owners) = issued(&owner, &[("title", "Owners"), ("days", "1")]).await;
    let mei = Browser::of(&app, "mei@acme.example").await;
    assert!(!text(&mei.get("/w/acme/tokens").await.expect(200).text).contains("Owners"));
    mei.get(&owners).await.expect(404);
    mei.get("/w/acme/tokens/new").await.expect(200);
    mei.post(&owners, &[]).await.expect(404);
    // Fields her form does not have do nothing for her.
    let for_other = [("title", "x"), ("days", "1"), ("member", &*ada_id)];
    mei.post("/w/acme/tokens/new", &for_other).await.expect(403);
    issued(&mei, &[("title", "Own"), ("days", "1"), ("kind", "api")]).await;
    let ada = Browser::of(&app, "ada@acme.example").await;
    assert!(text(&ada.get("/w/acme/tokens").await.expect(200).text).contains("Owners"));
    ada.get("/w/acme/tokens/new").await;
    issued(&ada, &[("title", "For Mei"), ("days", "1"), ("member", &*mei_id)]).await;
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
    let (page, path) = issued(&owner, &[("title", "<b>Laptop\u{202e}"), ("days", "1")]).await;
    assert!(!page.contains("<b>Laptop"));
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
    assert!(text(&owner.get(&path).await.text).contains("Active"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_token_is_shown_to_the_browser_that_issued_it_and_to_no_other(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    app.member(&person, "ada@acme.example", "admin").await;
    owner.get("/w/acme/tokens/new").await;
    for kind in ["gateway", "api"] {
        let fields = [("title", "Laptop"), ("days", "1"), ("kind", kind)];
        let way = owner.post("/w/acme/tokens/new", &fields).await.expect(303).location().to_owned();
        assert!(way.starts_with(&format!("/w/acme/tokens/{kind}/tok_")), "{way}");
        // Neither an admin nor the same person in another browser sees it, and both leave it where it is.
        for email in ["ada@acme.example", "olive@acme.example"] {
            let other = Browser::of(&app, email).await;
            assert_eq!(other.get(&way).await.expect(303).location(), way.replace("/issued", "?show=once"));
        }
        owner.get(&way).await.expect(200);
    }
    // What is not looked at for a while is gone.
    let fields = [("title", "Late"), ("days", "1")];
    let way = owner.post("/w/acme/tokens/new", &fields).await.expect(303).location().to_owned();
    let late = "update shown_once set ends_at = now() - interval '1 second'";
    assert_eq!(app.in_tenant(&person, late).await, 3);
    owner.get(&way).await.expect(303);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_form_that_is_sent_twice_at_once_issues_one_token(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let (_, mei) = app.member(&person, "mei@acme.example", "member").await;
    owner.get("/w/acme/tokens/new").await;
    let fields = [("title", "Laptop"), ("days", "1"), ("form", "00112233445566778899aabbccddeeff")];
    let (one, two) = tokio::join!(owner.post("/w/acme/tokens/new", &fields), owner.post("/w/acme/tokens/new", &fields));
    assert_eq!(one.expect(303).location(), two.expect(303).location());
    // Another form is another token, for whomever and whatever its name.
    let other = [("title", "Laptop"), ("days", "1"), ("member", &*mei), ("form", "10112233445566778899aabbccddeeff")];
    owner.post("/w/acme/tokens/new", &other).await.expect(303);
    assert_eq!(owner.get("/w/acme/tokens").await.text.matches(">Laptop</a>").count(), 2);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_api_token_says_when_it_was_last_used(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    owner.get("/w/acme/tokens/new").await;
    let (page, path) = issued(&owner, &[("title", "Script"), ("days", "1"), ("kind", "api")]).await;
    assert!(text(&owner.get(&path).await.text).contains("It was never used, so nothing stops"));
    let script = crate::app::Person { token: secret(&page, "sla_"), ..person };
    app.get(&script, &script.path()).await.expect(200);
    let page = text(&owner.get(&path).await.expect(200).text);
    assert!(
        page.contains("Last used just now") || page.contains("Last used 0 s ago") || page.contains("It was used"),
        "{page}"
    );
    let last = "select last_used_at from api_tokens where title = 'Script'";
    let first: chrono::DateTime<chrono::Utc> = app.one_of_tenant(&script, last).await;
    app.get(&script, &script.path()).await.expect(200);
    let second: chrono::DateTime<chrono::Utc> = app.one_of_tenant(&script, last).await;
    assert_eq!(first, second, "written once a minute at most");
    let listed = app.get(&script, &format!("{}/api-tokens", script.path())).await.expect(200).json();
    assert!(listed["tokens"].as_array().unwrap().iter().any(|token| token["last_used_at"].is_string()), "{listed}");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn whoever_sees_no_servers_chooses_among_those_they_reach(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let wiki = app.server(&person, "wiki", &[tool("search", "x")]).await;
    app.server(&person, "payroll", &[tool("list_salaries", "x")]).await;
    app.member(&person, "mei@acme.example", "member").await;
    let mei = Browser::of(&app, "mei@acme.example").await;
    let page = text(&mei.get("/w/acme/tokens/new").await.expect(200).text);
    assert!(!page.contains("wiki") && !page.contains("payroll") && !page.contains("2 tools"), "{page}");
    let rule = "permit (principal, action == Sluice::Action::\"call:wiki/search\", resource);";
    app.in_force(&person, "Wiki", rule).await;
    let page = text(&mei.get("/w/acme/tokens/new").await.expect(200).text);
    assert!(page.contains("wiki") && !page.contains("payroll") && page.contains("1 tool"), "{page}");
    assert!(text(&owner.get("/w/acme/tokens/new").await.text).contains("payroll"));
    issued(&mei, &[("title", "x"), ("days", "1"), ("servers", "some"), ("server", &*wiki)]).await;
}
