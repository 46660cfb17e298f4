//! A load balancer as operators have one: it asks each node whether it is ready, and deals connections to those that are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::patience::until;
use crate::stack::Endpoints;

/// How often a node is asked.
const EVERY: Duration = Duration::from_millis(200);

/// A balancer before all nodes; it ends when dropped.
pub struct Balancer {
    /// Where clients connect.
    pub url: String,
    nodes: Arc<Vec<Node>>,
    _tasks: JoinSet<()>,
}

struct Node {
    address: String,
    readiness: String,
    is_ready: AtomicBool,
}

impl Balancer {
    /// Starts one before the nodes of a deployment and waits until all are ready.
    pub async fn start(endpoints: &Endpoints) -> Self {
        let nodes = endpoints.data_plane_urls.iter().zip(&endpoints.metrics_urls).map(|(url, metrics)| Node {
            address: url.trim_start_matches("http://").to_owned(),
            readiness: metrics.replace("/metrics", "/readyz"),
            is_ready: AtomicBool::new(false),
        });
        let nodes = Arc::new(nodes.collect::<Vec<_>>());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        for place in 0..nodes.len() {
            tasks.spawn(ask(nodes.clone(), place));
        }
        tasks.spawn(deal(listener, nodes.clone()));
        let balancer = Self { url, nodes, _tasks: tasks };
        balancer.all_are_ready().await;
        balancer
    }

    /// Waits until every node is ready, as far as the balancer knows.
    pub async fn all_are_ready(&self) {
        self.wait("every node is ready", 0).await;
    }

    /// Waits until the balancer passes over one node.
    pub async fn passes_over_one(&self) {
        self.wait("a node is passed over", 1).await;
    }

    async fn wait(&self, what: &str, unready: usize) {
        let count = || self.nodes.iter().filter(|node| !node.is_ready.load(Ordering::Relaxed)).count();
        until(what, async || (count() == unready).then_some(())).await;
    }
}

async fn ask(nodes: Arc<Vec<Node>>, place: usize) {
    let client = reqwest::Client::builder().timeout(EVERY * 5).no_proxy().build().unwrap();
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        let answer = client.get(&nodes[place].readiness).send().await;
        let is_ready = answer.is_ok_and(|answer| answer.status().is_success());
        nodes[place].is_ready.store(is_ready, Ordering::Relaxed);
    }
}

async fn deal(listener: TcpListener, nodes: Arc<Vec<Node>>) {
    let (next, mut connections) = (AtomicUsize::new(0), JoinSet::new());
    loop {
        let Ok((mut client, _)) = listener.accept().await else { continue };
        let (nodes, first) = (nodes.clone(), next.fetch_add(1, Ordering::Relaxed));
        connections.spawn(async move {
            // The next only where a connection was refused: then nothing was sent.
            for place in (0..nodes.len()).map(|offset| (first + offset) % nodes.len()) {
                if !nodes[place].is_ready.load(Ordering::Relaxed) {
                    continue;
                }
                if let Ok(mut node) = TcpStream::connect(&nodes[place].address).await {
                    let (_, _) = (client.set_nodelay(true), node.set_nodelay(true));
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut node).await;
                    return;
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
