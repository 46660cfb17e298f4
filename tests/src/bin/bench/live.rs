//! How fast a publication, a revocation and a record arrive.

use std::time::{Duration, Instant};

use serde_json::json;
use sluice_tests::api::Api;
use sluice_tests::client::Client;
use sluice_tests::fast_upstream;
use sluice_tests::patience::until;
use sluice_tests::stack::Stack;

/// How long until a publication and a revocation are live on all of three nodes, and a finished call can be found.
pub(crate) async fn live() {
    let upstream = fast_upstream::start(2).await;
    let stack = Stack::start(3, &[]);
    let api = Api::of(&stack.endpoints);
    let server = api.add_server("bench", &format!("http://{upstream}/mcp")).await;
    api.allow_everything().await;
    api.is_live().await;
    let nodes: Vec<String> =
        stack.endpoints.data_plane_urls.iter().map(|url| format!("{url}/{}/mcp", stack.endpoints.tenant)).collect();
    let client = Client::new(&nodes[0], &stack.endpoints.token);
    let mut published = Vec::new();
    for round in 0..100 {
        let paused = round % 2 == 0;
        let begin = Instant::now();
        api.pause(&server, paused).await;
        for node in &nodes {
            let client = client.at(node);
            until("the change is live", async || {
                let answer = client.call("bench__echo", json!({"message": "x"})).await.message();
                ((answer["result"]["isError"] == json!(true)) == paused).then_some(())
            })
            .await;
        }
        published.push(begin.elapsed());
    }
    print_percentiles("a publication is live on 3 of 3 nodes", published);
    let mut revoked = Vec::new();
    for _ in 0..100 {
        let token = api.issue_token("bench").await;
        let client = client.with_token(Some(&token.text));
        for node in &nodes {
            let client = client.at(node);
            until("the token is known", async || is_served(&client).await.then_some(())).await;
        }
        let begin = Instant::now();
        api.revoke(&token.id).await;
        for node in &nodes {
            let client = client.at(node);
            until("the token is refused", async || (!is_served(&client).await).then_some(())).await;
        }
        revoked.push(begin.elapsed());
    }
    print_percentiles("a revoked token is refused by 3 of 3 nodes", revoked);
    let mut found = Vec::new();
    for _ in 0..200 {
        let answer = client.call("bench__echo", json!({"message": "find me"})).await;
        let trace = answer.trace_id();
        let begin = Instant::now();
        until("the record is found", async || (!api.find_by_trace(&trace).await.is_empty()).then_some(())).await;
        found.push(begin.elapsed());
    }
    print_percentiles("a finished call is found by search", found);
}

async fn is_served(client: &Client) -> bool {
    client.modern("tools/list", json!({})).await.status == 200
}

fn print_percentiles(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_millis();
    println!("{what}: {} times, p50 {} ms, p99 {} ms, longest {} ms", times.len(), at(50), at(99), at(100));
}
