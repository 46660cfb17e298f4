//! A backup and the way back to it, as docs/operate.md has an operator go it. `make restore-rehearsal` runs and shows it.

use std::path::PathBuf;

use serde_json::{Value, json};
use sluice_tests::api::{Api, Checkpoint, Token};
use sluice_tests::backup::{Backup, Maintenance};
use sluice_tests::client::{Answer, Client};
use sluice_tests::patience::until;
use sluice_tests::stack::Stack;
use sluice_tests::upstream::{Eras, Upstream};

use crate::evidence::{TRIES, Verified, checkpoint, lines};
use crate::house::is_known;

/// What the upstream must be shown, and opens only with the deployment's master key.
const CREDENTIAL: &str = "canary-restore-5b1c77e0";

/// A deployment with one server and a credential for it, and its first node: `sluice up` stands still while its operator
/// works, and its round robin with it.
struct Deployment {
    stack: Stack,
    api: Api,
    client: Client,
    _upstream: Upstream,
}

impl Deployment {
    async fn start() -> Self {
        let stack = Stack::start(1, &[]);
        let (api, upstream) = (Api::of(&stack.endpoints), Upstream::start(Eras::Modern).await);
        let server = api.add_server("wiki", &upstream.url()).await;
        api.set_bearer(&server, CREDENTIAL).await;
        api.allow_everything().await;
        api.is_live().await;
        let url = format!("{}/{}/mcp", stack.endpoints.data_plane_urls[0], stack.endpoints.tenant);
        let client = Client::new(&url, &stack.endpoints.token);
        Self { stack, api, client, _upstream: upstream }
    }

    fn client(&self, token: &Token) -> Client {
        self.client.with_token(Some(&token.text))
    }

    async fn token(&self, title: &str) -> Token {
        let token = self.api.issue_token(title).await;
        is_known(&self.client(&token)).await;
        token
    }

    /// Calls that reach the server with its credential and have their records; gives one's trace.
    async fn calls(&self, client: &Client, count: usize) -> String {
        let mut trace = String::new();
        for _ in 0..count {
            let answer = client.call("wiki__headers", json!({})).await;
            assert!(answer.tool_text().contains(&format!("Bearer {CREDENTIAL}")), "{answer:?}");
            trace = answer.trace_id();
        }
        self.api.wait_for_records(&trace, 1).await;
        trace
    }

    /// The last checkpoint, once it is over all that was recorded up to this trace.
    async fn signed_over(&self, trace: &str) -> Checkpoint {
        let seq = self.api.wait_for_records(trace, 1).await.len();
        assert_eq!(seq, 1, "one call, one final record");
        let found = self.api.activity(&format!("trace={trace}")).await;
        let record = self.api.record(found[0]["id"].as_str().unwrap()).await;
        checkpoint(&self.api, record["seq"].as_u64().unwrap() + 1).await
    }

    /// Everything is lost, and put back as it was at the backup. Gives what `sluice restore` said.
    async fn goes_back_to(&self, backup: &Backup) -> String {
        let before = self.log_name().await;
        let mut maintenance = Maintenance::begin(&self.stack).await;
        show("the control plane is ended; nodes go on");
        maintenance.lose_everything().await;
        show("Postgres' data and the keys are gone");
        self.still_serves().await;
        maintenance.put_back(backup).await;
        show("the base backup and the keys are back, and Postgres runs on them");
        let said = maintenance.restore(&[]).await;
        said.lines().for_each(|line| show(&format!("    sluice restore: {line}")));
        self.still_serves().await;
        maintenance.end().await;
        show("the control plane runs again");
        self.api.is_live().await;
        until("the new epoch is signed for", async || {
            let now = self.log_name().await;
            (now.is_some() && now != before).then_some(())
        })
        .await;
        said
    }

    /// The name under which the log is signed now: its epoch is the last part.
    async fn log_name(&self) -> Option<String> {
        let last = self.api.checkpoint().await?;
        last.note.lines().next().map(str::to_owned)
    }

    async fn still_serves(&self) {
        assert_eq!(self.client.call("wiki__echo", json!({"message": "meanwhile"})).await.status, 200);
    }

    fn verified<'a>(&self, checkpoint: &'a Checkpoint) -> Verified<'a> {
        let folder: PathBuf = self.stack.folder().join("bundles");
        std::fs::create_dir_all(&folder).unwrap();
        Verified { checkpoint, folder }
    }
}

fn show(step: &str) {
    println!("rehearsal: {step}");
}

async fn is_refused(client: &Client) -> Answer {
    until("the token is refused", async || {
        let answer = client.modern("tools/list", json!({})).await;
        (answer.status == 401).then_some(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_restored_as_the_operators_page_says() {
    let deployment = Deployment::start().await;
    let Deployment { api, client, .. } = &deployment;
    let (kept, revoked) = (deployment.token("kept").await, deployment.token("revoked later").await);
    let destination = api.add_destination("https://siem.example/hook").await;
    let before = deployment.calls(client, 20).await;
    let signed_before = deployment.signed_over(&before).await;
    show("a tenant with a server, a credential, a policy, tokens, a destination and 20 calls");

    let backup = Backup::take(&deployment.stack).await;
    show("a base backup is taken, and a copy of the keys kept elsewhere");
    api.revoke(&revoked.id).await;
    is_refused(&deployment.client(&revoked)).await;
    let late = deployment.token("issued later").await;
    let since = deployment.calls(&deployment.client(&late), 20).await;
    let signed_since = deployment.signed_over(&since).await;
    show("since then a token was revoked, one issued, and 20 calls were made with it");

    let said = deployment.goes_back_to(&backup).await;
    for wanted in [
        "1 gateway tokens that were revoked since the backup are revoked again",
        "1 gateway tokens that were issued since the backup are worth nothing any more",
        "1 destinations are paused",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    assert_eq!(api.find_by_trace(&before).await.len(), 1);
    assert_eq!(api.wait_for_records(&since, 1).await.len(), 1);
    show("calls of before the backup are found, and those since, which Redis still had");
    is_refused(&deployment.client(&revoked)).await;
    is_refused(&deployment.client(&late)).await;
    show("the token that was revoked since is refused, and so is the one that was issued since");
    assert_eq!(api.destination(&destination).await["state"], "paused");
    show("the destination waits for a person");
    let again = deployment.calls(&deployment.client(&kept), 20).await;
    let last = deployment.signed_over(&again).await;
    show("20 new calls reach the server with its credential, and are recorded");

    let verified = deployment.verified(&last);
    let bundle = verified.folder.join("bundle.zst");
    std::fs::write(&bundle, api.bundle("").await).unwrap();
    let kept_note = |checkpoint: &Checkpoint| {
        let path = verified.folder.join("kept");
        std::fs::write(&path, &checkpoint.note).unwrap();
        path
    };
    let (code, told) = verified.ours(&bundle, None);
    assert_eq!(code, 0, "{told}");
    let (code, told) = verified.ours(&bundle, Some(&kept_note(&signed_before)));
    assert_eq!(code, 0, "{told}");
    told.lines().for_each(|line| show(&format!("    sluice audit verify --since BEFORE: {line}")));
    let (code, told) = verified.ours(&bundle, Some(&kept_note(&signed_since)));
    assert_eq!(code, 14, "whoever kept a checkpoint from after the backup sees that the log was set back: {told}");
    show("the log verifies over both epochs, and goes on from a checkpoint of before the backup");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_verifiers_hold_a_bundle_of_two_epochs_to_what_was_signed() {
    let deployment = Deployment::start().await;
    let Deployment { api, client, .. } = &deployment;
    let before = deployment.calls(client, 10).await;
    let signed_before = deployment.signed_over(&before).await;
    let backup = Backup::take(&deployment.stack).await;
    let since = deployment.calls(client, 10).await;
    let signed_since = deployment.signed_over(&since).await;
    deployment.goes_back_to(&backup).await;
    let again = deployment.calls(client, 10).await;
    let last = deployment.signed_over(&again).await;
    let verified = deployment.verified(&last);
    let whole = lines(api, "").await;
    let (code, said) = verified.codes(&whole, None);
    assert!(code == 0 && said.contains("epochs      1 to 2: the log was set back"), "{code} {said}");
    assert_eq!(verified.codes(&whole, Some(&signed_before.note)).0, 0, "it goes on from before the backup");
    assert_eq!(verified.codes(&whole, Some(&signed_since.note)).0, 14, "and not from what is gone");

    let second = whole.iter().position(|line| line.starts_with(b"{\"epoch\":")).unwrap();
    let told: Value = serde_json::from_slice(&whole[second + 1]).unwrap();
    assert_eq!(told["record"]["kind"], "epoch");
    for (epoch, begin) in [(1, 0), (2, second)] {
        let at = (begin + 4..whole.len()).find(|at| whole[*at].starts_with(b"{\"seq\":")).unwrap();
        let line: Value = serde_json::from_slice(&whole[at]).unwrap();
        for (what, code, change) in TRIES {
            let mut tampered = whole.clone();
            change(&mut tampered, at);
            let (found, ours, theirs) = verified.told(&tampered, None);
            let place = format!("{} of epoch {epoch}", line["seq"]);
            assert_eq!(found, code, "{what} in epoch {epoch}: {ours}");
            // Ours names no epoch where it came no further than to the first.
            let named = if ours.contains("epochs      1 to 2") { place.clone() } else { line["seq"].to_string() };
            assert!(ours.contains(&format!("(first at {named})")), "{what}: {ours}");
            assert!(theirs.contains(&format!("{} FAILS at {place}", code - 10)), "{what}: {theirs}");
        }
    }
    let mut rewritten = whole.clone();
    rewritten[second + 1] =
        String::from_utf8(whole[second + 1].clone()).unwrap().replace("\"size\":", "\"size\":1").into();
    assert_eq!(verified.codes(&rewritten, None).0, 12, "nor what the second epoch says of the first");
}
