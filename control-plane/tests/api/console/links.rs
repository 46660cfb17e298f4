//! Links that were mailed, once their time is over.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgPool;

use super::browser::Browser;
use super::routes::{World, everything, refs};
use crate::app::App;

/// Where links lead.
const LINKS: [&str; 4] = ["/sign-up/{token}", "/reset/{token}", "/account/email/{token}", "/invitations/{token}"];

/// For how many hours the rows of a table are good, by what they are for.
fn hours(rows: &str, name: &str) -> Vec<(String, i64)> {
    let at = |row: &Value, name: &str| row[name].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    let mut found: Vec<(String, i64)> = rows
        .lines()
        .map(|row| serde_json::from_str::<Value>(row).unwrap())
        .map(|row| (row[name].as_str().unwrap().to_owned(), (at(&row, "ends_at") - at(&row, "created_at")).num_hours()))
        .collect();
    found.sort();
    found
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_link_whose_time_is_over_lets_nobody_in_and_is_not_listed(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    let world = World::of(&app, (&owner, &person), "olive@acme.example").await;
    let visitor = Browser::new(&app);
    let tried = async |route: &str, status: u16, posts: bool| {
        let sender = if route.starts_with("/account") { &owner } else { &visitor };
        sender.get(&world.path(route)).await.expect(status);
        if posts {
            sender.post(&world.path(route), &refs(&world.fields(route))).await.expect(status);
        }
    };
    for route in LINKS {
        tried(route, 200, false).await;
    }
    let tables = everything(&pool).await;
    let mailed = [("change_email", 1), ("reset", 1), ("sign_up", 24)].map(|(what, hours)| (what.to_owned(), hours));
    assert_eq!(hours(&tables["mail_links"], "purpose"), mailed);
    assert_eq!(hours(&tables["invitations"], "role"), [("member".to_owned(), 168), ("member".to_owned(), 168)]);
    assert_eq!(owner.get("/w/acme/people").await.text.matches("/withdraw\"").count(), 2);

    assert_eq!(app.in_platform("update mail_links set ends_at = now() - interval '1 millisecond'").await, 3);
    let over = "update invitations set ends_at = now() - interval '1 millisecond'";
    assert_eq!(app.in_tenant(&person, over).await, 2);
    let before = everything(&pool).await;
    for route in LINKS {
        tried(route, 404, true).await;
    }
    assert_eq!(visitor.session(), None);
    assert_eq!(before, everything(&pool).await, "nobody came in, and nothing was changed");
    assert!(!owner.get("/w/acme/people").await.expect(200).text.contains("/withdraw\""), "an invitation that is over");
}
