use super::translate::{Next, Recipient};
use super::*;
use crate::Limits;
use crate::ask::{Ref, Subject};
use crate::message::{Message, Outcome};

#[test]
fn codes_have_the_status_of_their_era() {
    for (code, number, modern, legacy) in [
        (Code::ParseError, -32700, 400, 400),
        (Code::InvalidRequest, -32600, 400, 400),
        (Code::MethodNotFound, -32601, 404, 200),
        (Code::InvalidParams, -32602, 200, 200),
        (Code::InvalidMeta, -32602, 400, 200),
        (Code::InternalError, -32603, 200, 200),
        (Code::HeaderMismatch, -32020, 400, 400),
        (Code::MissingClientCapability, -32021, 400, 200),
        (Code::UnsupportedVersion, -32022, 400, 200),
        (Code::SessionNotFound, -32001, 404, 404),
        (Code::AuditUnavailable, -31001, 503, 503),
        (Code::RateLimited, -31002, 429, 429),
        (Code::PolicyUnavailable, -31003, 503, 503),
        (Code::Overloaded, -31004, 503, 503),
        (Code::Denied, -31005, 200, 200),
        (Code::ResourceNotFound, -32002, 200, 200),
        (Code::Other(-31002), -31002, 200, 200),
    ] {
        assert_eq!((code.number(), code.status(Era::Modern), code.status(Era::Legacy)), (number, modern, legacy));
    }
}

#[test]
fn errors_look_as_in_the_specification() {
    let capability = RpcError::missing_capability(Raw::constant(r#"{"elicitation":{"url":{}}}"#));
    insta::assert_snapshot!(
        capability.body(Some(&Id::number(41))),
        @r#"{"jsonrpc":"2.0","id":41,"error":{"code":-32021,"message":"Missing required client capability","data":{"requiredCapabilities":{"elicitation":{"url":{}}}}}}"#
    );
    insta::assert_snapshot!(
        RpcError::upstream_failed("The server broke off its answer", "crm", Retryable::No).to_json(),
        @r#"{"code":-32603,"message":"The server broke off its answer","data":{"upstream":"crm","retryable":false}}"#
    );
}

#[test]
fn a_method_that_is_not_found_is_named_without_its_control_characters() {
    let error = RpcError::method_not_found(&format!("a\u{1b}[31m{}", "x".repeat(500)));
    assert!(error.message.len() < 100 && !error.message.contains('\u{1b}'), "{}", error.message);
}

#[test]
fn a_denial_teaches_the_model_and_gives_machines_a_code() {
    let denial = Denial {
        code: "policy_denied",
        rule: Some("read only"),
        reason: "this server may only be read from.",
        instead: Some("tools that only read."),
    };
    insta::assert_snapshot!(denial.to_result(), @r#"{"resultType":"complete","content":[{"type":"text","text":"Denied by the rule \"read only\": this server may only be read from. Allowed instead: tools that only read. (code: policy_denied)"}],"isError":true,"_meta":{"dev.sluice/denial":{"code":"policy_denied","rule":"read only","reason":"this server may only be read from.","instead":"tools that only read."}}}"#);
    let bare = Denial { rule: None, instead: None, ..denial };
    insta::assert_snapshot!(bare.to_result(), @r#"{"resultType":"complete","content":[{"type":"text","text":"Denied: this server may only be read from. (code: policy_denied)"}],"isError":true,"_meta":{"dev.sluice/denial":{"code":"policy_denied","reason":"this server may only be read from."}}}"#);
}

#[test]
fn what_has_no_result_to_say_it_in_is_denied_in_an_error() {
    let denial = Denial { code: "policy_denied", rule: None, reason: "not yours.", instead: None };
    insta::assert_snapshot!(denial.to_error().to_json(), @r#"{"code":-31005,"message":"Denied: not yours. (code: policy_denied)","data":{"dev.sluice/denial":{"code":"policy_denied","reason":"not yours."}}}"#);
}

#[test]
fn a_resource_that_is_not_there_is_said_to_be_so_in_each_era() {
    let said = [Era::Modern, Era::Legacy].map(|era| RpcError::resource_not_found(era, "a:\"b").to_json().into_string());
    insta::assert_snapshot!(said.join("\n"), @r#"
    {"code":-32602,"message":"Resource not found","data":{"uri":"a:\"b"}}
    {"code":-32002,"message":"Resource not found","data":{"uri":"a:\"b"}}
    "#);
}

/// What becomes of an upstream's error to a call: `status code`, or a word.
fn translated(version: Version, capabilities: &str, code: i64, data: &str) -> String {
    translated_about(&Subject::Tool("t".into()), (version, capabilities), code, data)
}

fn translated_about(subject: &Subject<'_>, (version, capabilities): (Version, &str), code: i64, data: &str) -> String {
    let body =
        format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"m","data":{data},"vendor":1}}}}"#);
    let Ok(Message::Response(response)) = Message::parse(body.as_bytes(), &Limits::upstream()) else { panic!() };
    let Outcome::Error(error) = response.outcome else { panic!() };
    let capabilities = Raw::check(capabilities, &Limits::default()).unwrap().object().unwrap();
    match (Recipient { version, capabilities: &capabilities }).translate_about(subject, &error) {
        Next::Error { status, error } => format!("{status} {error}"),
        Next::ToolFailed(result) => {
            let result = result.raw().object().unwrap();
            let told = result.get("content").or_else(|| result.get("completion"));
            format!("failed {}", told.unwrap().get())
        }
        Next::RefreshTools => "refresh".to_owned(),
        Next::Renegotiate => "renegotiate".to_owned(),
    }
}

#[test]
fn an_upstreams_error_becomes_what_the_table_says() {
    let elicit =
        r#"{"elicitations":[{"mode":"url","elicitationId":"e","url":"https://x.test/","message":"Sign in:"}]}"#;
    let url = r#"{"requiredCapabilities":{"elicitation":{"url":{}}}}"#;
    let (modern, newest, older) = (Version::V2026_07_28, Version::V2025_11_25, Version::V2025_06_18);
    let table: Vec<String> = [
        (modern, "{}", -32002, r#"{"uri":"a:b"}"#),
        (newest, "{}", -32002, r#"{"uri":"a:b"}"#),
        (modern, "{}", -32602, "1"),
        (newest, "{}", -32602, "1"),
        (modern, "{}", -32601, "1"),
        (newest, "{}", -32601, "1"),
        (modern, "{}", -32020, "1"),
        (newest, "{}", -32022, "1"),
        (modern, "{}", -32021, url),
        (modern, r#"{"elicitation":{"form":{}}}"#, -32021, url),
        (modern, r#"{"elicitation":{"url":{}}}"#, -32021, url),
        (newest, "{}", -32021, url),
        (modern, "{}", -32042, elicit),
        (modern, r#"{"elicitation":{"url":{}}}"#, -32042, elicit),
        (newest, "{}", -32042, "{}"),
        (older, "{}", -32042, elicit),
        (modern, "{}", -32001, "1"),
        (newest, "{}", -32001, "1"),
        (modern, "{}", -31002, "1"),
        (modern, "{}", 7, "1"),
    ]
    .into_iter()
    .map(|(version, capabilities, code, data)| {
        format!("{version} {code}: {}", translated(version, capabilities, code, data))
    })
    .collect();
    insta::assert_snapshot!(table.join("\n"), @r#"
    2026-07-28 -32002: 200 {"code":-32602,"message":"m","data":{"uri":"a:b"},"vendor":1}
    2025-11-25 -32002: 200 {"code":-32002,"message":"m","data":{"uri":"a:b"},"vendor":1}
    2026-07-28 -32602: 200 {"code":-32602,"message":"m","data":1,"vendor":1}
    2025-11-25 -32602: 200 {"code":-32602,"message":"m","data":1,"vendor":1}
    2026-07-28 -32601: 404 {"code":-32601,"message":"m","data":1,"vendor":1}
    2025-11-25 -32601: 200 {"code":-32601,"message":"m","data":1,"vendor":1}
    2026-07-28 -32020: refresh
    2025-11-25 -32022: renegotiate
    2026-07-28 -32021: 400 {"code":-32021,"message":"m","data":{"requiredCapabilities":{"elicitation":{"url":{}}}},"vendor":1}
    2026-07-28 -32021: 400 {"code":-32021,"message":"m","data":{"requiredCapabilities":{"elicitation":{"url":{}}}},"vendor":1}
    2026-07-28 -32021: 200 {"code":-32603,"message":"What is asked for needs a capability this gateway does not carry"}
    2025-11-25 -32021: failed [{"type":"text","text":"The client lacks `elicitation`"}]
    2026-07-28 -32042: 400 {"code":-32021,"message":"Missing required client capability","data":{"requiredCapabilities":{"elicitation":{"url":{}}}}}
    2026-07-28 -32042: failed [{"type":"text","text":"m\nSign in: https://x.test/"}]
    2025-11-25 -32042: 200 {"code":-32042,"message":"m","data":{},"vendor":1}
    2025-06-18 -32042: failed [{"type":"text","text":"m\nSign in: https://x.test/"}]
    2026-07-28 -32001: 200 {"code":-32603,"message":"m","data":{"upstreamError":{"code":-32001,"message":"m","data":1,"vendor":1}}}
    2025-11-25 -32001: 200 {"code":-32001,"message":"m","data":1,"vendor":1}
    2026-07-28 -31002: 200 {"code":-31002,"message":"m","data":1,"vendor":1}
    2026-07-28 7: 200 {"code":7,"message":"m","data":1,"vendor":1}
    "#);
}

#[test]
fn an_upstreams_error_about_anything_but_a_tool_becomes_what_the_table_says() {
    let (resource, prompt) = (Subject::Resource("crm+a:b".into()), Subject::Prompt("p".into()));
    let completion = Subject::Completion(Ref::Prompt("p".into()));
    let sampling = r#"{"requiredCapabilities":{"sampling":{}}}"#;
    let elicit = r#"{"elicitations":[{"message":"Sign in:","url":"https://x.test/"}]}"#;
    let (modern, newest, older) = (Version::V2026_07_28, Version::V2025_11_25, Version::V2025_06_18);
    let table: Vec<String> = [
        (&resource, modern, -32002, r#"{"k":1e3,"uri":"a:b"}"#),
        (&resource, modern, -32002, "1"),
        (&resource, modern, -32602, r#"{"uri":"a:b"}"#),
        (&resource, modern, -32602, r#"{ "uri":"crm+a:b"}"#),
        (&resource, modern, -32602, r#"{"cursor":1}"#),
        (&resource, newest, -32602, r#"{"uri":"a:b"}"#),
        (&resource, newest, -32602, "1"),
        (&resource, newest, -32002, r#"{"uri":"a:b"}"#),
        (&resource, newest, -32002, r#"{ "uri":"crm+a:b"}"#),
        (&prompt, modern, -32002, "1"),
        (&prompt, newest, -32602, r#"{"uri":"a:b"}"#),
        (&prompt, newest, -32021, sampling),
        (&prompt, modern, -32042, elicit),
        (&resource, older, -32042, elicit),
        (&completion, modern, -32601, "1"),
        (&completion, newest, -32601, "1"),
        (&prompt, modern, -32601, "1"),
        (&resource, modern, -32005, "1"),
    ]
    .into_iter()
    .map(|(subject, version, code, data)| {
        let told = translated_about(subject, (version, r#"{"elicitation":{"url":{}}}"#), code, data);
        format!("{version} {} {code}: {told}", subject.name())
    })
    .collect();
    insta::assert_snapshot!(table.join("\n"), @r#"
    2026-07-28 crm+a:b -32002: 200 {"code":-32602,"message":"m","data":{"k":1e3,"uri":"crm+a:b"},"vendor":1}
    2026-07-28 crm+a:b -32002: 200 {"code":-32602,"message":"m","data":{"uri":"crm+a:b"},"vendor":1}
    2026-07-28 crm+a:b -32602: 200 {"code":-32602,"message":"m","data":{"uri":"crm+a:b"},"vendor":1}
    2026-07-28 crm+a:b -32602: 200 {"code":-32602,"message":"m","data":{ "uri":"crm+a:b"},"vendor":1}
    2026-07-28 crm+a:b -32602: 200 {"code":-32602,"message":"m","data":{"cursor":1},"vendor":1}
    2025-11-25 crm+a:b -32602: 200 {"code":-32002,"message":"m","data":{"uri":"crm+a:b"},"vendor":1}
    2025-11-25 crm+a:b -32602: 200 {"code":-32602,"message":"m","data":1,"vendor":1}
    2025-11-25 crm+a:b -32002: 200 {"code":-32002,"message":"m","data":{"uri":"crm+a:b"},"vendor":1}
    2025-11-25 crm+a:b -32002: 200 {"code":-32002,"message":"m","data":{ "uri":"crm+a:b"},"vendor":1}
    2026-07-28 p -32002: 200 {"code":-32602,"message":"m","data":1,"vendor":1}
    2025-11-25 p -32602: 200 {"code":-32602,"message":"m","data":{"uri":"a:b"},"vendor":1}
    2025-11-25 p -32021: 200 {"code":-32602,"message":"The client lacks `sampling`"}
    2026-07-28 p -32042: 200 {"code":-32602,"message":"m\nSign in: https://x.test/"}
    2025-06-18 crm+a:b -32042: 200 {"code":-32602,"message":"m\nSign in: https://x.test/"}
    2026-07-28 p -32601: failed {"values":[],"hasMore":false}
    2025-11-25 p -32601: failed {"values":[],"hasMore":false}
    2026-07-28 p -32601: 404 {"code":-32601,"message":"m","data":1,"vendor":1}
    2026-07-28 crm+a:b -32005: 200 {"code":-32603,"message":"m","data":{"upstreamError":{"code":-32005,"message":"m","data":1,"vendor":1}}}
    "#);
}
