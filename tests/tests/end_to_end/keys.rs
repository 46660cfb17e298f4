//! The master key and the signing key are changed as docs/operate.md has an operator do it, while nodes serve.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use sluice_tests::api::Api;
use sluice_tests::client::Client;
use sluice_tests::patience::until;
use sluice_tests::stack::{Stack, program};
use sluice_tests::upstream::{Eras, Upstream};
use tokio::process::Command;

use crate::evidence::lines;
use crate::house::is_known;

/// What the upstream must be shown, and opens only with the deployment's master key.
const CREDENTIAL: &str = "canary-keys-0d4e6b12";
const PLANES: [&str; 3] = ["control-plane", "node-1", "node-2"];
/// What a node says of configuration that no key it knows has signed.
const WRONG: &str = "the envelope's signature is wrong";
const SIGN_AGAIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/postgres/sign-again.sql");

/// A deployment of two nodes with one server and a credential for it, and a fresh set of keys.
struct Deployment {
    stack: Stack,
    api: Api,
    upstream: Upstream,
    server: String,
    new_keys: PathBuf,
}

impl Deployment {
    async fn start() -> Self {
        let stack = Stack::start(2, &[("SLUICE_LEAVE_S", "0")]);
        let (api, upstream) = (Api::of(&stack.endpoints), Upstream::start(Eras::Modern).await);
        let server = api.add_server("wiki", &upstream.url()).await;
        api.set_bearer(&server, CREDENTIAL).await;
        api.allow_everything().await;
        api.is_live().await;
        let new_keys = stack.folder().join("new-keys");
        let made = Command::new(program()).args(["keys", "create"]).arg(&new_keys).status().await.unwrap();
        assert!(made.success());
        Self { stack, api, upstream, server, new_keys }
    }

    /// A line of a key file as it is, and of the fresh one.
    fn lines(&self, file: &str) -> [String; 2] {
        [&self.stack.folder().join("data/keys"), &self.new_keys].map(|folder| line(folder, file))
    }

    /// Gives every plane of this machine a key file.
    fn write(&self, file: &str, lines: &[&str]) {
        let path = self.stack.folder().join("data/keys").join(file);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(path, lines.join("\n")).unwrap();
    }

    /// Ends planes one by one, in order; each is ready again before the next one ends, unless it shall never be.
    async fn restart(&self, planes: &[&str]) {
        for plane in planes {
            self.begin_again(plane);
            let url = format!("{}/readyz", self.internal(plane));
            until("the plane is ready", async || {
                reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()).then_some(())
            })
            .await;
        }
    }

    fn begin_again(&self, plane: &str) {
        let before = self.stack.begin_end(plane);
        tokio::task::block_in_place(|| self.stack.has_begun_again(plane, before));
    }

    /// Where a plane says whether it is ready.
    fn internal(&self, plane: &str) -> String {
        let endpoints = self.stack.current().unwrap();
        match plane.strip_prefix("node-") {
            Some(number) => {
                let number: usize = number.parse().unwrap();
                endpoints.metrics_urls[number - 1].trim_end_matches("/metrics").to_owned()
            }
            None => endpoints.control_plane_url,
        }
    }

    fn client(&self, node: usize, token: &str) -> Client {
        let endpoints = &self.stack.endpoints;
        Client::new(&format!("{}/{}/mcp", endpoints.data_plane_urls[node], endpoints.tenant), token)
    }

    /// Every node serves with the credential, and takes a change of now in.
    async fn serves_and_changes(&self) {
        let token = self.api.issue_token("of now").await.text;
        for node in 0..2 {
            is_known(&self.client(node, &token)).await;
            let answer = self.client(node, &token).call("wiki__headers", json!({})).await;
            assert!(answer.tool_text().contains(&format!("Bearer {CREDENTIAL}")), "{answer:?}");
        }
    }

    /// Has all that is published signed again, and waits until it is.
    async fn sign_again(&self) {
        let url = &self.stack.endpoints.postgres_url;
        let mut psql = Command::new("psql");
        let output = psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", SIGN_AGAIN, url]).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metrics = format!("{}/metrics", self.internal_of_control_plane());
        until("nothing waits to be signed", async || {
            let text = reqwest::get(&metrics).await.ok()?.text().await.ok()?;
            text.lines().any(|line| line == "sluice_outbox_waiting 0").then_some(())
        })
        .await;
    }

    /// Has the present master key wrap what others have wrapped; gives how many keys of workspaces and of personal parts.
    async fn rewrap(&self) -> Vec<String> {
        let control_plane = self.stack.current().unwrap().pids["control-plane"];
        let settings = std::fs::read(format!("/proc/{control_plane}/environ")).unwrap();
        let settings = String::from_utf8(settings).unwrap();
        let mut command = Command::new(program());
        command.args(["keys", "rewrap"]).env_clear();
        command.envs(settings.split('\0').filter_map(|pair| pair.split_once('=')));
        let output = command.output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        let counts = said.lines().filter(|line| line.contains(" keys of "));
        counts.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }

    /// How many personal parts the log hands out.
    async fn personal_parts(&self) -> usize {
        until("the log is signed for", async || self.api.checkpoint().await).await;
        let lines = lines(&self.api, "?personal=true").await;
        lines.iter().filter(|line| line.starts_with(b"{\"of\":")).count()
    }

    fn internal_of_control_plane(&self) -> String {
        self.stack.endpoints.metrics_urls.last().unwrap().trim_end_matches("/metrics").to_owned()
    }
}

fn line(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap().lines().next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_key_is_changed_as_the_operators_page_says() {
    let deployment = Deployment::start().await;
    let [old, new] = deployment.lines("master.key");
    deployment.write("master.key", &[&old, &new]);
    deployment.restart(&PLANES).await;
    deployment.serves_and_changes().await;
    deployment.write("master.key", &[&new, &old]);
    deployment.restart(&PLANES).await;
    deployment.serves_and_changes().await;
    // What is sealed from here on is sealed for planes that know both.
    deployment.api.set_bearer(&deployment.server, CREDENTIAL).await;
    let another = deployment.api.add_server("second", &deployment.upstream.url()).await;
    deployment.api.set_bearer(&another, CREDENTIAL).await;
    deployment.api.is_live().await;
    deployment.serves_and_changes().await;
    let personal = deployment.personal_parts().await;
    assert!(personal > 0, "calls have addresses");
    // One of the demo tenant's keys is for credentials, the other for arguments; and one is of this month's personal parts.
    assert_eq!(deployment.rewrap().await, ["2", "1"]);
    assert_eq!(deployment.rewrap().await, ["0", "0"], "nothing is left");
    deployment.api.is_live().await;
    deployment.write("master.key", &[&new]);
    deployment.restart(&PLANES).await;
    deployment.serves_and_changes().await;
    assert!(deployment.personal_parts().await >= personal, "what was sealed before opens");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signing_key_is_changed_as_the_operators_page_says() {
    let deployment = Deployment::start().await;
    let [old, new] = deployment.lines("verifying.keys");
    deployment.write("verifying.keys", &[&old, &new]);
    deployment.restart(&PLANES).await;
    let [_, signing] = deployment.lines("signing.key");
    deployment.write("signing.key", &[&signing]);
    deployment.restart(&PLANES[..1]).await;
    deployment.serves_and_changes().await;

    // A node that loses the old key before all is signed again believes nothing of what it finds, and says so.
    assert!(!deployment.stack.logs().contains(WRONG));
    deployment.write("verifying.keys", &[&new]);
    deployment.begin_again("node-1");
    let client = deployment.client(0, &deployment.stack.endpoints.token);
    // One that has only just begun refuses as well and has nothing to say yet: each look asks again.
    until("the node refuses and says why", async || {
        let answer = client.request(reqwest::Method::POST).send().await.ok()?;
        (answer.status() == 503 && deployment.stack.logs().contains(WRONG)).then_some(())
    })
    .await;
    deployment.sign_again().await;
    deployment.restart(&PLANES).await;
    deployment.serves_and_changes().await;
    // And what was issued before is believed, too.
    is_known(&client).await;
}
