//! What tests share: the router over a fresh database, people to be, and a node that says what it is told.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::routing::post;
use control_plane::app::{Parts, router};
use control_plane::console::Site;
use control_plane::evidence::Log;
use control_plane::login::{Mail, Passwords};
use control_plane::publish::Live;
use control_plane::{First, Looks, Relay, Sandbox, bootstrap};
use domain::TenantId;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::BodyExt as _;
use prometheus_client::metrics::counter::Counter;
use secrets::{MasterKey, SigningKey, Store};
use serde_json::{Value, json};
use service::Drain;
use sqlx::PgPool;
use tower::ServiceExt as _;

/// How often the people of a tenant may have servers looked at within a minute here: some tests look at one fifty times.
pub(crate) const LOOKS: u32 = 60;

/// The API, and a node it may ask.
pub(crate) struct App {
    pub(crate) router: Router,
    pub(crate) parts: Parts,
    node: Node,
}

/// Somebody with an API token.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) token: String,
    /// The tenant in paths.
    pub(crate) slug: String,
    pub(crate) tenant: TenantId,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Status and body, for snapshots.
    pub(crate) fn shown(&self) -> String {
        format!("{}\n{}", self.status, self.text)
    }

    /// The member at a path, as text.
    pub(crate) fn text_at(&self, pointer: &str) -> String {
        let json = self.json();
        let found = json.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {}", self.text));
        found.as_str().map_or_else(|| found.to_string(), str::to_owned)
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
}

/// What the node's internal listener answers to the next probes.
#[derive(Clone, Default)]
struct Node(Arc<Mutex<NodeState>>);

#[derive(Default)]
struct NodeState {
    answer: String,
    requests: Vec<Vec<u8>>,
    meanwhile: Option<BoxFuture<'static, ()>>,
}

impl App {
    pub(crate) async fn new(pool: &PgPool) -> Self {
        let node = Node::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let answers = node.clone();
        let handler = move |body: axum::body::Bytes| async move {
            let meanwhile = answers.0.lock().unwrap().meanwhile.take();
            if let Some(meanwhile) = meanwhile {
                meanwhile.await;
            }
            let mut state = answers.0.lock().unwrap();
            state.requests.push(body.to_vec());
            ([(header::CONTENT_TYPE, "text/event-stream")], state.answer.clone())
        };
        let listening = Router::new().route(domain::relay::DISCOVER_PATH, post(handler));
        tokio::spawn(async move { axum::serve(listener, listening).await.unwrap() });
        let signing = Arc::new(SigningKey::generate());
        let (clock, master) = (service::clock(), Arc::new(MasterKey::generate()));
        // Nobody listens there: nothing tried here may need Redis.
        let redis = service::redis::connect_lazily("redis://127.0.0.1:1").unwrap();
        let parts = Parts {
            pool: pool.clone(),
            live: Live::new(redis, &master, "dep_0123456789abcdef", clock.clone()),
            clock,
            master,
            gateway_url: Arc::new("https://mcp.example.com".parse().unwrap()),
            relay: Relay::new(
                vec![address],
                signing,
                ("dep_0123456789abcdef".to_owned(), Looks::new(LOOKS, Counter::default())),
                Drain::new(),
            )
            .unwrap(),
            store: Store::Sealed,
            tenants_per_person: 3,
            site: Site::new("https://console.example.com".parse().unwrap(), "dep_0123456789abcdef").unwrap(),
            passwords: Passwords::cheap(),
            egress: Arc::new(egress::Rules::development()),
            log: Log::new("dep_test", &SigningKey::generate()),
            sandbox: Sandbox(Some("https://sandbox.example/mcp".parse().unwrap())),
            mail: Mail::kept(std::env::temp_dir().join("sluice-test-mails")).unwrap(),
            drain: Drain::new(),
        };
        Self { router: router(&parts), parts, node }
    }

    /// The owner of the first tenant, `acme`.
    pub(crate) async fn owner(&self) -> Person {
        let first = First {
            slug: "acme".parse().unwrap(),
            title: "Acme".to_owned(),
            owner_email: "olive@acme.example".to_owned(),
            owner_name: "Olive".to_owned(),
        };
        let made = bootstrap(&self.parts.pool, &self.parts.master, &self.parts.clock, first).await.unwrap().unwrap();
        Person { token: made.api_token.expose().to_owned(), slug: "acme".to_owned(), tenant: made.tenant }
    }

    /// The owner of another tenant, a person the first one knows nothing of.
    pub(crate) async fn stranger(&self, owner: &Person) -> Person {
        let body = json!({"slug": "globex", "title": "Globex", "owner_name": "Greta"});
        let made = self.post(owner, "/tenants", body).await.expect(201);
        let tenant = made.text_at("/tenant/id").parse().unwrap();
        let founder = Person { token: made.text_at("/api_token"), slug: "globex".to_owned(), tenant };
        let (stranger, _) = self.member(&founder, "greta@globex.example", "owner").await;
        stranger
    }

    /// A new member with an API token of theirs, and the membership's id.
    pub(crate) async fn member(&self, owner: &Person, email: &str, role: &str) -> (Person, String) {
        let body = json!({"email": email, "name": "Somebody", "role": role});
        let member = self.post(owner, &format!("{}/members", owner.path()), body).await.expect(201).text_at("/id");
        let body = json!({"title": "test", "member": member, "days": 1});
        let issued = self.post(owner, &format!("{}/api-tokens", owner.path()), body).await.expect(201);
        (Person { token: issued.text_at("/secret"), ..owner.clone() }, member)
    }

    /// A registered server with these tools accepted; its id.
    pub(crate) async fn server(&self, owner: &Person, key: &str, tools: &[Value]) -> String {
        let body = json!({"key": key, "title": key, "endpoint": "https://upstream.example/mcp"});
        let server = self.post(owner, &format!("{}/servers", owner.path()), body).await.expect(201).text_at("/id");
        self.node_finds(tools);
        let path = format!("{}/servers/{server}", owner.path());
        let version = self.post(owner, &format!("{path}/import"), json!({})).await.expect(201).text_at("/held/id");
        self.post(owner, &format!("{path}/versions/{version}/accept"), json!({})).await.expect(200);
        server
    }

    /// Puts a policy of this text in force.
    pub(crate) async fn in_force(&self, owner: &Person, name: &str, text: &str) -> String {
        let policies = format!("{}/policies", owner.path());
        let made = self.post(owner, &policies, json!({"name": name, "text": text})).await.expect(201);
        let policy = made.text_at("/policy/id");
        let body = json!({"revision": 1, "version": 1});
        self.post(owner, &format!("{policies}/{policy}/activate"), body).await.expect(200);
        policy
    }

    /// From now on the node finds a server with these tools.
    pub(crate) fn node_finds(&self, tools: &[Value]) {
        let step = json!({"step": "tools", "ok": true, "detail": "tools listed", "ms": 3});
        let found = json!({"era": "modern", "protocol_version": "2026-07-28", "tools": tools});
        self.node_says(&format!("event: step\ndata: {step}\n\nevent: found\ndata: {found}\n\n"));
    }

    /// From now on the node finds a server with these tools, and these prompts, resources and templates.
    pub(crate) fn node_finds_items(&self, tools: &[Value], items: &Value) {
        let found = json!({"era": "modern", "protocol_version": "2026-07-28", "tools": tools, "items": items,
            "capabilities": {"completions": {}, "prompts": {}}, "speaks": ["2026-07-28", "2025-11-25"],
            "transport": "streamable_http"});
        self.node_says(&format!("event: found\ndata: {found}\n\n"));
    }

    /// From now on the node answers with this event stream.
    pub(crate) fn node_says(&self, stream: &str) {
        stream.clone_into(&mut self.node.0.lock().unwrap().answer);
    }

    /// This happens while the node looks the next time.
    pub(crate) fn while_the_node_looks(&self, meanwhile: impl Future<Output = ()> + Send + 'static) {
        self.node.0.lock().unwrap().meanwhile = Some(Box::pin(meanwhile));
    }

    /// The envelopes the node was sent.
    pub(crate) fn node_was_sent(&self) -> Vec<Vec<u8>> {
        self.node.0.lock().unwrap().requests.clone()
    }

    /// Does something to the rows of a tenant, as the database's owner could; how many rows.
    pub(crate) async fn in_tenant(&self, owner: &Person, sql: &'static str) -> u64 {
        let mut tx = self.parts.pool.begin().await.unwrap();
        let fence = format!("set local app.tenant_id = '{}'", owner.tenant.uuid());
        sqlx::raw_sql(sqlx::AssertSqlSafe(fence)).execute(&mut *tx).await.unwrap();
        let done = sqlx::query(sql).execute(&mut *tx).await.unwrap().rows_affected();
        tx.commit().await.unwrap();
        done
    }

    /// Does something to the rows of no tenant; how many rows.
    pub(crate) async fn in_platform(&self, sql: &'static str) -> u64 {
        let mut tx = self.parts.pool.begin().await.unwrap();
        sqlx::raw_sql("set local role sluice_platform").execute(&mut *tx).await.unwrap();
        let done = sqlx::query(sql).execute(&mut *tx).await.unwrap().rows_affected();
        tx.commit().await.unwrap();
        done
    }

    /// One value from the rows of a tenant.
    pub(crate) async fn one_of_tenant<T>(&self, owner: &Person, sql: &'static str) -> T
    where
        (T,): for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
        T: Send + Unpin,
    {
        let mut tx = self.parts.pool.begin().await.unwrap();
        let fence = format!("set local app.tenant_id = '{}'", owner.tenant.uuid());
        sqlx::raw_sql(sqlx::AssertSqlSafe(fence)).execute(&mut *tx).await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut *tx).await.unwrap()
    }

    pub(crate) async fn get(&self, person: &Person, path: &str) -> Answer {
        self.send("GET", path, Some(&person.token), None).await
    }

    pub(crate) async fn post(&self, person: &Person, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(&person.token), Some(body.to_string())).await
    }

    pub(crate) async fn put(&self, person: &Person, path: &str, body: Value) -> Answer {
        self.send("PUT", path, Some(&person.token), Some(body.to_string())).await
    }

    pub(crate) async fn patch(&self, person: &Person, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, Some(&person.token), Some(body.to_string())).await
    }

    pub(crate) async fn delete(&self, person: &Person, path: &str) -> Answer {
        self.send("DELETE", path, Some(&person.token), None).await
    }

    /// Any request; `path` is below `/api/v1`.
    pub(crate) async fn send(&self, method: &str, path: &str, token: Option<&str>, body: Option<String>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        self.answer(request.body(body.map_or_else(Body::empty, Body::from)).unwrap()).await
    }

    /// A request whose body comes in two parts, between which something else happens.
    pub(crate) async fn post_slowly(
        &self,
        person: &Person,
        path: &str,
        body: Value,
        meanwhile: impl Future<Output = ()> + Send + 'static,
    ) -> Answer {
        let text = body.to_string().into_bytes();
        let (first, second) = (text[..1].to_vec(), text[1..].to_vec());
        let rest = async move {
            meanwhile.await;
            Ok::<_, std::convert::Infallible>(second)
        };
        let parts = stream::once(async move { Ok(first) }).chain(stream::once(rest));
        let request = Request::post(format!("/api/v1{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", person.token))
            .header(header::CONTENT_TYPE, "application/json");
        self.answer(request.body(Body::from_stream(parts)).unwrap()).await
    }

    pub(crate) async fn answer(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
    }
}

impl Person {
    /// The tenant's path.
    pub(crate) fn path(&self) -> String {
        format!("/tenants/{}", self.slug)
    }
}

/// A tool's definition.
pub(crate) fn tool(name: &str, description: &str) -> Value {
    json!({"name": name, "description": description, "inputSchema": {"type": "object", "properties": {"q": {"type": "string"}}}})
}
