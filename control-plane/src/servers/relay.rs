//! Asks a node to look at an upstream server: the control plane itself never connects to one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use domain::projection::{EnvelopeKind, Statement, seal};
use domain::relay::{DISCOVER_PATH, DISCOVER_TTL_S, Discover, Failed, Found, Step};
use domain::{Clock, Credential, EraPin, ServerId, TenantId, WrappedKey};
use futures_util::StreamExt as _;
use mcp::sse;
use secrets::SigningKey;
use service::Drain;
use tokio::sync::mpsc;
use url::Url;

use super::looks::{Looks, TooMany};

/// Longest probe.
const PROBE_TIMEOUT: Duration = Duration::from_mins(1);
/// Longest wait for a connection to a node.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Largest event: 2,000 definitions of 64 KiB would be more, but no server needs that.
const EVENT_MAX_BYTES: usize = 32 * 1024 * 1024;

/// The nodes' internal listeners and what signs requests to them.
#[derive(Debug, Clone)]
pub struct Relay(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: reqwest::Client,
    nodes: Vec<Url>,
    /// Where to begin next, so that nodes share the work.
    next: AtomicUsize,
    signing: Arc<SigningKey>,
    deployment: String,
    drain: Drain,
    looks: Looks,
}

/// What is to be looked at.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) tenant: TenantId,
    pub(crate) server: Option<ServerId>,
    pub(crate) endpoint: Url,
    pub(crate) era: EraPin,
    pub(crate) credential: Credential,
    pub(crate) data_key: WrappedKey,
}

/// What a node says while it looks.
#[derive(Debug)]
pub(crate) enum Event {
    /// A step ended.
    Step(Step),
    /// The end: what it found.
    Found(Box<Found>),
    /// The end: why it found nothing.
    Failed(Failed),
    /// The end: no node looked.
    NoNode,
}

impl Relay {
    /// Makes the client.
    ///
    /// # Errors
    /// When TLS could not be set up.
    pub fn new(
        nodes: Vec<Url>,
        signing: Arc<SigningKey>,
        (deployment, looks): (String, Looks),
        drain: Drain,
    ) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(PROBE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self(Arc::new(Inner { client, nodes, next: AtomicUsize::new(0), signing, deployment, drain, looks })))
    }

    /// Has a node look for somebody. The last event is the end; dropping the receiver gives up.
    pub(crate) fn probe(&self, clock: &Clock, target: &Target) -> Result<mpsc::Receiver<Event>, TooMany> {
        self.0.looks.take(target.tenant, clock.now())?;
        Ok(self.watch(clock, target))
    }

    /// The same for nobody in particular: it counts for no limit.
    pub(super) fn watch(&self, clock: &Clock, target: &Target) -> mpsc::Receiver<Event> {
        let (events, receiver) = mpsc::channel(16);
        let (relay, clock, target) = (self.clone(), clock.clone(), target.clone());
        self.0.drain.spawn(async move {
            tokio::select! {
                () = relay.run(&clock, &target, &events) => {}
                () = events.closed() => {}
            }
        });
        receiver
    }

    /// Tries one node after the other until one answers.
    async fn run(&self, clock: &Clock, target: &Target, events: &mpsc::Sender<Event>) {
        let first = self.0.next.fetch_add(1, Ordering::Relaxed);
        for place in 0..self.0.nodes.len() {
            let node = &self.0.nodes[(first + place) % self.0.nodes.len()];
            // A request counts once: each try is its own.
            match self.post(node, self.envelope(clock, target)).await {
                Ok(response) => return pass_on(response, events).await,
                Err(error) => tracing::warn!(%error, "a node did not take a probe"),
            }
        }
        let _ = events.send(Event::NoNode).await;
    }

    async fn post(&self, node: &Url, body: Vec<u8>) -> Result<reqwest::Response, reqwest::Error> {
        let mut address = node.clone();
        address.set_path(DISCOVER_PATH);
        self.0.client.post(address).body(body).send().await?.error_for_status()
    }

    fn envelope(&self, clock: &Clock, target: &Target) -> Vec<u8> {
        let now = clock.now();
        let discover = Discover {
            tenant: target.tenant,
            server: target.server,
            endpoint: target.endpoint.clone(),
            era: target.era,
            credential: target.credential.clone(),
            data_key: target.data_key.clone(),
            items: true,
            jti: hex::encode(secrets::random::<16>()),
            expires_at: now + TimeDelta::seconds(DISCOVER_TTL_S),
        };
        let statement = Statement {
            deployment: &self.0.deployment,
            kind: EnvelopeKind::Relay,
            tenant: Some(target.tenant),
            key: DISCOVER_PATH,
            epoch: 0,
            revision: 0,
            signed_at: now,
        };
        seal(&statement, &serde_json::to_vec(&discover).unwrap_or_default(), &*self.0.signing)
    }
}

/// Reads a node's event stream to its end.
async fn pass_on(response: reqwest::Response, events: &mpsc::Sender<Event>) {
    let mut reader = sse::Reader::new(EVENT_MAX_BYTES);
    let mut bytes = response.bytes_stream();
    while let Some(Ok(piece)) = bytes.next().await {
        let mut read = Vec::new();
        let within = reader.read(&piece, &mut read).is_ok();
        for event in read.iter().filter_map(understood) {
            let last = !matches!(event, Event::Step(_));
            if events.send(event).await.is_err() || last {
                return;
            }
        }
        if !within {
            break;
        }
    }
    let _ = events.send(Event::NoNode).await;
}

fn understood(event: &sse::Event) -> Option<Event> {
    match event.kind.as_deref()? {
        "step" => serde_json::from_slice(&event.data).ok().map(Event::Step),
        "found" => serde_json::from_slice(&event.data).ok().map(|found| Event::Found(Box::new(found))),
        "failed" => serde_json::from_slice(&event.data).ok().map(Event::Failed),
        _ => None,
    }
}
