//! Connecting a client.

use serde_json::json;
use sqlx::PgPool;

use super::activity::seed;
use super::browser::Browser;
use super::markup::{tags, text};
use crate::app::{App, tool};

/// The token on a page.
fn secret(html: &str) -> Option<&str> {
    let start = html.find("slc_")?;
    let end = html[start..].find(|char: char| !char.is_ascii_alphanumeric() && char != '_')?;
    Some(&html[start..start + end])
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn each_client_is_told_its_own_way(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _) = Browser::of_owner(&app).await;
    for (client, says) in [
        ("claude-code", "claude mcp add --transport http sluice https://mcp.example.com/acme/mcp"),
        ("codex", "codex mcp add sluice --url https://mcp.example.com/acme/mcp"),
        ("cursor", "~/.cursor/mcp.json"),
        ("vscode", "code --add-mcp"),
        ("other", "Authorization: Bearer YOUR_TOKEN"),
        ("<script>", "claude mcp add"),
    ] {
        let page = owner
            .get(&format!("/w/acme/connect?client={}", client.replace('<', "%3C").replace('>', "%3E")))
            .await
            .expect(200);
        assert!(text(&page.text).contains(says), "{client}: {}", text(&page.text));
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_token_is_issued_in_place_and_shown_once(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    owner.get("/w/acme/connect").await.expect(200);
    let fields = [("client", "cursor"), ("user", "usr_x"), ("days", "9999")];
    let way = owner.post("/w/acme/connect/token", &fields).await.expect(303).location().to_owned();
    let issued = owner.get(&way).await.expect(200);
    let token = secret(&issued.text).unwrap().to_owned();
    assert!(token.starts_with("slc_") && !way.contains(&token), "{way}");
    let link = tags(&issued.text)
        .into_iter()
        .find_map(|tag| tag.get("href").map(str::to_owned).filter(|href| href.starts_with("cursor:")));
    assert!(link.is_some(), "no link for Cursor");
    assert!(text(&issued.text).contains("codex mcp add"), "the other clients' ways are beside it");
    // Loaded again, it is not there.
    assert_eq!(owner.get(&way).await.expect(303).location(), "/w/acme/connect?client=cursor");
    assert_eq!(secret(&owner.get("/w/acme/connect?client=cursor").await.expect(200).text), None);
    let kept = app.get(&person, "/tenants/acme/gateway-tokens").await.expect(200).json();
    let kept = kept["tokens"].as_array().unwrap();
    assert_eq!((kept.len(), &kept[0]["title"]), (1, &json!("Cursor")));
    assert!(!kept[0].to_string().contains(&token));
    // Ninety days, whatever was sent.
    let days = |name: &str| kept[0][name].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert_eq!((days("expires_at") - days("issued_at")).num_days(), 90);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_token_is_issued_only_where_it_can_be_shown(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    owner.get("/w/acme/connect").await.expect(200);
    // Where it would rest until it is shown is away.
    sqlx::query("alter table shown_once rename to elsewhere").execute(&pool).await.unwrap();
    let failed = owner.post("/w/acme/connect/token", &[("client", "cursor")]).await.expect(500);
    let said = text(&failed.text);
    assert!(said.contains("not known whether your change was made") && !said.contains("nothing was changed"), "{said}");
    let kept = app.get(&person, "/tenants/acme/gateway-tokens").await.expect(200).json();
    assert_eq!(kept["tokens"], json!([]), "nobody has seen it, and nobody can");
    sqlx::query("alter table elsewhere rename to shown_once").execute(&pool).await.unwrap();
    // What the page says beside the token is away: it waits until it can be shown.
    let way = owner.post("/w/acme/connect/token", &[("client", "cursor")]).await.expect(303).location().to_owned();
    sqlx::query("alter table policies rename to elsewhere").execute(&pool).await.unwrap();
    let looked = text(&owner.get(&way).await.expect(500).text);
    assert!(!looked.contains("your change"), "looking changes nothing: {looked}");
    sqlx::query("alter table elsewhere rename to policies").execute(&pool).await.unwrap();
    assert!(secret(&owner.get(&way).await.expect(200).text).is_some());
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_double_click_issues_one_token(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let page = owner.get("/w/acme/connect?client=codex").await.expect(200);
    let mark = page.text.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let fields = [("client", "codex"), ("form", &*mark)];
    let (one, two) =
        tokio::join!(owner.post("/w/acme/connect/token", &fields), owner.post("/w/acme/connect/token", &fields));
    assert_eq!(one.expect(303).location(), two.expect(303).location());
    let tokens = async || {
        let kept = app.get(&person, "/tenants/acme/gateway-tokens").await.expect(200).json();
        kept["tokens"].as_array().unwrap().len()
    };
    assert_eq!(tokens().await, 1);
    // The page opened again has a form of its own.
    let again = owner.get("/w/acme/connect?client=codex").await.expect(200);
    assert!(!again.text.contains(&mark));
    owner.post("/w/acme/connect/token", &[("client", "codex")]).await.expect(303);
    assert_eq!(tokens().await, 2);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn who_calls_nothing_connects_nothing(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    app.member(&person, "aud@acme.example", "auditor").await;
    app.member(&person, "mia@acme.example", "member").await;
    let auditor = Browser::of(&app, "aud@acme.example").await;
    let refused = auditor.get("/w/acme/connect").await.expect(403);
    let said = text(&refused.text);
    assert!(said.contains("Only owners, admins, policy authors and members call tools.Ask Olive."), "{said}");
    assert!(said.contains("You are an auditor here.") && refused.text.contains("/w/acme/activity"), "{said}");
    auditor.get("/account").await.expect(200);
    auditor.post("/w/acme/connect/token", &[("client", "codex")]).await.expect(403);
    auditor.post("/w/acme/connect/blocked", &[]).await.expect(403);
    let member = Browser::of(&app, "mia@acme.example").await;
    member.get("/w/acme/connect").await.expect(200);
    member.post("/w/acme/connect/token", &[("client", "codex")]).await.expect(303);
    // Another workspace is not there, and a form without its token does nothing.
    app.stranger(&person).await;
    let stranger = Browser::of(&app, "greta@globex.example").await;
    stranger.get("/account").await.expect(200);
    for path in ["/w/acme/connect", "/w/acme/connect/calls"] {
        stranger.get(path).await.expect(404);
    }
    stranger.post("/w/acme/connect/token", &[]).await.expect(404);
    stranger.post("/w/acme/connect/blocked", &[]).await.expect(404);
    let forged = owner.send(Browser::form("/w/acme/connect/token"), axum::body::Body::from("client=codex")).await;
    forged.expect(403);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_is_missing_for_a_first_call_is_said(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    assert!(text(&owner.get("/w/acme/connect").await.text).contains("There is no tool to call yet"));
    app.server(&person, "notes", &[tool("read_note", "Reads")]).await;
    assert!(text(&owner.get("/w/acme/connect").await.text).contains("No policy yet"));
    // Nobody can say what the nodes have, so nothing is tried.
    let tried = owner.post_part("/w/acme/connect/blocked", &[]).await.expect(200);
    assert!(!tried.text.contains("<html") && text(&tried.text).contains("Nothing was called"), "{}", tried.text);
    let whole = owner.post("/w/acme/connect/blocked", &[("client", "codex")]).await.expect(200);
    assert!(whole.text.contains("</html>") && text(&whole.text).contains("Nothing was called"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn it_listens_for_a_while_and_then_says_that_it_stopped(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _) = Browser::of_owner(&app).await;
    let polls = |html: &str| tags(html).iter().any(|tag| tag.get("hx-trigger") == Some("every 2s"));
    let part = owner.get_part("/w/acme/connect/calls").await.expect(200);
    assert!(!part.text.contains("<html") && polls(&part.text), "{}", part.text);
    let plain = owner.get("/w/acme/connect/calls").await.expect(200);
    assert!(plain.text.contains("</html>"), "a link to it opens the page");
    let hour_ago = (app.parts.clock.now() - chrono::Duration::hours(1)).format("%Y-%m-%dT%H:%M:%SZ");
    let stopped = owner.get_part(&format!("/w/acme/connect/calls?since={hour_ago}")).await.expect(200);
    assert!(!polls(&stopped.text) && text(&stopped.text).contains("Listen again"), "{}", stopped.text);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_call_is_told_as_activity_tells_it(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 2, 60).await;
    let denied = text(&owner.get("/w/acme/connect").await.expect(200).text);
    for part in [
        "Your latest call",
        "A policy forbids this call.",
        "Policy",
        "no-deletes",
        "1.9 ms, never left Sluice",
        "query not kept",
    ] {
        assert!(denied.contains(part), "{part} is not in {denied}");
    }
    assert!(!denied.to_lowercase().contains("rule"), "{denied}");
}
