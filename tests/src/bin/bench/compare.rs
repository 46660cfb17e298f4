//! `bench compare NODE…`: builds of a node beside each other in one deployment, measured in turns, so that whatever else
//! the machine does meets all of them.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sluice_tests::load::{Target, run};
use sluice_tests::patience::block_until_listening;
use sluice_tests::stack::{Stack, signal};

use super::{Way, add_lists, call_request, deployment, measure, measure_list, with_cpu};

/// How often each build has its turn.
const TURNS: usize = 7;

/// Calls through each build over 64 connections, in turns; then the time each adds at 500 calls a second, and its lists.
pub(super) async fn compare() {
    let programs: Vec<String> = std::env::args().skip(2).collect();
    let (stack, api, upstream) = deployment(&[]).await;
    let builds: Vec<Build> =
        programs.iter().enumerate().map(|(number, program)| Build::start(&stack, number, program)).collect();
    let mut figures = vec![Vec::new(); builds.len()];
    println!("CPU us a call over 64 connections, {TURNS} turns");
    for _ in 0..TURNS {
        for (build, figures) in builds.iter().zip(&mut figures) {
            let way = build.way(&stack);
            let target = Target { address: way.address, request: call_request(&way, 0) };
            run(&target, 64, Duration::from_secs(1), None).await;
            let (report, cpu) = with_cpu(way.pid, &target, 64, None).await;
            println!(
                "{} {cpu:>8.1} {:>9.0}/s {:>6} us, {} failed",
                build.name,
                report.rate(),
                report.percentile(50),
                report.failed
            );
            figures.push(cpu);
        }
    }
    for (build, figures) in builds.iter().zip(&mut figures) {
        figures.sort_by(f64::total_cmp);
        println!("{} median {:.1}, least {:.1}", build.name, figures[figures.len() / 2], figures[0]);
    }
    println!("\nat 500 calls/s over 10 connections: what is added to the direct way");
    let mut ways = vec![Way { name: "direct".into(), address: upstream, path: "/mcp".into(), token: None, pid: None }];
    ways.extend(builds.iter().map(|build| build.way(&stack)));
    for _ in 0..3 {
        measure(&ways, 10, Some(Duration::from_millis(20)), 0).await;
    }
    add_lists(&api).await;
    for way in &ways[1..] {
        measure_list(way).await;
    }
}

/// One more node of the deployment, of a build of its own.
struct Build {
    name: String,
    child: Child,
    address: SocketAddr,
}

impl Build {
    /// Starts it with what the deployment's first node was started with, but for what is a node's own.
    fn start(stack: &Stack, number: usize, program: &str) -> Self {
        let environment = std::fs::read(format!("/proc/{}/environ", stack.endpoints.pids["node-1"])).unwrap();
        let environment = String::from_utf8(environment).unwrap();
        let [address, internal] =
            [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string());
        let folder = stack.folder().join(format!("compared-{number}"));
        let child = Command::new(program)
            .arg("data-plane")
            .env_clear()
            .envs(environment.split('\0').filter_map(|pair| pair.split_once('=')))
            .env("SLUICE_NODE_ID", format!("node_0000000000000000000000000{}", number + 1))
            .env("SLUICE_LISTEN", &address)
            .env("SLUICE_INTERNAL_LISTEN", &internal)
            .env("SLUICE_DATA_DIR", folder)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let address: SocketAddr = address.parse().unwrap();
        block_until_listening("a node", address.port());
        let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, child, address }
    }

    fn way(&self, stack: &Stack) -> Way {
        Way {
            name: self.name.clone(),
            address: self.address,
            path: format!("/{}/mcp", stack.endpoints.tenant),
            token: Some(stack.endpoints.token.clone()),
            pid: Some(self.child.id()),
        }
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        signal(self.child.id(), rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
