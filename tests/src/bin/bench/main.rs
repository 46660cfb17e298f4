//! `make bench`, `bench-live`, `bench-scale`, `bench-search` and `bench-soak`: what the gateway adds to a call, as ratios
//! measured in one run; how fast a publication, a revocation and a record arrive; whether the cost grows; how fast a large
//! log is searched; whether memory stays flat. Prints tables; asserts nothing.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and may stop")]

mod compare;
mod live;
mod scale;
mod search;
mod soak;

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use sluice_tests::api::Api;
use sluice_tests::client::MODERN;
use sluice_tests::fast_upstream;
use sluice_tests::load::{Report, Target, cpu_time, percentile, run};
use sluice_tests::patience::{block_until, block_until_listening};
use sluice_tests::stack::Stack;

/// How long each figure is measured.
const LENGTH: Duration = Duration::from_secs(6);
/// A long result, bytes.
const LONG_RESULT: usize = 100 * 1024;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let what = std::env::args().nth(1).unwrap_or_default();
    match what.as_str() {
        "live" => runtime.block_on(live::live()),
        "search" => runtime.block_on(search::search()),
        "soak" => runtime.block_on(soak::soak()),
        "scale" => runtime.block_on(scale::scale()),
        "lists" => runtime.block_on(lists()),
        "node" => runtime.block_on(node()),
        "compare" => runtime.block_on(compare::compare()),
        _ => runtime.block_on(calls()),
    }
}

/// One way to the upstream and the process whose CPU time it costs.
struct Way {
    name: String,
    address: SocketAddr,
    path: String,
    token: Option<String>,
    pid: Option<u32>,
}

/// A deployment of one node, and a server `bench` at this address, whose tools everybody may call.
async fn deployment(settings: &[(&str, &str)]) -> (Stack, Api, SocketAddr) {
    let upstream = fast_upstream::start(1).await;
    let stack = Stack::start(1, settings);
    let api = Api::of(&stack.endpoints);
    api.add_server("bench", &format!("http://{upstream}/mcp")).await;
    api.allow_everything().await;
    api.is_live().await;
    (stack, api, upstream)
}

async fn calls() {
    let (stack, _, upstream) = deployment(&[]).await;
    let nginx = Nginx::start(upstream);
    let node: SocketAddr = stack.endpoints.data_plane_urls[0].trim_start_matches("http://").parse().unwrap();
    let mut ways = vec![Way { name: "direct".into(), address: upstream, path: "/mcp".into(), token: None, pid: None }];
    match &nginx {
        Some(nginx) => ways.push(Way {
            name: "nginx".into(),
            address: nginx.address,
            path: "/mcp".into(),
            token: None,
            pid: Some(nginx.worker),
        }),
        None => println!("nginx is not installed: its rows are left out"),
    }
    ways.push(Way {
        name: "sluice".into(),
        address: node,
        path: format!("/{}/mcp", stack.endpoints.tenant),
        token: Some(stack.endpoints.token.clone()),
        pid: Some(stack.endpoints.pids["node-1"]),
    });
    println!("tools/call, echo, {} s each; CPU is the process's own, user and system\n", LENGTH.as_secs());
    println!(
        "{:>4} {:<8} {:>9} {:>7} {:>8} {:>8} {:>12} {:>8}",
        "c", "way", "calls/s", "ratio", "p50 us", "p99 us", "CPU us/call", "failed"
    );
    for connections in [1, 16, 64] {
        measure(&ways, connections, None, 0).await;
    }
    println!("\nwith a result of {} KiB\n", LONG_RESULT / 1024);
    measure(&ways, 16, None, LONG_RESULT).await;
    println!("\nat 500 calls/s over 10 connections: what is added to the direct way\n");
    measure(&ways, 10, Some(Duration::from_millis(20)), 0).await;
}

/// Each way with calls whose results have so many bytes more than they need.
async fn measure(ways: &[Way], connections: usize, pace: Option<Duration>, bytes: usize) {
    let mut direct = None;
    for way in ways {
        let target = Target { address: way.address, request: call_request(way, bytes) };
        run(&target, connections, Duration::from_secs(1), pace).await;
        let (report, cpu) = with_cpu(way.pid, &target, connections, pace).await;
        let (rate, p50, p99) = (report.rate(), report.percentile(50), report.percentile(99));
        let (base, base50, base99) = *direct.get_or_insert((rate, p50, p99));
        println!(
            "{connections:>4} {:<8} {rate:>9.0} {:>7.2} {p50:>8} {p99:>8} {cpu:>12.1} {:>8}   added p50 {:+} p99 {:+}",
            way.name,
            rate / base,
            report.failed,
            i64::from(p50) - i64::from(base50),
            i64::from(p99) - i64::from(base99),
        );
        if pace.is_some() && way.token.is_some() {
            let [wait, rest] =
                [&report.waits, &report.rests].map(|times| [50, 99].map(|share| percentile(times, share)));
            println!(
                "     of it the wait for the record p50 {} p99 {}; without it added p50 {:+} p99 {:+}",
                wait[0],
                wait[1],
                i64::from(rest[0]) - i64::from(base50),
                i64::from(rest[1]) - i64::from(base99),
            );
        }
    }
}

async fn with_cpu(pid: Option<u32>, target: &Target, connections: usize, pace: Option<Duration>) -> (Report, f64) {
    let before = pid.map(cpu_time).unwrap_or_default();
    let report = run(target, connections, LENGTH, pace).await;
    let used = pid.map(cpu_time).unwrap_or_default().saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "a figure to read")]
    let each = used.as_secs_f64() * 1e6 / report.calls.max(1) as f64;
    (report, each)
}

/// Only calls through the gateway, over 64 connections for half a minute: what to watch with a profiler.
async fn node() {
    let (stack, _, _) = deployment(&[]).await;
    let node: SocketAddr = stack.endpoints.data_plane_urls[0].trim_start_matches("http://").parse().unwrap();
    let pid = stack.endpoints.pids["node-1"];
    let path = format!("/{}/mcp", stack.endpoints.tenant);
    let way =
        Way { name: "sluice".into(), address: node, path, token: Some(stack.endpoints.token.clone()), pid: Some(pid) };
    println!("node {pid}");
    for _ in 0..5 {
        measure(std::slice::from_ref(&way), 64, None, 0).await;
    }
}

/// tools/list of ten servers with fifty tools each.
async fn lists() {
    let stack = Stack::start(1, &[]);
    let api = Api::of(&stack.endpoints);
    api.allow_everything().await;
    let node: SocketAddr = stack.endpoints.data_plane_urls[0].trim_start_matches("http://").parse().unwrap();
    add_lists(&api).await;
    let way = Way {
        name: "sluice".into(),
        address: node,
        path: format!("/{}/mcp", stack.endpoints.tenant),
        token: Some(stack.endpoints.token.clone()),
        pid: Some(stack.endpoints.pids["node-1"]),
    };
    measure_list(&way).await;
}

async fn add_lists(api: &Api) {
    for number in 0..10 {
        let upstream = fast_upstream::start(50).await;
        api.add_server(&format!("list{number}"), &format!("http://{upstream}/mcp")).await;
    }
    api.is_live().await;
}

async fn measure_list(way: &Way) {
    let target = Target { address: way.address, request: request(way, "tools/list", &json!({})) };
    run(&target, 16, Duration::from_secs(1), None).await;
    let (report, cpu) = with_cpu(way.pid, &target, 16, None).await;
    println!(
        "\n{}: tools/list of 10 servers x 50 tools and the others, 16 connections: {:.0}/s, p50 {} us, p99 {} us, CPU {cpu:.0} us a list, {} failed",
        way.name,
        report.rate(),
        report.percentile(50),
        report.percentile(99),
        report.failed
    );
}

/// A call whose result has so many bytes more than it needs.
fn call_request(way: &Way, bytes: usize) -> Vec<u8> {
    let name = if way.token.is_some() { "bench__echo" } else { "echo" };
    request(way, "tools/call", &json!({"name": name, "arguments": {"message": "hello", "bytes": bytes}}))
}

fn request(way: &Way, method: &str, params: &serde_json::Value) -> Vec<u8> {
    let mut params = params.clone();
    params["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let token = way.token.as_ref().map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let name = params["name"].as_str().map(|name| format!("mcp-name: {name}\r\n")).unwrap_or_default();
    format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n\
         mcp-protocol-version: {MODERN}\r\nmcp-method: {method}\r\n{name}{token}content-length: {}\r\n\r\n{body}",
        way.path, way.address, body.len(),
    )
    .into_bytes()
}

/// nginx as a plain proxy with keep-alive to the upstream.
struct Nginx {
    child: Child,
    address: SocketAddr,
    worker: u32,
    folder: std::path::PathBuf,
}

impl Nginx {
    fn start(upstream: SocketAddr) -> Option<Self> {
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx", "/opt/homebrew/bin/nginx"]
            .into_iter()
            .find(|path| std::path::Path::new(path).exists())?;
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = std::env::temp_dir().join(format!("sluice-bench-nginx-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let settings = format!(
            "daemon off; worker_processes 1; pid {0}/pid; error_log {0}/error.log;\nevents {{ worker_connections 1024; }}\n\
             http {{ access_log off; client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n\
             keepalive_requests 100000000;\nupstream up {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}\n\
             server {{ listen {address}; location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}\n",
            folder.display()
        );
        std::fs::write(folder.join("nginx.conf"), settings).unwrap();
        let child = Command::new(program)
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .arg("-p")
            .arg(&folder)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        block_until_listening("nginx", address.port());
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let worker = block_until("nginx has started its worker", || {
            std::fs::read_to_string(&children).unwrap().split_whitespace().next().map(|worker| worker.parse().unwrap())
        });
        Some(Self { child, address, worker, folder })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        sluice_tests::stack::signal(self.child.id(), rustix::process::Signal::TERM);
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
