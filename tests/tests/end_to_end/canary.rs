//! Secrets put where secrets go are found nowhere else.

use reqwest::Method;
use serde_json::json;
use sluice_tests::client::send;

use crate::house::{CANARY, house};

#[tokio::test]
async fn the_upstream_gets_its_credential_and_never_the_clients_token() {
    let house = house();
    let answer = house.client().call("legacy__headers", json!({})).await;
    assert!(answer.text.contains("authorization"), "the fixture says which headers it got: {}", answer.text);
    let seen = house.legacy.has_seen("headers").await;
    assert_eq!(seen.headers["authorization"], format!("Bearer {CANARY}"));
    for upstream in [&house.modern, &house.legacy] {
        for seen in upstream.seen() {
            let all = format!("{:?} {}", seen.headers, seen.message);
            assert!(!all.contains(&house.endpoints.token), "the client's token reached an upstream");
        }
    }
}

#[tokio::test]
async fn no_secret_is_in_a_log_a_record_redis_postgres_or_a_metric() {
    let house = house();
    let client = house.client();
    for tool in ["legacy__echo", "legacy__status_500", "legacy__garbage", "modern__delete_all"] {
        client.call(tool, json!({"message": "x"})).await;
    }
    let wrong = house.endpoints.token.replace("slc_", "slc_X");
    assert_eq!(client.with_token(Some(&wrong)).modern("tools/list", json!({})).await.status, 401);
    let mut places = vec![("records", house.api.everything().await), ("API", house.api.crawl().await)];
    let logs = std::fs::read_dir(&house.folder).unwrap().flatten().map(|entry| entry.path());
    for log in logs.filter(|path| path.extension().is_some_and(|extension| extension == "log")) {
        if log.file_name().is_some_and(|name| name == "up.log") {
            continue; // what a person sees at start, which is where the token is shown
        }
        places.push(("log", String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned()));
    }
    for url in &house.endpoints.metrics_urls {
        places.push(("metrics", send(client.at(url).with_token(None).request(Method::GET)).await.unwrap().text));
    }
    places.push(("redis", sluice_tests::api::redis_dump(&house.endpoints.redis_url).await));
    let password = std::fs::read_to_string(house.folder.join("data/postgres-superuser.password")).unwrap();
    places.push(("postgres", sluice_tests::api::postgres_dump(&house.endpoints.postgres_url, password.trim()).await));
    for (place, text) in &places {
        assert!(!text.is_empty() || *place == "log", "{place} is empty");
        for (what, secret) in [
            ("credential", CANARY),
            ("token", &house.endpoints.token),
            ("API token", &house.endpoints.api_token),
            ("wrong token", &wrong),
        ] {
            assert!(!text.contains(secret), "the {what} is in {place}");
            assert!(!text.contains(&hex::encode(secret)), "the {what} is in {place}, as hexadecimal");
        }
    }
}
