//! What a page's handler gives back: a template, or a way on.

use std::convert::Infallible;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;

/// A template as an answer: a whole page, or a fragment of one.
#[derive(Debug)]
pub(crate) struct Page<T> {
    template: T,
    status: StatusCode,
}

impl<T: Template> Page<T> {
    /// A page that is as it should be.
    pub(crate) const fn new(template: T) -> Self {
        Self { template, status: StatusCode::OK }
    }

    /// A form with something wrong in it, to be shown again: 422.
    pub(crate) const fn wrong(template: T) -> Self {
        Self { template, status: StatusCode::UNPROCESSABLE_ENTITY }
    }

    /// With another status.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }
}

impl<T: Template> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        match self.template.render() {
            Ok(html) => html_response(self.status, html),
            Err(error) => {
                tracing::error!(error = %error, "a page could not be written");
                Problem::internal().into_response()
            }
        }
    }
}

pub(super) fn html_response(status: StatusCode, html: String) -> Response {
    const TYPE: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
    (status, [(header::CONTENT_TYPE, TYPE)], html).into_response()
}

/// Something was done: on to a path of ours. A plain form is redirected (303), htmx is told to go there.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(super) path: String,
    pub(super) flash: Option<String>,
    pub(super) session: Option<SessionCookie>,
}

/// What becomes of the browser's session.
#[derive(Debug, Clone)]
pub(crate) enum SessionCookie {
    /// This is its new secret, good for so many seconds.
    Set(domain::Secret<String>, i64),
    /// It has none any more.
    Clear,
}

impl Done {
    /// On to `path`.
    pub(crate) fn to(path: impl Into<String>) -> Self {
        Self { path: path.into(), flash: None, session: None }
    }

    /// The next page says so, once.
    pub(crate) fn saying(mut self, text: impl Into<String>) -> Self {
        self.flash = Some(text.into());
        self
    }

    /// With another session.
    pub(crate) fn session(mut self, session: SessionCookie) -> Self {
        self.session = Some(session);
        self
    }
}

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        // The frame makes the headers of it: it knows the site, and whether htmx asks.
        let mut response = StatusCode::SEE_OTHER.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Whether htmx asks for a part of the page rather than for the page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hx(pub(crate) bool);

impl Hx {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let is = |name: &str, value: &str| headers.get(name).is_some_and(|sent| sent == value);
        Self(is("hx-request", "true") && !is("hx-request-type", "full"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Hx {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}
