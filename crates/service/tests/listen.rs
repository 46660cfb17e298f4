//! The listener as a client meets it: both versions of HTTP, its limits, and its end.

#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use service::Drain;
use service::listen::{Limits, serve_within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// A running listener. `GET /` tells the peer's address; `GET /held` reports itself and answers when released.
struct Running {
    address: SocketAddr,
    drain: Drain,
    held: mpsc::Receiver<()>,
    release: watch::Sender<bool>,
}

impl Running {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (holds, held) = mpsc::channel(8);
        let release = watch::Sender::new(false);
        let routes = Router::new()
            .route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()))
            .route("/held", get(hold))
            .with_state((holds, release.clone()));
        let drain = Drain::new();
        drain.spawn(serve_within(limits, listener, routes, drain.clone()));
        Self { address, drain, held, release }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

async fn hold(State((holds, release)): State<(mpsc::Sender<()>, watch::Sender<bool>)>) -> &'static str {
    let _ = holds.send(()).await;
    let _ = release.subscribe().wait_for(|released| *released).await;
    "done"
}

/// Sends bytes and gives everything that comes back until the other side closes.
async fn exchange(stream: &mut TcpStream, sent: &[u8]) -> String {
    stream.write_all(sent).await.unwrap();
    rest(stream).await
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is an end, too: it is how a connection closes on bytes nobody read.
    let _ = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut text)).await.unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

const CLOSING: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn both_versions_of_http_are_answered_and_the_peer_is_known() {
    let running = Running::start(Limits::default()).await;
    for http2 in [false, true] {
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let request = Request::get(format!("http://{}/", running.address)).body(Full::default()).unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!(response.version() == hyper::Version::HTTP_2, http2);
        let peer = response.into_body().collect().await.unwrap().to_bytes();
        assert!(peer.starts_with(b"127.0.0.1:"), "{peer:?}");
    }
}

#[tokio::test]
async fn whoever_says_nothing_or_not_enough_is_cut_off() {
    let limits = Limits { head_within: Duration::from_millis(200), ..Limits::default() };
    let running = Running::start(limits).await;
    for begun in [&b""[..], b"PRI * HT", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\nhost: t"] {
        let answer = exchange(&mut running.connect().await, begun).await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }
    let mut idle = running.connect().await;
    let answer = exchange(&mut idle, b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "an idle connection is closed after its answer: {answer}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let running = Running::start(Limits { head_bytes: 8192, headers: 10, ..Limits::default() }).await;
    let large = format!("GET / HTTP/1.1\r\nhost: test\r\nx: {}\r\n\r\n", "y".repeat(9000));
    let many = format!("GET / HTTP/1.1\r\nhost: test\r\n{}\r\n", "x: y\r\n".repeat(11));
    for head in [large, many] {
        let answer = exchange(&mut running.connect().await, head.as_bytes()).await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }
    assert!(exchange(&mut running.connect().await, CLOSING).await.contains("200 OK"));
}

#[tokio::test]
async fn a_connection_too_many_waits_for_a_place() {
    let mut running = Running::start(Limits { connections: 1, ..Limits::default() }).await;
    let mut first = running.connect().await;
    first.write_all(b"GET /held HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await.unwrap();
    running.held.recv().await.unwrap();
    let mut second = running.connect().await;
    second.write_all(CLOSING).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), second.read_u8()).await;
    assert!(early.is_err(), "the second is not answered while the first is there");
    running.release.send_replace(true);
    assert!(rest(&mut first).await.ends_with("done"));
    assert!(rest(&mut second).await.contains("200 OK"));
}

#[tokio::test]
async fn an_announced_end_refuses_nobody_and_keeps_no_connection() {
    let running = Running::start(Limits::default()).await;
    let (mut kept, get) = (running.connect().await, b"GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    kept.write_all(get).await.unwrap();
    kept.read_u8().await.unwrap();
    running.drain.leave();
    let answer = exchange(&mut kept, get).await;
    assert!(answer.contains("\r\nconnection: close\r\n"), "the next request goes elsewhere: {answer}");
    let answer = exchange(&mut running.connect().await, get).await;
    assert!(
        answer.contains("200 OK") && answer.contains("\r\nconnection: close\r\n"),
        "who comes is answered: {answer}"
    );
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let request = Request::get(format!("http://{}/", running.address)).body(Full::default()).unwrap();
    assert_eq!(client.request(request).await.unwrap().headers().get("connection"), None);
}

#[tokio::test]
async fn a_request_under_way_is_answered_when_the_program_ends() {
    let mut running = Running::start(Limits::default()).await;
    let (mut busy, mut idle, mut silent) = (running.connect().await, running.connect().await, running.connect().await);
    busy.write_all(b"GET /held HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    running.held.recv().await.unwrap();
    idle.read_u8().await.unwrap();
    running.drain.begin();
    assert!(rest(&mut idle).await.contains("200 OK"), "an idle connection is closed at once");
    assert_eq!(rest(&mut silent).await, "", "so is one that asked nothing");
    running.release.send_replace(true);
    let (finished, answer) = tokio::join!(running.drain.finish(Duration::from_secs(30)), rest(&mut busy));
    assert_eq!(finished, Ok(()));
    assert!(answer.ends_with("done"), "{answer}");
    assert!(TcpStream::connect(running.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_request_that_does_not_end_is_dropped_when_the_time_is_over() {
    let mut running = Running::start(Limits::default()).await;
    let mut stuck = running.connect().await;
    stuck.write_all(b"GET /held HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    running.held.recv().await.unwrap();
    assert_eq!(running.drain.finish(Duration::from_millis(100)).await.unwrap_err().tasks, 1);
    assert_eq!(rest(&mut stuck).await, "");
}

#[tokio::test]
async fn a_body_is_served_as_it_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (pieces, taken) = mpsc::channel::<Result<Bytes, Infallible>>(1);
    let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(taken));
    let body = std::sync::Arc::new(std::sync::Mutex::new(Some(body)));
    let answers = tower::service_fn(move |_: Request<Incoming>| {
        let body = body.lock().unwrap().take().unwrap();
        async { Ok::<_, Infallible>(Response::new(body)) }
    });
    let drain = Drain::new();
    drain.spawn(service::listen::serve(listener, answers, drain.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(CLOSING).await.unwrap();
    pieces.send(Ok(Bytes::from_static(b"first"))).await.unwrap();
    let mut text = String::new();
    while !text.contains("first") {
        text.push(char::from(stream.read_u8().await.unwrap()));
    }
    drop(pieces);
    assert!(rest(&mut stream).await.ends_with("0\r\n\r\n"));
}
