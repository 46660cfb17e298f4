//! How many records a second `sluice audit verify` proves on one core: writes a packed bundle of as many as are asked for
//! (1,000,000), then verifies it as the program does.

#![expect(clippy::print_stdout, reason = "the answer of a program")]

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::time::Instant;

use audit::bundle::Line;
use audit::merkle::{Frontier, leaf_hash};
use audit::note::{Checkpoint, VerifierKey};
use audit::record::{Counter, Gateway, Record, SourceNote};
use audit::verify;
use audit::words::{ActorKind, AuthMethod, Effect, Kind, Status};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{BootId, CallId, NodeId, RecordId, ServerId, TenantId, TokenId};
use uuid::Uuid;

const ORIGIN: &str = "dep_bench.sluice/t/ten_00000000000000000000000007/1";
/// Records between two checkpoints, and between two marks.
const CHECKPOINT: u64 = 10_000;
const MARK: u64 = 50_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32])?;
    let key = VerifierKey::new("dep_bench.sluice", pair.public_key().as_ref().try_into()?)?;
    let path = std::env::temp_dir().join(format!("sluice-verify-rate-{count}.ndjson.zst"));
    if !path.exists() {
        write(&path, count, (&key, &pair))?;
    }
    let source = BufReader::with_capacity(1 << 18, File::open(&path)?);
    let lines = BufReader::with_capacity(1 << 18, zstd::Decoder::with_buffer(source)?);
    let began = Instant::now();
    let report = verify::verify(lines, key, None)?;
    let took = began.elapsed().as_secs_f64();
    if let Some((check, fault)) = report.failed() {
        return Err(format!("{}: {}", check.title(), fault.what).into());
    }
    let rate = f64::from(u32::try_from(report.records)?) / took;
    println!("{} records in {took:.2} s: {rate:.0} records/s on one core", report.records);
    Ok(())
}

fn write(
    path: &std::path::Path,
    count: u64,
    (key, pair): (&VerifierKey, &Ed25519KeyPair),
) -> Result<(), Box<dyn std::error::Error>> {
    let mut out = zstd::Encoder::new(BufWriter::new(File::create(path)?), 3)?;
    let (mut line, mut tree, mut bytes) = (Vec::new(), Frontier::default(), 0);
    Line::Header { origin: ORIGIN.to_owned(), tenant: tenant() }.write(&mut line);
    let mut n = 0;
    for seq in 0..count {
        let record = if seq % MARK == MARK - 1 { mark(seq, n) } else { call(seq, n) };
        n += u64::from(seq % MARK != MARK - 1);
        let record = record.to_bytes();
        bytes += record.len() as u64;
        tree.append(leaf_hash(&record));
        Line::Record { seq, leaf: leaf_hash(&record), record: &record }.write(&mut line);
        if (seq + 1) % CHECKPOINT == 0 || seq + 1 == count {
            let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: tree.size(), root: tree.root() };
            let sign = |text: &[u8]| {
                let mut signature = [0; 64];
                signature.copy_from_slice(pair.sign(text).as_ref());
                signature
            };
            Line::Checkpoint(checkpoint.signed(key, sign)).write(&mut line);
        }
        out.write_all(&line)?;
        line.clear();
    }
    out.finish()?.flush()?;
    println!("wrote {count} records of {} bytes each to {}", bytes / count, path.display());
    Ok(())
}

fn tenant() -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(7))
}

fn run() -> (NodeId, BootId) {
    (NodeId::from_uuid(Uuid::from_u128(1)), BootId::from_uuid(Uuid::from_u128(2)))
}

fn at(seq: u64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds(1_700_000_000_000 + seq.cast_signed())
}

/// What pseudorandom ids and hashes a record has.
fn scattered(seq: u64, salt: u64) -> u128 {
    let mixed = (seq ^ salt.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    u128::from(mixed) << 64 | u128::from(mixed.rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9))
}

/// A call as nodes record it.
fn call(seq: u64, n: u64) -> Record {
    let id = |salt| Uuid::from_u128(scattered(seq, salt));
    let mut record = Record::new(RecordId::from_uuid(id(1)), Kind::Call, tenant(), at(seq));
    let (node, boot) = run();
    record.is_final = true;
    record.call_id = Some(CallId::from_uuid(id(2)));
    record.gw = Gateway { node: Some(node), boot: Some(boot), n: Some(Counter::Given(n)), ..Gateway::default() };
    record.actor.kind = Some(ActorKind::User);
    record.actor.id = Some(format!("usr_{:026}", seq % 400).into());
    record.actor.auth_method = Some(AuthMethod::ApiKey);
    record.actor.token_id = Some(TokenId::from_uuid(Uuid::from_u128(u128::from(seq % 900))));
    record.client.name = Some("claude-code".into());
    record.client.version = Some("2.1.7".into());
    record.mcp.method = Some("tools/call".into());
    record.mcp.protocol_version = Some("2026-07-28".into());
    record.mcp.request_id = Some(seq.to_string().into());
    record.server.id = Some(ServerId::from_uuid(Uuid::from_u128(u128::from(seq % 30))));
    record.server.name = Some("issues".into());
    record.tool.name = Some(format!("issues__tool_{}", seq % 200).into());
    record.tool.definition_hash =
        Some(format!("{:032x}{:032x}", scattered(seq % 200, 3), scattered(seq % 200, 4)).into());
    record.args.bytes = Some(300 + seq % 100);
    record.args.hmac = Some(format!("hs256:1:{:032x}{:011x}", scattered(seq, 5), seq).into());
    record.pii_commit = Some(format!("hs256:{:032x}{:011x}", scattered(seq, 6), seq).into());
    record.decision.effect = Some(Effect::Allow);
    record.dur.total = Some(1500 + seq % 9000);
    record.dur.policy = Some(30);
    record.dur.upstream = Some(1400 + seq % 8000);
    record.trace.id = Some(format!("{:032x}", scattered(seq, 7)).into());
    record.trace.traceparent = Some(format!("00-{:032x}-{seq:016x}-01", scattered(seq, 7)).into());
    record.session.id = Some(format!("ses_{:026}", seq % 5000).into());
    record.outcome.status = Some(Status::Success);
    record.outcome.bytes_in = Some(400);
    record.outcome.bytes_out = Some(1200 + seq % 3000);
    record.time_forwarded = Some(at(seq));
    record.time_end = Some(at(seq + 2));
    record
}

fn mark(seq: u64, complete_n: u64) -> Record {
    let (node, boot) = run();
    let mut record =
        Record::new(RecordId::from_uuid(Uuid::from_u128(scattered(seq, 1))), Kind::Mark, tenant(), at(seq));
    record.source =
        SourceNote { node: Some(node), boot: Some(boot), complete_n: Some(complete_n), ..SourceNote::default() };
    record
}
