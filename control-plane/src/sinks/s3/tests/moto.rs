//! moto's server as a process of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_mins(1);

/// moto only looks whether somebody says who they are.
const KNOWN: &str = "AWS AKIATEST:unchecked";

/// A store that is gone with the test.
pub(super) struct Moto {
    pub(super) endpoint: String,
    pub(super) child: Child,
}

/// Where moto is installed, or `None`, said as SKIPPED, where it can't be had. CI must have it.
#[expect(clippy::disallowed_methods, reason = "CI says that it is CI")]
fn folder() -> Option<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/receivers/install.sh");
    let output = Command::new(script).arg("s3").output().unwrap();
    if output.status.success() {
        return Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()));
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert!(std::env::var("SLUICE_CI").is_err(), "CI must run the real receivers: {reason}");
    println!("SKIPPED moto: {reason}");
    None
}

impl Moto {
    pub(super) async fn start() -> Option<Self> {
        let program = folder()?.join("python/bin/moto_server");
        // Free now, and taken again at once.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let moto = Self { endpoint: format!("http://127.0.0.1:{port}"), child };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < until, "moto does not listen");
            sleep(Duration::from_millis(20)).await;
        }
        Some(moto)
    }

    /// Makes a bucket.
    pub(super) async fn put(&self, bucket: &str) {
        let made = Self::client().put(format!("{}/{bucket}", self.endpoint)).send().await.unwrap();
        assert!(made.status().is_success(), "{made:?}");
    }

    /// An object's bytes; none when it is not there.
    pub(super) async fn get(&self, path: &str) -> Vec<u8> {
        let got = Self::client()
            .get(format!("{}/{path}", self.endpoint))
            .header("authorization", KNOWN)
            .send()
            .await
            .unwrap();
        if got.status().is_success() { got.bytes().await.unwrap().to_vec() } else { Vec::new() }
    }

    fn client() -> reqwest::Client {
        reqwest::Client::builder().build().unwrap()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
