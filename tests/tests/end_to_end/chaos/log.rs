//! What the log says, from bundles that both verifiers were given: after each fault of what came since the last, and of the
//! whole at the end.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sluice_tests::api::Api;
use sluice_tests::behind::Postgres;
use sluice_tests::load::number_of;
use sluice_tests::patience::until_within;
use sluice_tests::stack::Stack;

use super::faults::TAKES_OVER;
use crate::evidence::{Verified, lines};

/// What a bundle says.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Each numbered call's final records.
    pub(super) finals: BTreeMap<u64, Vec<Final>>,
    /// Of each epoch the lines of records that say what is missing.
    pub(super) notes: Vec<Vec<Value>>,
    /// How many refusals for want of room for a record are counted together.
    pub(super) together: u64,
    /// How many runs of nodes are over without a good-bye.
    pub(super) unclean_ends: usize,
    /// Each record's leaf hash in hexadecimal, by epoch and place.
    pub(super) leaves: BTreeMap<(u64, u64), String>,
    /// What the verifiers found: nothing, where all holds.
    pub(super) fault: Option<String>,
}

/// What a call's final record says.
#[derive(Debug, Clone)]
pub(super) struct Final {
    pub(super) status: String,
    code: Option<String>,
}

impl Final {
    /// Whether it says, or leaves open, that the call was not made for want of a record: docs/audit-protocol.md, N1.
    pub(super) fn is_refusal(&self) -> bool {
        let is_told = self.status == "denied" && self.code.as_deref() == Some("audit_unavailable");
        is_told || self.status == "unknown"
    }
}

/// Takes bundles of a log, each compared with the checkpoint of the one before.
pub(super) struct Evidence<'a> {
    pub(super) api: &'a Api,
    pub(super) stack: &'a Stack,
    kept: Option<Kept>,
}

/// A checkpoint that was kept.
#[derive(Debug, Clone)]
struct Kept {
    note: String,
    origin: String,
    size: u64,
}

impl Kept {
    /// The one that a bundle ends with.
    fn of(bundle: &[Vec<u8>]) -> Self {
        let last: Value = serde_json::from_slice(bundle.last().unwrap()).unwrap();
        let note = last["checkpoint"].as_str().unwrap().to_owned();
        let mut text = note.lines().map(str::to_owned);
        let (origin, size) = (text.next().unwrap(), text.next().unwrap().parse().unwrap());
        Self { note, origin, size }
    }
}

impl<'a> Evidence<'a> {
    pub(super) fn new(api: &'a Api, stack: &'a Stack) -> Self {
        Self { api, stack, kept: None }
    }

    /// What came into the log since the last bundle, compared with that one's checkpoint. In a new epoch that can't be: what
    /// had been signed is gone, and the whole log is taken.
    pub(super) async fn news(&mut self) -> Log {
        let last = self.checkpoint().await;
        let origin = last.note.lines().next().unwrap();
        let kept = self.kept.clone().filter(|kept| kept.origin == origin);
        let query = kept.as_ref().map_or_else(String::new, |kept| format!("?first={0}&since={0}", kept.size));
        let bundle = lines(self.api, &query).await;
        self.kept = Some(Kept::of(&bundle));
        self.read(&bundle, kept.as_ref().map(|kept| kept.note.as_str())).await
    }

    /// The whole log, of all epochs.
    pub(super) async fn whole(&self) -> Log {
        let last = self.checkpoint().await;
        let origin = last.note.lines().next().unwrap();
        let kept = self.kept.as_ref().filter(|kept| kept.origin == origin);
        let bundle = lines(self.api, "").await;
        self.read(&bundle, kept.map(|kept| kept.note.as_str())).await
    }

    /// A checkpoint over all records that are there now.
    async fn checkpoint(&self) -> sluice_tests::api::Checkpoint {
        let postgres = Postgres::of(&self.stack.endpoints, self.stack.folder());
        let size = format!(
            "select size from audit_head where tenant_id = (select tenant_id from tenants where slug = '{}') order by epoch desc limit 1",
            self.stack.endpoints.tenant
        );
        let size: u64 = postgres.query(&size).await.parse().unwrap();
        until_within(TAKES_OVER, "a checkpoint over all records", async || {
            self.api.checkpoint().await.filter(|last| last.size >= size)
        })
        .await
    }

    /// Has a bundle verified by both programs, and reads it.
    async fn read(&self, bundle: &[Vec<u8>], since: Option<&str>) -> Log {
        let checkpoint = self.checkpoint().await;
        let verified = Verified { checkpoint: &checkpoint, folder: self.stack.folder().to_owned() };
        let (code, said) = tokio::task::block_in_place(|| verified.codes(bundle, since));
        let mut log = Log { notes: vec![Vec::new()], fault: (code != 0).then_some(said), ..Log::default() };
        let mut epoch = epoch_of(&bundle[0], "origin");
        for line in bundle {
            if line.starts_with(b"{\"epoch\":") {
                epoch = epoch_of(line, "epoch");
                log.notes.push(Vec::new());
            } else if line.starts_with(b"{\"seq\":") {
                log.take(epoch, serde_json::from_slice(line).unwrap());
            }
        }
        log
    }
}

/// The epoch of the origin that a line names.
fn epoch_of(line: &[u8], member: &str) -> u64 {
    let line: Value = serde_json::from_slice(line).unwrap();
    line[member].as_str().unwrap().rsplit_once('/').unwrap().1.parse().unwrap()
}

impl Log {
    fn take(&mut self, epoch: u64, line: Value) {
        let record = &line["record"];
        let leaf = STANDARD.decode(line["leaf"].as_str().unwrap()).unwrap();
        self.leaves.insert((epoch, line["seq"].as_u64().unwrap()), hex::encode(leaf));
        if record["kind"] == "call"
            && record["final"] == true
            && let Some(number) = record["trace"]["id"].as_str().and_then(number_of)
        {
            let text = |of: &Value| of.as_str().map(str::to_owned);
            let status = text(&record["outcome"]["status"]).unwrap();
            self.finals.entry(number).or_default().push(Final { status, code: text(&record["decision"]["code"]) });
        } else if record["kind"] == "auth" && record["decision"]["code"] == "audit_unavailable" {
            self.together += record["count"].as_u64().unwrap_or(1);
        } else if record["kind"] == "boot_end" && record["source"]["clean"] == false {
            self.unclean_ends += 1;
        } else if record["kind"] == "epoch" || record["kind"] == "gap" {
            self.notes.last_mut().unwrap().push(line);
        }
    }
}
