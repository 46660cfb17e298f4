//! The one way the control plane says no: problem details (RFC 9457).

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::Permission;
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use service::causes;

/// Why a request was not done: `application/problem+json`.
///
/// `type` is a stable word to decide on; `title` and `detail` are for people. Nothing in it tells of another tenant.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// A stable word for the kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "not-permitted")]
    kind: &'static str,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status again.
    status: u16,
    /// This case in words, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// What exactly is wrong, where there may be several things.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
    /// Whether it is known that nothing was changed, though the fault is ours.
    #[serde(skip)]
    is_unchanged: bool,
    /// What the role would have to allow.
    #[serde(skip)]
    needs: Option<Permission>,
}

/// One thing that is wrong in what was sent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Fault {
    /// The member it concerns, as a path with dots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The line in a text, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The character in the line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What is wrong.
    pub message: String,
}

impl Problem {
    /// A problem of one kind.
    #[must_use]
    pub fn new(status: StatusCode, kind: &'static str, title: &'static str) -> Self {
        Self {
            kind,
            title,
            status: status.as_u16(),
            detail: None,
            errors: Vec::new(),
            is_unchanged: false,
            needs: None,
        }
    }

    /// Says this case in words.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Says that nothing was changed, which holds only for what fails before anything is written.
    #[must_use]
    pub fn unchanged(mut self) -> Self {
        let said = self.detail.map(|said| format!("{said}; ")).unwrap_or_default();
        self.detail = Some(format!("{said}nothing was changed"));
        self.is_unchanged = true;
        self
    }

    /// A role does not allow what was asked for.
    #[must_use]
    pub fn not_permitted(permission: Permission) -> Self {
        let refused = Self::new(StatusCode::FORBIDDEN, "not-permitted", "Your role does not allow this");
        Self { needs: Some(permission), ..refused.detail(format!("`{}` is required", permission.as_str())) }
    }

    /// What the role would have to allow, where that is why.
    #[must_use]
    pub const fn needs(&self) -> Option<Permission> {
        self.needs
    }

    /// Lists what exactly is wrong.
    #[must_use]
    pub fn errors(mut self, errors: Vec<Fault>) -> Self {
        self.errors = errors;
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The stable word for its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// The kind in words.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        self.title
    }

    /// This case in words; empty where the title says it all.
    #[must_use]
    pub fn said(&self) -> &str {
        self.detail.as_deref().unwrap_or_default()
    }

    /// What exactly is wrong.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.errors
    }

    /// Whether what was asked for may be done for all we know: the fault is ours, and it may have come after the change.
    #[must_use]
    pub fn may_be_done(&self) -> bool {
        self.status().is_server_error() && !self.is_unchanged
    }

    /// There is no such thing in the caller's tenant; what another tenant has looks the same.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing here")
    }

    /// A value does not fit.
    #[must_use]
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        let fault = Fault { field: Some(field.to_owned()), line: None, column: None, message: message.into() };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "A value does not fit").errors(vec![fault])
    }

    /// Somebody else changed the thing since it was read.
    #[must_use]
    pub fn changed_meanwhile(revision: u64) -> Self {
        Self::new(StatusCode::CONFLICT, "changed-meanwhile", "Somebody changed it since you read it")
            .detail(format!("it is at revision {revision} now: read it again, then repeat your change"))
    }

    /// The fault is ours. What it was stands in the log, never in the answer.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Sluice failed")
            .detail("the cause is in the control plane's log under the time of this request")
    }

    /// Something we need is away for now.
    #[must_use]
    pub fn unavailable(detail: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Try again in a moment").detail(detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        const TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
        let status = self.status();
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, TYPE)], body).into_response();
        // The console shows it to people as a page.
        response.extensions_mut().insert(self);
        if let Some((name, value)) = extra_header(status) {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// What RFC 9110 wants beside some statuses.
fn extra_header(status: StatusCode) -> Option<(HeaderName, HeaderValue)> {
    match status {
        StatusCode::UNAUTHORIZED => {
            Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sluice-api\"")))
        }
        StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, HeaderValue::from_static("2"))),
        _ => None,
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        let cause = causes(&error);
        if error.is_passing() {
            tracing::warn!(error = %cause, "the database did not answer");
            return Self::unavailable("the database did not answer");
        }
        tracing::error!(error = %cause, "the database failed");
        Self::internal()
    }
}
