//! `sluice up` as a person meets it: again on its own data, after it was killed, and where it can't start.

use std::path::{Path, PathBuf};

use serde_json::json;
use sluice_tests::api::Api;
use sluice_tests::client::Client;
use sluice_tests::patience::block_until;
use sluice_tests::stack::{Endpoints, Stack, failed_start, free_ports};

/// A folder for one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sluice-test-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

fn client(endpoints: &Endpoints) -> Client {
    Client::new(&endpoints.tenant_url, &endpoints.token)
}

async fn list_notes(endpoints: &Endpoints) -> String {
    let answer = client(endpoints).call("notes__list_notes", json!({})).await;
    assert!(answer.tool_text().contains("groceries"), "{answer:?}");
    answer.trace_id()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_goes_on_with_what_the_first_one_left() {
    let port = free_ports().to_string();
    let stack = tokio::task::block_in_place(|| Stack::start(1, &[("SLUICE_PORT", &port)]));
    let first = stack.endpoints.clone();
    let trace = list_notes(&first).await;
    let record = Api::of(&first).wait_for_records(&trace, 1).await;
    let folder = tokio::task::block_in_place(|| stack.end());
    assert!(!folder.join("endpoints.json").exists(), "there are no endpoints while nothing runs");

    let stack = tokio::task::block_in_place(|| Stack::start_in(&folder, 1, &[("SLUICE_PORT", &port)]));
    let second = &stack.endpoints;
    assert_eq!((&second.tenant_url, &second.token), (&first.tenant_url, &first.token));
    assert_eq!(second.api_token, first.api_token);
    let again = list_notes(&first).await;
    let api = Api::of(second);
    assert_eq!(api.wait_for_records(&trace, 1).await, record, "the record of the first run");
    assert_eq!(api.wait_for_records(&again, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_after_a_kill_ends_what_was_left_and_works() {
    let port = free_ports().to_string();
    let stack = tokio::task::block_in_place(|| Stack::start(1, &[("SLUICE_PORT", &port)]));
    let first = stack.endpoints.clone();
    let trace = list_notes(&first).await;
    let record = Api::of(&first).wait_for_records(&trace, 1).await;
    let folder = tokio::task::block_in_place(|| stack.kill_supervisor());

    let stack = tokio::task::block_in_place(|| Stack::start_in(&folder, 1, &[("SLUICE_PORT", &port)]));
    for (name, pid) in &first.pids {
        assert!(!runs(*pid), "{name} of the killed start still runs as {pid}");
    }
    list_notes(&first).await;
    assert_eq!(Api::of(&stack.endpoints).wait_for_records(&trace, 1).await, record);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postgres_comes_back_and_leaves_nothing_behind() {
    let stack = tokio::task::block_in_place(|| Stack::start(1, &[]));
    let before = stack.endpoints.pids["postgres"];
    let inner = children(before);
    tokio::task::block_in_place(|| stack.kill("postgres"));
    let trace = list_notes(&stack.endpoints).await;
    Api::of(&stack.endpoints).wait_for_records(&trace, 1).await;
    tokio::task::block_in_place(|| {
        block_until("the old Postgres ends", || (!inner.iter().any(|pid| runs(*pid))).then_some(()));
    });
    let mut pids: Vec<u32> = stack.current().unwrap().pids.into_values().collect();
    pids.extend(pids.clone().into_iter().flat_map(children));
    drop(tokio::task::block_in_place(|| stack.end()));
    for pid in pids {
        assert!(!runs(pid), "process {pid} outlived the deployment");
    }
}

fn children(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

/// Whether a process is there and has not ended.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn a_port_in_use_is_named_with_its_purpose_and_the_way_out() {
    let first = free_ports();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", first + 1)).unwrap();
    let folder = Folder::new("port");
    fails_saying(
        &folder.0,
        &[("SLUICE_PORT", &first.to_string())],
        &[&format!("port {} (for the control plane) is in use", first + 1), "SLUICE_PORT"],
    );
}

/// What is wrong in the environment, and words that must be in the sentence.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

#[test]
fn a_start_that_cant_succeed_ends_with_one_sentence_that_says_why() {
    let (folder, nobody) = (Folder::new("wrong"), free_ports());
    std::fs::write(folder.0.join("file"), "").unwrap();
    let postgres = format!("postgres://sluice:hidden-password@127.0.0.1:{nobody}/sluice");
    let redis = format!("redis://:hidden-password@127.0.0.1:{nobody}");
    let vault = format!("https://127.0.0.1:{nobody}");
    let cases: [Case; 9] = [
        (&[("SLUICE_PORT", "seven")], &["SLUICE_PORT", "number"]),
        (&[("SLUICE_PORT", "65500")], &["SLUICE_PORT", "too high"]),
        (&[("SLUICE_NODES", "0")], &["SLUICE_NODES", "1 to 20"]),
        (&[("DATABASE_URL", "postgress://hidden-password")], &["DATABASE_URL"]),
        (&[("DATABASE_URL", &postgres)], &["DATABASE_URL"]),
        (&[("REDIS_URL", "hidden-password")], &["Redis address"]),
        (&[("REDIS_URL", &redis)], &["REDIS_URL"]),
        (&[("VAULT_ADDR", &vault)], &["VAULT_TOKEN"]),
        (&[("VAULT_ADDR", &vault), ("VAULT_TOKEN", "hidden-password")], &["Vault"]),
    ];
    for (environment, words) in cases {
        fails_saying(&folder.0.join("data"), environment, words);
    }
    fails_saying(&folder.0.join("file/data"), &[], &["can't make the folder", "file/data"]);
}

/// The start ends by itself, badly, and its last line is a sentence that holds these words and no password.
fn fails_saying(folder: &Path, environment: &[(&str, &str)], words: &[&str]) {
    let (code, said) = failed_start(folder, environment);
    assert_eq!(code, Some(1), "{environment:?}: {said}");
    let sentence = said.lines().last().unwrap_or_default();
    assert!(sentence.starts_with("sluice: ") && sentence.len() < 400, "{environment:?}: {said}");
    for word in words {
        assert!(sentence.contains(word), "{environment:?} should say `{word}`: {sentence}");
    }
    assert!(!said.contains("hidden-password"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}
