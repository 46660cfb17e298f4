//! The console in a real browser, against a whole deployment and a real MCP client.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sluice_tests::stack::{Stack, program};
use sluice_tests::upstream::{Eras, Upstream};

use crate::clients;
use crate::house::house;

/// The driver's folder and Chromium, or `None`, said as SKIPPED, where they can't be had. CI must have them.
fn installed() -> Option<(PathBuf, String)> {
    let output = Command::new(here("install.sh")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if let (true, Some((folder, chromium))) = (output.status.success(), said.trim().split_once('\n')) {
        return Some((PathBuf::from(folder), chromium.to_owned()));
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert!(!clients::in_ci(), "CI must drive the console: {reason}");
    println!("SKIPPED console in a browser: {reason}");
    None
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("console").join(name)
}

/// Runs a script in the shared deployment.
fn run(script: &str, browser: &(PathBuf, String), environment: &[(&str, &Path)]) -> Value {
    run_at(&house().folder, script, browser, environment)
}

/// Runs a script; it prints what it found out as one line of JSON, and fails on any finding.
fn run_at(
    deployment: &Path,
    script: &str,
    (folder, chromium): &(PathBuf, String),
    environment: &[(&str, &Path)],
) -> Value {
    let output = Command::new("node")
        .arg(here(script))
        .env("CONSOLE", folder)
        .env("CHROMIUM", chromium)
        .env("ENDPOINTS", deployment.join("endpoints.json"))
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {said}\n{wrong}");
    serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap()
}

#[test]
fn from_signing_up_to_a_blocked_call_in_four_minutes_and_five_clicks() {
    let (Some(browser), Some(folder)) = (installed(), clients::installed()) else { return };
    let sdk = clients::here("typescript_sdk.mjs");
    // An empty database: nobody has signed up in this deployment, and nothing was called.
    let stack = Stack::start(2, &[]);
    let done = run_at(stack.folder(), "four_minutes.mjs", &browser, &[("CLIENTS", &folder), ("TYPESCRIPT_SDK", &sdk)]);
    println!("from signing up to a blocked call: {} clicks, {} min of machine time", done["clicks"], done["minutes"]);
    assert!(done["minutes"].as_f64().unwrap() < 4.0, "{done}");
    assert!(done["clicks"].as_u64().unwrap() <= 5, "{done}");
}

#[test]
fn every_page_is_accessible_and_fits_a_phone() {
    let Some(browser) = installed() else { return };
    let done = run("every_page.mjs", &browser, &[("DENIED", Path::new("modern__delete_all"))]);
    println!("{} states of pages, of {} routes", done["states"], done["routes"]);
    // The page of components is for who builds them: a release has none.
    let is_release = program().parent().is_some_and(|folder| folder.ends_with("release"));
    assert!(!is_release || done["has_parts"] == false, "{done}");
}

#[test]
fn the_console_works_without_javascript() {
    let Some(browser) = installed() else { return };
    run("no_script.mjs", &browser, &[]);
}

#[test]
fn the_console_is_used_by_keyboard_alone() {
    let Some(browser) = installed() else { return };
    run("keyboard.mjs", &browser, &[]);
}

#[test]
fn all_work_is_done_by_keyboard_alone() {
    let Some(browser) = installed() else { return };
    let done = run("by_keyboard.mjs", &browser, &[]);
    assert!(done["exported"].as_u64().unwrap() > 0, "nothing was exported: {done}");
}

#[test]
fn a_lost_connection_and_a_session_that_is_over_take_nothing_unsaid() {
    let Some(browser) = installed() else { return };
    run("away.mjs", &browser, &[]);
}

#[test]
fn each_role_is_told_what_it_may_not_and_is_offered_none_of_it() {
    let Some(browser) = installed() else { return };
    let done = run("roles.mjs", &browser, &[]);
    assert_eq!(done["roles"], 5, "{done}");
}

#[test]
fn calls_land_live_and_are_found_by_keyboard() {
    let Some(browser) = installed() else { return };
    run("activity.mjs", &browser, &[("DENIED", Path::new("modern__delete_all"))]);
}

#[test]
fn the_editor_marks_errors_and_a_draft_outlives_what_others_save() {
    let Some(browser) = installed() else { return };
    run("servers_and_policies.mjs", &browser, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_mean_harm_are_shown_and_do_nothing() {
    let Some(browser) = installed() else { return };
    let upstream = Upstream::start(Eras::Modern).await;
    upstream.add_tool(json!({
        "name": "hostile_\u{202e}daolnwod",
        "title": "<img src=x onerror=\"window.ran = true\">",
        "description": format!("</textarea><script>window.ran = true</script>{}\u{200b}", "A".repeat(4000)),
        "inputSchema": {"type": "object", "properties": {"<b>q</b>": {"type": "string"}}},
    }));
    let server = house().api.add_server("harm", &upstream.url()).await;
    let run = move || run("hostile_names.mjs", &browser, &[("SERVER", Path::new(&server))]);
    tokio::task::spawn_blocking(run).await.unwrap();
}
