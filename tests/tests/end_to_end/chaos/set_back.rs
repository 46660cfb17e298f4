//! Postgres is lost and set back to a base backup under load: what nobody has any more has a name, and nothing else is gone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sluice_tests::backup::{Backup, Maintenance};
use sluice_tests::behind::{Postgres, Redis};
use sluice_tests::load::number_of;
use sluice_tests::patience::until_within;

use super::faults::{CALLS, CALLS_MEANWHILE, TAKES_OVER, World};

/// How old the backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// Redis still has all records that were made since.
    Young,
    /// What took effect since has left Redis, too.
    Old,
}

impl std::fmt::Display for Age {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Young => "restored, minutes old",
            Self::Old => "restored, older",
        })
    }
}

/// What a restored backup took.
pub(super) struct SetBack {
    age: Age,
    /// The log as the backup has it, and as it was.
    before: Log,
    gone: Log,
}

/// What Postgres has of the tenant's log.
struct Log {
    epoch: u64,
    size: u64,
    /// How many records the last checkpoint is over.
    signed: u64,
    /// Epoch, place and number of each numbered call's final record.
    finals: Vec<(u64, u64, u64)>,
    /// How many frames of each run of a node have taken effect.
    frames: BTreeMap<String, u64>,
    /// Up to where the stream was read.
    cursor: String,
}

impl Log {
    async fn of(postgres: &Postgres, tenant: &str) -> Self {
        let its = format!("tenant_id = (select tenant_id from tenants where slug = '{tenant}')");
        let head = format!("select epoch, size, signed_size from audit_head where {its}");
        let head = numbers(&postgres.query(&head).await);
        let finals = format!(
            "select epoch, seq, trace_id from audit_record where {its} and kind = 'call' and final and trace_id is not null"
        );
        let finals = postgres.query(&finals).await;
        let finals = finals.lines().filter_map(|line| {
            let (place, trace) = line.rsplit_once('|').unwrap();
            let place = numbers(place);
            Some((place[0], place[1], number_of(trace)?))
        });
        let frames = postgres.query("select node || ' ' || boot, wm from audit_source").await;
        let frames = frames.lines().map(|line| line.split_once('|').unwrap());
        Self {
            epoch: head[0],
            size: head[1],
            signed: head[2],
            finals: finals.collect(),
            frames: frames.map(|(run, count)| (run.to_owned(), count.parse().unwrap())).collect(),
            cursor: postgres.query("select cursor from audit_shard where shard = 0").await,
        }
    }
}

fn numbers(line: &str) -> Vec<u64> {
    line.split('|').map(|number| number.parse().unwrap()).collect()
}

impl World<'_> {
    /// Takes a backup, lets calls go on, loses Postgres, and goes the way that docs/operate.md tells, while calls go on.
    pub(super) async fn set_back(&mut self, age: Age) {
        let tenant = &self.stack.endpoints.tenant;
        let postgres = Postgres::of(&self.stack.endpoints, self.stack.folder());
        let its = format!("tenant_id = (select tenant_id from tenants where slug = '{tenant}')");
        let backup = Backup::take(self.stack).await;
        let size = postgres.query(&format!("select size from audit_head where {its}")).await;
        self.load.goes_on_for(CALLS).await;
        let signed = format!("select signed_size > {size} from audit_head where {its}");
        until_within(TAKES_OVER, "a checkpoint of what the backup lacks", async || {
            postgres.holds(&signed).await.then_some(())
        })
        .await;
        let mut maintenance = Maintenance::begin(self.stack).await;
        self.load.goes_on_for(CALLS_MEANWHILE).await;
        let gone = Log::of(&maintenance.postgres(), tenant).await;
        if age == Age::Old {
            Redis::of(&self.stack.endpoints).await.forget_records(&gone.cursor).await;
        }
        maintenance.lose_everything().await;
        self.load.goes_on_for(CALLS_MEANWHILE).await;
        maintenance.put_back(&backup).await;
        let before = Log::of(&maintenance.postgres(), tenant).await;
        maintenance.restore(&[]).await;
        self.load.goes_on_for(CALLS_MEANWHILE).await;
        maintenance.end().await;
        let goes_on = format!(
            "select (select not bool_or(set_back) from audit_shard) and epoch > {} from audit_head where {its}",
            gone.epoch
        );
        until_within(TAKES_OVER, "what is missing is named", async || postgres.holds(&goes_on).await.then_some(()))
            .await;
        self.damage.set_backs.push(SetBack { age, before, gone });
    }
}

impl SetBack {
    /// The numbers of calls whose final records nobody has any more: they were taken in after the backup, and Redis and the
    /// nodes have let go of them.
    fn lost(&self) -> BTreeSet<u64> {
        let kept = (self.before.epoch, self.before.size);
        let gone = self.gone.finals.iter().filter(|(epoch, seq, _)| (*epoch, *seq) >= kept);
        gone.map(|(_, _, number)| *number).filter(|_| self.age == Age::Old).collect()
    }

    /// First and last of the frames that nobody has any more, of each run.
    fn lost_frames(&self) -> Vec<(u64, u64)> {
        let kept = |run| self.before.frames.get(run).copied().unwrap_or_default();
        let lost = self.gone.frames.iter().map(|(run, count)| (kept(run) + 1, *count));
        let mut lost: Vec<_> = lost.filter(|(first, last)| first <= last && self.age == Age::Old).collect();
        lost.sort_unstable();
        lost
    }

    /// An epoch's first records say what the log was and what is left, and its further gaps which frames are missing.
    fn is_named(&self, epoch: &[Value]) {
        let (is, told) = (&epoch[0]["record"], &epoch[0]["record"]["epoch"]);
        assert_eq!((&epoch[0]["seq"], &is["kind"]), (&json!(0), &json!("epoch")), "{is}");
        let tree = |of: &Value| (of["epoch"].as_u64().unwrap(), of["size"].as_u64().unwrap());
        assert_eq!(tree(&told["recovered"]), (self.before.epoch, self.before.size), "what is left");
        assert_eq!(tree(&told["signed"]), (self.gone.epoch, self.gone.signed), "what was signed for");
        let gap = &epoch[1]["record"];
        assert_eq!((&epoch[1]["seq"], &gap["kind"]), (&json!(1), &json!("gap")), "{gap}");
        assert_eq!(gap["source"]["reason"], "set_back", "{gap}");
        let gaps = epoch[2..].iter().map(|line| &line["record"]);
        let gaps = gaps.filter(|record| record["source"]["reason"] == "set_back");
        let spans = gaps.flat_map(|gap| gap["source"]["missing"].as_array().unwrap());
        let mut spans: Vec<_> =
            spans.map(|span| (span["first"].as_u64().unwrap(), span["last"].as_u64().unwrap())).collect();
        spans.sort_unstable();
        assert_eq!(spans, self.lost_frames(), "each frame that nobody has is named, and no other: {}", self.age);
    }
}

/// Each epoch names what its restored backup took; gives the numbers of all calls whose records are gone.
pub(super) fn lost(set_backs: &[SetBack], epochs: &[Vec<Value>]) -> BTreeSet<u64> {
    assert_eq!(epochs.len(), set_backs.len() + 1, "an epoch for each backup that was restored");
    for (set_back, epoch) in set_backs.iter().zip(&epochs[1..]) {
        set_back.is_named(epoch);
        assert_eq!(set_back.lost().is_empty(), set_back.age == Age::Young, "what is gone: {}", set_back.age);
    }
    set_backs.iter().flat_map(SetBack::lost).collect()
}
