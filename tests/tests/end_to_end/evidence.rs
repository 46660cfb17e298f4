//! A bundle of the log verifies away from Sluice, by our program and by the one in Python, and whatever is done to it does not.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use sluice_tests::api::{Api, Checkpoint};
use sluice_tests::patience::until;
use sluice_tests::stack::program;

use crate::house::house;

/// What somebody does to a bundle's lines, at one of them.
pub(crate) type Tampering = fn(&mut Vec<Vec<u8>>, usize);

/// What may be done to a line of records, and the exit code that tells of it.
pub(crate) const TRIES: [(&str, i32, Tampering); 4] = [
    ("changed", 12, |lines, at| {
        let middle = lines[at].len() / 2;
        lines[at][middle] ^= 1;
    }),
    ("deleted", 15, |lines, at| drop(lines.remove(at))),
    ("inserted", 15, |lines, at| lines.insert(at, lines[at - 1].clone())),
    ("moved", 15, |lines, at| lines.swap(at, at + 1)),
];

/// A bundle in a file of its own, with what verifies it.
pub(crate) struct Verified<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) folder: PathBuf,
}

impl Verified<'_> {
    /// The exit codes of both programs, which must agree, and what ours said.
    pub(crate) fn codes(&self, lines: &[Vec<u8>], since: Option<&str>) -> (i32, String) {
        let (code, ours, _) = self.told(lines, since);
        (code, ours)
    }

    /// The exit code of both programs, and what ours said and theirs.
    pub(crate) fn told(&self, lines: &[Vec<u8>], since: Option<&str>) -> (i32, String, String) {
        let bundle = self.folder.join("bundle.ndjson");
        let mut file = std::fs::File::create(&bundle).unwrap();
        for line in lines {
            file.write_all(line).unwrap();
            file.write_all(b"\n").unwrap();
        }
        let kept = since.map(|note| {
            let path = self.folder.join("kept");
            std::fs::write(&path, note).unwrap();
            path
        });
        let (code, ours) = self.ours(&bundle, kept.as_deref());
        let mut script = Command::new("python3");
        script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/verify_bundle.py"));
        script.args([bundle.as_os_str(), self.checkpoint.verifier_key.as_ref()]).args(kept);
        let output = script.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let why = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "they differ: {ours} {said} {why}");
        (code, ours, said)
    }

    pub(crate) fn ours(&self, bundle: &Path, since: Option<&Path>) -> (i32, String) {
        let mut command = Command::new(program());
        command.args(["audit", "verify"]).arg(bundle).args(["--vkey", &self.checkpoint.verifier_key]);
        if let Some(since) = since {
            command.arg("--since").arg(since);
        }
        let output = command.stdin(Stdio::null()).env_clear().output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
    }
}

/// The lines of a bundle.
pub(crate) async fn lines(api: &Api, query: &str) -> Vec<Vec<u8>> {
    let plain = zstd::decode_all(api.bundle(query).await.as_slice()).unwrap();
    plain.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// The last checkpoint, once it is over this many records.
pub(crate) async fn checkpoint(api: &Api, above: u64) -> Checkpoint {
    until("a checkpoint over all records", async || api.checkpoint().await.filter(|last| last.size >= above)).await
}

fn folder(name: &str) -> PathBuf {
    let folder = house().folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[tokio::test]
async fn a_bundle_verifies_without_us_and_nothing_can_be_done_to_it() {
    let house = house();
    let first = checkpoint(&house.api, 1).await;
    for _ in 0..20 {
        house.client().call("modern__echo", json!({"message": "evidence"})).await;
    }
    let last = checkpoint(&house.api, first.size + 20).await;
    let verified = Verified { checkpoint: &last, folder: folder("evidence") };
    let whole = lines(&house.api, "").await;
    let (code, said) = verified.codes(&whole, Some(&first.note));
    assert_eq!(code, 0, "{said}");
    let packed = verified.folder.join("bundle.zst");
    std::fs::write(&packed, house.api.bundle("").await).unwrap();
    assert_eq!(verified.ours(&packed, None).0, 0, "packed as it is");

    let place = first.size + 3;
    let at = whole.iter().position(|line| line.starts_with(format!("{{\"seq\":{place},").as_bytes())).unwrap();
    let tampered = |change: Tampering| {
        let mut lines = whole.clone();
        change(&mut lines, at);
        verified.codes(&lines, None)
    };
    for (what, code, change) in
        TRIES.into_iter().chain([("cut off", 15, (|lines, at| lines.truncate(at)) as Tampering)])
    {
        let (found, said) = tampered(change);
        assert_eq!(found, code, "{what}: {said}");
        assert!(said.contains(&format!("(first at {place})")), "{what}: {said}");
    }
}

#[tokio::test]
async fn what_is_another_tenants_is_found_where_it_stands() {
    let house = house();
    let theirs = house.api.another_tenant("evidence-swapped").await.api(&house.endpoints);
    checkpoint(&theirs, 1).await;
    let ours = checkpoint(&house.api, 8).await;
    let (whole, foreign) = (lines(&house.api, "").await, lines(&theirs, "").await);
    let verified = Verified { checkpoint: &ours, folder: folder("swapped") };
    let record = |lines: &[Vec<u8>], seq: u64| {
        let begin = format!("{{\"seq\":{seq},");
        lines.iter().position(|line| line.starts_with(begin.as_bytes())).unwrap()
    };
    // Their record 0 with its own leaf, at a place of ours: each line holds, and the log has another tenant's in it.
    let (place, their_record) = (5, String::from_utf8(foreign[record(&foreign, 0)].clone()).unwrap());
    let mut swapped = whole.clone();
    swapped[record(&whole, place)] = their_record.replacen("\"seq\":0,", &format!("\"seq\":{place},"), 1).into();
    let (code, ours_said, theirs_said) = verified.told(&swapped, None);
    assert_eq!(code, 13, "{ours_said}");
    assert!(ours_said.contains(&format!("(first at {place})")), "{ours_said}");
    assert!(theirs_said.contains(&format!("3 FAILS at {place} of epoch 1")), "{theirs_said}");
    // Their checkpoint under our records, signed by the same key.
    let mut swapped = whole.clone();
    let (under, their_note) = (whole.len() - 1, foreign.last().unwrap());
    swapped[under].clone_from(their_note);
    let (code, ours_said, theirs_said) = verified.told(&swapped, None);
    assert_eq!(code, 13, "{ours_said}");
    let size = records(&whole);
    assert!(ours_said.contains(&format!("(first at {size})")), "{ours_said}");
    assert!(theirs_said.contains(&format!("3 FAILS at {size} of epoch 1")), "{theirs_said}");
    // Our checkpoint under their log's name: what is signed is another text.
    let mut renamed = whole.clone();
    let note = String::from_utf8(whole[under].clone()).unwrap();
    renamed[under] = note.replace(".sluice/t/ten_", ".sluice/t/ten_0").into();
    let (code, ours_said, theirs_said) = verified.told(&renamed, None);
    assert_eq!(code, 11, "{ours_said}");
    assert!(ours_said.contains(&format!("(first at {size})")), "{ours_said}");
    assert!(theirs_said.contains(&format!("1 FAILS at {size} of epoch 1")), "{theirs_said}");
}

/// How many records a bundle has.
fn records(lines: &[Vec<u8>]) -> usize {
    lines.iter().filter(|line| line.starts_with(b"{\"seq\":")).count()
}

#[tokio::test]
async fn a_range_of_places_or_of_time_verifies_by_itself() {
    let house = house();
    for _ in 0..10 {
        house.client().call("modern__echo", json!({"message": "range"})).await;
    }
    let last = checkpoint(&house.api, 12).await;
    let verified = Verified { checkpoint: &last, folder: folder("ranges") };
    for (query, count) in [("?first=3&end=8", 5), ("?first=5&end=5", 0), ("?first=0&end=1", 1), ("?end=7", 7)] {
        let range = lines(&house.api, query).await;
        assert_eq!((records(&range), verified.codes(&range, None).0), (count, 0), "{query}");
    }
    let range = lines(&house.api, "?first=9&end=10&since=4").await;
    assert_eq!(verified.codes(&range, None).0, 0);
    let today = lines(&house.api, "?from=2020-01-01T00:00:00Z").await;
    assert!(records(&today) >= 12 && verified.codes(&today, None).0 == 0);
    assert_eq!(records(&lines(&house.api, "?until=2020-01-01T00:00:00Z").await), 0);
}

#[tokio::test]
async fn personal_parts_are_those_that_the_records_commit_to() {
    let house = house();
    house.client().call("modern__echo", json!({"message": "personal"})).await;
    let last = checkpoint(&house.api, 1).await;
    let verified = Verified { checkpoint: &last, folder: folder("personal") };
    let is_personal = |line: &Vec<u8>| line.starts_with(b"{\"of\":");
    assert!(!lines(&house.api, "").await.iter().any(is_personal), "only where they are asked for");
    let mut whole = lines(&house.api, "?personal=true").await;
    let at = whole.iter().position(is_personal).expect("a call has an address");
    assert_eq!(verified.codes(&whole, None).0, 0);
    let middle = whole[at].len() - 5;
    whole[at][middle] ^= 1;
    let (code, said) = verified.codes(&whole, None);
    assert_eq!(code, 12, "{said}");
}

#[tokio::test]
async fn a_log_is_its_tenants_alone() {
    let house = house();
    let stranger = house.api.another_tenant("evidence-stranger").await;
    let theirs = stranger.api(&house.endpoints);
    let (ours, others) = (checkpoint(&house.api, 1).await, checkpoint(&theirs, 1).await);
    assert_ne!(ours.note.lines().next(), others.note.lines().next(), "each log has a name of its own");
    let bundle = lines(&theirs, "").await;
    assert!(!bundle.iter().any(|line| String::from_utf8_lossy(line).contains("modern__echo")));
    let verified = Verified { checkpoint: &ours, folder: folder("strangers") };
    assert_eq!(verified.codes(&bundle, None).0, 0, "one key signs all logs of a deployment");
    assert_eq!(verified.codes(&bundle, Some(&ours.note)).0, 14, "and theirs does not go on from ours");
    for path in ["checkpoint", "bundle"] {
        let path = format!("/api/v1/tenants/{}/audit/{path}", house.endpoints.tenant);
        assert_eq!(house.api.send_as(&stranger.api_token, "GET", &path, None).await.status, 404, "{path}");
    }
}
