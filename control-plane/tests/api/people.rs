use serde_json::json;
use sqlx::PgPool;

use crate::app::App;

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_first_tenant_is_made_once(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let first = control_plane::First {
        slug: "other".parse().unwrap(),
        title: "Other".to_owned(),
        owner_email: "eve@other.example".to_owned(),
        owner_name: "Eve".to_owned(),
    };
    let again = control_plane::bootstrap(&pool, &app.parts.master, &app.parts.clock, first).await.unwrap();
    assert!(again.is_none());
    let tenant = app.get(&owner, &owner.path()).await.expect(200);
    assert_eq!(tenant.text_at("/mcp_url"), "https://mcp.example.com/acme/mcp");
    let by_id = app.get(&owner, &format!("/tenants/{}", owner.tenant)).await.expect(200);
    assert_eq!(tenant.text, by_id.text);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_last_owner_neither_leaves_nor_steps_down(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let own = app.get(&owner, &format!("{}/members", owner.path())).await.text_at("/members/0/id");
    let path = format!("{}/members/{own}", owner.path());
    insta::assert_snapshot!(app.delete(&owner, &path).await.shown(), @r#"
    409 Conflict
    {"type":"last-owner","title":"A tenant always has an owner","status":409,"detail":"make somebody else an owner first"}
    "#);
    app.patch(&owner, &path, json!({"role": "admin"})).await.expect(409);
    app.member(&owner, "odd@acme.example", "owner").await;
    app.patch(&owner, &path, json!({"role": "admin"})).await.expect(200);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn two_owners_who_leave_at_once_do_not_both_leave(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let (other, other_id) = app.member(&owner, "odd@acme.example", "owner").await;
    let own_id = app.get(&owner, &format!("{}/members", owner.path())).await.text_at("/members/0/id");
    let (one, two) = (format!("{}/members/{own_id}", owner.path()), format!("{}/members/{other_id}", owner.path()));
    let (one, two) = tokio::join!(app.delete(&owner, &one), app.delete(&other, &two));
    let mut left = [one.status.as_u16(), two.status.as_u16()];
    left.sort_unstable();
    assert_eq!(left, [204, 409]);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn an_admin_concerns_no_owners_and_makes_none(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let (admin, admin_id) = app.member(&owner, "ada@acme.example", "admin").await;
    let members = format!("{}/members", owner.path());
    let owner_id = app.get(&owner, &members).await.text_at("/members/0/id");
    insta::assert_snapshot!(
        app.patch(&admin, &format!("{members}/{admin_id}"), json!({"role": "owner"})).await.shown(), @r#"
    403 Forbidden
    {"type":"not-permitted","title":"Your role does not allow this","status":403,"detail":"`owners.manage` is required"}
    "#);
    let body = json!({"email": "eve@acme.example", "name": "Eve", "role": "owner"});
    app.post(&admin, &members, body).await.expect(403);
    app.patch(&admin, &format!("{members}/{owner_id}"), json!({"role": "member"})).await.expect(403);
    app.delete(&admin, &format!("{members}/{owner_id}")).await.expect(403);
    // A token acts as its holder: issuing an owner's would be the same.
    for kind in ["api-tokens", "gateway-tokens"] {
        let body = json!({"title": "x", "member": owner_id, "days": 1});
        app.post(&admin, &format!("{}/{kind}", owner.path()), body).await.expect(403);
    }
    app.post(&admin, &members, json!({"email": "mo@acme.example", "name": "Mo", "role": "admin"})).await.expect(201);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn whoever_is_removed_has_no_token_left(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let (member, id) = app.member(&owner, "mia@acme.example", "member").await;
    let tokens = format!("{}/gateway-tokens", owner.path());
    let issued = app.post(&member, &tokens, json!({"title": "laptop", "days": 30})).await.expect(201);
    app.delete(&owner, &format!("{}/members/{id}", owner.path())).await.expect(204);
    app.get(&member, &tokens).await.expect(401);
    let listed = app.get(&owner, &tokens).await.json();
    let token = listed["tokens"].as_array().unwrap().iter().find(|token| token["id"] == issued.json()["token"]["id"]);
    assert!(token.unwrap()["revoked_at"].is_string(), "{listed}");
    // Coming back gives none of them back.
    app.member(&owner, "mia@acme.example", "member").await;
    app.get(&member, &tokens).await.expect(401);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_role_that_was_taken_away_is_gone_with_the_next_request(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let (admin, id) = app.member(&owner, "ada@acme.example", "admin").await;
    app.patch(&owner, &format!("{}/members/{id}", owner.path()), json!({"role": "member"})).await.expect(200);
    app.get(&admin, &format!("{}/servers", owner.path())).await.expect(401);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_token_somebody_else_issued_does_not_rise_with_its_holder(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let (admin, _) = app.member(&owner, "ada@acme.example", "admin").await;
    // The token below was issued by the owner; an admin may issue one for Bob just as well, and keep it.
    let (bob, id) = app.member(&owner, "bob@acme.example", "member").await;
    app.patch(&owner, &format!("{}/members/{id}", owner.path()), json!({"role": "owner"})).await.expect(200);
    let eve = json!({"email": "eve@acme.example", "name": "Eve", "role": "owner"});
    app.post(&bob, &format!("{}/members", owner.path()), eve.clone()).await.expect(401);
    app.post(&admin, &format!("{}/members", owner.path()), eve).await.expect(403);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn only_an_owner_makes_another_tenant(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let wanted = |slug: &str| json!({"slug": slug, "title": "Other", "owner_name": "Somebody"});
    for role in ["admin", "policy_author", "member"] {
        let (caller, _) = app.member(&owner, &format!("{role}@acme.example").replace('_', "-"), role).await;
        app.post(&caller, "/tenants", wanted("others")).await.expect(403);
    }
    app.post(&owner, "/tenants", wanted("others")).await.expect(201);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn changing_somebodys_groups_publishes_their_tokens_anew(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let (member, id) = app.member(&owner, "mia@acme.example", "member").await;
    let tokens = format!("{}/gateway-tokens", owner.path());
    app.post(&member, &tokens, json!({"title": "laptop", "days": 30})).await.expect(201);
    let waiting = async || {
        let mut tx = store::PlatformTx::begin(&pool).await.unwrap();
        let waiting = store::outbox::list(&mut tx, 100).await.unwrap();
        waiting.iter().filter(|row| matches!(row.what, store::outbox::Change::Token(_))).count()
    };
    let before = waiting().await;
    app.patch(&owner, &format!("{}/members/{id}", owner.path()), json!({"groups": ["support"]})).await.expect(200);
    assert_eq!(waiting().await, before + 1);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn adding_somebody_does_not_tell_whether_sluice_knew_them(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let stranger = app.stranger(&owner).await;
    let add = async |email: &str| {
        let body = json!({"email": email, "name": "X", "role": "member"});
        let added = app.post(&owner, &format!("{}/members", owner.path()), body).await.expect(201).json();
        // The version digit of the UUID in the id: 4, random, holds no time.
        let user: domain::UserId = added["user"].as_str().unwrap().parse().unwrap();
        let mut members: Vec<String> = added.as_object().unwrap().keys().cloned().collect();
        members.sort();
        (members, user.uuid().get_version_num())
    };
    assert_eq!(add("Greta@Globex.example").await, add("never-seen@acme.example").await);
    drop(stranger);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_person_makes_so_many_tenants_and_no_more(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let body = |number: u32| json!({"slug": format!("more-{number}"), "title": "More", "owner_name": "Olive"});
    // The first one was made with the deployment. Of several at once, too, only as many are made as there is room for.
    let tries = futures_util::future::join_all((0..4).map(|number| app.post(&owner, "/tenants", body(number)))).await;
    let made: Vec<_> = tries.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(made.len(), 2);
    let refused = app.post(&owner, "/tenants", body(9)).await;
    insta::assert_snapshot!(refused.shown(), @r#"
    409 Conflict
    {"type":"limit-reached","title":"You have made as many tenants as you may","status":409,"detail":"a person makes at most 3 tenants here (SLUICE_TENANTS_PER_PERSON): ask whoever runs this deployment"}
    "#);
    // It is the person who is counted, whichever tenant they ask from.
    let elsewhere = crate::app::Person { token: made[0].text_at("/api_token"), ..owner.clone() };
    app.post(&elsewhere, "/tenants", body(9)).await.expect(409);
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn nobody_makes_tenants_in_the_name_of_people_they_added(pool: PgPool) {
    let app = App::new(&pool).await;
    let owner = app.owner().await;
    let wanted = json!({"slug": "more", "title": "More", "owner_name": "Olive"});
    let (added, _) = app.member(&owner, "nobody@acme.example", "owner").await;
    let refused = app.post(&added, "/tenants", wanted.clone()).await.expect(403).json();
    assert_eq!(refused["title"], "This token does not allow this");
    // Nor with a token that one issued.
    let tokens = format!("{}/api-tokens", owner.path());
    let body = json!({"title": "x", "days": 1});
    let next = app.post(&added, &tokens, body.clone()).await.expect(201);
    assert_eq!(next.json()["token"]["issued_by"], owner_id(&app, &owner).await);
    let next = crate::app::Person { token: next.text_at("/secret"), ..added.clone() };
    app.post(&next, "/tenants", wanted.clone()).await.expect(403);
    let own = app.post(&owner, &tokens, body).await.expect(201).text_at("/secret");
    let own = crate::app::Person { token: own, ..owner.clone() };
    app.post(&own, "/tenants", wanted).await.expect(201);
}

/// The user that a person is.
async fn owner_id(app: &App, owner: &crate::app::Person) -> serde_json::Value {
    let members = app.get(owner, &format!("{}/members", owner.path())).await.expect(200).json();
    let members = members["members"].as_array().unwrap();
    members.iter().find(|member| member["email"] == "olive@acme.example").unwrap()["user"].clone()
}
