//! THE pipeline, from a request to its answer.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use domain::Slug;
use http::{Request, StatusCode};

use crate::app::Node;
use crate::caller::{Admitted, admit};

/// Answers a request to a tenant's endpoint, `/{slug}/mcp`.
pub async fn serve(node: &Arc<Node>, slug: &Slug, request: Request<Body>) -> Response {
    let Admitted { caller: _, tenant: _ } = match admit(node, slug, request.headers()).await {
        Ok(admitted) => admitted,
        Err(refused) => return refused.response(&node.public_url, slug),
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
    response
}
