//! `make bench` and `make bench-live`: what the gateway adds to a call, as ratios measured in one run, and how fast a
//! publication, a revocation and a record arrive. Prints tables; asserts nothing.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and may stop")]

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use sluice_tests::api::Api;
use sluice_tests::client::{Client, MODERN};
use sluice_tests::fast_upstream;
use sluice_tests::load::{Report, Target, cpu_time, run};
use sluice_tests::patience::{block_until, block_until_listening, until};
use sluice_tests::stack::Stack;

/// How long each figure is measured.
const LENGTH: Duration = Duration::from_secs(6);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let what = std::env::args().nth(1).unwrap_or_default();
    match what.as_str() {
        "live" => runtime.block_on(live()),
        "lists" => runtime.block_on(lists()),
        "node" => runtime.block_on(node()),
        _ => runtime.block_on(calls()),
    }
}

/// One way to the upstream and the process whose CPU time it costs.
struct Way {
    name: &'static str,
    address: SocketAddr,
    path: String,
    token: Option<String>,
    pid: Option<u32>,
}

async fn calls() {
    let upstream = fast_upstream::start(1).await;
    let stack = Stack::start(1, &[]);
    let api = Api::of(&stack.endpoints);
    api.add_server("bench", &format!("http://{upstream}/mcp")).await;
    api.allow_everything().await;
    api.is_live().await;
    let nginx = Nginx::start(upstream);
    let node: SocketAddr = stack.endpoints.data_plane_urls[0].trim_start_matches("http://").parse().unwrap();
    let mut ways = vec![Way { name: "direct", address: upstream, path: "/mcp".into(), token: None, pid: None }];
    match &nginx {
        Some(nginx) => ways.push(Way {
            name: "nginx",
            address: nginx.address,
            path: "/mcp".into(),
            token: None,
            pid: Some(nginx.worker),
        }),
        None => println!("nginx is not installed: its rows are left out"),
    }
    ways.push(Way {
        name: "sluice",
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
        measure(&ways, connections, None).await;
    }
    println!("\nat 500 calls/s over 10 connections: what is added to the direct way\n");
    measure(&ways, 10, Some(Duration::from_millis(20))).await;
}

async fn measure(ways: &[Way], connections: usize, pace: Option<Duration>) {
    let mut direct = None;
    for way in ways {
        let target = Target { address: way.address, request: call_request(way) };
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
    let upstream = fast_upstream::start(1).await;
    let stack = Stack::start(1, &[]);
    let api = Api::of(&stack.endpoints);
    api.add_server("bench", &format!("http://{upstream}/mcp")).await;
    api.allow_everything().await;
    api.is_live().await;
    let node: SocketAddr = stack.endpoints.data_plane_urls[0].trim_start_matches("http://").parse().unwrap();
    let pid = stack.endpoints.pids["node-1"];
    let path = format!("/{}/mcp", stack.endpoints.tenant);
    let way = Way { name: "sluice", address: node, path, token: Some(stack.endpoints.token.clone()), pid: Some(pid) };
    println!("node {pid}");
    for _ in 0..5 {
        measure(std::slice::from_ref(&way), 64, None).await;
    }
}

/// tools/list of ten servers with fifty tools each.
async fn lists() {
    let stack = Stack::start(1, &[]);
    let api = Api::of(&stack.endpoints);
    api.allow_everything().await;
    let node: SocketAddr = stack.endpoints.data_plane_urls[0].trim_start_matches("http://").parse().unwrap();
    for number in 0..10 {
        let upstream = fast_upstream::start(50).await;
        api.add_server(&format!("list{number}"), &format!("http://{upstream}/mcp")).await;
    }
    api.is_live().await;
    let way = Way {
        name: "sluice",
        address: node,
        path: format!("/{}/mcp", stack.endpoints.tenant),
        token: Some(stack.endpoints.token.clone()),
        pid: None,
    };
    let target = Target { address: node, request: request(&way, "tools/list", &json!({})) };
    run(&target, 16, Duration::from_secs(1), None).await;
    let (report, cpu) = with_cpu(Some(stack.endpoints.pids["node-1"]), &target, 16, None).await;
    println!(
        "\ntools/list of 10 servers x 50 tools and the others, 16 connections: {:.0}/s, p50 {} us, p99 {} us, CPU {cpu:.0} us a list, {} failed",
        report.rate(),
        report.percentile(50),
        report.percentile(99),
        report.failed
    );
}

fn call_request(way: &Way) -> Vec<u8> {
    let name = if way.token.is_some() { "bench__echo" } else { "echo" };
    request(way, "tools/call", &json!({"name": name, "arguments": {"message": "hello"}}))
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

/// How long until a publication and a revocation are live on all of three nodes, and a finished call can be found.
async fn live() {
    let upstream = fast_upstream::start(2).await;
    let stack = Stack::start(3, &[]);
    let api = Api::of(&stack.endpoints);
    let server = api.add_server("bench", &format!("http://{upstream}/mcp")).await;
    api.allow_everything().await;
    api.is_live().await;
    let nodes: Vec<String> =
        stack.endpoints.data_plane_urls.iter().map(|url| format!("{url}/{}/mcp", stack.endpoints.tenant)).collect();
    let client = Client::new(&nodes[0], &stack.endpoints.token);
    let mut published = Vec::new();
    for round in 0..100 {
        let paused = round % 2 == 0;
        let begin = Instant::now();
        api.pause(&server, paused).await;
        for node in &nodes {
            let client = client.at(node);
            until("the change is live", async || {
                let answer = client.call("bench__echo", json!({"message": "x"})).await.message();
                ((answer["result"]["isError"] == json!(true)) == paused).then_some(())
            })
            .await;
        }
        published.push(begin.elapsed());
    }
    print_percentiles("a publication is live on 3 of 3 nodes", published);
    let mut revoked = Vec::new();
    for _ in 0..100 {
        let token = api.issue_token("bench").await;
        let client = client.with_token(Some(&token.text));
        for node in &nodes {
            let client = client.at(node);
            until("the token is known", async || is_served(&client).await.then_some(())).await;
        }
        let begin = Instant::now();
        api.revoke(&token.id).await;
        for node in &nodes {
            let client = client.at(node);
            until("the token is refused", async || (!is_served(&client).await).then_some(())).await;
        }
        revoked.push(begin.elapsed());
    }
    print_percentiles("a revoked token is refused by 3 of 3 nodes", revoked);
    let mut found = Vec::new();
    for _ in 0..200 {
        let answer = client.call("bench__echo", json!({"message": "find me"})).await;
        let trace = answer.trace_id();
        let begin = Instant::now();
        until("the record is found", async || (!api.find_by_trace(&trace).await.is_empty()).then_some(())).await;
        found.push(begin.elapsed());
    }
    print_percentiles("a finished call is found by search", found);
}

async fn is_served(client: &Client) -> bool {
    client.modern("tools/list", json!({})).await.status == 200
}

fn print_percentiles(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_millis();
    println!("{what}: {} times, p50 {} ms, p99 {} ms, longest {} ms", times.len(), at(50), at(99), at(100));
}
