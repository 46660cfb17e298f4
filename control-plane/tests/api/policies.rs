use serde_json::json;
use sqlx::PgPool;

use crate::app::{App, tool};

const ALL: &str = "permit (principal, action, resource);";

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_text_is_checked_against_the_tenants_own_tools(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    app.server(&owner, "wiki", &[tool("search", "x")]).await;
    let policies = format!("{}/policies", owner.path());
    let text = |tool: &str| format!("permit (principal, action == Sluice::Action::\"call:wiki/{tool}\", resource);");
    let refused = app.post(&owner, &policies, json!({"name": "a", "text": text("serch")})).await.expect(422);
    assert_eq!(refused.json()["type"], "policy-wrong");
    assert_eq!(refused.json()["errors"][0]["line"], 1);
    app.post(&owner, &policies, json!({"name": "a", "text": text("search")})).await.expect(201);
    let check = format!("{}/policy-checks", owner.path());
    assert_eq!(app.post(&owner, &check, json!({"text": "permit ("})).await.expect(200).json()["accepted"], false);
    assert_eq!(app.post(&owner, &check, json!({"text": ALL})).await.expect(200).json()["accepted"], true);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_version_is_in_force_once_activated_and_can_be_rolled_back(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let policies = format!("{}/policies", owner.path());
    let id = app.post(&owner, &policies, json!({"name": "a", "text": ALL})).await.expect(201).text_at("/policy/id");
    let path = format!("{policies}/{id}");
    let active = async || {
        let mut tx = store::TenantTx::begin(&pool, owner.tenant).await.unwrap();
        let texts = store::policies::list_active(&mut tx).await.unwrap();
        texts.iter().map(|text| text.version).collect::<Vec<_>>()
    };
    assert!(active().await.is_empty());
    app.post(&owner, &format!("{path}/activate"), json!({"revision": 1, "version": 1})).await.expect(200);
    let text = "forbid (principal, action, resource);";
    app.post(&owner, &format!("{path}/versions"), json!({"revision": 2, "text": text})).await.expect(201);
    assert_eq!(active().await, [1]);
    app.post(&owner, &format!("{path}/activate"), json!({"revision": 3, "version": 2})).await.expect(200);
    assert_eq!(active().await, [2]);
    app.post(&owner, &format!("{path}/activate"), json!({"revision": 4, "version": 1})).await.expect(200);
    assert_eq!(active().await, [1]);
    app.post(&owner, &format!("{path}/activate"), json!({"revision": 5, "version": 3})).await.expect(404);
    app.post(&owner, &format!("{path}/activate"), json!({"revision": 4, "version": 2})).await.expect(409);
    assert_eq!(app.get(&owner, &format!("{path}/versions/2")).await.expect(200).json()["text"], text);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_starting_pack_says_what_it_does_to_the_tenants_tools(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    app.server(&owner, "wiki", &[tool("search", "x"), tool("delete_page", "x")]).await;
    let packs = app.get(&owner, &format!("{}/policy-packs", owner.path())).await.expect(200).json();
    let counts: Vec<String> = packs["packs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pack| format!("{} {} {} {}", pack["pack"], pack["allowed"], pack["approval"], pack["denied"]))
        .collect();
    insta::assert_snapshot!(counts.join("\n"), @r#"
    "read_only" 1 0 1
    "ask_before_writes" 1 1 0
    "observe_everything" 2 0 0
    "#);
    for (number, pack) in packs["packs"].as_array().unwrap().iter().enumerate() {
        let body = json!({"name": format!("pack {number}"), "text": pack["text"]});
        app.post(&owner, &format!("{}/policies", owner.path()), body).await.expect(201);
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_name_is_used_once_until_its_policy_is_removed(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let policies = format!("{}/policies", owner.path());
    let body = json!({"name": "a", "text": ALL});
    let id = app.post(&owner, &policies, body.clone()).await.expect(201).text_at("/policy/id");
    assert_eq!(app.post(&owner, &policies, body.clone()).await.expect(409).json()["type"], "name-taken");
    app.delete(&owner, &format!("{policies}/{id}")).await.expect(204);
    app.get(&owner, &format!("{policies}/{id}")).await.expect(404);
    app.post(&owner, &policies, body).await.expect(201);
}
