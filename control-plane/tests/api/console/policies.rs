use serde_json::json;
use sqlx::PgPool;

use super::browser::Browser;
use super::markup::{check_tags, tags, text};
use crate::app::{App, Person, tool};

const ALL: &str = "permit (principal, action, resource);";
const NONE: &str = "@id(\"no\")\n@visible\n@reason(\"Not today.\")\nforbid (principal, action, resource);";

/// A browser of the owner's, two tools, and the policy this text is of; its path.
async fn with_policy<'a>(app: &'a App, text: &str) -> (Browser<'a>, Person, String) {
    let (owner, person) = Browser::of_owner(app).await;
    app.server(&person, "wiki", &[tool("search", "x"), tool("delete_page", "x")]).await;
    owner.get("/w/acme/policies/new").await.expect(200);
    let sent = [("name", "Rules"), ("text", text), ("do", "save")];
    let path = owner.post("/w/acme/policies/new", &sent).await.expect(303).location().to_owned();
    (owner, person, path)
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_workspace_without_policies_is_offered_packs_counted_on_its_tools(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let page = owner.get("/w/acme/policies").await.expect(200);
    assert!(text(&page.text).contains("every call is denied"), "{}", text(&page.text));
    assert!(text(&page.text).contains("No tools yet"));
    app.server(&person, "wiki", &[tool("search", "x"), tool("delete_page", "x")]).await;
    let page = text(&owner.get("/w/acme/policies").await.expect(200).text);
    for said in
        ["Read-only", "1 allowed 1 denied", "1 allowed1 needs approval, so denied 0 denied", "2 allowed 0 denied"]
    {
        assert!(page.contains(said), "{said}: {page}");
    }
    let pack = owner.get("/w/acme/policies/new?pack=ask_before_writes").await.expect(200);
    assert!(pack.text.contains("value=\"Ask before writes\"") && pack.text.contains("ask-before-writes"));
    assert!(text(&pack.text).contains("Valid against"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_pack_is_in_force_at_one_press_and_the_way_leads_on(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let page = owner.get("/w/acme/policies").await.expect(200);
    assert!(page.text.contains("action=\"/w/acme/policies/begin\"") && page.text.contains("?pack=read_only"));
    let begin = [("pack", "read_only")];
    assert_eq!(owner.post("/w/acme/policies/begin", &begin).await.expect(303).location(), "/w/acme/connect");
    // Pressed twice, it is in force once.
    assert_eq!(owner.post("/w/acme/policies/begin", &begin).await.expect(303).location(), "/w/acme/connect");
    let list = app.get(&person, "/tenants/acme/policies").await.expect(200).json();
    assert_eq!(list["policies"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(list["policies"][0]["active_version"], 1, "{list}");
    let page = owner.get("/w/acme/policies").await.expect(200);
    assert!(!page.text.contains("/policies/begin") && text(&page.text).contains("Read-only"));
    // A policy of the pack's name that says something else is not touched.
    let sent = [("name", "Observe everything"), ("text", NONE), ("do", "save")];
    let other = owner.post("/w/acme/policies/new", &sent).await.expect(303).location().to_owned();
    let begun = owner.post("/w/acme/policies/begin", &[("pack", "observe_everything")]).await.expect(303);
    assert_eq!(begun.location(), other);
    assert!(text(&owner.get(&other).await.text).contains("Not in force"));
    owner.post("/w/acme/policies/begin", &[("pack", "anything")]).await.expect(422);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_policy_is_written_reviewed_published_rolled_back_and_switched_off(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _, path) = with_policy(&app, ALL).await;
    let page = text(&owner.get(&path).await.expect(200).text);
    assert!(page.contains("Not in force") && page.contains("Version 1"), "{page}");
    let review = owner.get(&format!("{path}/versions/1")).await.expect(200);
    assert!(text(&review.text).contains("What publishing it changes") && text(&review.text).contains("wiki__search"));
    assert!(text(&review.text).contains("Looser2"), "{}", text(&review.text));
    owner.post(&format!("{path}/versions/1/publish"), &[("revision", "1")]).await.expect(303);
    assert!(text(&owner.get(&path).await.text).contains("v1 is in force"));
    // As a form sends it: the line ends are not a change.
    let same = [("text", "permit (principal, action, resource);"), ("revision", "2"), ("do", "review")];
    assert!(owner.post(&path, &same).await.expect(303).location().ends_with("/versions/1"));
    let sent = [("text", &*NONE.replace('\n', "\r\n")), ("revision", "2"), ("do", "review")];
    assert!(owner.post(&path, &sent).await.expect(303).location().ends_with("/versions/2"));
    let review = owner.get(&format!("{path}/versions/2")).await.expect(200);
    assert!(text(&review.text).contains("Compared with version 1which is in force"), "{}", text(&review.text));
    assert!(text(&review.text).contains("Stricter2") && review.text.contains("<tr class=\"del\">"));
    assert!(!review.text.contains('\r'));
    owner.post(&format!("{path}/versions/2/publish"), &[("revision", "3")]).await.expect(303);
    let back = text(&owner.get(&format!("{path}/versions/1")).await.expect(200).text);
    assert!(back.contains("Roll back to v1"), "{back}");
    owner.post(&format!("{path}/versions/1/publish"), &[("revision", "4")]).await.expect(303);
    owner.post(&format!("{path}/deactivate"), &[("revision", "5")]).await.expect(303);
    assert!(text(&owner.get("/w/acme/policies").await.expect(200).text).contains("Not in force"));
    owner.post(&format!("{path}/remove"), &[]).await.expect(303);
    owner.get(&path).await.expect(404);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_text_with_errors_is_not_saved_and_its_errors_stand_at_their_lines(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _, path) = with_policy(&app, ALL).await;
    let wrong = "permit (principal, action, resource);\nforbid (principal, action == Sluice::Action::\"call:wiki/serch\", resource);";
    let part = owner.post_part("/w/acme/policies/check", &[("text", wrong)]).await.expect(200);
    check_tags("check", &tags(&part.text));
    assert!(part.text.contains("data-line=\"2\"") && part.text.contains("data-severity=\"error\""), "{}", part.text);
    let page = owner.get(&path).await;
    assert!(!page.text.contains("data-line"));
    let refused = owner.post(&path, &[("text", wrong), ("revision", "1"), ("do", "save")]).await.expect(422);
    assert!(refused.text.contains("serch") && text(&refused.text).contains("nothing was saved"));
    let checked = owner.post(&path, &[("text", wrong), ("revision", "1"), ("do", "check")]).await.expect(200);
    assert!(checked.text.contains("data-line=\"2\"") && text(&checked.text).contains("Version 1"));
    let taken = [("name", "Rules"), ("text", ALL), ("do", "save")];
    let refused = owner.post("/w/acme/policies/new", &taken).await.expect(422);
    assert!(text(&refused.text).contains("Another policy has this name"));
    owner.post("/w/acme/policies/new", &[("name", ""), ("text", ALL)]).await.expect(422);
    let big = owner.post("/w/acme/policies/new", &[("name", "Big"), ("text", &"a".repeat(300_000))]).await.expect(422);
    assert!(big.text.contains("value=\"Big\"") && text(&big.text).contains("it has 300000 bytes"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn whoever_saves_after_somebody_else_is_told_and_keeps_the_text(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _, path) = with_policy(&app, ALL).await;
    owner.post(&path, &[("text", NONE), ("revision", "1"), ("do", "save")]).await.expect(303);
    let mine = "permit (principal, action, resource);\n// mine";
    let told = owner.post(&path, &[("text", mine), ("revision", "1"), ("do", "save")]).await.expect(409);
    let said = text(&told.text);
    assert!(said.contains("Olive saved v2 while you were editing.Yours is not saved yet."), "{said}");
    assert!(told.text.contains("// mine") && said.contains("Save mine as v3") && said.contains("Drop mine, open v2"));
    assert!(!said.contains("Review and publish"), "nothing is published over another's text before it was seen");
    assert!(said.contains("Your draft, compared with version 2") && told.text.contains("<tr class=\"add\">"), "{said}");
    // What is sent next goes over what was told of.
    let revision = told.text.split("name=\"revision\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(revision, "2");
    let late = owner.post(&format!("{path}/versions/1/publish"), &[("revision", "1")]).await.expect(409);
    assert!(text(&late.text).contains("Nothing was published") && late.text.contains("value=\"2\""));
    owner.post(&format!("{path}/versions/2/publish"), &[("revision", "2")]).await.expect(303);
    let told = owner.post(&path, &[("text", mine), ("revision", "2"), ("seen", "2")]).await.expect(409);
    assert!(text(&told.text).contains("Somebody put v2 in force while you were editing."));
    owner.post(&path, &[("text", mine), ("revision", "3"), ("do", "save")]).await.expect(303);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn it_says_what_a_person_and_a_token_may_call_and_which_policy_says_so(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    app.server(&person, "wiki", &[tool("search", "x"), tool("delete_page", "x")]).await;
    let page = text(&owner.get("/w/acme/policies/access").await.expect(200).text);
    assert!(page.contains("No policy allows it"), "{page}");
    let pack = policy::packs::Pack::ReadOnly.text();
    owner.get("/w/acme/policies/new").await;
    let path = owner.post("/w/acme/policies/new", &[("name", "Pack"), ("text", pack)]).await.expect(303);
    let path = path.location().to_owned();
    owner.post(&format!("{path}/versions/1/publish"), &[("revision", "1")]).await.expect(303);
    let page = text(&owner.get("/w/acme/policies/access").await.expect(200).text);
    assert!(page.contains("DestructiveDenied Only tools that read"), "{page}");
    assert!(page.contains("ReadAllowed Members may call tools"), "{page}");
    let part = owner.get_part("/w/acme/policies/access?answer=deny&q=PAGE").await.expect(200);
    check_tags("access", &tags(&part.text));
    assert!(text(&part.text).contains("1 of 2 tools") && !part.text.contains("<html"));
    let (_, auditor) = app.member(&person, "ada@acme.example", "auditor").await;
    let page = owner.get(&format!("/w/acme/policies/access?member={auditor}")).await.expect(200);
    assert!(text(&page.text).contains("calls no tools"));
    let scope = json!({"servers": [], "tools": "all"});
    let body = json!({"title": "None", "days": 1, "scope": scope});
    let token = app.post(&person, &format!("{}/gateway-tokens", person.path()), body).await.expect(201);
    let page = owner.get(&format!("/w/acme/policies/access?token={}", token.text_at("/token/id"))).await.expect(200);
    assert!(text(&page.text).contains("The token does not reach it"));
    owner.get("/w/acme/policies/access?member=mbr_none").await.expect(404);
    owner.get("/w/acme/policies/access?token=tok_none").await.expect(404);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_editor_is_told_the_workspaces_own_words(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, ..) = with_policy(&app, ALL).await;
    let words = owner.get("/w/acme/policies/words").await.expect(200).json();
    assert_eq!(words["servers"], json!(["wiki"]));
    assert_eq!(words["tools"][0]["name"], "wiki/search");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn each_role_sees_and_does_what_it_may(pool: PgPool) {
    let app = App::new(&pool).await;
    let (_, person, path) = with_policy(&app, ALL).await;
    for (role, name) in [("policy_author", "pat"), ("auditor", "ada"), ("member", "mei")] {
        let email = format!("{name}@acme.example");
        app.member(&person, &email, role).await;
        let browser = Browser::of(&app, &email).await;
        let status = if role == "member" { 403 } else { 200 };
        for page in ["/w/acme/policies", &path, &format!("{path}/versions/1"), "/w/acme/policies/access"] {
            browser.get(page).await.expect(status);
        }
        browser.get("/w/acme/policies/words").await.expect(status);
        browser.get("/account").await.expect(200);
        let write = browser.post(&path, &[("text", NONE), ("revision", "1"), ("do", "check")]).await;
        write.expect(if role == "policy_author" { 200 } else { 403 });
        browser.get("/account").await;
        browser.post(&format!("{path}/versions/1/publish"), &[("revision", "1")]).await.expect(403);
        browser.post(&format!("{path}/deactivate"), &[("revision", "1")]).await.expect(403);
        browser.post("/w/acme/policies/begin", &[("pack", "read_only")]).await.expect(403);
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn another_tenants_policies_are_not_there(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person, path) = with_policy(&app, ALL).await;
    app.stranger(&person).await;
    let greta = Browser::of(&app, "greta@globex.example").await;
    let own = path.replace("/w/acme/", "/w/globex/");
    greta.get("/w/globex/policies").await.expect(200);
    for path in [&path, &own, "/w/acme/policies", "/w/acme/policies/live", &format!("{own}/versions/1")] {
        greta.get(path).await.expect(404);
    }
    greta.get("/w/globex/policies").await;
    for path in [&own, &format!("{own}/versions/1/publish"), &format!("{own}/deactivate"), &format!("{own}/remove")] {
        greta.post(path, &[("revision", "1"), ("text", ALL), ("do", "save")]).await.expect(404);
    }
    let without = owner.send(Browser::form(&format!("{path}/remove")), axum::body::Body::empty()).await;
    without.expect(403);
    owner.get(&path).await.expect(200);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn hostile_names_and_texts_are_shown_and_do_nothing(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let name = "<img src=x onerror=alert(1)>\u{202e}gp";
    app.server(&person, "wiki", &[tool("</textarea><script>", "x")]).await;
    owner.get("/w/acme/policies/new").await;
    let text = format!("// </textarea><script>alert(1)</script> \u{202e}\n@name(\"{}\")\n{ALL}", "</pre><script>");
    let path = owner.post("/w/acme/policies/new", &[("name", name), ("text", &text)]).await.expect(303);
    let path = path.location().to_owned();
    owner.post(&format!("{path}/versions/1/publish"), &[("revision", "1")]).await.expect(303);
    for page in ["/w/acme/policies", &path, &format!("{path}/versions/1"), "/w/acme/policies/access"] {
        let answer = owner.get(page).await.expect(200);
        assert!(!answer.text.contains("<img src=x") && !answer.text.contains("<script>"), "{page}");
        if page != path {
            assert!(!answer.text.contains('\u{202e}'), "{page}");
        }
    }
}
