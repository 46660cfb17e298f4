//! The record's exact bytes, its place in the log around them:
//! `{"tenant":…,"epoch":…,"seq":…,"received_at":…,"leaf_hash":…,"record":…,"pii":…}`.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::{Placed, members};

/// Appends the line.
pub(super) fn write(placed: &Placed<'_>, out: &mut Vec<u8>) {
    // Writing into memory does not fail.
    let _ = write!(out, r#"{{"tenant":"{}""#, placed.tenant);
    if let Some((epoch, seq)) = placed.place {
        let _ = write!(out, r#","epoch":{epoch},"seq":{seq}"#);
    }
    let (received_at, leaf_hash) = (members::written(placed.received_at), placed.leaf_hash());
    let _ = write!(out, r#","received_at":"{received_at}","leaf_hash":"{leaf_hash}""#);
    put(out, "record", placed.record);
    if let Some(pii) = placed.pii {
        put(out, "pii", pii);
    }
    out.push(b'}');
}

/// Bytes that are JSON on one line stand as they are; any others in base64, under another name.
fn put(out: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let is_line = !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
    if is_line && serde_json::from_slice::<&RawValue>(bytes).is_ok() {
        let _ = write!(out, r#","{name}":"#);
        out.extend_from_slice(bytes);
    } else {
        let _ = write!(out, r#","{name}_base64":"{}""#, STANDARD.encode(bytes));
    }
}
