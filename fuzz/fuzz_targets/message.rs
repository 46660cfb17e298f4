//! Any body: no panic; what is taken is JSON to others too, and is the same again when it is rebuilt.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp::{Body, Limits, Message, message};

fuzz_target!(|body: &[u8]| {
    for limits in [Limits::inbound(), Limits::upstream()] {
        match Body::parse(body, &limits) {
            Ok(Body::One(parsed)) => check(&parsed, &limits),
            Ok(Body::Batch(messages)) => messages.iter().flatten().for_each(|parsed| check(parsed, &limits)),
            Err(error) => drop(error.to_error().body(error.id.as_ref())),
        }
    }
});

fn check(parsed: &Message<'_>, limits: &Limits) {
    let Message::Request(request) = parsed else { return };
    let text = request.params.raw().get();
    assert!(serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok());
    let rebuilt = message::request(&request.id, &request.method, request.params.raw());
    let Ok(Message::Request(again)) = Message::parse(rebuilt.as_str().as_bytes(), limits) else {
        panic!("what we built is no request: {rebuilt}");
    };
    assert_eq!((&again.id, &again.method), (&request.id, &request.method));
    assert_eq!(again.params, request.params);
}
