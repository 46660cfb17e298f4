//! The older era at our own edge: sessions are sealed, and a client that leaves cancels nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use mcp::era::{self, Misfit};
use mcp::header::Headers;
use mcp::message::ParseError;
use mcp::method::{Kind, Route};
use mcp::{Body as Parsed, Code, Era, Id, Limits, Message, Method, RpcError, notification, sse};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{Context, Gateway, own};
use crate::call::session::LegacySession;
use crate::call::{self, Client, Takes};
use crate::listen::{Full, Seat};
use crate::refusal::Refusal;
use crate::reply::{self, Reply, received};

/// Events that wait for a slow client before the upstream is read no further.
const WAITING_EVENTS: usize = 16;
/// How long the upstreams' sessions are looked for and ended when a client ends its own.
const END_WITHIN: Duration = Duration::from_secs(5);

impl Gateway {
    /// Opens the session a message names.
    pub(super) async fn enter(&self, context: &mut Context, headers: &Headers<'_>, id: &str) -> Result<(), Refusal> {
        era::check_session(headers).map_err(Refusal::Protocol)?;
        let session = self.open(context, id).await?;
        context.session = Some(Arc::new(session));
        Ok(())
    }

    async fn open(&self, context: &Context, id: &str) -> Result<LegacySession, Refusal> {
        self.0.sessions.open(&context.caller.principal, id).await.map_err(|_| Refusal::SessionUnknown)
    }

    /// Ends a session (DELETE); 405 where its end can't be made known to all nodes.
    pub(super) async fn terminate(&self, context: &Context, headers: &HeaderMap) -> Response {
        let headers = call::protocol_headers(headers);
        let refuse = |refusal: &Refusal| self.refuse(context, Era::Legacy, None, refusal).into_response(context);
        let Ok(Some(id)) = headers.session.plain() else { return refuse(&Refusal::HttpMethod) };
        let session = match self.open(context, id).await {
            Ok(session) => session,
            Err(refusal) => return refuse(&refusal),
        };
        match self.0.sessions.end(&context.caller.principal, &session).await {
            Ok(()) => {
                let (gateway, context) = (self.clone(), context.clone());
                self.0.drain.spawn(async move {
                    // What is not found in time ends by the upstream's own idle limit.
                    let _ = timeout(END_WITHIN, gateway.end_upstream(&context, &session)).await;
                });
                reply::empty(StatusCode::OK)
            }
            Err(_) => refuse(&Refusal::HttpMethod),
        }
    }

    /// Ends the sessions that a client's session had at legacy upstreams. Each was opened for it alone; those of servers
    /// whose sessions are shared go on.
    async fn end_upstream(&self, context: &Context, session: &LegacySession) {
        for (server, upstream) in context.tenant.snapshot.servers.iter().zip(&context.tenant.upstreams) {
            if let Some(left) = upstream.left_by(session.nonce, session.state.capabilities).await
                && let Ok(credential) = self.credential(context, server).await
            {
                left.end(credential);
            }
        }
    }

    /// Messages within a session. A call goes on when its client leaves, so it runs in a task of its own, which holds the
    /// request's place until it ends.
    pub(super) async fn in_session(&self, context: &Context, bytes: Bytes, parsed: &Parsed<'_>) -> Response {
        let batches = context.session.as_ref().is_some_and(|session| session.state.version.has_batches());
        match parsed {
            Parsed::One(message) if is_call(message) => self.detached(context, bytes).await,
            Parsed::One(message) => self.legacy(context, message).await.into_response(context),
            Parsed::Batch(_) if batches => self.detached(context, bytes).await,
            Parsed::Batch(_) => {
                let error = Misfit::Batch.to_error().unwrap_or_else(|| Refusal::HttpMethod.error());
                self.refuse(context, Era::Legacy, None, &Refusal::Protocol(error)).into_response(context)
            }
        }
    }

    async fn detached(&self, context: &Context, bytes: Bytes) -> Response {
        let (answer, answered) = oneshot::channel();
        let (gateway, context) = (self.clone(), context.clone());
        self.0.drain.spawn(async move { gateway.run(context, bytes, answer).await });
        // The task ends without an answer only when the node does.
        answered.await.unwrap_or_else(|_| reply::empty(StatusCode::SERVICE_UNAVAILABLE))
    }

    async fn run(&self, context: Context, bytes: Bytes, answer: oneshot::Sender<Response>) {
        // The same bytes were read before; what borrows from them can't be moved into a task.
        match Parsed::parse(&bytes, &Limits::default()) {
            Ok(Parsed::One(message)) => match self.legacy(&context, &message).await {
                Reply::Stream(talk) => {
                    let (sender, receiver) = mpsc::channel(WAITING_EVENTS);
                    let _ = answer.send(received(receiver));
                    talk.pump(sender).await;
                }
                reply => drop(answer.send(reply.into_response(&context))),
            },
            Ok(Parsed::Batch(messages)) => drop(answer.send(self.batch(context, messages).await)),
            Err(error) => {
                drop(answer.send(self.refuse(&context, Era::Legacy, None, &error.into()).into_response(&context)));
            }
        }
    }

    /// One message within a session.
    async fn legacy(&self, context: &Context, message: &Message<'_>) -> Reply {
        let Some(session) = context.session.as_deref() else { return Reply::Accepted };
        let request = match message {
            Message::Request(request) => request,
            Message::Notification(told) => {
                if let Some(id) = notification::cancelled_request(told) {
                    self.withdraw(session, id.as_json()).await;
                }
                return Reply::Accepted;
            }
            Message::Response(response) => {
                self.take_answer(context, session, response);
                return Reply::Accepted;
            }
        };
        let info = session.state.client.as_ref().map(mcp::session::ClientInfo::to_json);
        let capabilities = session.state.capabilities.to_json();
        let client = Client::legacy(session, info.as_ref().map(mcp::Json::raw), capabilities.raw());
        let method = match era::check_legacy(request) {
            Ok(method) => method,
            Err(error) => return self.refuse(context, Era::Legacy, Some(&request.id), &Refusal::Protocol(error)),
        };
        match method.route() {
            Route::Own if method == Method::Ping => own::pong(&request.id),
            Route::Own => {
                let error = RpcError::new(Code::InvalidRequest, "The session has begun already");
                self.refuse(context, Era::Legacy, Some(&request.id), &Refusal::Protocol(error))
            }
            Route::List(Kind::Tool) => self.tools_list(context, &client, request),
            Route::Target => self.target(context, &client, None, (method, request)).await,
            Route::SessionState if method == Method::SetLevel => {
                self.set_level(context, &client, session, request).await
            }
            Route::List(_) | Route::Listen | Route::Task | Route::SessionState => {
                let error = RpcError::method_not_found(method.as_str());
                self.refuse(context, Era::Legacy, Some(&request.id), &Refusal::Protocol(error))
            }
        }
    }

    /// Ends what runs under that name in the session, here or at another node.
    pub(super) async fn withdraw(&self, session: &LegacySession, name: &str) {
        let here = self.0.in_flight.cancel(session.nonce, name);
        if let (false, Some(others)) = (here, &self.0.withdrawals) {
            others.tell(session.nonce, name).await;
        }
    }

    /// The messages of a batch, all at once (2025-03-26); answers come as they are ready, or as one array.
    async fn batch(&self, mut context: Context, messages: Vec<Result<Message<'_>, ParseError>>) -> Response {
        let takes = std::mem::replace(&mut context.arrival.takes, Takes::Json);
        let context = &context;
        let mut running: FuturesUnordered<BoxFuture<'_, Option<Bytes>>> = FuturesUnordered::new();
        for message in &messages {
            running.push(Box::pin(self.member(context, message)));
        }
        let mut answers = Vec::new();
        while let Some(answer) = running.next().await {
            answers.extend(answer);
        }
        match takes {
            _ if answers.is_empty() => reply::empty(StatusCode::ACCEPTED),
            Takes::Events => {
                let mut stream = Vec::new();
                for answer in &answers {
                    sse::write(&mut stream, &String::from_utf8_lossy(answer));
                }
                reply::events(Body::from(stream))
            }
            Takes::Json => {
                let mut response = Response::new(Body::from([b"[", &answers.join(&b","[..])[..], b"]"].concat()));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, json);
                response
            }
        }
    }

    /// One message of a batch. A call takes a place of its own.
    async fn member(&self, context: &Context, message: &Result<Message<'_>, ParseError>) -> Option<Bytes> {
        let reply = match message.as_ref().map(|message| (message, seat(context, message))) {
            Ok((message, Ok(_seat))) => self.legacy(context, message).await,
            Ok((_, Err((full, id)))) => self.refuse(context, Era::Legacy, Some(id), &Refusal::Overloaded(full)),
            Err(error) => self.refuse(context, Era::Legacy, error.id.as_ref(), &error.clone().into()),
        };
        match reply {
            Reply::Whole(ready) => Some(ready.body.joined()),
            Reply::Stream(_) | Reply::Withdrawn | Reply::Accepted => None,
        }
    }
}

/// A place for a call of a batch; other messages are over at once and need none.
fn seat<'m>(context: &Context, message: &'m Message<'_>) -> Result<Option<Seat>, (Full, &'m Id<'m>)> {
    match message {
        Message::Request(request) if is_call(message) => {
            context.seat.another().map(Some).map_err(|full| (full, &request.id))
        }
        _ => Ok(None),
    }
}

/// Whether an upstream is asked.
fn is_call(message: &Message<'_>) -> bool {
    let Message::Request(request) = message else { return false };
    era::check_legacy(request).is_ok_and(|method| method.route() == Route::Target)
}
