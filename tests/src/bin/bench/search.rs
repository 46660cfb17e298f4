//! How fast the log is searched when it is large: the API and the console are asked over HTTP.

use std::time::Instant;

use reqwest::header::{COOKIE, SET_COOKIE};
use sluice_tests::large_log::{self, DAYS};
use sluice_tests::stack::Endpoints;

/// Records, unless `SLUICE_BENCH_RECORDS` says how many.
const RECORDS: usize = 1_000_000;
/// How often each thing is asked.
const TIMES: usize = 200;

#[expect(clippy::disallowed_methods, reason = "a measurement, run by hand")]
pub(crate) async fn search() {
    let records = std::env::var("SLUICE_BENCH_RECORDS").map_or(RECORDS, |records| records.parse().unwrap());
    let (stack, _, postgres, server) = large_log::deployment().await;
    let began = Instant::now();
    large_log::fill(&postgres, records).await;
    println!("{records} records over {DAYS} days, made in {:.0} s\n", began.elapsed().as_secs_f64());
    println!("{:<44} {:>8} {:>8} {:>8}", "asked", "p50 ms", "p99 ms", "longest");
    let http = reqwest::Client::new();
    for (what, query) in large_log::searches(&postgres).await {
        let path = format!("{}/tenants/{}/activity?{query}", stack.endpoints.api_url, stack.endpoints.tenant);
        measure(what, || http.get(&path).bearer_auth(&stack.endpoints.api_token)).await;
    }
    let cookie = sign_in(&stack.endpoints).await;
    for (what, path) in [
        ("Overview, 1 h", "?range=1h".to_owned()),
        ("Overview, 24 h", "?range=24h".to_owned()),
        ("Overview, 30 days", "?range=30d".to_owned()),
        ("Activity, 24 h", "/activity?range=24h".to_owned()),
        ("Activity, 30 days", "/activity?range=30d".to_owned()),
        ("Activity by person, 24 h", "/activity?range=24h&group=person".to_owned()),
        ("Live calls", "/live".to_owned()),
        ("Servers", "/servers".to_owned()),
        ("A server with 500 tools", format!("/servers/{server}")),
        ("Policies", "/policies".to_owned()),
        ("A new policy", "/policies/new".to_owned()),
        ("Who may call what", "/policies/access".to_owned()),
        ("Evidence", "/evidence".to_owned()),
        ("Destinations", "/destinations".to_owned()),
    ] {
        let url = format!("{}/w/{}{path}", stack.endpoints.console_url, stack.endpoints.tenant);
        measure(what, || http.get(&url).header(COOKIE, &cookie)).await;
    }
}

async fn measure(what: &str, request: impl Fn() -> reqwest::RequestBuilder) {
    let mut took = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let began = Instant::now();
        let answer = request().send().await.unwrap();
        assert_eq!(answer.status(), 200, "{what}");
        answer.bytes().await.unwrap();
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_unstable_by(f64::total_cmp);
    println!("{what:<44} {:>8.1} {:>8.1} {:>8.1}", took[TIMES / 2], took[TIMES * 99 / 100], took[TIMES - 1]);
}

/// Signs the owner in, and gives the cookies of their browser.
async fn sign_in(endpoints: &Endpoints) -> String {
    let form = [("email", &endpoints.owner_email), ("password", &endpoints.owner_password)];
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let request = client.post(format!("{}/sign-in", endpoints.console_url)).body(form);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let answer = request.header("origin", &endpoints.console_url).header("sec-fetch-site", "same-origin").send();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 303, "signing in");
    let cookies = answer.headers().get_all(SET_COOKIE).iter().map(|cookie| cookie.to_str().unwrap().split(';').next());
    cookies.flatten().collect::<Vec<_>>().join("; ")
}
