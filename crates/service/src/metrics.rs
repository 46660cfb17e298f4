//! `/metrics`, in the OpenMetrics text format.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// `GET /metrics` shows the registry. It belongs on the internal listener.
pub fn routes<S: Clone + Send + Sync + 'static>(registry: Registry) -> Router<S> {
    let registry = Arc::new(registry);
    Router::new().route("/metrics", get(move || async move { render(&registry) }))
}

fn render(registry: &Registry) -> Response {
    let mut text = String::with_capacity(16 * 1024);
    if encode(&mut text, registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use prometheus_client::metrics::counter::Counter;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn a_registered_counter_is_shown() {
        let (mut registry, calls) = (Registry::default(), Counter::<u64>::default());
        registry.register("calls", "Calls taken", calls.clone());
        calls.inc_by(3);
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let response = routes::<()>(registry).oneshot(request).await.unwrap();
        assert!(response.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("application/openmetrics-text"));
        let text = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(text.contains("calls_total 3\n") && text.ends_with("# EOF\n"), "{text}");
    }
}
