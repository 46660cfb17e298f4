//! Real clients and servers as their makers ship them, through three nodes.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sluice_tests::client::{LEGACY, MODERN};
use sluice_tests::patience::block_until_listening;

use crate::house::house;

/// The folder of the pinned clients, or `None`, said as SKIPPED, where they can't be had. CI must have them.
pub(crate) fn installed() -> Option<PathBuf> {
    let output = Command::new(here("install.sh")).output().unwrap();
    if output.status.success() {
        return Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()));
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert!(!in_ci(), "CI must run the real clients: {reason}");
    println!("SKIPPED real clients: {reason}");
    None
}

#[expect(clippy::disallowed_methods, reason = "CI says that it is CI")]
pub(crate) fn in_ci() -> bool {
    std::env::var("SLUICE_CI").is_ok()
}

pub(crate) fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// A process that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs one of our client scripts and gives the line of JSON it prints.
fn run_client(folder: &Path, script: &str, mode: &str, tool: &str, arguments: &Value) -> Value {
    let program = if Path::new(script).extension().is_some_and(|kind| kind == "py") {
        folder.join("python/bin/python")
    } else {
        "node".into()
    };
    let endpoints = &house().endpoints;
    let output = Command::new(program)
        .arg(here(script))
        .args([&endpoints.tenant_url, &endpoints.token, mode, tool, &arguments.to_string()])
        .env("CLIENTS", folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{script} {mode}: {said} {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap()
}

/// `server-everything`, registered once.
async fn everything(folder: &Path) -> Ends {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let program = folder.join("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    let child = Command::new("node")
        .arg(program)
        .arg("streamableHttp")
        .env("PORT", port.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ends = Ends(child);
    block_until_listening("server-everything", port);
    house().api.add_server("everything", &format!("http://127.0.0.1:{port}/mcp")).await;
    house().api.is_live().await;
    ends
}

#[tokio::test(flavor = "multi_thread")]
async fn official_sdks_and_claude_code_call_through_the_gateway() {
    let Some(folder) = installed() else { return };
    let _everything = everything(&folder).await;
    let cases = [
        ("python_sdk.py", "legacy", LEGACY),
        ("python_sdk.py", "auto", MODERN),
        ("python_sdk.py", MODERN, MODERN),
        ("typescript_sdk.mjs", "legacy", LEGACY),
        ("typescript_sdk.mjs", "auto", MODERN),
        ("typescript_sdk.mjs", MODERN, MODERN),
        ("typescript_sdk_1.mjs", "legacy", LEGACY),
    ];
    for (script, mode, version) in cases {
        for (tool, arguments, wanted) in [
            ("everything__echo", json!({"message": "hello"}), "Echo: hello"),
            ("modern__echo", json!({"message": "hello"}), r#"{"message":"hello"}"#),
            ("legacy__echo", json!({"message": "hello"}), r#"{"message":"hello"}"#),
        ] {
            let said = run_client(&folder, script, mode, tool, &arguments);
            assert_eq!(said["text"], wanted, "{script} {mode} {tool}: {said}");
            assert_eq!(said["protocol"], version, "{script} {mode}: {said}");
            assert!(said["tools"].as_array().unwrap().iter().any(|name| name == tool), "{said}");
        }
        let said = run_client(
            &folder,
            script,
            mode,
            "everything__trigger-long-running-operation",
            &json!({"duration": 1, "steps": 3}),
        );
        let progress: Vec<_> = said["progress"].as_array().unwrap().iter().map(Value::as_f64).collect();
        assert_eq!(progress, [Some(1.0), Some(2.0), Some(3.0)], "{script} {mode}: {said}");
        let said = run_client(&folder, script, mode, "modern__delete_all", &json!({}));
        assert_eq!(said["is_error"], true, "{script} {mode}: {said}");
    }
    claude_code(&folder);
}

/// Claude Code with a home of its own.
struct Claude {
    program: PathBuf,
    home: PathBuf,
}

impl Claude {
    fn find(folder: &Path) -> Option<Self> {
        let program = folder.join("node_modules/@anthropic-ai/claude-code-linux-x64/claude");
        let home = std::env::temp_dir().join(format!("sluice-claude-{}", std::process::id()));
        program.exists().then_some(Self { program, home })
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        std::fs::create_dir_all(&self.home).unwrap();
        let output = Command::new(&self.program)
            .args(arguments)
            .current_dir(&self.home)
            .env("HOME", &self.home)
            .env("DISABLE_TELEMETRY", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env_remove("CLAUDECODE")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }
}

impl Drop for Claude {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// Claude Code connects and makes a real call; only the model behind it is scripted.
fn claude_code(folder: &Path) {
    let Some(claude) = Claude::find(folder) else {
        assert!(!in_ci(), "CI must run Claude Code");
        println!("SKIPPED Claude Code: its package has no program for this machine");
        return;
    };
    let endpoints = &house().endpoints;
    let header = format!("Authorization: Bearer {}", endpoints.token);
    let add =
        ["mcp", "add", "--transport", "http", "--scope", "user", "sluice", &endpoints.tenant_url, "--header", &header];
    claude.run(&add, &[]);
    // Its exit code is 0 either way.
    let list = claude.run(&["mcp", "list"], &[]);
    assert!(list.contains("Connected"), "{list}");

    let tool = "mcp__sluice__everything__echo";
    let mut model = Command::new("node");
    model.arg(here("scripted_model.mjs")).env("TOOL", tool).env("ARGS", r#"{"message":"from Claude Code"}"#);
    let mut model = Ends(model.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(model.0.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let server = json!({"type": "http", "url": endpoints.tenant_url, "headers": {"Authorization": format!("Bearer {}", endpoints.token)}});
    let file = claude.home.join("mcp.json");
    std::fs::write(&file, json!({"mcpServers": {"sluice": server}}).to_string()).unwrap();
    let file = file.to_str().unwrap();
    let call = [
        "-p",
        "call the echo tool",
        "--mcp-config",
        file,
        "--strict-mcp-config",
        "--allowedTools",
        tool,
        "--output-format",
        "json",
    ];
    let model = [("ANTHROPIC_BASE_URL", first["url"].as_str().unwrap()), ("ANTHROPIC_API_KEY", "sk-test-not-real")];
    let said = claude.run(&call, &model);
    assert!(said.contains("Echo: from Claude Code"), "{said}");
}
