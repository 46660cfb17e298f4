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
async fn all_that_callers_would_be_given_can_be_read(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let server = app.server(&person, "wiki", &[]).await;
    let offer = |description: &str, icon: &str| {
        let prompt = json!({"name": "greet", "description": description, "icons": [{"src": icon}], "size": 7});
        json!({"prompts": [prompt]})
    };
    let long = tool("long", &format!("{}the end of a tool", "x".repeat(9_000)));
    app.node_finds_items(&[long], &offer(&format!("{}the end", "x".repeat(9_000)), "https://icons.example/first"));
    let at = format!("/w/acme/servers/{server}");
    owner.get("/w/acme/servers").await.expect(200);
    let refresh = async || owner.post(&format!("{at}/refresh"), &[]).await.expect(303).location().to_owned();
    let review = refresh().await;
    let said = text(&owner.get(&review).await.expect(200).text);
    for shown in ["https://icons.example/first", "&#34;size&#34;: 7", "the end&#34;", "the end of a tool"] {
        assert!(said.contains(shown), "{shown}: {said}");
    }
    assert_eq!(said.matches("more characters").count(), 2, "{said}");
    owner.post(&format!("{review}/accept"), &[("all", "1")]).await.expect(303);
    app.node_finds_items(&[], &offer("Greets.", "https://icons.example/second"));
    let said = text(&owner.get(&refresh().await).await.expect(200).text);
    assert!(said.contains("icons.example/first") && said.contains("icons.example/second"), "{said}");
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
