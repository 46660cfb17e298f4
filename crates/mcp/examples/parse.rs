//! Prints how long one call takes to be read, checked and rebuilt for the next hop.
//!
//! `cargo run --release -p mcp --example parse`
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, run by hand")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use mcp::ask::{Ask, Hop, Outbound};
use mcp::era::{Inbound, Verb, check_modern, classify};
use mcp::header::Headers;
use mcp::tools::{Side, translate_own_result};
use mcp::{Body, Era, Id, Limits, Message, Raw, Version, message};

const CALL: &str = r#"{"jsonrpc":"2.0","id":41,"method":"tools/call","params":{"name":"crm__lookup","arguments":{"email":"ann@x.test"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"codex","version":"0.99.0"},"io.modelcontextprotocol/clientCapabilities":{"elicitation":{}},"progressToken":"p-41"}}}"#;
const ROUNDS: u32 = 50;
const BATCHES: u32 = 400;

fn main() {
    let headers = [
        ("content-type", &b"application/json"[..]),
        ("mcp-protocol-version", b"2026-07-28"),
        ("mcp-method", b"tools/call"),
        ("mcp-name", b"crm__lookup"),
    ];
    show("serde_json::Value", measure(|| drop(black_box(serde_json::from_str::<serde_json::Value>(CALL).unwrap()))));
    show("Body::parse", measure(|| drop(black_box(Body::parse(CALL.as_bytes(), &Limits::inbound()).unwrap()))));
    show("read, check, rebuild", measure(|| call(&headers)));
    let result = format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"{}"}}]}}}}"#,
        "x".repeat(300)
    );
    show("result of 370 bytes", measure(|| reply(&result)));
    let large =
        result.replace(&"x".repeat(300), &"a line of a file, as tools send them, with \\\"quotes\\\"\\n".repeat(1950));
    show("result of 106 kB", measure(|| reply(&large)));
    let parse = || drop(black_box(Message::parse(large.as_bytes(), &Limits::upstream()).unwrap()));
    show("result of 106 kB, parse", measure(parse));
    let raw = || {
        black_box(serde_json::from_str::<&serde_json::value::RawValue>(&large).unwrap());
    };
    show("the same, serde_json raw", measure(raw));
}

fn call(headers: &[(&str, &[u8])]) {
    let body = Body::parse(CALL.as_bytes(), &Limits::inbound()).unwrap();
    let headers = Headers::gather(headers.iter().copied());
    let Inbound::Modern(meta) = classify(Verb::Post, &headers, Some(&body)) else { return };
    let Body::One(Message::Request(request)) = body else { return };
    let modern = check_modern(&headers, &request, meta).unwrap();
    let call = Ask::read(modern.method, request.params).unwrap();
    let hop = Hop::Modern {
        version: Version::LATEST_MODERN,
        capabilities: Raw::EMPTY,
        client_info: modern.client_info,
        log_level: None,
    };
    let params = call.params_for(&Outbound {
        subject: "lookup",
        state: None,
        progress_token: Some(Raw::NULL),
        traceparent: None,
        tracestate: None,
        hop,
    });
    black_box(message::request(&Id::number(7), "tools/call", params.raw()));
}

fn reply(body: &str) {
    let Ok(Message::Response(response)) = Message::parse(body.as_bytes(), &Limits::upstream()) else { return };
    let message::Outcome::Result(result) = response.outcome else { return };
    let side = Side { era: Era::Modern, server_info: Raw::EMPTY };
    black_box(translate_own_result(&result, &side).unwrap());
}

/// The time of one run: the best batch of many, so that other work on the machine counts little.
fn measure(run: impl Fn()) -> Duration {
    let batch = || {
        let start = Instant::now();
        (0..ROUNDS).for_each(|_| run());
        start.elapsed() / ROUNDS
    };
    (0..BATCHES).map(|_| batch()).min().unwrap()
}

fn show(what: &str, time: Duration) {
    println!("{what:24} {:8.2} us", time.as_secs_f64() * 1e6);
}
