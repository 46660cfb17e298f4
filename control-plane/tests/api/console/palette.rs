//! The command palette.

use sqlx::PgPool;

use super::browser::Browser;
use super::markup::{check_tags, tags, text};
use crate::app::{App, tool};

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn it_finds_what_a_person_may_see_and_nothing_else(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    app.server(&person, "notes", &[tool("read_note", "Reads")]).await;
    let (_, mia) = app.member(&person, "mia@acme.example", "member").await;
    let part = owner.get_part("/w/acme/palette?q=NOTE").await.expect(200);
    assert!(!part.text.contains("<html"), "{}", part.text);
    check_tags("the palette", &tags(&part.text));
    let found = text(&part.text);
    assert!(found.contains("notes Server") || found.contains("notesServer"), "{found}");
    assert!(found.contains("notes__read_note"), "by the name that agents call it: {found}");
    let tool = owner.get_part("/w/acme/palette?q=notes__re").await.expect(200);
    assert!(tool.text.contains("/tools/tool_"), "to its own page: {}", tool.text);
    let people = owner.get_part("/w/acme/palette?q=someb").await.expect(200);
    assert!(people.text.contains(&format!("/w/acme/people/{mia}")), "{}", people.text);
    let page = owner.get("/w/acme/palette?q=note").await.expect(200);
    assert!(page.text.contains("<a href=\"/w/acme/servers/srv_"), "links where there is no script");
    let member = Browser::of(&app, "mia@acme.example").await;
    for wanted in ["note", "someb", "olive"] {
        assert_eq!(text(&member.get_part(&format!("/w/acme/palette?q={wanted}")).await.expect(200).text), "");
    }
    app.stranger(&person).await;
    let stranger = Browser::of(&app, "greta@globex.example").await;
    stranger.get_part("/w/acme/palette?q=note").await.expect(404);
    assert_eq!(text(&stranger.get_part("/w/globex/palette?q=note").await.expect(200).text), "");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn names_that_would_run_or_hide_are_shown(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let hostile = "<img src=x onerror=alert(1)>\u{202e}gnp";
    let (_, mia) = app.member(&person, "mia@acme.example", "member").await;
    owner.get("/w/acme/people").await;
    owner.post(&format!("/w/acme/people/{mia}"), &[("name", hostile), ("role", "member")]).await.expect(303);
    for part in [owner.get_part("/w/acme/palette?q=img").await, owner.get("/w/acme/palette?q=%3Cimg").await] {
        let part = part.expect(200);
        assert!(!part.text.contains("<img") && !part.text.contains('\u{202e}'), "{}", part.text);
        assert!(part.text.contains("U+202E"), "{}", part.text);
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_id_of_a_call_or_a_trace_leads_to_activity(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, _) = Browser::of_owner(&app).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let found = owner.get_part(&format!("/w/acme/palette?q={trace}")).await.expect(200);
    assert!(found.text.contains(&format!("/w/acme/activity?trace={trace}")), "{}", found.text);
}
