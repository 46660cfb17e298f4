//! What every answer of the console has: its headers, problems as pages, and what the last page did.

use askama::Template;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::page::{SessionCookie, html_response};
use super::{Done, Hx, Needs, Site, cookie};
use crate::problem::Problem;

/// Everything comes from here, nothing runs that stands in a page, and nobody frames one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(&str, &str); 8] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("vary", "HX-Request, Cookie"),
];

/// Of what is no page: nothing runs in it, and nobody frames it, where a browser opens it by itself.
const BARE: [(&str, &str); 5] = [
    ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Finishes an answer that is no page: of the API, and the files that pages are made of.
pub(crate) async fn bare(mut response: Response) -> Response {
    for (name, value) in BARE {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// How long a browser keeps to TLS, seconds: two years.
const HSTS: &str = "max-age=63072000; includeSubDomains";

/// How long a message waits for the next page, seconds.
const FLASH_S: i64 = 60;
/// Longest message, characters.
const FLASH_MAX: usize = 300;

/// Finishes an answer.
pub(super) async fn finish(State(needs): State<Needs>, request: Request, next: Next) -> Response {
    let asked = Asked::of(&request, &needs.site);
    let had_flash = cookie::find(request.headers(), needs.site.flash_cookie()).is_some();
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = shown(&problem, &asked);
    }
    if let Some(done) = response.extensions_mut().remove::<Done>() {
        response = gone_on(done, &asked, &needs.site);
    } else if had_flash && !asked.by_htmx && is_html(&response) {
        // A part of a page has not shown it, whichever tab that is of.
        response.headers_mut().extend(set_cookie(cookie::clear(&needs.site, needs.site.flash_cookie())));
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if needs.site.is_secure() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
    response
}

/// What of a request decides how it is answered.
struct Asked {
    path: String,
    is_get: bool,
    by_htmx: bool,
    of_api: bool,
    /// The page of ours that it was sent from.
    from: Option<String>,
}

impl Asked {
    fn of(request: &Request, site: &Site) -> Self {
        let told = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        Self {
            is_get: request.method() == Method::GET,
            by_htmx: Hx::of(request.headers()).0,
            of_api: path == "/api" || path.starts_with("/api/"),
            path: path.to_owned(),
            from: told("hx-current-url").or_else(|| told("referer")).and_then(|address| site.own_page(address)),
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    problem: &'a Problem,
    kind: Shown,
    /// Looking changes nothing.
    is_get: bool,
}

#[derive(Template)]
#[template(path = "_problem.html")]
struct ErrorPart<'a> {
    problem: &'a Problem,
    is_get: bool,
}

/// Which of the pages for what went wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    NotFound,
    NotPermitted,
    Changed,
    Ours,
    Other,
}

/// A problem as people see it.
fn shown(problem: &Problem, asked: &Asked) -> Response {
    let status = problem.status();
    if asked.of_api {
        let mut response = problem.clone().into_response();
        response.extensions_mut().remove::<Problem>();
        return response;
    }
    if status == StatusCode::UNAUTHORIZED {
        return to_sign_in(asked);
    }
    let is_get = asked.is_get;
    let html = if asked.by_htmx {
        ErrorPart { problem, is_get }.render()
    } else {
        let kind = match status {
            StatusCode::NOT_FOUND => Shown::NotFound,
            StatusCode::FORBIDDEN => Shown::NotPermitted,
            StatusCode::CONFLICT => Shown::Changed,
            status if status.is_server_error() => Shown::Ours,
            _ => Shown::Other,
        };
        ErrorPage { problem, kind, is_get }.render()
    };
    html_response(status, html.unwrap_or_else(|_| problem.title().to_owned()))
}

/// To the sign-in page, and back from there: to what was asked for, or to the page that a form or a part of it is of.
fn to_sign_in(asked: &Asked) -> Response {
    let is_page = asked.is_get && !asked.by_htmx;
    let next = if is_page { Some(&asked.path) } else { asked.from.as_ref() };
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if let Some(next) = next.filter(|next| *next != "/") {
        query.append_pair("next", next);
    }
    if !asked.is_get {
        query.append_pair("unsaved", "1");
    }
    let query = query.finish();
    let path = if query.is_empty() { "/sign-in".to_owned() } else { format!("/sign-in?{query}") };
    if asked.by_htmx {
        return (StatusCode::UNAUTHORIZED, on_to("hx-redirect", &path)).into_response();
    }
    (StatusCode::SEE_OTHER, on_to("location", &path)).into_response()
}

/// One header that names a path of ours.
fn on_to(name: &'static str, path: &str) -> HeaderMap {
    let value = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    HeaderMap::from_iter([(HeaderName::from_static(name), value)])
}

fn gone_on(done: Done, asked: &Asked, site: &Site) -> Response {
    let mut response = if asked.by_htmx {
        (StatusCode::OK, on_to("hx-redirect", &done.path)).into_response()
    } else {
        (StatusCode::SEE_OTHER, on_to("location", &done.path)).into_response()
    };
    let headers = response.headers_mut();
    if let Some(text) = done.flash {
        let text = URL_SAFE_NO_PAD.encode(super::show::clip(&text, FLASH_MAX));
        append(headers, cookie::set(site, site.flash_cookie(), &text, FLASH_S));
    }
    match done.session {
        Some(SessionCookie::Set(secret, seconds)) => {
            append(headers, cookie::set(site, site.session_cookie(), secret.expose(), seconds));
        }
        Some(SessionCookie::Clear) => append(headers, cookie::clear(site, site.session_cookie())),
        None => {}
    }
    response
}

fn append(headers: &mut HeaderMap, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        headers.append(header::SET_COOKIE, cookie);
    }
}

fn set_cookie(cookie: Option<HeaderValue>) -> HeaderMap {
    cookie.map(|cookie| (header::SET_COOKIE, cookie)).into_iter().collect()
}

fn is_html(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

/// What the last page said of itself.
pub(super) fn flash(site: &Site, headers: &HeaderMap) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(cookie::find(headers, site.flash_cookie())?).ok()?;
    String::from_utf8(bytes).ok()
}
