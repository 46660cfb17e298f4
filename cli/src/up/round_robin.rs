//! The tenant port: deals connections to the nodes in turn, passing over those that don't answer. For one machine only;
//! elsewhere a load balancer does this.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Takes connections until `stop`, and passes bytes both ways.
pub(crate) async fn serve(listener: TcpListener, nodes: Vec<u16>, stop: CancellationToken) {
    let (nodes, next, connections) = (Arc::new(nodes), Arc::new(AtomicUsize::new(0)), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((mut client, _)) = accepted else { continue };
        let (nodes, next, stop) = (nodes.clone(), next.clone(), stop.clone());
        connections.spawn(async move {
            let Some(mut node) = dial(&nodes, &next).await else { return };
            let (_, _) = (client.set_nodelay(true), node.set_nodelay(true));
            tokio::select! {
                () = stop.cancelled() => {}
                _ = tokio::io::copy_bidirectional(&mut client, &mut node) => {}
            }
        });
    }
    connections.close();
    connections.wait().await;
}

async fn dial(nodes: &[u16], next: &AtomicUsize) -> Option<TcpStream> {
    let first = next.fetch_add(1, Ordering::Relaxed);
    for offset in 0..nodes.len() {
        if let Ok(node) = TcpStream::connect(("127.0.0.1", nodes[(first + offset) % nodes.len()])).await {
            return Some(node);
        }
    }
    None
}
