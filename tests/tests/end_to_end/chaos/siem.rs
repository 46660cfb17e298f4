//! A SIEM that gets every record of the log while all kinds of things fail, and is away itself at times.

use std::collections::BTreeMap;
use std::time::Duration;

use sluice_tests::api::Api;
use sluice_tests::behind::Postgres;
use sluice_tests::patience::until_within;
use sluice_tests::siem::Receiver;
use sluice_tests::stack::Stack;

/// After so many tries in vain it is away.
const TRIES: u64 = 3;
/// How long it may take until all is there that was held up: the next try comes after 5 min at most, and these are few.
const CATCHES_UP: Duration = Duration::from_mins(2);

/// A receiver, and the destination that sends to it.
pub(super) struct Siem {
    receiver: Receiver,
    destination: String,
}

impl Siem {
    /// Starts a receiver, and has the log's records sent to it from now on.
    pub(super) async fn start(api: &Api) -> Self {
        let receiver = Receiver::start();
        let destination = api.add_destination(&receiver.url()).await;
        Self { receiver, destination }
    }

    /// It dies, and several tries to reach it fail.
    pub(super) async fn dies(&mut self, api: &Api) {
        self.receiver.dies();
        until_within(CATCHES_UP, "tries to reach the SIEM fail", async || {
            let failures = api.destination(&self.destination).await["progress"]["failures"].as_u64().unwrap();
            (failures >= TRIES).then_some(())
        })
        .await;
    }

    /// It lives again, and gets what is in the log by then.
    pub(super) async fn lives_again(&mut self, stack: &Stack) {
        self.receiver.lives_again();
        self.has_all(stack).await;
    }

    /// Waits until it has what is in the log by now.
    pub(super) async fn has_all(&self, stack: &Stack) {
        let postgres = Postgres::of(&stack.endpoints, stack.folder());
        let its = format!("tenant_id = (select tenant_id from tenants where slug = '{}')", stack.endpoints.tenant);
        let last = format!("select epoch || ' ' || size - 1 from audit_head where {its} order by epoch desc limit 1");
        let last = postgres.query(&last).await;
        let (epoch, seq) = last.split_once(' ').unwrap();
        let (epoch, seq) = (epoch.parse().unwrap(), seq.parse().unwrap());
        until_within(CATCHES_UP, "the SIEM has what the log has", async || self.receiver.has(epoch, seq).then_some(()))
            .await;
    }

    /// It has all records of the log (leaf hashes by epoch and place) from its first one on, in order and as they are there.
    pub(super) fn agrees_with(&self, log: &BTreeMap<(u64, u64), String>) {
        let taken = self.receiver.taken();
        let first = *taken.records.first_key_value().unwrap().0;
        println!("SIEM: {} records from {first:?} on, {} batches twice", taken.records.len(), taken.again);
        assert!(taken.faults.is_empty(), "{:?}", taken.faults);
        for (place, leaf) in log.range(first..) {
            assert_eq!(taken.records.get(place), Some(leaf), "record {place:?} at the SIEM");
        }
    }
}
