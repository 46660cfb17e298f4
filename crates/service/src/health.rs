//! `/healthz` (the process answers) and `/readyz` (it can do its work), by checks that report themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;
use serde::Serialize;

use crate::Drain;

/// How one thing a program needs is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "detail")]
pub enum Condition {
    /// Well.
    Green,
    /// Not well, but the program does its work; one sentence says what is missing. Still ready.
    Yellow(String),
    /// The program can't do its work; one sentence says why. Not ready.
    Red(String),
}

/// The named checks of a program. Cloning is cheap; all clones are one.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    drain: Drain,
    checks: Mutex<BTreeMap<&'static str, Condition>>,
}

/// One named check, held by what it is about.
#[derive(Debug, Clone)]
pub struct Check {
    health: Health,
    name: &'static str,
}

/// The body of `/readyz`.
#[derive(Debug, Serialize)]
struct Report {
    ready: bool,
    draining: bool,
    checks: BTreeMap<&'static str, Condition>,
}

impl Health {
    /// No checks yet. Once `drain` is announced, the program is not ready whatever the checks say.
    #[must_use]
    pub fn new(drain: &Drain) -> Self {
        Self(Arc::new(Inner { drain: drain.clone(), checks: Mutex::default() }))
    }

    /// Adds a check, red until it reports for the first time.
    #[must_use]
    pub fn check(&self, name: &'static str) -> Check {
        let check = Check { health: self.clone(), name };
        check.set(Condition::Red("not known yet".to_owned()));
        check
    }

    /// Whether every check is green or yellow and the program is not ending.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.report().ready
    }

    /// `GET /healthz` and `GET /readyz`.
    pub fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready).with_state(self.clone()))
    }

    fn report(&self) -> Report {
        let checks = self.0.checks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let draining = self.0.drain.leaving().is_cancelled();
        let ready = !draining && !checks.values().any(|condition| matches!(condition, Condition::Red(_)));
        Report { ready, draining, checks }
    }
}

/// Each check as `sluice_condition`, for alerts: 0 is green, 1 yellow, 2 red.
impl Collector for Health {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let checks = self.report().checks;
        if checks.is_empty() {
            return Ok(());
        }
        let (help, kind) = ("How a part is: 0 well, 1 not well, 2 not working", ConstGauge::new(0_i64).metric_type());
        let mut family = encoder.encode_descriptor("sluice_condition", help, None, kind)?;
        for (name, condition) in checks {
            let level = match condition {
                Condition::Green => 0_i64,
                Condition::Yellow(_) => 1,
                Condition::Red(_) => 2,
            };
            ConstGauge::new(level).encode(family.encode_family(&[("check", name)])?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report().fmt(f)
    }
}

impl Check {
    /// Reports how it is.
    pub fn set(&self, condition: Condition) {
        self.health.0.checks.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name, condition);
    }

    /// Reports that all is well.
    pub fn green(&self) {
        self.set(Condition::Green);
    }

    /// Reports what is missing while the work goes on.
    pub fn yellow(&self, detail: impl Into<String>) {
        self.set(Condition::Yellow(detail.into()));
    }

    /// Reports why the work can't be done.
    pub fn red(&self, detail: impl Into<String>) {
        self.set(Condition::Red(detail.into()));
    }
}

async fn ready(State(health): State<Health>) -> Response {
    let report = health.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(health: &Health, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = health.routes::<()>().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_program_is_ready_once_every_check_has_reported() {
        let health = Health::new(&Drain::new());
        let (redis, head) = (health.check("redis"), health.check("head"));
        redis.green();
        let (status, body) = get(&health, "/readyz").await;
        assert_eq!(status, 503);
        assert!(body.contains(r#""head":{"state":"red","detail":"not known yet"}"#), "{body}");
        head.yellow("the control plane is away");
        let (status, body) = get(&health, "/readyz").await;
        assert_eq!((status, health.is_ready()), (200, true), "yellow is ready");
        assert!(body.contains("the control plane is away"), "{body}");
        redis.red("away");
        assert_eq!(get(&health, "/readyz").await.0, 503);
    }

    #[test]
    fn every_check_is_shown_to_alerts() {
        let health = Health::new(&Drain::new());
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(health.clone()));
        health.check("redis").green();
        health.check("head").yellow("away");
        let _unknown = health.check("audit");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [r#"{check="redis"} 0"#, r#"{check="head"} 1"#, r#"{check="audit"} 2"#] {
            assert!(text.contains(&format!("sluice_condition{line}\n")), "{text}");
        }
    }

    #[tokio::test]
    async fn an_ending_program_is_healthy_but_not_ready() {
        let drain = Drain::new();
        let health = Health::new(&drain);
        assert_eq!(get(&health, "/readyz").await.0, 200);
        drain.leave();
        assert_eq!(get(&health, "/readyz").await.0, 503);
        assert!(!drain.begun().is_cancelled(), "what comes is still taken");
        drain.begin();
        assert_eq!(get(&health, "/readyz").await.0, 503);
        assert_eq!(get(&health, "/healthz").await, (200, "ok\n".to_owned()));
    }
}
