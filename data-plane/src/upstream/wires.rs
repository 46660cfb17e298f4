//! Connections to one upstream, each driven by the call that has it: no task stands between a call and its socket. Idle
//! ones wait for the next call, and are looked at before they carry it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use egress::{Dialer, EgressError, Stream, Target};
use http::{HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::unconstrained;
use tokio::time::Instant;

use super::Fault;
use super::http::dial_fault;

/// For how long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);
/// Most idle connections of one upstream.
const IDLE_MOST: usize = 128;
/// How often idle connections are looked at.
const SWEEP: Duration = Duration::from_secs(10);

/// Connections to one upstream with one credential; nobody else's calls travel on them. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Wires(Arc<Inner>);

struct Inner {
    dialer: Dialer,
    /// The one used last at the back.
    idle: Mutex<VecDeque<(Instant, Box<Wire>)>>,
}

/// Closes connections that were idle for too long, of all upstreams. Cloning is cheap.
#[derive(Clone, Default)]
pub(crate) struct Sweeper(Arc<Mutex<Vec<Weak<Inner>>>>);

/// Where an upstream's requests go, in the forms that each of them needs.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// All of it.
    pub(crate) uri: Uri,
    /// What stands in a request's first line (RFC 9112, 3.2.1).
    pub(crate) path: Uri,
    /// What stands in its `Host`.
    pub(crate) host: HeaderValue,
}

/// One connection. Nothing moves on it but while it is driven.
struct Wire {
    sender: SendRequest<Full<Bytes>>,
    /// Absent when it has ended. Dropped at once then: what hyper still holds of a request comes back only so.
    connection: Option<Connection<TokioIo<Stream>, Full<Bytes>>>,
}

/// The body of an answer, with the connection it comes on. Dropped before its end, it closes the connection.
pub(crate) struct Answering {
    // Dropped first: the lease looks at what is left of the answer then.
    incoming: Incoming,
    lease: Lease,
}

/// A connection that goes back to the idle ones, if it can carry another call.
struct Lease {
    wire: Option<Box<Wire>>,
    home: Wires,
}

impl Endpoint {
    pub(crate) fn new(uri: Uri) -> Self {
        let path = uri.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from);
        let host = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        Self { uri, path, host: host.unwrap_or_else(|| HeaderValue::from_static("")) }
    }
}

impl Sweeper {
    /// Looks after these connections too, as long as there are any.
    pub(crate) fn watch(&self, wires: &Wires) {
        self.watched().push(Arc::downgrade(&wires.0));
    }

    /// Goes on for ever.
    pub(crate) async fn run(self) {
        let mut ticks = tokio::time::interval(SWEEP);
        loop {
            let now = ticks.tick().await;
            let watched = self.watched().clone();
            for wires in watched.iter().filter_map(Weak::upgrade) {
                Wires(wires).sweep(now);
            }
            self.watched().retain(|wires| wires.strong_count() > 0);
        }
    }

    fn watched(&self) -> MutexGuard<'_, Vec<Weak<Inner>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wires {
    pub(crate) fn new(dialer: Dialer) -> Self {
        Self(Arc::new(Inner { dialer, idle: Mutex::default() }))
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// Tries again, on another connection, only if nothing of the request was written. Dropping the future closes the
    /// connection.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Answering>, Fault> {
        while let Some(mut wire) = self.take() {
            if !wire.is_open() {
                continue;
            }
            match wire.send(request).await {
                Ok(response) => return Ok(self.answering(response, wire)),
                Err(mut unsent) => request = unsent.take_message().ok_or(Fault::CutOff)?,
            }
        }
        let mut wire = self.dial(endpoint).await?;
        let response = wire.send(request).await.map_err(|_| Fault::CutOff)?;
        Ok(self.answering(response, wire))
    }

    /// Closes what has been idle for too long, or was closed by the other side.
    fn sweep(&self, now: Instant) {
        let mut idle = self.idle();
        let old = idle.partition_point(|(since, _)| now.duration_since(*since) >= IDLE);
        let old: Vec<_> = idle.drain(..old).collect();
        idle.retain_mut(|(_, wire)| wire.is_open());
        drop(idle);
        for (_, wire) in old {
            wire.close();
        }
    }

    async fn dial(&self, endpoint: &Endpoint) -> Result<Box<Wire>, Fault> {
        let target = Target::of(&endpoint.uri).map_err(|fault| dial_fault(&EgressError::Url(fault)))?;
        let stream = self.0.dialer.dial(&target).await.map_err(|error| dial_fault(&error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| Fault::CutOff)?;
        Ok(Box::new(Wire { sender, connection: Some(connection) }))
    }

    fn answering(&self, response: Response<Incoming>, wire: Box<Wire>) -> Response<Answering> {
        let lease = Lease { wire: Some(wire), home: self.clone() };
        response.map(|incoming| Answering { incoming, lease })
    }

    fn take(&self) -> Option<Box<Wire>> {
        self.idle().pop_back().map(|(_, wire)| wire)
    }

    fn keep(&self, wire: Box<Wire>) {
        let mut idle = self.idle();
        if idle.len() < IDLE_MOST {
            idle.push_back((Instant::now(), wire));
        }
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<(Instant, Box<Wire>)>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wire {
    /// Writes and reads what can be written and read now.
    fn drive(&mut self, context: &mut Context<'_>) {
        // How it ended, whoever waits for an answer or a body is told there.
        if self.connection.as_mut().is_some_and(|connection| Pin::new(connection).poll(context).is_ready()) {
            self.connection = None;
        }
    }

    /// Whether it can carry a request, for all that has been heard of the other side.
    fn is_open(&mut self) -> bool {
        at_once(|context| self.drive(context));
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Says good-bye, which over TLS is more than closing the socket.
    fn close(self) {
        drop(self.sender);
        if let Some(mut connection) = self.connection {
            at_once(|context| drop(Pin::new(&mut connection).poll(context)));
        }
    }

    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|context| {
            self.drive(context);
            answer.as_mut().poll(context)
        })
        .await
    }
}

/// Does what can be done now, also in a task that has done much already: tokio would say then that nothing can be, and a
/// connection that was not read would be taken for one on which nothing came. Nobody need be woken: whoever sends drives it
/// again.
fn at_once(mut work: impl FnMut(&mut Context<'_>)) {
    let work = poll_fn(|context| {
        work(context);
        Poll::Ready(())
    });
    let _ = pin!(unconstrained(work)).poll(&mut Context::from_waker(Waker::noop()));
}

impl Body for Answering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { incoming, lease } = &mut *self;
        let frame = Pin::new(&mut *incoming).poll_frame(context);
        let (true, Some(wire)) = (frame.is_pending(), &mut lease.wire) else { return frame };
        wire.drive(context);
        Pin::new(incoming).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(mut wire) = self.wire.take()
            && wire.is_open()
        {
            self.home.keep(wire);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use egress::Rules;
    use http_body_util::BodyExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc;
    use tokio::task::coop;

    use super::*;

    /// An upstream whose connections are handed out, and how many there were.
    async fn upstream() -> (Endpoint, mpsc::UnboundedReceiver<TcpStream>, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/mcp?x=1", listener.local_addr().unwrap()).parse().unwrap();
        let ((hand_out, streams), count) = (mpsc::unbounded_channel(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let _ = hand_out.send(stream);
            }
        });
        (Endpoint::new(uri), streams, count)
    }

    fn wires() -> Wires {
        Wires::new(Dialer::new(Rules::development()))
    }

    fn request(endpoint: &Endpoint) -> Request<Full<Bytes>> {
        let request = Request::post(endpoint.path.clone()).header("host", &endpoint.host);
        request.body(Full::new(Bytes::from_static(b"ask"))).unwrap()
    }

    /// Reads one request and answers it with these bytes.
    async fn answer(stream: &mut TcpStream, bytes: &str) -> String {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\nask") {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0);
        }
        stream.write_all(bytes.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    }

    const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ntold";

    async fn told(response: Response<Answering>) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn one_connection_carries_one_call_after_another() {
        let ((endpoint, mut streams, count), wires) = (upstream().await, wires());
        let served = tokio::spawn(async move {
            let mut stream = streams.recv().await.unwrap();
            answer(&mut stream, WHOLE).await;
            let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nto\r\n2\r\nld\r\n0\r\n\r\n";
            answer(&mut stream, chunked).await;
            answer(&mut stream, WHOLE).await
        });
        for _ in 0..3 {
            assert_eq!(told(wires.send(&endpoint, request(&endpoint)).await.unwrap()).await, "told");
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
        let asked = served.await.unwrap();
        assert!(asked.starts_with("POST /mcp?x=1 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("host: {}\r\n", endpoint.uri.authority().unwrap())), "{asked}");
    }

    #[tokio::test]
    async fn a_connection_that_the_other_side_closed_carries_nothing_more() {
        let ((endpoint, mut streams, count), wires) = (upstream().await, wires());
        tokio::spawn(async move {
            while let Some(mut stream) = streams.recv().await {
                answer(&mut stream, WHOLE).await;
            }
        });
        told(wires.send(&endpoint, request(&endpoint)).await.unwrap()).await;
        let closed = async {
            while !wires.idle().is_empty() {
                wires.sweep(Instant::now());
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), closed).await.unwrap();
        assert_eq!(told(wires.send(&endpoint, request(&endpoint)).await.unwrap()).await, "told");
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    /// Leaves the rest of this poll no more of what tokio lets a task do at a time.
    async fn spend() {
        poll_fn(|context| {
            while coop::has_budget_remaining() {
                std::task::ready!(coop::poll_proceed(context)).made_progress();
            }
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn a_second_answer_is_nobodys() {
        let ((endpoint, mut streams, count), wires) = (upstream().await, wires());
        tokio::spawn(async move {
            let stale = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale";
            let mut first = streams.recv().await.unwrap();
            answer(&mut first, &format!("{WHOLE}{stale}")).await;
            let mut second = streams.recv().await.unwrap();
            answer(&mut second, WHOLE).await;
            // Neither is closed.
            std::future::pending::<()>().await;
        });
        for _ in 0..2 {
            spend().await;
            assert_eq!(told(wires.send(&endpoint, request(&endpoint)).await.unwrap()).await, "told");
        }
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn what_came_is_seen_also_by_a_task_that_has_done_much() {
        let ((endpoint, mut streams, _), wires) = (upstream().await, wires());
        let mut ends = Vec::new();
        for said in ["", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale"] {
            let asked = async { told(wires.send(&endpoint, request(&endpoint)).await.unwrap()).await };
            let served = async {
                let mut stream = streams.recv().await.unwrap();
                answer(&mut stream, WHOLE).await;
                stream
            };
            let (_, mut stream) = tokio::join!(asked, served);
            assert_eq!(wires.idle().len(), 1);
            stream.write_all(said.as_bytes()).await.unwrap();
            ends.push((!said.is_empty()).then_some(stream));
            let seen = async {
                while !wires.idle().is_empty() {
                    tokio::task::yield_now().await;
                    spend().await;
                    wires.sweep(Instant::now());
                }
            };
            tokio::time::timeout(Duration::from_secs(10), seen).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_a_connection_never_took_comes_back() {
        let ((endpoint, mut streams, _), wires) = (upstream().await, wires());
        let mut wire = wires.dial(&endpoint).await.unwrap();
        drop(streams.recv().await.unwrap());
        let ended = async {
            while wire.connection.is_some() {
                wire.is_open();
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
        assert!(wire.send(request(&endpoint)).await.unwrap_err().take_message().is_some());
    }

    #[tokio::test]
    async fn an_answer_that_is_let_go_of_closes_its_connection() {
        let ((endpoint, mut streams, _), wires) = (upstream().await, wires());
        let closed = tokio::spawn(async move {
            let mut stream = streams.recv().await.unwrap();
            answer(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\ntold").await;
            stream.read(&mut [0; 8]).await.unwrap()
        });
        drop(wires.send(&endpoint, request(&endpoint)).await.unwrap());
        assert_eq!(closed.await.unwrap(), 0);
        assert!(wires.idle().is_empty());
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_closes_its_connection() {
        let ((endpoint, mut streams, _), wires) = (upstream().await, wires());
        let asked = wires.send(&endpoint, request(&endpoint));
        let mut stream = tokio::select! {
            _ = asked => unreachable!("nobody answers"),
            stream = streams.recv() => stream.unwrap(),
        };
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(wires.idle().is_empty());
    }

    #[tokio::test]
    async fn nothing_is_idle_for_long() {
        let ((endpoint, mut streams, _), wires) = (upstream().await, wires());
        let closed = tokio::spawn(async move {
            let mut stream = streams.recv().await.unwrap();
            answer(&mut stream, WHOLE).await;
            stream.read(&mut [0; 8]).await.unwrap()
        });
        told(wires.send(&endpoint, request(&endpoint)).await.unwrap()).await;
        wires.sweep(Instant::now() + IDLE / 2);
        assert_eq!(wires.idle().len(), 1);
        wires.sweep(Instant::now() + IDLE);
        assert_eq!(closed.await.unwrap(), 0);
    }
}
