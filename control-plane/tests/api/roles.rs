use serde_json::json;
use sqlx::PgPool;

use crate::app::{App, Person, tool};

/// Each operation with a body that fits: what stops a request is the role alone. An id that is nobody's gives 404 to
/// whoever may, 403 to whoever may not.
async fn operations(app: &App, owner: &Person) -> Vec<(&'static str, &'static str, String, serde_json::Value)> {
    let server = app.server(owner, "wiki", &[tool("search", "x")]).await;
    let nobody = domain::TokenId::new(&app.parts.clock).to_string();
    let id = |prefix: &str| nobody.replacen("tok", prefix, 1);
    let (path, revision) = (owner.path(), 999);
    let at = |rest: &str| format!("{path}{rest}");
    let (wiki, policy) = (at(&format!("/servers/{server}")), at(&format!("/policies/{}", id("pol"))));
    let mut operations = vec![
        ("see the tenant", "GET", at(""), json!(null)),
        ("change the tenant", "PATCH", at(""), json!({})),
        ("see what is live", "GET", at("/live"), json!(null)),
        ("see members", "GET", at("/members"), json!(null)),
        ("add a member", "POST", at("/members"), json!({"email": "none", "name": "x", "role": "member"})),
        ("change a member", "PATCH", at(&format!("/members/{}", id("mem"))), json!({})),
        ("remove a member", "DELETE", at(&format!("/members/{}", id("mem"))), json!(null)),
        ("see own gateway tokens", "GET", at("/gateway-tokens"), json!(null)),
        ("issue a gateway token", "POST", at("/gateway-tokens"), json!({"title": "x", "days": 0})),
        ("see own API tokens", "GET", at("/api-tokens"), json!(null)),
        ("issue an API token", "POST", at("/api-tokens"), json!({"title": "x", "days": 0})),
        ("see servers", "GET", at("/servers"), json!(null)),
        ("see a server's tools", "GET", format!("{wiki}/tools"), json!(null)),
        ("see a server's items", "GET", format!("{wiki}/items"), json!(null)),
        ("see a server's versions", "GET", format!("{wiki}/versions"), json!(null)),
        ("add a server", "POST", at("/servers"), json!({"key": "wiki", "title": "x", "endpoint": "ftp://x"})),
        ("change a server", "PATCH", wiki.clone(), json!({"revision": revision})),
        ("pause a server", "POST", at(&format!("/servers/{}/pause", id("srv"))), json!({})),
        ("resume a server", "POST", at(&format!("/servers/{}/resume", id("srv"))), json!({})),
        ("remove a server", "DELETE", at(&format!("/servers/{}", id("srv"))), json!(null)),
        ("probe an address", "POST", at("/probes"), json!({"endpoint": "ftp://x"})),
        ("probe a server", "POST", at(&format!("/servers/{}/probe", id("srv"))), json!({})),
        ("import a server", "POST", at(&format!("/servers/{}/import", id("srv"))), json!({})),
        ("accept a version", "POST", format!("{wiki}/versions/{}/accept", id("sver")), json!({})),
        ("reject a version", "POST", format!("{wiki}/versions/{}/reject", id("sver")), json!({})),
        ("change a tool", "PATCH", format!("{wiki}/tools/{}", id("tool")), json!({})),
        ("label an item", "PATCH", format!("{wiki}/items/{}", id("item")), json!({})),
        ("see a credential", "GET", format!("{wiki}/credential"), json!(null)),
        ("set a credential", "PUT", format!("{wiki}/credential"), json!({"kind": "bearer", "value": ""})),
        ("remove a credential", "DELETE", format!("{wiki}/credential"), json!(null)),
        ("see policies", "GET", at("/policies"), json!(null)),
        ("see starting packs", "GET", at("/policy-packs"), json!(null)),
        ("check a policy", "POST", at("/policy-checks"), json!({"text": ""})),
        ("write a policy", "POST", at("/policies"), json!({"name": "", "text": ""})),
        ("write a version", "POST", format!("{policy}/versions"), json!({"revision": 1, "text": ""})),
        ("remove a policy", "DELETE", policy.clone(), json!(null)),
        ("activate a policy", "POST", format!("{policy}/activate"), json!({"revision": 1, "version": 1})),
        ("deactivate a policy", "POST", format!("{policy}/deactivate"), json!({"revision": 1})),
    ];
    operations.extend(of_the_log(owner));
    operations.extend(of_destinations(owner, &id("dst")));
    operations.extend(of_one_with_personal_parts(app, owner).await);
    operations
}

/// The same of the log.
fn of_the_log(owner: &Person) -> Vec<(&'static str, &'static str, String, serde_json::Value)> {
    let at = |rest: &str| format!("{}{rest}", owner.path());
    vec![
        ("see the last checkpoint", "GET", at("/audit/checkpoint"), json!(null)),
        ("take a bundle of the log", "GET", at("/audit/bundle"), json!(null)),
        ("take one with personal parts", "GET", at("/audit/bundle?personal=true"), json!(null)),
    ]
}

/// The same of destinations.
fn of_destinations(owner: &Person, id: &str) -> Vec<(&'static str, &'static str, String, serde_json::Value)> {
    let all = format!("{}/audit/destinations", owner.path());
    let one = |rest: &str| format!("{all}/{id}{rest}");
    vec![
        ("see destinations", "GET", all.clone(), json!(null)),
        ("see a destination", "GET", one(""), json!(null)),
        ("see dead letters", "GET", one("/dead-letters"), json!(null)),
        (
            "add a destination",
            "POST",
            all.clone(),
            json!({"name": "", "settings": {"kind": "webhook", "url": "ftp://x"}}),
        ),
        (
            "add one with personal parts",
            "POST",
            all.clone(),
            json!({"name": "x", "settings": {"kind": "webhook", "url": "ftp://x"}, "personal": true}),
        ),
        ("change a destination", "PATCH", one(""), json!({"revision": 1})),
        ("remove a destination", "DELETE", one(""), json!(null)),
        ("start a destination", "POST", one("/start"), json!({})),
        ("pause a destination", "POST", one("/pause"), json!({})),
        ("test a destination", "POST", one("/test"), json!({})),
        ("replay to a destination", "POST", one("/replay"), json!({"seq": 0})),
        ("end a replay", "DELETE", one("/replay"), json!(null)),
        ("send dead letters again", "POST", one("/dead-letters/resend"), json!({})),
    ]
}

/// The same of a destination that is sent what is personal: what is there takes more than what is nowhere.
async fn of_one_with_personal_parts(
    app: &App,
    owner: &Person,
) -> Vec<(&'static str, &'static str, String, serde_json::Value)> {
    let all = format!("{}/audit/destinations", owner.path());
    let settings = json!({"kind": "webhook", "url": "https://siem.example/"});
    let new = json!({"name": "with personal parts", "settings": settings, "personal": true});
    let id = app.post(owner, &all, new).await.expect(201).text_at("/id");
    let one = |rest: &str| format!("{all}/{id}{rest}");
    vec![
        ("start one with personal parts", "POST", one("/start"), json!({})),
        ("pause it", "POST", one("/pause"), json!({})),
        ("replay to it", "POST", one("/replay"), json!({"seq": 0})),
        ("end its replay", "DELETE", one("/replay"), json!(null)),
        ("send its dead letters again", "POST", one("/dead-letters/resend"), json!({})),
    ]
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn each_role_does_what_it_may_and_nothing_else(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let operations = operations(&app, &owner).await;
    let roles = ["owner", "admin", "policy_author", "auditor", "member"];
    let mut table = String::from("owner admin author auditor member\n");
    let mut people = Vec::new();
    for role in roles {
        people.push(app.member(&owner, &format!("{role}@acme.example"), role).await.0);
    }
    for (name, method, path, body) in &operations {
        for person in &people {
            let body = (!body.is_null()).then(|| body.to_string());
            let answer = app.send(method, path, Some(&person.token), body).await;
            assert!(!answer.status.is_server_error(), "{name}: {}", answer.text);
            let mark = match answer.status.as_u16() {
                403 => "no    ",
                401 => panic!("{name}: {}", answer.text),
                _ => "yes   ",
            };
            table.push_str(mark);
        }
        table.push_str(name);
        table.push('\n');
    }
    insta::assert_snapshot!(table, @r"
    owner admin author auditor member
    yes   yes   yes   yes   yes   see the tenant
    yes   yes   no    no    no    change the tenant
    yes   yes   yes   yes   no    see what is live
    yes   yes   yes   yes   no    see members
    yes   yes   no    no    no    add a member
    yes   yes   no    no    no    change a member
    yes   yes   no    no    no    remove a member
    yes   yes   yes   yes   yes   see own gateway tokens
    yes   yes   yes   no    yes   issue a gateway token
    yes   yes   yes   yes   yes   see own API tokens
    yes   yes   yes   no    yes   issue an API token
    yes   yes   yes   yes   no    see servers
    yes   yes   yes   yes   no    see a server's tools
    yes   yes   yes   yes   no    see a server's items
    yes   yes   yes   yes   no    see a server's versions
    yes   yes   no    no    no    add a server
    yes   yes   no    no    no    change a server
    yes   yes   no    no    no    pause a server
    yes   yes   no    no    no    resume a server
    yes   yes   no    no    no    remove a server
    yes   yes   no    no    no    probe an address
    yes   yes   no    no    no    probe a server
    yes   yes   no    no    no    import a server
    yes   yes   no    no    no    accept a version
    yes   yes   no    no    no    reject a version
    yes   yes   no    no    no    change a tool
    yes   yes   no    no    no    label an item
    yes   yes   yes   yes   no    see a credential
    yes   yes   no    no    no    set a credential
    yes   yes   no    no    no    remove a credential
    yes   yes   yes   yes   no    see policies
    yes   yes   yes   yes   no    see starting packs
    yes   yes   yes   no    no    check a policy
    yes   yes   yes   no    no    write a policy
    yes   yes   yes   no    no    write a version
    yes   yes   yes   no    no    remove a policy
    yes   yes   no    no    no    activate a policy
    yes   yes   no    no    no    deactivate a policy
    yes   yes   yes   yes   no    see the last checkpoint
    yes   yes   no    yes   no    take a bundle of the log
    yes   no    no    yes   no    take one with personal parts
    yes   yes   no    yes   no    see destinations
    yes   yes   no    yes   no    see a destination
    yes   yes   no    yes   no    see dead letters
    yes   yes   no    no    no    add a destination
    yes   no    no    no    no    add one with personal parts
    yes   yes   no    no    no    change a destination
    yes   yes   no    no    no    remove a destination
    yes   yes   no    no    no    start a destination
    yes   yes   no    no    no    pause a destination
    yes   yes   no    no    no    test a destination
    yes   yes   no    no    no    replay to a destination
    yes   yes   no    no    no    end a replay
    yes   yes   no    no    no    send dead letters again
    yes   no    no    no    no    start one with personal parts
    yes   yes   no    no    no    pause it
    yes   no    no    no    no    replay to it
    yes   yes   no    no    no    end its replay
    yes   no    no    no    no    send its dead letters again
    ");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_refusal_names_the_permission(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let (member, _) = app.member(&owner, "mia@acme.example", "member").await;
    let answer = app.get(&member, &format!("{}/servers", owner.path())).await;
    insta::assert_snapshot!(answer.shown(), @r#"
    403 Forbidden
    {"type":"not-permitted","title":"Your role does not allow this","status":403,"detail":"`servers.view` is required"}
    "#);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.headers["cache-control"], "no-store");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_policy_in_force_is_removed_by_whoever_may_publish(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let (author, _) = app.member(&owner, "pat@acme.example", "policy_author").await;
    let body = json!({"name": "all", "text": "permit (principal, action, resource);"});
    let policies = format!("{}/policies", owner.path());
    let policy = app.post(&author, &policies, body).await.expect(201).text_at("/policy/id");
    let path = format!("{policies}/{policy}");
    app.post(&owner, &format!("{path}/activate"), json!({"revision": 1, "version": 1})).await.expect(200);
    app.delete(&author, &path).await.expect(403);
    app.post(&owner, &format!("{path}/deactivate"), json!({"revision": 2})).await.expect(200);
    app.delete(&author, &path).await.expect(204);
}
