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
type Tampering = fn(&mut Vec<Vec<u8>>, usize);

/// A bundle in a file of its own, with what verifies it.
struct Verified<'a> {
    checkpoint: &'a Checkpoint,
    folder: PathBuf,
}

impl Verified<'_> {
    /// The exit codes of both programs, which must agree, and what ours said.
    fn codes(&self, lines: &[Vec<u8>], since: Option<&str>) -> (i32, String) {
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
        let ours = self.ours(&bundle, kept.as_deref());
        let mut script = Command::new("python3");
        script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/verify_bundle.py"));
        script.args([bundle.as_os_str(), self.checkpoint.verifier_key.as_ref()]).args(kept);
        let output = script.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            output.status.code(),
            Some(ours.0),
            "they differ: {} {said} {}",
            ours.1,
            String::from_utf8_lossy(&output.stderr)
        );
        ours
    }

    fn ours(&self, bundle: &Path, since: Option<&Path>) -> (i32, String) {
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
async fn lines(api: &Api, query: &str) -> Vec<Vec<u8>> {
    let plain = zstd::decode_all(api.bundle(query).await.as_slice()).unwrap();
    plain.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// The last checkpoint, once it is over this many records.
async fn checkpoint(api: &Api, above: u64) -> Checkpoint {
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
    let tries: [(&str, i32, Tampering); 6] = [
        ("changed", 12, |lines, at| {
            let middle = lines[at].len() / 2;
            lines[at][middle] ^= 1;
        }),
        ("deleted", 15, |lines, at| drop(lines.remove(at))),
        ("inserted", 15, |lines, at| lines.insert(at, lines[at - 1].clone())),
        ("moved", 15, |lines, at| lines.swap(at, at + 1)),
        ("cut off", 15, |lines, at| lines.truncate(at)),
        ("of another tenant", 11, |lines, _| {
            let last = lines.len() - 1;
            lines[last] =
                String::from_utf8(lines[last].clone()).unwrap().replace(".sluice/t/ten_", ".sluice/t/ten_0").into();
        }),
    ];
    for (what, code, change) in tries {
        let (found, said) = tampered(change);
        assert_eq!(found, code, "{what}: {said}");
        assert!(code == 11 || said.contains(&format!("(first at {place})")), "{what}: {said}");
    }
}

#[tokio::test]
async fn a_range_of_places_or_of_time_verifies_by_itself() {
    let house = house();
    for _ in 0..10 {
        house.client().call("modern__echo", json!({"message": "range"})).await;
    }
    let last = checkpoint(&house.api, 12).await;
    let verified = Verified { checkpoint: &last, folder: folder("ranges") };
    let records = |lines: &[Vec<u8>]| lines.iter().filter(|line| line.starts_with(b"{\"seq\":")).count();
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
