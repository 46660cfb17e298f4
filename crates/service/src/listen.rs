//! HTTP/1.1 and HTTP/2 in clear text on a listener, with limits, and a graceful end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Response, Version, header};
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};
use tracing::{debug, warn};

use crate::Drain;

/// What a listener puts up with.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; further ones wait in the operating system's queue.
    pub connections: usize,
    /// How long the head of a request may take to arrive, counted from when the connection waits for it: the longest a
    /// connection is kept idle, too.
    pub head_within: Duration,
    /// Largest head of a request, bytes (at least 8,192).
    pub head_bytes: u32,
    /// Most header fields of a request.
    pub headers: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub streams: u32,
}

/// Most header fields of a request that hyper takes when it is not told.
const HYPER_HEADERS: usize = 100;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            head_within: Duration::from_secs(30),
            head_bytes: 64 * 1024,
            headers: HYPER_HEADERS,
            streams: 256,
        }
    }
}

/// What answers requests: an `axum::Router`, or a tower service of the same kind.
pub trait Answers<B>:
    Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}
impl<B, S> Answers<B> for S where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

/// Serves until the drain begins, with [`Limits::default`]; then connections finish the requests they have.
///
/// Returns when nothing more is accepted. The connections are tasks of the drain, which waits for them or drops them.
/// A request carries the peer's address as `ConnectInfo<SocketAddr>`. Once the drain is announced, each answer of HTTP/1.1
/// asks for a new connection for the next request.
pub async fn serve<B>(listener: TcpListener, answers: impl Answers<B>, drain: Drain)
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    serve_within(Limits::default(), listener, answers, drain).await;
}

/// As [`serve`], with limits of one's own.
pub async fn serve_within<B>(limits: Limits, listener: TcpListener, answers: impl Answers<B>, drain: Drain)
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let http = Arc::new(http(&limits));
    while let Some((stream, peer, place)) = next(&listener, &places, &drain).await {
        let (http, answers, draining) = (http.clone(), answers.clone(), drain.clone());
        drain.spawn(async move {
            let connection = Connection { stream, peer, head_within: limits.head_within };
            connection.run(&http, answers, &draining).await;
            drop(place);
        });
    }
}

/// The next connection and its place among those allowed; `None` once the drain has begun.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    drain: &Drain,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        let (accepted, place) = tokio::select! {
            biased;
            () = drain.begun().cancelled() => return None,
            accepted = accepted => accepted?,
        };
        match accepted {
            Ok((stream, peer)) => return Some((stream, peer, place)),
            Err(error) => {
                // Out of file descriptors, mostly: trying again at once would only burn time.
                warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn http(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_within)
        .max_buf_size(limits.head_bytes.max(8192) as usize);
    // Told of a bound, hyper makes and clears the places of the fields for each request; its own it has on the stack.
    if limits.headers != HYPER_HEADERS {
        builder.http1().max_headers(limits.headers);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(limits.head_bytes)
        .max_concurrent_streams(limits.streams)
        .keep_alive_interval(limits.head_within)
        .keep_alive_timeout(limits.head_within);
    builder
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    head_within: Duration,
}

impl Connection {
    async fn run<B>(self, http: &Builder<TokioExecutor>, answers: impl Answers<B>, drain: &Drain)
    where
        B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let Self { stream, peer, head_within } = self;
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let asked = CancellationToken::new();
        let first = asked.clone();
        // Tokens of the connection's own: asked each time it runs, they are no place where all cores meet.
        let (leaving, begun) = (drain.leaving().child_token(), drain.begun().child_token());
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            first.cancel();
            request.extensions_mut().insert(ConnectInfo(peer));
            let (answers, leaving, version) = (answers.clone(), leaving.clone(), request.version());
            async move {
                let mut response = answers.oneshot(request).await?;
                // Were it kept, the next request could be on its way when it is closed. HTTP/2 says where it stopped.
                if leaving.is_cancelled() && version < Version::HTTP_2 {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        // hyper counts the time of a head only once it knows the version of HTTP, for which it waits without end.
        let silent = async {
            if tokio::time::timeout(head_within, asked.cancelled()).await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = silent => return,
            () = begun.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(error = %error, "a connection ended early");
        }
    }
}
