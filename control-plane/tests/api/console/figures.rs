//! The overview's figures: as many as there were, told from counts that are kept.

use sqlx::PgPool;

use super::activity::seed;
use super::browser::Browser;
use super::markup::text;
use crate::app::App;

/// The figures along the top: calls, denied, failed, both latencies, and what Sluice added.
async fn figures(browser: &Browser<'_>, range: &str) -> [String; 5] {
    let page = browser.get(&format!("/w/acme?range={range}")).await.expect(200).text;
    let figure = |rest: &str| {
        let ends = ["<span class=\"trend\"", "</a>", "</div>"].map(|end| rest.find(end).unwrap_or(rest.len()));
        text(&rest[..ends[0].min(ends[1]).min(ends[2])])
    };
    let found: Vec<String> = page.split("<span class=\"v\">").skip(1).map(figure).collect();
    found.try_into().unwrap_or_else(|found| panic!("{range}: {found:?}"))
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn the_figures_of_every_range_are_those_of_the_calls_there_were(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 3000, 3000).await;
    // One in 25 was denied and one in 50 took ten seconds; of all, half took at most 115.4 ms, and each 2.1 ms of ours. The
    // counts know of a duration the bounds it lies within: 100 and 200 ms, 5 and 10 s.
    let seeded = ["3,000", "120", "60", "116 ms / 7.5 s", "2.1 ms"];
    for range in ["1h", "24h", "7d", "30d"] {
        assert_eq!(figures(&owner, range).await, seeded, "{range}");
        let page = owner.get(&format!("/w/acme?range={range}")).await.text;
        assert!(page.contains("<b>2,820</b>"), "{range}: allowed");
    }
    // Records are dropped after a while and counts stay. What Sluice adds is told of the latest calls themselves.
    sqlx::raw_sql("truncate audit_record").execute(&pool).await.unwrap();
    for range in ["1h", "24h", "7d", "30d"] {
        assert_eq!(figures(&owner, range).await, ["3,000", "120", "60", "116 ms / 7.5 s", "–"], "{range}");
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_range_counts_what_is_in_it_and_no_more(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    // A hundred a day, the last of them a hundredth of a day ago: the hundredth is older than a day.
    seed(&app, &person, 3000, 30 * 86_400).await;
    for (range, calls) in [("1h", "4"), ("24h", "99"), ("7d", "699"), ("30d", "2,999")] {
        assert_eq!(figures(&owner, range).await[0], calls, "{range}");
    }
}
