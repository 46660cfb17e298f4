use proptest::prelude::*;

use super::*;
use crate::json::tests::any_json;
use crate::message::tests::CALL;
use crate::{Limits, Message};

fn object(text: &str) -> Object<'_> {
    Raw::check(text, &Limits::upstream()).unwrap().object().unwrap()
}

fn call(params: &str) -> Ask<'_> {
    ask(Method::ToolsCall, params)
}

fn ask(method: Method, params: &str) -> Ask<'_> {
    Ask::read(method, object(params)).unwrap()
}

fn modern_hop() -> Hop<'static> {
    Hop::Modern {
        version: Version::V2026_07_28,
        capabilities: Raw::EMPTY,
        client_info: Some(Raw::constant(r#"{"name":"codex","version":"0.99.0"}"#)),
        log_level: Some(LogLevel::Info),
    }
}

fn outbound(hop: Hop<'static>) -> Outbound<'static> {
    let (traceparent, tracestate) = (Some("00-ab-cd-01"), Some("a=b"));
    Outbound { subject: "lookup", state: None, progress_token: Some(Raw::constant("7")), traceparent, tracestate, hop }
}

#[test]
fn a_modern_call_gets_the_names_and_the_meta_of_the_next_hop() {
    let Ok(Message::Request(request)) = Message::parse(CALL.as_bytes(), &Limits::default()) else { panic!() };
    let call = Ask::read(Method::ToolsCall, request.params).unwrap();
    assert_eq!(call.progress_token().unwrap().get(), "\"p-41\"");
    insta::assert_snapshot!(
        call.params_for(&outbound(modern_hop())),
        @r#"{"name":"lookup","arguments":{"email":"ann@x.test"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"codex","version":"0.99.0"},"io.modelcontextprotocol/logLevel":"info","progressToken":7,"traceparent":"00-ab-cd-01","tracestate":"a=b"}}"#
    );
    let bare = Outbound { progress_token: None, traceparent: None, tracestate: None, ..outbound(Hop::Legacy) };
    insta::assert_snapshot!(call.params_for(&bare), @r#"{"name":"lookup","arguments":{"email":"ann@x.test"}}"#);
}

#[test]
fn what_we_do_not_know_is_passed_on_as_it_was_written() {
    let params = r#"{"vendor":[1e3 , 12345678901234567890123],"name":"x","arguments":{"z":1.0,"a":"\u00e9"},"task":{"ttl":1},"_meta":{"com.example/k":{"b": 1},"baggage":"secret=1","tracestate":"x"}}"#;
    insta::assert_snapshot!(
        call(params).params_for(&outbound(Hop::Legacy)),
        @r#"{"vendor":[1e3 , 12345678901234567890123],"name":"lookup","arguments":{"z":1.0,"a":"\u00e9"},"_meta":{"com.example/k":{"b": 1},"progressToken":7,"traceparent":"00-ab-cd-01","tracestate":"a=b"}}"#
    );
}

#[test]
fn a_call_of_the_wrong_shape_is_refused() {
    for params in [
        "{}",
        r#"{"name":5}"#,
        r#"{"name":"x","arguments":[]}"#,
        r#"{"name":"x","arguments":"{}"}"#,
        r#"{"name":"x","_meta":[]}"#,
        r#"{"name":"x","requestState":5}"#,
        r#"{"name":"x","requestState":null}"#,
        r#"{"name":"x","inputResponses":null}"#,
        r#"{"name":"x","inputResponses":[]}"#,
    ] {
        assert_eq!(Ask::read(Method::ToolsCall, object(params)).unwrap_err().code, Code::InvalidParams, "{params}");
    }
    assert_eq!(call(r#"{"name":"x","arguments":null}"#).arguments, None);
}

#[test]
fn answers_go_on_as_they_were_written_with_the_state_that_the_upstream_gave() {
    let call =
        call(r#"{"inputResponses":{"b": {"n":12345678901234567890123},"a":1e3},"requestState":"ours","name":"x"}"#);
    assert_eq!(call.input.state.unwrap().get(), "\"ours\"");
    let theirs = |hop| Outbound {
        state: Some(Raw::constant("\"the\\u0069rs\"")),
        progress_token: None,
        traceparent: None,
        tracestate: None,
        ..outbound(hop)
    };
    insta::assert_snapshot!(
        call.params_for(&theirs(Hop::Modern { version: Version::V2026_07_28, capabilities: Raw::EMPTY, client_info: None, log_level: None })),
        @r#"{"inputResponses":{"b": {"n":12345678901234567890123},"a":1e3},"requestState":"the\u0069rs","name":"lookup","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}"#
    );
    insta::assert_snapshot!(call.params_for(&Outbound { state: None, ..theirs(Hop::Legacy) }), @r#"{"name":"lookup"}"#);
}

#[test]
fn a_progress_token_is_a_string_or_an_integer() {
    let token = |token: &str| {
        call(&format!(r#"{{"name":"x","_meta":{{"progressToken":{token}}}}}"#)).progress_token().is_some()
    };
    assert!(token("\"a\"") && token("0") && token("-5"));
    assert!(!token("1.5") && !token("null") && !token("{}"));
}

#[test]
fn a_request_without_params_of_its_own_has_its_hops() {
    insta::assert_snapshot!(Hop::Legacy.params(None), @"{}");
    insta::assert_snapshot!(Hop::Legacy.params(Some("")), @r#"{"cursor":""}"#);
    let hop =
        Hop::Modern { version: Version::V2026_07_28, capabilities: Raw::EMPTY, client_info: None, log_level: None };
    insta::assert_snapshot!(
        hop.params(None),
        @r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}"#
    );
}

/// What an upstream that calls the subject `theirs` is told.
fn forwarded(ask: &Ask<'_>) -> String {
    let outbound = Outbound { subject: "theirs", ..outbound(Hop::Legacy) };
    ask.params_for(&Outbound { progress_token: None, traceparent: None, tracestate: None, ..outbound }).into_string()
}

#[test]
fn each_method_names_its_subject_in_its_own_member() {
    let prompt = ask(Method::PromptsGet, r#"{"name":"p","arguments":{"n": 1e3},"vendor":1,"inputResponses":{}}"#);
    assert_eq!(prompt.subject, Subject::Prompt("p".into()));
    insta::assert_snapshot!(forwarded(&prompt), @r#"{"name":"theirs","arguments":{"n": 1e3},"vendor":1}"#);
    let resource = ask(Method::ResourcesRead, r#"{"arguments":5,"uri":"file:///\u0061","requestState":"ours"}"#);
    assert_eq!((&resource.subject, resource.arguments), (&Subject::Resource("file:///a".into()), None));
    insta::assert_snapshot!(forwarded(&resource), @r#"{"arguments":5,"uri":"theirs"}"#);
    let of_prompt = ask(
        Method::Complete,
        r#"{"ref":{"type":"ref/prompt","vendor":[ ],"name":"p"},"argument":{"name":"a","value":"\u00e9"},"context":{"arguments":{}}}"#,
    );
    assert_eq!(of_prompt.subject, Subject::Completion(Ref::Prompt("p".into())));
    insta::assert_snapshot!(
        forwarded(&of_prompt),
        @r#"{"ref":{"type":"ref/prompt","vendor":[ ],"name":"theirs"},"argument":{"name":"a","value":"\u00e9"},"context":{"arguments":{}}}"#
    );
    let of_template = ask(Method::Complete, r#"{"ref":{"uri":"a://{x}","type":"ref/resource"},"requestState":5}"#);
    assert_eq!((of_template.subject.name(), of_template.input.is_empty()), ("a://{x}", true));
    insta::assert_snapshot!(forwarded(&of_template), @r#"{"ref":{"uri":"theirs","type":"ref/resource"}}"#);
}

#[test]
fn a_subject_of_the_wrong_shape_is_refused() {
    for (method, params) in [
        (Method::PromptsGet, r#"{"name":1}"#),
        (Method::PromptsGet, r#"{"name":"p","arguments":[]}"#),
        (Method::ResourcesRead, r#"{"name":"file:///a"}"#),
        (Method::ResourcesRead, r#"{"uri":"file:///a","inputResponses":[]}"#),
        (Method::Complete, "{}"),
        (Method::Complete, r#"{"ref":"p"}"#),
        (Method::Complete, r#"{"ref":{"type":"ref/tool","name":"p"}}"#),
        (Method::Complete, r#"{"ref":{"type":"ref/prompt","uri":"p"}}"#),
        (Method::Complete, r#"{"ref":{"type":"ref/resource","name":"p"}}"#),
    ] {
        assert_eq!(Ask::read(method, object(params)).unwrap_err().code, Code::InvalidParams, "{params}");
    }
}

#[test]
fn only_what_is_about_one_thing_is_read() {
    for method in Method::ALL {
        let code = Ask::read(*method, Object::empty()).unwrap_err().code;
        let target = method.route() == crate::method::Route::Target;
        assert_eq!(code == Code::MethodNotFound, !target, "{method:?}");
    }
}

proptest! {
    #[test]
    fn arguments_reach_the_upstream_byte_for_byte(arguments in any_json(), legacy: bool) {
        let params = format!(r#"{{"arguments":{{"a": {arguments}}},"name":"x"}}"#);
        let hop = if legacy { Hop::Legacy } else { modern_hop() };
        let sent = call(&params).params_for(&outbound(hop));
        prop_assert_eq!(object(sent.as_str()).get("arguments").unwrap().get(), format!(r#"{{"a": {arguments}}}"#));
    }
}
