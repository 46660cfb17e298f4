//! A SIEM's receiver: takes what a webhook brings, remembers it in the order in which it came, and dies and lives at will.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use tokio::runtime::Runtime;

/// A receiver of one tenant's records in the format `native`.
pub struct Receiver {
    address: SocketAddr,
    taken: Arc<Mutex<Taken>>,
    /// All that serves: with it every connection goes, as with the process that had them.
    runtime: Option<Runtime>,
}

/// What a receiver was brought.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// Each record's leaf hash in hexadecimal, by its epoch and its place in the log.
    pub records: BTreeMap<(u64, u64), String>,
    /// How many batches came again, which they may.
    pub again: usize,
    /// What may not be: records out of order, or others under the same name.
    pub faults: Vec<String>,
    /// A hash of each batch's text, by its name.
    batches: BTreeMap<String, u64>,
}

impl Receiver {
    /// Starts one on a free port of 127.0.0.1.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut receiver = Self { address, taken: Arc::default(), runtime: None };
        receiver.serve(listener);
        receiver
    }

    /// Where records are to be sent.
    pub fn url(&self) -> String {
        format!("http://{}/records", self.address)
    }

    /// What it was brought so far.
    pub fn taken(&self) -> Taken {
        self.taken.lock().unwrap().clone()
    }

    /// Whether it has the record at this place of an epoch.
    pub fn has(&self, epoch: u64, seq: u64) -> bool {
        self.taken.lock().unwrap().records.contains_key(&(epoch, seq))
    }

    /// Dies in the middle of whatever it is doing: nobody listens any more, and no connection is left.
    pub fn dies(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Lives again, where it was, with what it had taken.
    pub fn lives_again(&mut self) {
        self.serve(TcpListener::bind(self.address).unwrap());
    }

    fn serve(&mut self, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let app = Router::new().route("/records", post(take)).with_state(self.taken.clone());
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, app).await.unwrap();
        });
        self.runtime = Some(runtime);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.dies();
    }
}

async fn take(State(taken): State<Arc<Mutex<Taken>>>, headers: HeaderMap, body: String) -> StatusCode {
    let id = headers["webhook-id"].to_str().unwrap();
    taken.lock().unwrap().take(id, &body);
    StatusCode::NO_CONTENT
}

impl Taken {
    fn take(&mut self, id: &str, body: &str) {
        let mut hasher = DefaultHasher::new();
        hasher.write(body.as_bytes());
        let hash = hasher.finish();
        match self.batches.insert(id.to_owned(), hash) {
            Some(before) if before != hash => self.faults.push(format!("the batch {id} came again as another")),
            Some(_) => self.again += 1,
            None => body.lines().for_each(|line| self.add(&serde_json::from_str(line).unwrap())),
        }
    }

    fn add(&mut self, line: &Value) {
        // A signed checkpoint goes along now and then.
        if line["kind"] == "checkpoint" {
            return;
        }
        let place = (line["epoch"].as_u64().unwrap(), line["seq"].as_u64().unwrap());
        if let Some((last, _)) = self.records.last_key_value()
            && place != (last.0, last.1 + 1)
        {
            self.faults.push(format!("{place:?} came after {last:?}"));
        }
        self.records.insert(place, line["leaf_hash"].as_str().unwrap().to_owned());
    }
}
