//! The review of prompts, resources and templates on the pages of a server.

use serde_json::json;
use sqlx::PgPool;

use super::browser::Browser;
use super::markup::text;
use super::servers::values;
use crate::app::{App, tool};

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn items_wait_beside_tools_by_kind_and_name(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let server = app.server(&person, "wiki", &[tool("search", "x")]).await;
    let offer = |says: &str| {
        json!({"prompts": [{"name": "greet", "description": says}],
            "resources": [{"uri": "wiki://home", "name": "Home"}], "templates": [{"uriTemplate": "wiki://{id}"}]})
    };
    app.node_finds_items(&[tool("search", "x")], &offer("Greets."));
    let at = format!("/w/acme/servers/{server}");
    owner.get("/w/acme/servers").await.expect(200);
    let review = owner.post(&format!("{at}/refresh"), &[]).await.expect(303).location().to_owned();
    let page = owner.get(&review).await.expect(200);
    let said = text(&page.text);
    assert!(said.contains("3 changes wait for your decision"), "{said}");
    for shown in ["Prompt", "greet", "Greets.", "Resource", "wiki://home", "Resource template", "wiki://{id}"] {
        assert!(said.contains(shown), "{shown}: {said}");
    }
    assert!(text(&owner.get(&at).await.text).contains("3 changes held for review"));
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_was_left_out_is_said_on_the_page_of_the_server(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let server = app.server(&person, "wiki", &[tool("search", "x")]).await;
    let at = format!("/w/acme/servers/{server}");
    assert!(!text(&owner.get(&at).await.expect(200).text).contains("Not all"));
    app.node_finds_items(&[tool("search", "x")], &json!({"resources": [{"uri": "a://"}, {"uri": "a://"}]}));
    let review = owner.post(&format!("{at}/refresh"), &[]).await.expect(303).location().to_owned();
    for page in [&at, &review] {
        let said = text(&owner.get(page).await.expect(200).text);
        assert!(said.contains("Left out: resource 2 has the `uri` of one before it."), "{said}");
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn many_items_come_page_by_page(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let server = app.server(&person, "wiki", &[]).await;
    let many: Vec<_> = (0..120).map(|number| json!({"uri": format!("wiki://{number:03}")})).collect();
    app.node_finds_items(&[], &json!({"resources": many}));
    owner.get("/w/acme/servers").await.expect(200);
    let review = owner.post(&format!("/w/acme/servers/{server}/refresh"), &[]).await.expect(303).location().to_owned();
    let first = owner.get(&review).await.expect(200).text;
    let items = values(&first, "item");
    assert!(items.len() == 50 && text(&first).contains("50 of 120 prompts and resources"), "{}", text(&first));
    let second = owner.get(&format!("{review}?after_item={}", items[49])).await.expect(200).text;
    assert!(first.contains(&format!("after_item={}", items[49])));
    assert!(text(&second).contains("wiki://050") && !text(&second).contains("wiki://049"));
}
