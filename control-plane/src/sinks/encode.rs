//! Records, signed checkpoints and tests as they are sent.

use audit::export::{Format, Placed};
use audit::words::Kind;
use audit::{Record, Text};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::{Clock, DestinationId, RecordId, TenantId};
use store::audit::checkpoint::Signed;
use store::audit::delivery::Sent;

use super::batch::{Batch, Edition, Item};

/// The action that the record of a test is of.
const TEST: &str = "destination.test";

/// A record in a format, with its personal part where it is to go along.
pub(super) fn record((tenant, epoch): (TenantId, u64), sent: &Sent, pii: Option<&[u8]>, format: Format) -> Item {
    let seq = sent.seq.cast_unsigned();
    let placed = Placed { tenant, place: Some((epoch, seq)), received_at: sent.received_at, record: &sent.body, pii };
    Item {
        seq,
        id: RecordId::from_uuid(sent.id),
        time: sent.time,
        kind: Kind::find(&sent.kind).map_or("record", Kind::as_str),
        bytes: Bytes::from(format.encode(&placed)),
    }
}

/// A checkpoint as a batch of its own: whoever keeps what it receives holds a witness of the log. It is the same JSON
/// object in every format.
pub(super) fn checkpoint(signed: &Signed, destination: DestinationId) -> Batch {
    let mut batch = Batch {
        tenant: signed.tenant,
        destination,
        epoch: signed.epoch,
        first: signed.size,
        last: signed.size,
        edition: Edition::Checkpoint,
        items: Vec::new(),
    };
    let digest = secrets::sha256(batch.key().as_bytes());
    let mut half = [0_u8; 16];
    half.copy_from_slice(&digest[..16]);
    // Made from what it is of, so that it is the same one whenever it is sent.
    let id = RecordId::from_uuid(uuid::Builder::from_custom_bytes(half).into_uuid());
    let line = serde_json::json!({
        "kind": "checkpoint",
        "id": id,
        "tenant": signed.tenant,
        "epoch": signed.epoch,
        "size": signed.size,
        "signed_at": signed.signed_at,
        "note": signed.note,
    });
    let bytes = Bytes::from(line.to_string());
    batch.items.push(Item { seq: signed.size, id, time: signed.signed_at, kind: "checkpoint", bytes });
    batch
}

/// One record that says it is a test; it stands in no log.
pub(super) fn test(tenant: TenantId, destination: DestinationId, format: Format, clock: &Clock) -> Batch {
    let (id, now): (_, DateTime<Utc>) = (RecordId::new(clock), clock.now());
    let mut record = Record::new(id, Kind::Admin, tenant, now);
    record.change.action = Some(TEST.into());
    record.change.target.kind = Some("destination".into());
    record.change.target.id = Some(Text::from(destination.to_string()));
    let bytes = record.to_bytes();
    let placed = Placed { tenant, place: None, received_at: now, record: &bytes, pii: None };
    let bytes = Bytes::from(format.encode(&placed));
    let item = Item { seq: 0, id, time: now, kind: Kind::Admin.as_str(), bytes };
    Batch { tenant, destination, epoch: 0, first: 0, last: 0, edition: Edition::Test(id), items: vec![item] }
}
