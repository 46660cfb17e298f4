//! The API as one router: every feature's routes under `/api/v1`, their description, and what holds for all of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use domain::Clock;
use secrets::{MasterKey, Store};
use service::Drain;
use store::PgPool;
use tokio::sync::Semaphore;
use url::Url;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder, SecurityRequirement};
use utoipa_axum::router::OpenApiRouter;

use crate::access::Access;
use crate::activity::Streams;
use crate::console::{self, Site};
use crate::input::BODY_MAX_BYTES;
use crate::login::{self, Mail, Passwords};
use crate::problem::Problem;
use crate::publish::Live;
use crate::servers::{Relay, Sandbox};
use crate::{activity, connect, credentials, evidence, overview, people, policies, servers, sinks, tenants, tokens};

/// What the API is made of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The database.
    pub pool: PgPool,
    /// Time, and the bits of ids.
    pub clock: Clock,
    /// Wraps tenants' keys.
    pub master: Arc<MasterKey>,
    /// Where clients reach the data plane.
    pub gateway_url: Arc<Url>,
    /// How upstream servers are looked at.
    pub relay: Relay,
    /// Where credentials rest.
    pub store: Store,
    /// What the nodes say of themselves.
    pub live: Live,
    /// How many tenants a person may make.
    pub tenants_per_person: u32,
    /// Where the console is.
    pub site: Site,
    /// How passwords are kept.
    pub passwords: Passwords,
    /// How mail leaves.
    pub mail: Mail,
    /// A server to try Sluice with.
    pub sandbox: Sandbox,
    /// Streams to browsers end when it begins.
    pub drain: Drain,
    /// How logs are named and verified.
    pub log: evidence::Log,
    /// Which addresses destinations may have.
    pub egress: Arc<egress::Rules>,
}

/// The whole API, described and served, and the console beside it.
pub fn router(parts: &Parts) -> Router {
    // The console answers what nothing else does; below `/api` it leaves problems as they are.
    Router::new().merge(api(parts)).fallback_service(pages(parts))
}

fn api(parts: &Parts) -> Router {
    let (router, document) = described(parts);
    let document = document.to_json().unwrap_or_default();
    let serve = move || async move { ([(header::CONTENT_TYPE, "application/json")], document) };
    router
        .route("/api/v1/openapi.json", get(serve))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "This can't be done here")
        })
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(axum::middleware::map_response(private))
        .layer(axum::middleware::map_response(console::bare))
}

/// A line for each feature's pages.
fn pages(parts: &Parts) -> Router {
    let Parts { pool, clock, master, gateway_url, live, site, passwords, mail, tenants_per_person, drain, .. } =
        parts.clone();
    let access = Access { pool, clock: clock.clone() };
    let connect = connect::Needs {
        access: access.clone(),
        clock: clock.clone(),
        master: master.clone(),
        gateway_url: gateway_url.clone(),
        live: live.clone(),
        drain,
    };
    let policies = policies::Needs { access: access.clone(), clock: clock.clone(), live };
    let tokens = tokens::Needs { access: access.clone(), clock, gateway_url: gateway_url.clone(), site: site.clone() };
    let login = login::Needs {
        access: access.clone(),
        site: site.clone(),
        master,
        passwords,
        mail,
        gateway_url,
        tenants_per_person,
    };
    let settings = tenants::Needs {
        access: access.clone(),
        clock: access.clock.clone(),
        master: parts.master.clone(),
        gateway_url: parts.gateway_url.clone(),
        live: parts.live.clone(),
        tenants_per_person,
    };
    let people = people::PageNeeds { access: access.clone(), clock: access.clock.clone(), login: login.clone() };
    let signed_in = Router::new()
        .merge(login::routes(login.clone()))
        .merge(connect::page_routes(connect))
        .merge(people::page_routes(people))
        .merge(tenants::page_routes(settings))
        .merge(happening(parts, &access))
        .merge(policies::page_routes(policies))
        .merge(tokens::page_routes(tokens))
        .merge(servers::page_routes(server_needs(parts)))
        .merge(credentials::page_routes(credential_needs(parts)))
        .merge(sinks::page_routes(sink_needs(parts)));
    console::routes(console::Needs { access, site }, login::open_routes(login), signed_in)
}

/// The pages of what happens.
fn happening(parts: &Parts, access: &Access) -> Router {
    let Parts { clock, master, gateway_url, sandbox, drain, .. } = parts.clone();
    let streams = Streams::default();
    let activity = activity::Needs { access: access.clone(), clock: clock.clone(), master, drain, streams };
    let overview = overview::Needs { access: access.clone(), clock, gateway_url, sandbox };
    let evidence = evidence::page_routes(evidence_needs(parts));
    activity::page_routes(activity).merge(overview::page_routes(overview)).merge(evidence)
}

fn server_needs(parts: &Parts) -> servers::Needs {
    let Parts { pool, clock, relay, store, sandbox, .. } = parts.clone();
    let access = Access { pool, clock: clock.clone() };
    servers::Needs { access, clock, relay, store, sandbox, credentials: credential_needs(parts) }
}

/// What sending records to destinations needs.
#[must_use]
pub fn sink_needs(parts: &Parts) -> sinks::Needs {
    let Parts { pool, clock, master, store, egress, .. } = parts.clone();
    let outside = sinks::Outside { rules: egress, clock: clock.clone(), answer_within: sinks::Outside::ANSWER };
    sinks::Needs { access: Access { pool, clock }, master, store, outside }
}

fn credential_needs(parts: &Parts) -> credentials::Needs {
    let Parts { pool, clock, master, store, .. } = parts.clone();
    credentials::Needs { access: Access { pool, clock: clock.clone() }, clock, master, store }
}

fn evidence_needs(parts: &Parts) -> evidence::Needs {
    let Parts { pool, clock, master, log, .. } = parts.clone();
    let access = Access { pool, clock: clock.clone() };
    evidence::Needs { access, clock, log, master, verifying: Arc::new(Semaphore::new(evidence::VERIFYING)) }
}

/// The API's description (`OpenAPI` 3.1).
#[must_use]
pub fn openapi(parts: &Parts) -> OpenApi {
    described(parts).1
}

fn described(parts: &Parts) -> (Router, OpenApi) {
    OpenApiRouter::with_openapi(frame()).nest("/api/v1", features(parts)).split_for_parts()
}

/// A line for each feature.
fn features(parts: &Parts) -> OpenApiRouter {
    let Parts { pool, clock, master, gateway_url, live, site, tenants_per_person, drain, .. } = parts.clone();
    let access = Access { pool, clock: clock.clone() };
    let common = || (access.clone(), clock.clone());
    let (access, clock) = common();
    let tenants = tenants::Needs {
        access,
        clock,
        master: master.clone(),
        gateway_url: gateway_url.clone(),
        live: live.clone(),
        tenants_per_person,
    };
    let (access, clock) = common();
    let people = people::Needs { access, clock };
    let (access, clock) = common();
    let tokens = tokens::Needs { access, clock, gateway_url: gateway_url.clone(), site };
    let (access, clock) = common();
    let policies = policies::Needs { access, clock, live: live.clone() };
    let (access, clock) = common();
    let activity = activity::Needs { access, clock, master, drain, streams: Streams::default() };
    let evidence = evidence_needs(parts);
    OpenApiRouter::new()
        .merge(tenants::routes(tenants))
        .merge(people::routes(people))
        .merge(tokens::routes(tokens))
        .merge(servers::routes(server_needs(parts)))
        .merge(credentials::routes(credential_needs(parts)))
        .merge(policies::routes(policies))
        .merge(activity::routes(activity))
        .merge(evidence::routes(evidence))
        .merge(sinks::routes(sink_needs(parts)))
}

fn frame() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Sluice")
        .version("1")
        .description(Some("Configuration and records of a tenant. Every error is a problem (RFC 9457)."));
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("sla_…")
        .description(Some("An API token; it is good in one tenant."));
    let mut components = utoipa::openapi::Components::new();
    components.add_security_scheme("api_token", SecurityScheme::Http(token.build()));
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .security(Some([SecurityRequirement::new("api_token", [] as [&str; 0])]))
        .build()
}

/// Answers are the caller's alone, and are what they say they are.
async fn private(response: Response) -> impl IntoResponse {
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, response)
}
