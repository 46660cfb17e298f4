//! Whether a call costs the same with many tenants, tools and policies, and what each of them weighs in a node's memory.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use sluice_tests::api::Api;
use sluice_tests::client::Client;
use sluice_tests::fast_upstream;
use sluice_tests::load::{Target, run};
use sluice_tests::patience::until_within;
use sluice_tests::stack::Stack;

use crate::{Way, call_request, deployment, with_cpu};

/// Most tools of one server, so that what is imported stays below every limit.
const TOOLS_OF_A_SERVER: usize = 500;
/// Sessions that are opened and left alone.
const SESSIONS: usize = 2_000;
/// How many requests of one kind are made at once.
const AT_ONCE: usize = 8;
/// How long the last of thousands of tenants may take to be known to the node.
const KNOWN: Duration = Duration::from_mins(5);

/// A deployment of one node and the way to it.
struct Measured {
    stack: Stack,
    api: Api,
    way: Way,
    /// CPU of a call in the first row, µs.
    first: Option<f64>,
}

pub(crate) async fn scale() {
    println!("tools/call, echo, 64 connections; CPU of the node, user and system; memory as the kernel counts it\n");
    println!("own: without the pages of the program, which all processes of a machine share\n");
    println!(
        "{:<28} {:>10} {:>12} {:>7} {:>10} {:>8}",
        "with", "calls/s", "CPU us/call", "ratio", "RSS MiB", "own MiB"
    );
    let mut measured = Measured::start().await;
    println!("{:<28} {:>42.1} {:>8.1}", "at rest", measured.memory("VmRSS"), measured.own());
    measured.row("1 tenant, 1 tool, 1 policy").await;
    measured.tools().await;
    measured.policies().await;
    measured.tenants().await;
    measured.sessions().await;
}

impl Measured {
    async fn start() -> Self {
        let (stack, api, _) = deployment(&[("SLUICE_TENANTS_PER_PERSON", "20000")]).await;
        let address: SocketAddr = stack.endpoints.data_plane_urls[0].trim_start_matches("http://").parse().unwrap();
        let way = Way {
            name: "sluice".into(),
            address,
            path: format!("/{}/mcp", stack.endpoints.tenant),
            token: Some(stack.endpoints.token.clone()),
            pid: Some(stack.endpoints.pids["node-1"]),
        };
        Self { stack, api, way, first: None }
    }

    /// A figure of the node's memory as proc(5) names it, MiB.
    fn memory(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.way.pid.unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// Memory that no file is behind, MiB.
    fn own(&self) -> f64 {
        self.memory("RssAnon")
    }

    async fn row(&mut self, with: &str) {
        let target = Target { address: self.way.address, request: call_request(&self.way, 0) };
        run(&target, 64, Duration::from_secs(1), None).await;
        let (report, cpu) = with_cpu(self.way.pid, &target, 64, None).await;
        let first = *self.first.get_or_insert(cpu);
        let (rss, own) = (self.memory("VmRSS"), self.own());
        println!("{with:<28} {:>10.0} {cpu:>12.1} {:>7.2} {rss:>10.1} {own:>8.1}", report.rate(), cpu / first);
        assert_eq!(report.failed, 0, "with {with}");
    }

    async fn tools(&mut self) {
        let mut there = 1;
        for wanted in [10, 100, 500, 5_000] {
            while there < wanted {
                let more = (wanted - there).min(TOOLS_OF_A_SERVER);
                let upstream = fast_upstream::start(more).await;
                self.api.add_server(&format!("tools{there}"), &format!("http://{upstream}/mcp")).await;
                there += more;
            }
            self.api.is_live().await;
            self.row(&format!("{wanted} tools")).await;
        }
    }

    async fn policies(&mut self) {
        for count in [10, 100, 1_000] {
            let mut text = "@id(\"all\") permit (principal, action, resource);\n".to_owned();
            for number in 1..count {
                writeln!(
                    text,
                    "@id(\"no-{number}\") forbid (principal, action, resource is Sluice::Tool) when {{ resource.name == \"none_{number}\" }};"
                )
                .unwrap();
            }
            self.api.set_policy(&text).await;
            self.api.is_live().await;
            self.row(&format!("{count} policies")).await;
        }
        self.api.allow_everything().await;
        self.api.is_live().await;
    }

    /// Tenants that have each been served once, so that the node holds what it needs of them.
    async fn tenants(&mut self) {
        let before = self.own();
        let mut there = 1;
        for wanted in [10, 100, 1_000, 10_000] {
            let made = futures_util::stream::iter(there..wanted).map(|number| self.serve_tenant(number));
            made.buffer_unordered(AT_ONCE).collect::<()>().await;
            there = wanted;
            self.row(&format!("{wanted} tenants")).await;
        }
        #[expect(clippy::cast_precision_loss, reason = "a figure to read")]
        let each = (self.own() - before) * 1024.0 / there as f64;
        println!("{:<28} {each:>37.1} KiB", "each tenant");
    }

    async fn serve_tenant(&self, number: usize) {
        let tenant = self.api.another_tenant(&format!("t{number}")).await;
        let url = format!("{}/{}/mcp", self.stack.endpoints.data_plane_urls[0], tenant.slug);
        let client = Client::new(&url, &tenant.token);
        until_within(KNOWN, "the tenant is served", async || {
            (client.modern("tools/list", serde_json::json!({})).await.status == 200).then_some(())
        })
        .await;
    }

    /// Sessions of legacy clients that say nothing.
    async fn sessions(&mut self) {
        let client = Client::new(&self.stack.endpoints.tenant_url, &self.stack.endpoints.token);
        let before = self.own();
        let opened = futures_util::stream::iter(0..SESSIONS).map(|_| client.initialize("2025-06-18"));
        let sessions: Vec<_> = opened.buffer_unordered(AT_ONCE).collect().await;
        #[expect(clippy::cast_precision_loss, reason = "a figure to read")]
        let each = (self.own() - before) * 1024.0 / sessions.len() as f64;
        println!("{:<28} {each:>37.1} KiB", format!("each of {SESSIONS} idle sessions"));
        self.row(&format!("{SESSIONS} idle sessions")).await;
    }
}
