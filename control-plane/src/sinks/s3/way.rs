//! The way from `object_store` out: through [`Http`], and so through `egress`.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::BodyExt as _;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};

use super::super::batch::Answer;
use super::super::http::{Http, Reply};

/// Sends the store's requests, and remembers what came of the last one: the store's errors tell less.
#[derive(Debug, Clone)]
pub(super) struct Way(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: Http,
    last: Mutex<Option<Result<Reply, Answer>>>,
}

/// The request had no answer; which is told apart.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
struct NoAnswer;

impl Way {
    pub(super) fn new(http: Http) -> Self {
        Self(Arc::new(Inner { http, last: Mutex::default() }))
    }

    /// What came of the last request.
    pub(super) fn take(&self) -> Option<Result<Reply, Answer>> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn pass(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?.to_bytes();
        let answer = self.0.http.request(http::Request::from_parts(parts, body)).await;
        let response = answer.as_ref().map(|reply| {
            let mut response = http::Response::new(HttpResponseBody::from(reply.body.clone()));
            *response.status_mut() = reply.status;
            response.headers_mut().clone_from(&reply.headers);
            response
        });
        let response = response.map_err(|_| HttpError::new(HttpErrorKind::Unknown, NoAnswer));
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        response
    }
}

impl HttpConnector for Way {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl HttpService for Way {
    // As `async_trait` writes it.
    fn call<'way, 'call>(
        &'way self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'call>>
    where
        'way: 'call,
        Self: 'call,
    {
        Box::pin(self.pass(request))
    }
}
