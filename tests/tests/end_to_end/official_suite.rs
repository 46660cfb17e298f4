//! The official conformance suite: at our own fixture, which must pass all of it and fail where it is broken, and through
//! three nodes, where only what is named in `tests/conformance/expected` may fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use sluice_tests::client::{Client, LEGACY};
use sluice_tests::everything::{Broken, Everything, Options};
use sluice_tests::patience::PATIENCE;
use sluice_tests::stack::test_folder;
use sluice_tests::upstream::Eras;

use crate::house::{house, is_known};

/// How long one run of the suite may take: it takes seconds, but many on a busy machine.
const RUN_TIME: Duration = Duration::from_secs(150);
/// The revisions whose requirements the suite knows.
const REVISIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];
/// What the suite runs too, but doesn't require: these pass at the fixture and through the nodes.
const UNSCORED: [&str; 3] = ["json-schema-2020-12", "http-header-validation", "http-custom-header-server-validation"];
/// What may pass or fail through the nodes: one that has just seen a session learns within a second that it has ended at
/// another, and this scenario doesn't wait.
const UNSETTLED: &str = "server-session-lifecycle";

/// The pinned suite and the Node that runs it.
struct Suite {
    folder: PathBuf,
    node: PathBuf,
}

/// One thing that a scenario looked at.
#[derive(Debug, Clone, Deserialize)]
struct Check {
    id: String,
    status: String,
    #[serde(rename = "errorMessage", default)]
    message: Option<String>,
}

impl Check {
    /// A broken SHOULD is a failure too.
    fn failed(&self) -> bool {
        self.status == "FAILURE" || self.status == "WARNING"
    }
}

/// What a run of the suite saw, by scenario.
struct Run {
    passed: bool,
    checks: BTreeMap<String, Vec<Check>>,
}

/// Where the suite sends its requests, and the token it gets in.
struct Target {
    url: String,
    token: Option<String>,
}

/// The suite, or `None`, said as SKIPPED, where it can't be had.
fn suite() -> Option<&'static Suite> {
    static SUITE: OnceLock<Result<Suite, String>> = OnceLock::new();
    let installed = SUITE.get_or_init(|| {
        let output = Command::new(here("install.sh")).output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let said = String::from_utf8(output.stdout).unwrap();
        let (folder, node) = said.trim().split_once('\n').unwrap();
        Ok(Suite { folder: folder.into(), node: node.into() })
    });
    installed.as_ref().inspect_err(|reason| println!("SKIPPED conformance suite: {reason}")).ok()
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance").join(name)
}

impl Suite {
    fn package(&self) -> PathBuf {
        self.folder.join("node_modules/@modelcontextprotocol/conformance")
    }

    /// The scenarios that a revision requires of a server.
    fn required(&self, revision: &str) -> BTreeSet<String> {
        let file = self.package().join(format!("requirements/{revision}.yaml"));
        listed(&std::fs::read_to_string(file).unwrap())
    }

    async fn run(&self, target: &Target, arguments: &[&str]) -> Run {
        let folder = test_folder();
        let mut command = tokio::process::Command::new(&self.node);
        if let Some(token) = &target.token {
            let url = url::Url::parse(&target.url).unwrap();
            command.arg("--import").arg(here("inject-auth.mjs"));
            command.env("CONF_UNDICI", self.folder.join("node_modules/undici/index.js"));
            command.env("CONF_AUTH_TOKEN", token).env("CONF_AUTH_ORIGIN", url.origin().ascii_serialization());
        }
        command.arg(self.package().join("dist/index.js")).args(["server", "--url", &target.url]).args(arguments);
        let output = command.arg("-o").arg(&folder).kill_on_drop(true).output();
        let output = tokio::time::timeout(RUN_TIME, output).await.unwrap().unwrap();
        let checks = checks(&folder);
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!checks.is_empty(), "the suite ran nothing with {arguments:?}: {said}");
        std::fs::remove_dir_all(folder).unwrap();
        Run { passed: output.status.success(), checks }
    }
}

/// What is in the folder of a run: `server-SCENARIO-TIME/checks.json` for each scenario.
fn checks(folder: &Path) -> BTreeMap<String, Vec<Check>> {
    let mut checks = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let (scenario, _) =
            name.strip_prefix("server-").and_then(|name| name.split_at_checked(name.len() - 25)).unwrap();
        let text = std::fs::read_to_string(entry.path().join("checks.json")).unwrap_or_default();
        checks.insert(scenario.to_owned(), serde_json::from_str(&text).unwrap_or_default());
    }
    checks
}

/// The entries of the list `server` in the suite's own files and in ours.
fn listed(text: &str) -> BTreeSet<String> {
    let lines = text.lines().skip_while(|line| *line != "server:").skip(1);
    let lines = lines.take_while(|line| line.is_empty() || line.starts_with([' ', '#']));
    lines.filter_map(|line| line.trim().strip_prefix("- ")).map(str::to_owned).collect()
}

impl Run {
    /// The scenarios that ran, of a kind.
    fn scenarios(&self, kind: impl Fn(&str) -> bool) -> BTreeSet<String> {
        self.checks.keys().filter(|scenario| kind(scenario)).cloned().collect()
    }

    /// What failed in a scenario, as entries of a file with the reasons: `SCENARIO:CHECK`, or `SCENARIO` if it didn't run.
    fn failures(&self, scenario: &str) -> BTreeMap<String, String> {
        let Some(checks) = self.checks.get(scenario).filter(|checks| !checks.is_empty()) else {
            return BTreeMap::from([(scenario.to_owned(), "it did not run".to_owned())]);
        };
        let failed = checks.iter().filter(|check| check.failed());
        failed.map(|check| (format!("{scenario}:{}", check.id), check.message.clone().unwrap_or_default())).collect()
    }

    /// As [`Run::complaints`]; says how many scenarios pass too.
    fn judge(&self, title: &str, scenarios: &BTreeSet<String>, expected: &Expected) -> Vec<String> {
        let clean = scenarios.iter().filter(|scenario| self.failures(scenario).is_empty()).count();
        let skipped = scenarios.iter().flat_map(|name| self.checks.get(name).into_iter().flatten());
        let skipped = skipped.filter(|check| check.status == "SKIPPED").count();
        println!("conformance {title}: {clean} of {} scenarios, with {skipped} checks left out", scenarios.len());
        self.complaints(title, scenarios, expected)
    }

    /// What is wrong with a run in which only the expected of these scenarios may fail, a line each.
    fn complaints(&self, title: &str, scenarios: &BTreeSet<String>, expected: &Expected) -> Vec<String> {
        let failures: BTreeMap<_, _> = scenarios.iter().map(|name| (name, self.failures(name))).collect();
        let stale = expected.entries.iter().filter_map(|entry| {
            let scenario = entry.split_once(':').map_or(entry.as_str(), |(scenario, _)| scenario);
            let why = match failures.get(&scenario.to_owned()) {
                None => "is not required",
                Some(failures) if failures.is_empty() || (entry != scenario && !failures.contains_key(entry)) => {
                    "passes now"
                }
                Some(_) => return None,
            };
            Some(format!("{title}: `{entry}` {why}: take it out of tests/conformance/{}", expected.file))
        });
        let unexpected =
            failures.iter().filter(|(scenario, _)| !expected.entries.contains(**scenario)).flat_map(|(_, failures)| {
                let failures = failures.iter().filter(|(entry, _)| !expected.entries.contains(*entry));
                failures.map(|(entry, why)| format!("{title}: `{entry}` fails: {why}"))
            });
        stale.chain(unexpected).collect()
    }
}

/// What will fail, each with its reason in a file of ours: `SCENARIO`, or `SCENARIO:CHECK` where the rest of it must pass.
#[derive(Default)]
struct Expected {
    file: String,
    entries: BTreeSet<String>,
}

impl Expected {
    /// Through nodes that find out by themselves what their upstream speaks.
    fn through_nodes(revision: &str) -> Self {
        let file = format!("expected/auto-{revision}.yml");
        Self { entries: listed(&std::fs::read_to_string(here(&file)).unwrap()), file }
    }

    /// Without what is of other scenarios.
    fn of(mut self, scenarios: &BTreeSet<String>) -> Self {
        self.entries.retain(|entry| entry.split(':').next().is_some_and(|scenario| scenarios.contains(scenario)));
        self
    }
}

async fn fixture(broken: Option<Broken>) -> Target {
    Target { url: Everything::start(Options { eras: Eras::Dual, broken }).await.url(), token: None }
}

#[tokio::test]
async fn the_fixture_passes_what_each_revision_requires() {
    let Some(suite) = suite() else { return };
    let target = fixture(None).await;
    for revision in REVISIONS {
        let run = suite.run(&target, &["--requirements", revision]).await;
        // It has no tasks.
        let wanted = run.scenarios(|scenario| !scenario.starts_with("tasks-"));
        assert!(wanted.is_superset(&suite.required(revision)));
        assert_none(&run.judge(&format!("{revision} at the fixture"), &wanted, &Expected::default()));
        assert!(run.passed);
    }
    let run = suite.run(&target, &["--suite", "all", "--spec-version", "2025-06-18"]).await;
    assert_none(&run.judge("2025-06-18 at the fixture", &run.scenarios(|_| true), &Expected::default()));
}

#[tokio::test]
async fn a_broken_fixture_is_found_out() {
    let Some(suite) = suite() else { return };
    let cases = [
        (Broken::NoRebindingGuard, "dns-rebinding-protection", "localhost-host-rebinding-rejected"),
        (Broken::EmptyContents, "sep-2164-resource-not-found", "sep-2164-no-empty-contents"),
        (Broken::LostInput, "input-required-result-basic-elicitation", "sep-2322-elicitation-complete"),
        (Broken::NoCachingHints, "caching", "sep-2549-tools-list-caching-hints"),
        (Broken::StrippedSchemas, "json-schema-2020-12", "json-schema-2020-12-$schema"),
    ];
    assert_eq!(cases.map(|(broken, ..)| broken), Broken::ALL.map(|(_, broken)| broken));
    for (broken, scenario, check) in cases {
        let target = fixture(Some(broken)).await;
        let run = suite.run(&target, &["--scenario", scenario, "--spec-version", "2026-07-28"]).await;
        let failed = run.checks[scenario].iter().any(|found| found.id == check && found.status == "FAILURE");
        assert!(failed && !run.passed, "{broken:?} is not found out: {:?}", run.checks);
    }
}

#[tokio::test]
async fn through_three_nodes_only_what_is_named_fails() {
    let Some(suite) = suite() else { return };
    let target = conforming_tenant().await;
    let mut complaints = Vec::new();
    for revision in REVISIONS {
        let run = suite.run(&target, &["--requirements", revision]).await;
        complaints.extend(run.judge(revision, &suite.required(revision), &Expected::through_nodes(revision)));
        let others = run.scenarios(|scenario| UNSCORED.contains(&scenario));
        assert!(!others.is_empty());
        complaints.extend(run.judge(&format!("{revision}, not required"), &others, &Expected::default()));
    }
    let run = suite.run(&target, &["--suite", "all", "--spec-version", "2025-06-18"]).await;
    let all = run.scenarios(|scenario| scenario != UNSETTLED);
    complaints.extend(run.judge("2025-06-18", &all, &Expected::through_nodes("2025-11-25").of(&all)));
    assert_none(&complaints);
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// A tenant with nothing but the fixture, under the names it gives.
async fn conforming_tenant() -> Target {
    let house = house();
    let tenant = house.api.another_tenant("conform").await;
    let api = tenant.api(&house.endpoints);
    api.set_prefix("none").await;
    api.allow_everything().await;
    let server = Everything::start(Options { eras: Eras::Dual, broken: None }).await;
    api.add_server("conformance", &server.url()).await;
    api.is_live().await;
    let mut url = url::Url::parse(&house.endpoints.tenant_url).unwrap();
    url.set_host(Some("localhost")).unwrap();
    url.set_path(&format!("/{}/mcp", tenant.slug));
    is_known(&Client::new(url.as_str(), &tenant.token)).await;
    Target { url: url.into(), token: Some(tenant.token) }
}

#[tokio::test]
async fn the_fixture_tells_its_watchers_in_both_eras() {
    let client = Client::new(&fixture(None).await.url, "none");
    let watched = "test://watched-resource";
    let session = client.initialize(LEGACY).await;
    assert_eq!(session.send("resources/subscribe", json!({"uri": watched})).await.message()["result"], json!({}));
    let legacy = session.request(Method::GET).send().await.unwrap();
    let wanted = json!({"notifications": {"resourceSubscriptions": [watched]}});
    let modern = client.modern_request("subscriptions/listen", wanted).send().await.unwrap();
    for tool in ["test_trigger_tool_change", "test_trigger_resource_change"] {
        assert_eq!(client.call(tool, json!({})).await.tool_text(), "changed");
    }
    assert!(is_told(legacy).await.contains("notifications/tools/list_changed"));
    assert!(!is_told(modern).await.contains("notifications/tools/list_changed"));
}

/// What comes on a stream up to the news of a resource.
async fn is_told(mut stream: reqwest::Response) -> String {
    let news = async {
        let mut told = String::new();
        while !told.contains("notifications/resources/updated") {
            told += &String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap());
        }
        told
    };
    tokio::time::timeout(PATIENCE, news).await.unwrap()
}

#[test]
fn a_scenario_that_begins_to_pass_must_be_taken_out_of_its_file() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let check = |id: &str, status: &str| Check { id: id.to_owned(), status: status.to_owned(), message: None };
    let checks = [
        ("passes", vec![check("x", "SUCCESS"), check("y", "SKIPPED")]),
        ("fails", vec![check("x", "FAILURE"), check("y", "WARNING"), check("z", "SUCCESS")]),
        ("empty", vec![]),
    ];
    let run = Run { passed: false, checks: checks.map(|(name, checks)| (name.to_owned(), checks)).into() };
    let said = |required: &[&str], named: &[&str]| {
        let expected = Expected { file: "FILE".to_owned(), entries: set(named) };
        run.complaints("unit", &set(required), &expected).join("; ")
    };
    assert_eq!(said(&["passes", "fails"], &["fails"]), "");
    assert_eq!(said(&["passes", "fails"], &["fails:x", "fails:y"]), "");
    assert_eq!(said(&["passes"], &["passes"]), "unit: `passes` passes now: take it out of tests/conformance/FILE");
    assert_eq!(said(&["passes"], &["other"]), "unit: `other` is not required: take it out of tests/conformance/FILE");
    assert_eq!(
        said(&["fails"], &["fails:x", "fails:z"]),
        "unit: `fails:z` passes now: take it out of tests/conformance/FILE; unit: `fails:y` fails: "
    );
    assert_eq!(said(&["fails"], &[]), "unit: `fails:x` fails: ; unit: `fails:y` fails: ");
    assert_eq!(said(&["empty"], &[]), "unit: `empty` fails: it did not run");
    assert_eq!(said(&["absent"], &[]), "unit: `absent` fails: it did not run");
    assert_eq!(listed("client:\n  - x\nserver:\n  # why\n  - a\n\n  - b:c\nelse:\n  - y\n"), set(&["a", "b:c"]));
}
