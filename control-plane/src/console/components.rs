//! Every part of pages in every state, from the real macros: `/dev/components`, in development builds only.

use askama::Template;
use axum::Router;
use axum::routing::get;
use chrono::{DateTime, TimeDelta, Utc};

use super::{Choice, Page};

pub(super) fn routes() -> Router {
    Router::new().route("/dev/components", get(components))
}

#[derive(Template)]
#[template(path = "dev/components.html")]
struct Components {
    now: DateTime<Utc>,
    earlier: DateTime<Utc>,
    later: DateTime<Utc>,
    ranges: Vec<Choice>,
    tabs: Vec<Choice>,
    hostile: &'static str,
}

async fn components() -> Page<Components> {
    let now = DateTime::from_timestamp(1_795_183_392, 0).unwrap_or_default();
    let choice = |text: &str, is_current| Choice::new(text, format!("#{text}"), is_current);
    let counted = |text: &str, count: &str, is_current| Choice { count: count.to_owned(), ..choice(text, is_current) };
    Page::new(Components {
        now,
        earlier: now - TimeDelta::seconds(12),
        later: now + TimeDelta::days(3),
        ranges: vec![choice("1h", true), choice("24h", false), choice("7d", false)],
        tabs: vec![counted("Tools", "43", true), choice("Versions", false), choice("Credentials", false)],
        hostile: "<img src=x onerror=alert(1)> safe\u{202e}gpj.exe\u{200b}",
    })
}
