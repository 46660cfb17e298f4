//! The few answers that are given before the pipeline.

use axum::body::Body;
use axum::response::Response;
use domain::Slug;
use http::{HeaderValue, Method, StatusCode, header};
use serde::Serialize;

use super::guard::PublicUrl;

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An answer in JSON.
fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// More requests at once than the node takes.
pub(super) fn overloaded() -> Response {
    unavailable(
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-31004,"message":"The gateway is overloaded; try again"}}"#,
    )
}

/// Who is calling, or what the tenant's configuration is, can't be told at present.
pub(crate) fn out_of_touch() -> Response {
    unavailable(
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-31003,"message":"The gateway is out of touch with its configuration; try again"}}"#,
    )
}

fn unavailable(body: &'static str) -> Response {
    let mut response = json(StatusCode::SERVICE_UNAVAILABLE, body);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// No token, a bad one, another tenant's, or no such tenant: the same answer, made from the path alone.
#[must_use]
pub fn unauthorized(public: &PublicUrl, slug: &Slug) -> Response {
    let mut response = json(StatusCode::UNAUTHORIZED, r#"{"error":"invalid_token"}"#);
    let challenge = format!("Bearer resource_metadata=\"{}\"", public.metadata(slug));
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// Protected-resource metadata (RFC 9728, 2), for any slug: that it is served says nothing of a tenant. It names no
/// authorization server, because there is none.
pub(super) fn metadata(method: &Method, public: &PublicUrl, slug: &Slug) -> Response {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let document = Metadata { resource: public.endpoint(slug), bearer_methods_supported: ["header"] };
    json(StatusCode::OK, serde_json::to_string(&document).unwrap_or_default())
}

#[derive(Serialize)]
struct Metadata {
    resource: String,
    bearer_methods_supported: [&'static str; 1],
}
