//! A browser as far as the console knows one: it keeps cookies, says where a request comes from, and fills in forms.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use axum::body::Body;
use axum::http::{Request, header};
use control_plane::login::give_password;
use domain::Secret;

use super::markup;
use crate::app::{Answer, App, Person};

/// The password of everybody here.
pub(crate) const PASSWORD: &str = "otter plinth velvet 42";

pub(crate) struct Browser<'a> {
    pub(crate) app: &'a App,
    cookies: Mutex<BTreeMap<String, String>>,
    /// What the last page's forms carry.
    csrf: Mutex<String>,
    /// The ids of the last page.
    ids: Mutex<BTreeSet<String>>,
}

impl<'a> Browser<'a> {
    pub(crate) fn new(app: &'a App) -> Self {
        Self { app, cookies: Mutex::default(), csrf: Mutex::default(), ids: Mutex::default() }
    }

    /// A browser in which the owner of `acme` is signed in.
    pub(crate) async fn of_owner(app: &'a App) -> (Self, Person) {
        let owner = app.owner().await;
        (Self::of(app, "olive@acme.example").await, owner)
    }

    /// A browser in which somebody there is signed in.
    pub(crate) async fn of(app: &'a App, email: &str) -> Self {
        let parts = &app.parts;
        let password = Secret::new(PASSWORD.to_owned());
        give_password(&parts.pool, &parts.passwords, email, password).await.unwrap();
        let browser = Self::new(app);
        browser.post("/sign-in", &[("email", email), ("password", PASSWORD)]).await.expect(303);
        browser
    }

    /// Opens a page. It is checked against the rules every page keeps.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let answer = self.send(Request::get(path).header("sec-fetch-site", "none"), Body::empty()).await;
        if is_html(&answer) {
            markup::check_page(path, &answer);
            *self.ids.lock().unwrap() = markup::ids(&markup::tags(&answer.text));
            if let Some(token) = markup::csrf(&answer.text) {
                *self.csrf.lock().unwrap() = token;
            }
        }
        answer
    }

    /// The status of an answer whose body does not end.
    pub(crate) async fn head(&self, path: &str) -> u16 {
        let cookies: Vec<String> = self.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::get(path).header(header::COOKIE, cookies.join("; ")).body(Body::empty()).unwrap();
        tower::ServiceExt::oneshot(self.app.router.clone(), request).await.unwrap().status().as_u16()
    }

    /// Opens whatever is there, page or not, as it is.
    pub(crate) async fn look(&self, path: &str) -> Answer {
        self.send(Request::get(path).header("sec-fetch-site", "none"), Body::empty()).await
    }

    /// Asks for a part of a page, as htmx does. It is checked against the rules every part keeps.
    pub(crate) async fn get_part(&self, path: &str) -> Answer {
        let request = Request::get(path).header("sec-fetch-site", "same-origin").header("hx-request", "true");
        let answer = self.send(request, Body::empty()).await;
        self.check_part(path, &answer).await;
        answer
    }

    /// Sends a form of the last page.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(Self::form(path), self.fields(fields)).await
    }

    /// Sends a form of the last page through htmx.
    pub(crate) async fn post_part(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let answer = self.send(Self::form(path).header("hx-request", "true"), self.fields(fields)).await;
        self.check_part(path, &answer).await;
        answer
    }

    /// Checks a part of a page: what it has htmx fill is in it, or in the page that it comes into. That is the one at its own
    /// address or, where there is none, the last one that was opened.
    async fn check_part(&self, path: &str, answer: &Answer) {
        if !is_html(answer) || answer.text.starts_with("<!doctype html>") {
            return;
        }
        let tags = markup::tags(&answer.text);
        markup::check_tags(path, &tags);
        let mut ids = markup::ids(&tags);
        if markup::lost_targets(&tags, &ids).is_empty() {
            return;
        }
        let page = self.look(path).await;
        if page.status == 200 && page.text.starts_with("<!doctype html>") {
            ids.extend(markup::ids(&markup::tags(&page.text)));
        } else {
            ids.extend(self.ids.lock().unwrap().clone());
        }
        let lost = markup::lost_targets(&tags, &ids);
        assert!(lost.is_empty(), "{path}: htmx is to fill what is not there: {lost:?}");
    }

    /// The head of a form's request.
    pub(crate) fn form(path: &str) -> axum::http::request::Builder {
        Request::post(path)
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
    }

    /// The body of a form's request, the session's token in it.
    pub(crate) fn fields(&self, fields: &[(&str, &str)]) -> Body {
        let csrf = self.csrf.lock().unwrap().clone();
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("_csrf", &csrf).extend_pairs(fields);
        Body::from(form.finish())
    }

    /// Sends any request with the cookies, and keeps those that come back.
    pub(crate) async fn send(&self, request: axum::http::request::Builder, body: Body) -> Answer {
        let cookies: Vec<String> = self.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if cookies.is_empty() { request } else { request.header(header::COOKIE, cookies.join("; ")) };
        let answer = self.app.answer(request.body(body).unwrap()).await;
        for set in answer.headers.get_all(header::SET_COOKIE) {
            self.keep(set.to_str().unwrap());
        }
        answer
    }

    fn keep(&self, set: &str) {
        let (name, rest) = set.split_once('=').unwrap();
        let value = rest.split(';').next().unwrap();
        assert!(name.starts_with("__Host-"), "{set}");
        for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
            assert!(set.contains(attribute), "{attribute} is missing in {set}");
        }
        assert!(!set.to_lowercase().contains("domain="), "{set}");
        let mut cookies = self.cookies.lock().unwrap();
        if value.is_empty() {
            cookies.remove(name);
        } else {
            cookies.insert(name.to_owned(), value.to_owned());
        }
    }

    pub(crate) fn cookies(&self) -> BTreeMap<String, String> {
        self.cookies.lock().unwrap().clone()
    }

    pub(crate) fn set_cookie(&self, name: &str, value: &str) {
        self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    /// The session's cookie.
    pub(crate) fn session(&self) -> Option<String> {
        self.cookies().get("__Host-sluice_session").cloned()
    }
}

impl Answer {
    /// Where it sends one on to.
    pub(crate) fn location(&self) -> &str {
        self.headers.get(header::LOCATION).map_or("", |value| value.to_str().unwrap())
    }
}

fn is_html(answer: &Answer) -> bool {
    answer.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.to_str().unwrap().starts_with("text/html"))
}
