//! The tenant port, from outside.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;

use super::{Entrance, SERVER_TIMING, TRACE_ID};
use crate::tenants::testing::{Plane, snapshot, tenant};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:7310");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

/// Everything of an answer but what differs from request to request.
async fn seen(mut response: Response) -> (StatusCode, HeaderMap, Vec<u8>) {
    let headers = response.headers_mut();
    assert!(headers.remove(TRACE_ID).is_some() && headers.remove(SERVER_TIMING).is_some());
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn no_token_a_bad_one_anothers_and_an_unknown_slug_get_the_same_401_byte_for_byte() {
    let (mut plane, acme) = Plane::serving().await;
    let other = snapshot(&plane.hand.keys, tenant(2), "other", 1);
    plane.hand.publish(&other);
    plane.round().await.unwrap();
    let (mine, foreign) = (plane.hand.issue(acme, 1), plane.hand.issue(tenant(2), 2));
    let entrance = Entrance::new(plane.node.clone());
    let bearer = |token: &domain::TokenText| format!("Bearer {}", token.expose());
    let unknown = secrets::new_token(domain::TokenKind::Gateway);
    let api = secrets::new_token(domain::TokenKind::Api);
    let mut answers = Vec::new();
    for authorization in [
        None,
        Some("Bearer slc_nonsense".to_owned()),
        Some("Basic YTpi".to_owned()),
        Some(bearer(&unknown)),
        Some(bearer(&api)),
        Some(bearer(&foreign.token)),
    ] {
        let headers: Vec<_> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
        answers.push(seen(entrance.answer(request("POST", "/acme/mcp", &headers)).await).await);
    }
    let authorization = bearer(&mine.token);
    let nowhere = request("POST", "/nowhere/mcp", &[("authorization", &authorization)]);
    let (status, headers, body) = seen(entrance.answer(nowhere).await).await;
    let challenge = headers[header::WWW_AUTHENTICATE].to_str().unwrap().replace("/nowhere/", "/acme/");
    let mut unknown_slug = headers.clone();
    unknown_slug.insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
    answers.push((status, unknown_slug, body));
    for answer in &answers {
        assert_eq!(*answer, answers[0]);
    }
    assert_eq!(answers[0].0, StatusCode::UNAUTHORIZED);
    assert_eq!(
        answers[0].1[header::WWW_AUTHENTICATE],
        r#"Bearer resource_metadata="http://127.0.0.1:7310/.well-known/oauth-protected-resource/acme/mcp""#
    );
}

#[tokio::test]
async fn two_authorization_headers_are_no_token() {
    let (mut plane, acme) = Plane::serving().await;
    let mine = plane.hand.issue(acme, 1);
    let entrance = Entrance::new(plane.node.clone());
    let value = format!("Bearer {}", mine.token.expose());
    let twice = request("POST", "/acme/mcp", &[("authorization", &value), ("authorization", &value)]);
    assert_eq!(entrance.answer(twice).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn every_answer_names_its_trace_and_its_time() {
    let plane = Plane::start(&[]).await;
    let entrance = Entrance::new(plane.node.clone());
    for (path, host) in [("/acme/mcp", "127.0.0.1"), ("/nothing", "127.0.0.1"), ("/acme/mcp", "evil.example")] {
        let request =
            Request::post(path).header("host", host).header("traceparent", TRACE).body(Body::empty()).unwrap();
        let response = entrance.answer(request).await;
        assert_eq!(response.headers()[TRACE_ID], "4bf92f3577b34da6a3ce929d0e0e4736", "{path} {host}");
        assert!(response.headers()[SERVER_TIMING].to_str().unwrap().starts_with("total;dur="));
    }
    let fresh = entrance.answer(request("GET", "/nothing", &[("traceparent", "00-zz")])).await;
    assert_eq!(fresh.headers()[TRACE_ID].len(), 32);
}

#[tokio::test]
async fn foreign_hosts_and_origins_do_not_come_in() {
    let plane = Plane::start(&[]).await;
    let entrance = Entrance::new(plane.node.clone());
    let foreign = request("POST", "/acme/mcp", &[("origin", "http://evil.example")]);
    assert_eq!(entrance.answer(foreign).await.status(), StatusCode::FORBIDDEN);
    let foreign = Request::post("/acme/mcp").header("host", "evil.example").body(Body::empty()).unwrap();
    assert_eq!(entrance.answer(foreign).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn metadata_is_served_for_any_slug_and_names_no_authorization_server() {
    let plane = Plane::start(&[]).await;
    let entrance = Entrance::new(plane.node.clone());
    let path = "/.well-known/oauth-protected-resource/anybody/mcp";
    let (status, _, body) = seen(entrance.answer(request("GET", path, &[])).await).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        String::from_utf8(body).unwrap(),
        r#"{"resource":"http://127.0.0.1:7310/anybody/mcp","bearer_methods_supported":["header"]}"#
    );
    assert_eq!(entrance.answer(request("POST", path, &[])).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    let root = request("GET", "/.well-known/oauth-protected-resource", &[]);
    assert_eq!(entrance.answer(root).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn more_requests_than_there_is_room_for_are_told_to_come_back() {
    let plane = Plane::start(&[("SLUICE_CONCURRENCY", "0")]).await;
    let entrance = Entrance::new(plane.node.clone());
    let (status, headers, body) = seen(entrance.answer(request("POST", "/acme/mcp", &[])).await).await;
    assert_eq!((status, &headers[header::RETRY_AFTER]), (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap()));
    assert!(String::from_utf8(body).unwrap().contains("-31004"));
}

#[tokio::test]
async fn a_node_without_configuration_says_503_to_a_token_and_401_to_none() {
    let mut plane = Plane::start(&[]).await;
    let issued = plane.hand.issue(tenant(1), 1);
    let entrance = Entrance::new(plane.node.clone());
    let value = format!("Bearer {}", issued.token.expose());
    let known = entrance.answer(request("POST", "/acme/mcp", &[("authorization", &value)])).await;
    assert_eq!(known.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(known.headers()[header::RETRY_AFTER], "1");
    assert_eq!(entrance.answer(request("POST", "/acme/mcp", &[])).await.status(), StatusCode::UNAUTHORIZED);
}
