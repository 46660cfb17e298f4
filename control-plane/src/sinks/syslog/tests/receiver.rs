//! A receiver of a test: its certificates, its configuration, its process.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// How long to wait for what a receiver does.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where the receivers are unpacked, or `None`, said as SKIPPED, where they can't be had. CI must have them.
#[expect(clippy::disallowed_methods, reason = "CI says that it is CI")]
pub(super) fn folder() -> Option<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/receivers/install.sh");
    let output = Command::new(script).arg("syslog").output().unwrap();
    if output.status.success() {
        return Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()));
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert!(std::env::var("SLUICE_CI").is_err(), "CI must run the real receivers: {reason}");
    println!("SKIPPED syslog receivers: {reason}");
    None
}

/// An authority, a receiver's certificate by it, and a client's.
pub(super) struct Certificates {
    pub(super) authority: String,
    /// The client's, as a destination's secret.
    pub(super) client: String,
    server: (String, String),
    der: Vec<u8>,
}

impl Certificates {
    pub(super) fn make() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "authority of a test");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let signed = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            (params.signed_by(&key, &authority).unwrap(), key)
        };
        let ((server, server_key), (client, client_key)) = (signed("127.0.0.1"), signed("sluice.test"));
        let client = serde_json::json!({ "certificate": client.pem(), "key": client_key.serialize_pem() });
        Self {
            authority: authority.pem(),
            client: client.to_string(),
            der: server.der().to_vec(),
            server: (server.pem(), server_key.serialize_pem()),
        }
    }

    /// As people copy it from a certificate.
    pub(super) fn fingerprint(&self) -> String {
        let bytes = secrets::sha256(&self.der);
        bytes.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Rsyslog,
    SyslogNg,
}

/// A receiver that is gone with the test.
pub(super) struct Receiver {
    pub(super) port: u16,
    kind: Kind,
    packages: PathBuf,
    folder: PathBuf,
    child: Option<Child>,
}

impl Receiver {
    /// One that writes what it gets into a file, and wants a client's certificate or not.
    pub(super) fn prepare(packages: &Path, kind: Kind, certificates: &Certificates, asks: bool) -> Self {
        let folder = std::env::temp_dir().join(format!("sluice-syslog-{}", hex::encode(secrets::random::<8>())));
        std::fs::create_dir(&folder).unwrap();
        // Free now, and taken again at once.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let receiver = Self { port, kind, packages: packages.to_owned(), folder, child: None };
        receiver.write("ca.pem", &certificates.authority);
        receiver.write("cert.pem", &certificates.server.0);
        receiver.write("key.pem", &certificates.server.1);
        let configuration = match kind {
            Kind::Rsyslog => {
                include_str!("rsyslog.conf").replace("@AUTH@", if asks { "x509/certvalid" } else { "anon" })
            }
            Kind::SyslogNg => include_str!("syslog-ng.conf")
                .replace("@AUTH@", if asks { "required-trusted" } else { "optional-untrusted" }),
        };
        let configuration = configuration.replace("@DIR@", receiver.folder.to_str().unwrap());
        receiver.write("configuration", &configuration.replace("@PORT@", &port.to_string()));
        receiver
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
    }

    /// Starts it and waits until it listens.
    pub(super) async fn start(&mut self) {
        let usr = self.packages.join("usr");
        let libraries = usr.join("lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
        let path = |name: &str| self.folder.join(name).into_os_string();
        let mut command = match self.kind {
            Kind::Rsyslog => {
                let mut command = Command::new(usr.join("sbin/rsyslogd"));
                command.arg("-n").arg("-f").arg(path("configuration")).arg("-i").arg(path("pid"));
                command.arg("-M").arg(libraries.join("rsyslog"));
                command
            }
            Kind::SyslogNg => {
                let mut command = Command::new(usr.join("sbin/syslog-ng"));
                command.args(["--foreground", "--no-caps"]).arg("--cfgfile").arg(path("configuration"));
                command.arg("--pidfile").arg(path("pid")).arg("--control").arg(path("control"));
                command.arg("--persist-file").arg(path("persist"));
                command.arg("--module-path").arg(usr.join("lib/syslog-ng/3.38"));
                command
            }
        };
        let search = [
            libraries,
            usr.join("lib/syslog-ng"),
            self.packages.join("lib").join(format!("{}-linux-gnu", std::env::consts::ARCH)),
        ];
        let search = std::env::join_paths(search).unwrap();
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        command.env("LD_LIBRARY_PATH", search).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.process_group(0).spawn().unwrap());
        self.wait("listens", || async { TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() }).await;
    }

    /// Lets it stand still.
    pub(super) fn stop(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    /// Ends it without a word.
    pub(super) fn kill(&mut self) {
        kill_process(self.pid(), Signal::KILL).unwrap();
        self.child.take().unwrap().wait().unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().unwrap())
    }

    /// What it has written, once there are that many different lines of it.
    pub(super) async fn lines(&self, count: usize) -> Vec<String> {
        let read = || std::fs::read_to_string(self.folder.join("out")).unwrap_or_default();
        let different = |text: &str| text.lines().collect::<std::collections::HashSet<_>>().len();
        self.wait("has written all", || async { different(&read()) >= count }).await;
        read().lines().map(str::to_owned).collect()
    }

    /// How often it complains so, once it has.
    pub(super) async fn said(&self, what: &str) -> usize {
        self.wait("complains", || async { self.count(what) > 0 }).await;
        self.count(what)
    }

    /// How often it has complained so.
    pub(super) fn count(&self, what: &str) -> usize {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default().matches(what).count()
    }

    async fn wait<F: Future<Output = bool>>(&self, what: &str, is: impl Fn() -> F) {
        let until = Instant::now() + PATIENCE;
        while !is().await {
            let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "never: {:?} {what}: {}", self.kind, log());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
