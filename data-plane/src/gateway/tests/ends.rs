//! Calls that end before they are answered: clients that leave or take back, tokens that are revoked.

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::{stage, status};
use crate::audit::tests::eventually;
use crate::testing::upstream::Speaks;
use crate::testing::{Told, legacy, legacy_call, modern_call, room};

#[tokio::test]
async fn a_modern_client_that_leaves_cancels_the_call() {
    for tool in ["slow", "hang"] {
        let (stage, upstream) = stage(Speaks::Modern).await;
        let call = async {
            let body = stage.send(modern_call(tool, json!({}))).await.into_body();
            let _ = body.collect().await;
        };
        tokio::select! {
            () = call => panic!("it does not end by itself"),
            () = upstream.begun() => {}
        }
        upstream.dropped().await;
        assert_eq!(status(&stage.record().await), "cancelled", "{tool}");
    }
}

#[tokio::test]
async fn a_modern_client_whose_connection_breaks_cancels_the_call() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (gateway, tenant, caller) = (stage.gateway.clone(), stage.tenant.clone(), stage.caller.clone());
    let seat = stage.room.enter().unwrap();
    let answers = tower::service_fn(move |request: Request<hyper::body::Incoming>| {
        let (gateway, tenant, caller, seat) = (gateway.clone(), tenant.clone(), caller.clone(), seat.clone());
        let request = request.map(Body::new);
        async move { Ok::<_, std::convert::Infallible>(gateway.answer(tenant, caller, request, &seat).await) }
    });
    let drain = service::Drain::new();
    drain.spawn(service::listen::serve(listener, answers, drain.clone()));
    let (head, body) = modern_call("slow", json!({})).into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut text = format!("POST /acme/mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in &head.headers {
        text.extend([name.as_str(), ": ", value.to_str().unwrap(), "\r\n"]);
    }
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    let whole = [text.as_bytes(), b"\r\n", &body].concat();
    tokio::io::AsyncWriteExt::write_all(&mut connection, &whole).await.unwrap();
    upstream.begun().await;
    drop(connection);
    upstream.dropped().await;
    assert_eq!(status(&stage.record().await), "cancelled");
}

#[tokio::test]
async fn a_modern_client_that_leaves_has_a_legacy_upstream_told() {
    let (stage, upstream) = stage(Speaks::Legacy).await;
    tokio::select! {
        _ = stage.send(modern_call("slow", json!({}))) => panic!("it does not end by itself"),
        () = upstream.begun() => {}
    }
    eventually(async || upstream.count("notifications/cancelled") == 1).await;
    let told = upstream.seen().into_iter().find(|seen| seen.method() == "notifications/cancelled").unwrap();
    assert_eq!(told.body["params"]["requestId"], upstream.calls()[0].body["id"]);
}

#[tokio::test]
async fn a_legacy_client_that_leaves_cancels_nothing() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let session = stage.session("2025-11-25").await;
    tokio::select! {
        _ = stage.send(legacy(Some(&session), &legacy_call(7, "slow"))) => panic!("it does not end by itself"),
        () = upstream.begun() => {}
    }
    upstream.go_on();
    assert_eq!(status(&stage.record().await), "success");
}

#[tokio::test]
async fn a_legacy_call_keeps_its_place_until_it_ends_though_its_client_left() {
    let (mut stage, upstream) = stage(Speaks::Modern).await;
    stage.room = room(&[("SLUICE_CONCURRENCY", "8"), ("SLUICE_CALLER_SHARE", "12")]);
    let session = stage.session("2025-11-25").await;
    tokio::select! {
        _ = stage.send(legacy(Some(&session), &legacy_call(7, "slow"))) => panic!("it does not end by itself"),
        () = upstream.begun() => {}
    }
    let ping = || legacy(Some(&session), &json!({"jsonrpc": "2.0", "id": 8, "method": "ping"}));
    let refused = stage.ask(ping()).await;
    assert_eq!(
        (refused.status, &refused.headers["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
    );
    assert_eq!(refused.json()["error"]["code"], -31004);
    assert_eq!(stage.record().await["outcome"]["reason"], "overloaded_caller");
    upstream.go_on();
    eventually(async || stage.ask(ping()).await.status == StatusCode::OK).await;
}

#[tokio::test]
async fn each_call_of_a_batch_counts() {
    let (mut stage, upstream) = stage(Speaks::Modern).await;
    let session = stage.session("2025-03-26").await;
    // One for the batch itself, two for its calls.
    stage.room = room(&[("SLUICE_CONCURRENCY", "8"), ("SLUICE_TENANT_SHARE", "38")]);
    let calls: Vec<Value> = (1..=5).map(|id| legacy_call(id, "echo")).collect();
    let told = stage.ask(legacy(Some(&session), &json!(calls))).await;
    let codes = told.events().into_iter().map(|event| event["error"]["code"].clone());
    assert_eq!(codes.filter(|code| *code == -31004).count(), 3, "{}", told.text);
    assert_eq!(upstream.calls().len(), 2);
}

#[tokio::test]
async fn a_legacy_client_takes_a_call_back_with_a_notification() {
    for speaks in [Speaks::Modern, Speaks::Legacy] {
        let (stage, upstream) = stage(speaks).await;
        let session = stage.session("2025-11-25").await;
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}});
        let (told, ()) = tokio::join!(stage.ask(legacy(Some(&session), &legacy_call(7, "slow"))), async {
            upstream.begun().await;
            let accepted = stage.ask(legacy(Some(&session), &cancel)).await;
            assert_eq!(accepted.status, StatusCode::ACCEPTED);
        });
        assert!(told.text.is_empty(), "a call taken back has no answer: {}", told.text);
        assert_eq!(status(&stage.record().await), "cancelled");
        upstream.dropped().await;
    }
}

#[tokio::test]
async fn a_call_is_taken_back_at_any_node() {
    let (mut stage, upstream) = stage(Speaks::Modern).await;
    let session = stage.session("2025-11-25").await;
    let (gateway, tenant, caller) = (stage.gateway.clone(), stage.tenant.clone(), stage.caller.clone());
    let call = tokio::spawn({
        let request = legacy(Some(&session), &legacy_call(7, "slow"));
        let seat = stage.room.enter().unwrap();
        async move { Told::read(gateway.answer(tenant, caller, request, &seat).await).await }
    });
    upstream.begun().await;
    stage.move_to_another_node().await;
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}});
    // The first node may not be listening yet.
    eventually(async || {
        stage.ask(legacy(Some(&session), &cancel)).await;
        call.is_finished()
    })
    .await;
    assert!(call.await.unwrap().text.is_empty());
    assert_eq!(status(&stage.record().await), "cancelled");
}

#[tokio::test]
async fn a_revoked_token_ends_running_calls() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    let (told, ()) = tokio::join!(stage.ask(modern_call("hang", json!({}))), async {
        upstream.begun().await;
        stage.caller.ended.cancel();
    });
    assert!(!told.text.contains("result"), "{}", told.text);
    let record = stage.record().await;
    assert_eq!((status(&record), &record["outcome"]["reason"]), ("cancelled", &json!("revoked")));
}
