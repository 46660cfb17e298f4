//! The records that a shard's owner makes: the last word on a call whose node is gone, late outcomes, gaps, ends of boots.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::{RecordId, TenantId};
use serde_json::{Map, Value, json};

use crate::entry::Body;
use crate::merkle::Hash;
use crate::protocol::{Append, What};
use crate::ranges::Ranges;
use crate::record::{EpochNote, Record, SourceNote, Span, TreeState};
use crate::text::Text;
use crate::words::{Kind, Status};
use crate::{Source, protocol::GapReason};

/// Why a record could not be made from another.
#[derive(Debug, thiserror::Error)]
#[error("the record to start from is not a JSON object")]
pub struct NotAnObject(#[source] serde_json::Error);

/// Ranges named one by one in a note; what is beyond is in its last one.
pub(crate) const SPANS_MAX: usize = 32;

/// The bytes that take an append's place in the log. `id` and `now` are for records that the owner makes itself.
///
/// # Errors
/// [`NotAnObject`] when an intent or a late outcome is not a record: the frame it came in is poison.
pub fn render(append: &Append, id: RecordId, now: DateTime<Utc>) -> Result<Body, NotAnObject> {
    let own = |kind: Kind, source: SourceNote| {
        let mut record = Record::new(id, kind, append.tenant, now);
        record.source = source;
        Body { record: record.to_bytes().into(), private: None }
    };
    Ok(match &append.what {
        What::Final(body) | What::Note(body) => body.clone(),
        What::Unknown(intent) => {
            Body { record: close_unknown(&intent.record)?.into(), private: intent.private.clone() }
        }
        What::Late { body, amends } => {
            Body { record: late(&body.record, id, *amends)?.into(), private: body.private.clone() }
        }
        What::Gap { source, missing, reason } => own(Kind::Gap, gap(source, missing, *reason)),
        What::GapFilled { source, filled } => {
            own(Kind::GapFilled, SourceNote { missing: spans(filled), ..named(source) })
        }
        What::BootEnd { source, last_s, last_n, clean, missing } => own(
            Kind::BootEnd,
            SourceNote {
                clean: Some(*clean),
                last_n: *last_n,
                last_s: Some(*last_s),
                missing: spans(missing),
                ..named(source)
            },
        ),
    })
}

/// A call's final record from its intent: nobody knows how it ended. Members not known here are kept.
///
/// # Errors
/// [`NotAnObject`] when the bytes are not a JSON object.
pub fn close_unknown(intent: &[u8]) -> Result<Vec<u8>, NotAnObject> {
    let mut record = object(intent)?;
    record.insert("final".to_owned(), Value::Bool(true));
    let outcome = record.entry("outcome").or_insert_with(|| json!({}));
    if let Value::Object(outcome) = outcome {
        outcome.insert("status".to_owned(), Status::Unknown.as_str().into());
        outcome.insert("reason".to_owned(), "gateway_interrupted".into());
    }
    canonical(&record)
}

/// The note that brings the true outcome of a call that had been closed as unknown.
///
/// # Errors
/// [`NotAnObject`] when the bytes are not a JSON object.
pub fn late(outcome: &[u8], id: RecordId, amends: u64) -> Result<Vec<u8>, NotAnObject> {
    let mut record = object(outcome)?;
    record.insert("final".to_owned(), Value::Bool(false));
    record.insert("kind".to_owned(), Kind::Late.as_str().into());
    record.insert("id".to_owned(), id.uuid().hyphenated().to_string().into());
    record.insert("amends".to_owned(), json!({ "seq": amends }));
    canonical(&record)
}

/// A note about a sealed frame that does not open: nobody vouches for its address.
#[must_use]
pub fn unopened(source: &Source, s: u64, id: RecordId, now: DateTime<Utc>) -> Bytes {
    let mut record = Record::new(id, Kind::Gap, crate::protocol::DEPLOYMENT, now);
    record.source =
        SourceNote { missing: vec![span(s, s.saturating_add(1))], reason: Some("unopened".into()), ..named(source) };
    record.to_bytes().into()
}

/// A log as it was at one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeAt {
    /// Which epoch of it.
    pub epoch: u64,
    /// How many leaves.
    pub size: u64,
    /// Their root.
    pub root: Hash,
}

impl TreeAt {
    fn state(self) -> TreeState {
        let root = Some(Text::from(STANDARD.encode(self.root)));
        TreeState { epoch: Some(self.epoch), root, size: Some(self.size) }
    }
}

/// The first records of an epoch (O6): what it goes on from, and that there is a gap. `signed` is what the last checkpoint
/// was over that is kept outside of the database.
#[must_use]
pub fn set_back(
    tenant: TenantId,
    (recovered, signed): (TreeAt, Option<TreeAt>),
    ids: [RecordId; 2],
    now: DateTime<Utc>,
) -> [Bytes; 2] {
    let epoch = EpochNote { recovered: recovered.state(), signed: signed.map(TreeAt::state).unwrap_or_default() };
    let note = |id, kind, source| {
        let mut record = Record::new(id, kind, tenant, now);
        (record.epoch, record.source) = (epoch.clone(), source);
        record.to_bytes().into()
    };
    let [first, second] = ids;
    let reason = Some(Text::Fixed(GapReason::SetBack.as_str()));
    [
        note(first, Kind::Epoch, SourceNote::default()),
        note(second, Kind::Gap, SourceNote { reason, ..SourceNote::default() }),
    ]
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, NotAnObject> {
    serde_json::from_slice(bytes).map_err(NotAnObject)
}

fn canonical(record: &Map<String, Value>) -> Result<Vec<u8>, NotAnObject> {
    serde_json_canonicalizer::to_vec(record).map_err(NotAnObject)
}

fn gap(source: &Source, missing: &Ranges, reason: GapReason) -> SourceNote {
    SourceNote { missing: spans(missing), reason: Some(Text::Fixed(reason.as_str())), ..named(source) }
}

fn named(source: &Source) -> SourceNote {
    SourceNote { boot: Some(source.boot), node: Some(source.node), shard: Some(source.shard), ..SourceNote::default() }
}

fn spans(ranges: &Ranges) -> Vec<Span> {
    let ranges = ranges.as_slice();
    let one_by_one = ranges.iter().take(SPANS_MAX - 1).map(|(first, end)| span(*first, *end));
    let rest = ranges.get(SPANS_MAX - 1..).and_then(|rest| Some(span(rest.first()?.0, rest.last()?.1)));
    one_by_one.chain(rest).collect()
}

fn span(first: u64, end: u64) -> Span {
    Span { first: Some(first), last: Some(end.saturating_sub(1)) }
}

#[cfg(test)]
mod tests {
    use domain::{BootId, Clock, NodeId, TenantId};
    use uuid::Uuid;

    use super::*;
    use crate::Columns;

    const INTENT: &[u8] = br#"{"call_id":"00000000-0000-0000-0000-000000000004","final":false,"future":{"x":[1]},"id":"00000000-0000-0000-0000-000000000005","kind":"call","outcome":{"bytes_in":7},"schema":"sluice.audit/1"}"#;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    fn record_id() -> RecordId {
        RecordId::from_uuid(Uuid::from_u128(6))
    }

    #[test]
    fn a_call_whose_node_is_gone_ends_unknown_and_keeps_what_is_not_known_here() {
        insta::assert_snapshot!(text(&close_unknown(INTENT).unwrap()), @r#"{"call_id":"00000000-0000-0000-0000-000000000004","final":true,"future":{"x":[1]},"id":"00000000-0000-0000-0000-000000000005","kind":"call","outcome":{"bytes_in":7,"reason":"gateway_interrupted","status":"unknown"},"schema":"sluice.audit/1"}"#);
        assert!(close_unknown(b"[]").is_err() && close_unknown(b"{").is_err());
    }

    #[test]
    fn a_late_outcome_names_what_it_corrects() {
        insta::assert_snapshot!(text(&late(INTENT, record_id(), 41).unwrap()), @r#"{"amends":{"seq":41},"call_id":"00000000-0000-0000-0000-000000000004","final":false,"future":{"x":[1]},"id":"00000000-0000-0000-0000-000000000006","kind":"late","outcome":{"bytes_in":7},"schema":"sluice.audit/1"}"#);
    }

    #[test]
    fn notes_of_sources_are_records_of_the_logs_they_enter() {
        let source = Source {
            node: NodeId::from_uuid(Uuid::from_u128(1)),
            boot: BootId::from_uuid(Uuid::from_u128(2)),
            shard: 3,
        };
        let clock = Clock::new(|| DateTime::UNIX_EPOCH, || [0; 10]);
        let tenant = TenantId::from_uuid(Uuid::from_u128(9));
        let missing: Ranges = (0..100).map(|index| (index * 10, index * 10 + 3)).collect();
        for (what, kind) in [
            (What::Gap { source, missing: missing.clone(), reason: GapReason::Lost }, "gap"),
            (What::GapFilled { source, filled: [(7, 9)].into_iter().collect() }, "gap_filled"),
            (What::BootEnd { source, last_s: 5, last_n: Some(2), clean: true, missing }, "boot_end"),
        ] {
            let append = Append { tenant, seq: 0, what };
            let body = render(&append, record_id(), clock.now()).unwrap();
            let columns = Columns::of(&body.record).unwrap();
            assert_eq!((columns.kind.as_str(), columns.tenant, columns.is_final), (kind, Some(tenant), false));
            assert!(text(&body.record).contains(&source.boot.to_string()));
        }
    }

    #[test]
    fn an_epoch_says_first_what_it_goes_on_from() {
        let at = |epoch, size| TreeAt { epoch, size, root: [1; 32] };
        let tenant = TenantId::from_uuid(Uuid::from_u128(9));
        let [epoch, gap] = set_back(tenant, (at(1, 60), Some(at(1, 110))), [record_id(); 2], DateTime::UNIX_EPOCH);
        insta::assert_snapshot!(text(&epoch), @r#"{"epoch":{"recovered":{"epoch":1,"root":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","size":60},"signed":{"epoch":1,"root":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","size":110}},"final":false,"id":"00000000-0000-0000-0000-000000000006","kind":"epoch","schema":"sluice.audit/1","tenant":{"id":"ten_00000000000000000000000009"},"time":"1970-01-01T00:00:00.000000Z"}"#);
        let columns = Columns::of(&gap).unwrap();
        assert_eq!((columns.kind.as_str(), columns.tenant), ("gap", Some(tenant)));
        assert!(text(&gap).contains(r#""source":{"reason":"set_back"}"#), "{}", text(&gap));
    }

    #[test]
    fn a_gap_of_many_ranges_names_all_of_them_or_more() {
        let missing: Ranges = (0..100).map(|index| (index * 10, index * 10 + 3)).collect();
        let spans = spans(&missing);
        assert_eq!(spans.len(), SPANS_MAX);
        for (first, end) in missing.as_slice() {
            assert!(spans.iter().any(|span| span.first <= Some(*first) && span.last >= Some(end - 1)));
        }
    }
}
