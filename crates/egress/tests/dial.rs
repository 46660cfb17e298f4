//! Dialling for real, over loopback: what is judged is what is dialled, whatever the name server says next.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use egress::dialer::BoxFuture;
use egress::{
    AddressClass, Dialer, EgressError, Peer, Pool, Protocols, Resolve, Rules, Stage, Target, Trust, UrlFault, cause,
    client,
};
use http::{Request, StatusCode, Uri};
use http_body_util::Empty;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A resolver that gives prepared answers, one a question.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<VecDeque<Vec<SocketAddr>>>>);

impl Script {
    fn new(answers: &[&[&str]]) -> Self {
        let address = |text: &&str| SocketAddr::new(text.parse().unwrap(), 0);
        Self(Arc::new(Mutex::new(answers.iter().map(|answer| answer.iter().map(address).collect()).collect())))
    }

    fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Resolve for Script {
    fn resolve(&self, _: &str) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let answer = self.0.lock().unwrap().pop_front();
        Box::pin(async { answer.ok_or_else(|| io::Error::other("no such name")) })
    }
}

/// A resolver that never answers.
struct Silence;

impl Resolve for Silence {
    fn resolve(&self, _: &str) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        Box::pin(pending())
    }
}

/// As if 127.0.0.1 were public and the rest of loopback were not.
fn one_is_public() -> Rules {
    Rules { allowed: vec!["127.0.0.1/32".parse().unwrap()], https_only: false, ..Rules::default() }
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port nobody listens on.
async fn closed() -> u16 {
    listener().await.1
}

fn target(scheme: &str, port: u16) -> Target {
    Target::of(&format!("{scheme}://example.test:{port}/").parse().unwrap()).unwrap()
}

#[tokio::test]
async fn a_name_that_changes_its_mind_does_not_move_a_judged_connection() {
    let (listener, port) = listener().await;
    let script = Script::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let dialer = Dialer::new(one_is_public()).resolving(script.clone());
    let stream = dialer.dial(&target("http", port)).await.unwrap();
    assert_eq!(stream.peer(), SocketAddr::from(([127, 0, 0, 1], port)));
    assert_eq!(listener.accept().await.unwrap().0.peer_addr().unwrap().ip(), stream.peer().ip());
    assert_eq!(script.left(), 1, "a connection asks for the name once");
    let second = dialer.dial(&target("http", port)).await;
    assert!(matches!(second, Err(EgressError::Refused(AddressClass::Loopback))), "{second:?}");
}

#[tokio::test]
async fn of_many_answers_only_those_that_may_be_dialled_are() {
    let (listener, port) = listener().await;
    let script = Script::new(&[&["169.254.169.254", "127.0.0.2", "127.0.0.1"], &["10.0.0.1", "127.0.0.2"]]);
    let dialer = Dialer::new(one_is_public()).resolving(script);
    assert_eq!(dialer.dial(&target("http", port)).await.unwrap().peer().ip().to_string(), "127.0.0.1");
    let none = dialer.dial(&target("http", port)).await;
    assert!(matches!(none, Err(EgressError::Refused(AddressClass::Private))), "{none:?}");
    drop(listener);
}

#[tokio::test]
async fn every_way_to_write_this_machine_is_refused() {
    let dialer = Dialer::new(Rules::default());
    for uri in [
        "https://localhost/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "http://127.0.0.1/",
    ] {
        let refused = dialer.dial(&Target::of(&uri.parse().unwrap()).unwrap()).await;
        assert!(matches!(refused, Err(EgressError::Refused(AddressClass::Loopback))), "{uri}: {refused:?}");
    }
}

#[tokio::test]
async fn clear_text_is_not_sent_to_the_internet() {
    let dialer = Dialer::new(Rules::development()).resolving(Script::new(&[&["8.8.8.8"]]));
    let refused = dialer.dial(&target("http", 80)).await;
    assert!(matches!(refused, Err(EgressError::Url(UrlFault::Insecure))), "{refused:?}");
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_is_closed() {
    let (_listener, port) = listener().await;
    let dialer = Dialer::new(Rules::development()).resolving(Script::new(&[&["127.0.0.9", "127.0.0.1"]]));
    assert_eq!(dialer.dial(&target("http", port)).await.unwrap().peer().ip().to_string(), "127.0.0.1");
}

#[tokio::test]
async fn each_failure_is_told_from_the_others() {
    let quick = |rules| Dialer::new(rules).within(Duration::from_millis(200));
    let silent = quick(Rules::default()).resolving(Silence).dial(&target("https", 443)).await;
    assert!(matches!(silent, Err(EgressError::Timeout(Stage::Resolve))), "{silent:?}");
    let unknown = quick(Rules::default()).resolving(Script::default()).dial(&target("https", 443)).await;
    assert!(matches!(unknown, Err(EgressError::Unresolved(Some(_)))), "{unknown:?}");
    let local = || quick(Rules::development()).resolving(Script::new(&[&["127.0.0.1"]]));
    let away = local().dial(&target("http", closed().await)).await;
    assert!(matches!(away, Err(EgressError::Unreachable(_))), "{away:?}");
    let (_silent, port) = listener().await;
    let handshake = local().dial(&target("https", port)).await;
    assert!(matches!(handshake, Err(EgressError::Timeout(Stage::Tls))), "{handshake:?}");
}

/// Serves TLS for `example.test` to `count` connections; gives its certificate and port.
async fn secure(protocols: &[&str]) -> (String, u16) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["example.test".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.write_all(b"hello").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    (cert.pem(), port)
}

#[tokio::test]
async fn a_certificate_must_be_believed_and_name_the_host() {
    let (pem, port) = secure(&["http/1.1"]).await;
    let answers: &[&[&str]] = &[&["127.0.0.1"], &["127.0.0.1"]];
    let trust = Trust::default().with_pem(pem.as_bytes()).unwrap();
    let dialer = Dialer::trusting(Rules::development(), trust, Protocols::Http1).resolving(Script::new(answers));
    let mut text = String::new();
    dialer.dial(&target("https", port)).await.unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello");
    let other = Target { host: "other.test".to_owned(), ..target("https", port) };
    assert!(matches!(dialer.dial(&other).await, Err(EgressError::Tls(_))), "another name");
    let strict = Dialer::new(Rules::development()).resolving(Script::new(answers));
    assert!(matches!(strict.dial(&target("https", port)).await, Err(EgressError::Tls(_))), "unknown authority");
    assert!(Trust::default().with_pem(b"none").is_err());
}

#[tokio::test]
async fn a_pinned_certificate_alone_is_believed_whatever_name_it_has() {
    let (pem, port) = secure(&[]).await;
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let sha256: [u8; 32] = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der).as_ref().try_into().unwrap();
    let elsewhere = Target::of(&format!("https://127.0.0.1:{port}/").parse().unwrap()).unwrap();
    let pinned = |sha256| Dialer::trusting(one_is_public(), Trust::pinned(sha256), Protocols::Other);
    assert!(pinned(sha256).dial(&elsewhere).await.is_ok());
    let stranger = pinned([7; 32]).dial(&elsewhere).await;
    assert!(matches!(stranger, Err(EgressError::Tls(_))), "{stranger:?}");
}

/// Answers every request on a clear-text port with `head`.
async fn plain(head: &'static str) -> u16 {
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(head.as_bytes()).await;
        }
    });
    port
}

fn get(uri: &str) -> Request<Empty<Bytes>> {
    Request::get(uri.parse::<Uri>().unwrap()).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let port =
        plain("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://10.0.0.1/\r\ncontent-length: 0\r\n\r\n").await;
    let client = client(Dialer::new(Rules::development()), Pool::default());
    let response = client.request(get(&format!("http://127.0.0.1:{port}/"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(response.extensions().get::<Peer>(), Some(&Peer(SocketAddr::from(([127, 0, 0, 1], port)))));
}

#[tokio::test]
async fn a_clients_error_tells_the_reason_and_nothing_of_the_url() {
    let client = client(Dialer::new(Rules::default()), Pool::default());
    let error = client.request(get("https://127.0.0.1/canary?key=canary")).await.unwrap_err();
    let found = cause(&error).unwrap();
    assert!(matches!(found, EgressError::Refused(AddressClass::Loopback)), "{found:?}");
    assert_eq!(found.code(), "address_refused");
    assert!(!format!("{error} {error:?} {found} {found:?}").contains("canary"), "{error:?}");
}
