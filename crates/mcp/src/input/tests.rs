use proptest::prelude::*;

use super::*;
use crate::Limits;
use crate::json::tests::any_json;

const US: Raw<'static> = Raw::constant(r#"{"name":"gw","version":"1"}"#);
const ALL: &str = r#"{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{}}"#;

fn object(text: &str) -> Object<'_> {
    Raw::check(text, &Limits::upstream()).unwrap().object().unwrap()
}

fn asking(requests: &str) -> String {
    format!(r#"{{"resultType":"input_required","inputRequests":{requests}}}"#)
}

fn read(result: &str) -> Result<Asked<'_>, Strange> {
    Asked::read(&object(result))
}

fn told(result: &str) -> String {
    read(result).unwrap().to_client("ours", "crm", US).into_string()
}

#[test]
fn a_person_reads_which_server_asks_and_the_client_gets_our_state() {
    insta::assert_snapshot!(
        told(r#"{"resultType":"input_required","requestState":"theirs","ttlMs":5,"cacheScope":"public","inputRequests":{"ok":{"method":"elicitation/create","params":{"mode":"form","message":"Delete 3 \"rows\"?","requestedSchema":{"type":"object","n":1e3}},"vendor":1}},"vendor":[1 ,2],"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"crm"},"dev.sluice/denial":{},"a/b":1}}"#),
        @r#"{"resultType":"input_required","requestState":"ours","inputRequests":{"ok":{"method":"elicitation/create","params":{"mode":"form","message":"[crm] Delete 3 \"rows\"?","requestedSchema":{"type":"object","n":1e3}},"vendor":1}},"vendor":[1 ,2],"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw","version":"1"},"a/b":1}}"#
    );
    insta::assert_snapshot!(
        told(&asking(r#"{"roots":{"method":"roots/list"},"go":{"method":"elicitation/create","params":{"mode":"url","message":"\ud800","url":"HTTPS://x.test/a"}}}"#)),
        @r#"{"resultType":"input_required","inputRequests":{"roots":{"method":"roots/list"},"go":{"method":"elicitation/create","params":{"mode":"url","message":"[crm] \ud800","url":"HTTPS://x.test/a"}}},"requestState":"ours","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw","version":"1"}}}"#
    );
}

#[test]
fn what_no_person_reads_is_not_touched() {
    let requests = r#"{ "s":{"params":{"messages":[],"maxTokens":1e2} , "method":"sampling/createMessage"},"r":{"method":"roots/list","params":{"x":1}}}"#;
    let told = told(&asking(requests));
    assert_eq!(object(&told).get("inputRequests").unwrap().get(), requests);
}

#[test]
fn a_state_alone_asks_to_come_again() {
    insta::assert_snapshot!(
        told(r#"{"resultType":"input_required","requestState":"theirs","inputRequests":null}"#),
        @r#"{"resultType":"input_required","requestState":"ours","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw","version":"1"}}}"#
    );
    let asked = read(r#"{"requestState":"\u0061\ud800"}"#).unwrap();
    assert_eq!(asked.state().unwrap().get(), r#""\u0061\ud800""#, "and comes back as it was written");
    assert_eq!(asked.check(&Object::empty()), Ok(()));
}

#[test]
fn questions_that_nobody_may_be_asked_are_not_read() {
    for result in [
        r#"{"resultType":"input_required"}"#.to_owned(),
        r#"{"inputRequests":{}}"#.to_owned(),
        r#"{"inputRequests":[]}"#.to_owned(),
        r#"{"requestState":7}"#.to_owned(),
        asking(r#"{"a":5}"#),
        asking(r#"{"a":{"method":"tools/call","params":{}}}"#),
        asking(r#"{"a":{"method":"elicitation/create"}}"#),
        asking(r#"{"a":{"method":"elicitation/create","params":[]}}"#),
        asking(r#"{"a":{"method":"elicitation/create","params":{"message":5}}}"#),
        asking(r#"{"a":{"method":"elicitation/create","params":{"message":"","mode":"other"}}}"#),
        asking(r#"{"a":{"method":"elicitation/create","params":{"message":"","mode":null}}}"#),
        asking(r#"{"a":{"method":"elicitation/create","params":{"message":"","mode":"url"}}}"#),
        asking(r#"{"a":{"method":"sampling/createMessage"}}"#),
    ] {
        assert_eq!(read(&result).unwrap_err(), Strange::Malformed, "{result}");
    }
    for url in [
        "http://x.test",
        "javascript:alert(1)",
        "https://",
        "https:///x",
        "https:x.test",
        "httpsé",
        "",
        "https://?x",
        "https://bank.test@x.test/",
        "https://u:p@x.test/",
        "https://@x.test/",
        "https://x.test:99999/",
        "https://[::1/",
        "https://a b.test/",
        "https://x.test/a b",
        " https://x.test/",
        "https://x.test/\\t",
        "https://x.test/\\u0085",
        "https://x.test\\\\@bank.test/",
        "https://x.test/\\u202egnp.exe",
    ] {
        let params = format!(r#"{{"message":"","mode":"url","url":"{url}"}}"#);
        let result = asking(&format!(r#"{{"a":{{"method":"elicitation/create","params":{params}}}}}"#));
        assert_eq!(read(&result).unwrap_err(), Strange::NotHttps, "{url}");
    }
}

#[test]
fn a_url_that_only_people_may_take_for_another_is_https_all_the_same() {
    for url in ["https://x.test", "HTTPS://x.test:8443/a?b=c@d#e", "https://[::1]/", "https://bücher.test/é"] {
        let params = format!(r#"{{"message":"","mode":"url","url":"{url}"}}"#);
        assert!(
            read(&asking(&format!(r#"{{"a":{{"method":"elicitation/create","params":{params}}}}}"#))).is_ok(),
            "{url}"
        );
    }
}

/// What a legacy server's request comes to for a client that can do all.
fn inquiry(method: &str, params: &str) -> Result<String, Strange> {
    let request = Request { id: Id::text("srv"), method: method.into(), params: object(params) };
    let inquiry = Inquiry::read(&request)?;
    inquiry.check(Capabilities::read(&object(ALL)))?;
    Ok(inquiry.to_client(&Id::text("q.1"), "crm").into_string())
}

#[test]
fn what_a_legacy_server_asks_is_written_as_a_question_in_a_result() {
    insta::assert_snapshot!(
        inquiry("elicitation/create", r#"{"message":"\u202eSure?","requestedSchema":{"title":"\u0001T","n":1e3},"task":{"ttl":1},"vendor":[1 ,2],"_meta":{"a":1}}"#).unwrap(),
        @r#"{"jsonrpc":"2.0","id":"q.1","method":"elicitation/create","params":{"message":"[crm] Sure?","requestedSchema":{"title":"T","n":1e3},"vendor":[1 ,2]}}"#
    );
    let sampling = r#"{"messages":[{"role":"user","content":{"type":"text","text":"\u0001"}}],"maxTokens":1e2}"#;
    assert_eq!(
        inquiry("sampling/createMessage", sampling).unwrap(),
        format!(r#"{{"jsonrpc":"2.0","id":"q.1","method":"sampling/createMessage","params":{sampling}}}"#)
    );
    assert_eq!(
        inquiry("roots/list", "{}").unwrap(),
        r#"{"jsonrpc":"2.0","id":"q.1","method":"roots/list","params":{}}"#
    );
}

#[test]
fn what_no_client_may_be_asked_no_legacy_server_may_ask() {
    for (method, params, strange) in [
        ("elicitation/create", "{}", Strange::Malformed),
        ("elicitation/create", r#"{"message":"","mode":"url","url":"http://x.test"}"#, Strange::NotHttps),
        ("sampling/createMessage", r#"{"includeContext":"allServers"}"#, Strange::Context),
        ("tools/call", r#"{"name":"x"}"#, Strange::Undeclared),
        ("vendor/ask", "{}", Strange::Undeclared),
    ] {
        assert_eq!(inquiry(method, params), Err(strange), "{method} {params}");
    }
}

#[test]
fn a_legacy_server_asks_only_for_what_was_declared() {
    let form = r#"{"message":"?"}"#;
    let url = r#"{"message":"?","mode":"url","url":"https://x.test"}"#;
    for (method, params, declared, may) in [
        ("elicitation/create", form, r#"{"elicitation":{}}"#, true),
        ("elicitation/create", form, r#"{"elicitation":{"url":{}}}"#, false),
        ("elicitation/create", url, r#"{"elicitation":{}}"#, false),
        ("elicitation/create", url, r#"{"elicitation":{"url":{}}}"#, true),
        ("sampling/createMessage", "{}", r#"{"sampling":{}}"#, true),
        ("sampling/createMessage", r#"{"tools":[]}"#, r#"{"sampling":{}}"#, false),
        ("roots/list", "{}", r#"{"roots":{"listChanged":true}}"#, true),
        ("roots/list", "{}", r#"{"sampling":{},"elicitation":{}}"#, false),
    ] {
        let request = Request { id: Id::number(1), method: method.into(), params: object(params) };
        let checked = Inquiry::read(&request).unwrap().check(Capabilities::read(&object(declared)));
        assert_eq!(checked.is_ok(), may, "{method} {params} {declared}");
    }
}

#[test]
fn nothing_is_hidden_in_what_a_form_says() {
    let form = |schema: &str| {
        let params = format!(r#"{{"message":"m","requestedSchema":{schema}}}"#);
        let told = told(&asking(&format!(r#"{{"a":{{"method":"elicitation/create","params":{params}}}}}"#)));
        let request = object(&told).object("inputRequests").unwrap().object("a").unwrap();
        request.object("params").unwrap().get("requestedSchema").unwrap().get().to_owned()
    };
    insta::assert_snapshot!(
        form(r#"{"type":"object", "title":"\u202eT","properties":{"title":{"type":"string","title":"a\u001bb","description":"l\n\tm","default":"\u001b"},"pick\u0001":{"oneOf":[{"const":"\u0001","title":"\u0001One"},{"const":"b","title":"B"}]},"old":{"enum":["\u0001"],"enumNames":["\u0001x","y",5]},"many":{"items":{"anyOf":[{"title":"\u2066z"}]}},"default":{"type":"string","title":"\u202eD"}},"required":["title"],"n":1e3}"#),
        @r#"{"type":"object","title":"T","properties":{"title":{"type":"string","title":"ab","description":"l\nm","default":"\u001b"},"pick\u0001":{"oneOf":[{"const":"\u0001","title":"One"},{"const":"b","title":"B"}]},"old":{"enum":["\u0001"],"enumNames":["x","y",5]},"many":{"items":{"anyOf":[{"title":"z"}]}},"default":{"type":"string","title":"D"}},"required":["title"],"n":1e3}"#
    );
    let plain =
        r#"{ "properties":{"a":{"title":"A \"b\" \u00e9","default":"\t"} } , "title":[1 , 2],"description":null}"#;
    assert_eq!(form(plain), plain, "what hides nothing stays as it was written");
    assert_eq!(form("[5]"), "[5]");
}

#[test]
fn nothing_in_a_message_takes_the_servers_name_from_before_it() {
    let shown = |message: &str| {
        let request = format!(r#"{{"method":"elicitation/create","params":{{"message":"{message}"}}}}"#);
        let told = told(&asking(&format!(r#"{{"a":{request}}}"#)));
        let request = object(&told).object("inputRequests").unwrap().object("a").unwrap();
        request.object("params").unwrap().get("message").unwrap().get().to_owned()
    };
    let written = r#"a \"b\" \\ \/ é \u00e9 \ud83d\ude00 \ud800 \n\u000a\u000A \\u0008 \\b"#;
    assert_eq!(shown(written), format!(r#""[crm] {written}""#), "as it was written");
    for hidden in
        [r"\b", r"\r", r"\t", r"\f", r"\u001b", r"\u001B", r"\u0000", r"\u007F", r"\u009b", "\u{7f}", "\u{9b}"]
    {
        assert_eq!(shown(&format!("{hidden}a{hidden}{hidden}b{hidden}")), r#""[crm] ab""#, "{hidden:?}");
    }
    for hidden in ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}').chain(['\u{200e}', '\u{200f}', '\u{61c}']) {
        assert_eq!(shown(&format!("{hidden}a\\u{:04x}b{hidden}", u32::from(hidden))), r#""[crm] ab""#, "{hidden:?}");
    }
}

#[test]
fn a_question_says_nothing_in_our_name() {
    let meta = r#""_meta":{"dev.sluice/denial":{}}"#;
    insta::assert_snapshot!(
        told(&asking(&format!(r#"{{"a":{{"method":"elicitation/create",{meta},"params":{{"message":"?",{meta}}}}},"b":{{"method":"sampling/createMessage","params":{{{meta},"messages":[ ]}}}},"c":{{{meta},"method":"roots/list"}}}}"#))),
        @r#"{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"[crm] ?"}},"b":{"method":"sampling/createMessage","params":{"messages":[ ]}},"c":{"method":"roots/list"}},"requestState":"ours","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw","version":"1"}}}"#
    );
}

#[test]
fn a_question_is_no_answer_beside() {
    insta::assert_snapshot!(
        told(r#"{"resultType":"input_required","requestState":"","content":[],"structuredContent":{},"isError":true,"vendor":1}"#),
        @r#"{"resultType":"input_required","requestState":"ours","vendor":1,"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw","version":"1"}}}"#
    );
}

#[test]
fn no_server_asks_for_what_others_gave() {
    let sampling = |wants: &str| {
        asking(&format!(r#"{{"a":{{"method":"sampling/createMessage","params":{{"messages":[],{wants}}}}}}}"#))
    };
    assert!(read(&sampling(r#""includeContext":"none""#)).is_ok());
    for wanted in [r#""thisServer""#, r#""allServers""#, r#""other""#, "null", "5"] {
        for more in ["", r#","tools":[]"#] {
            let result = sampling(&format!(r#""includeContext":{wanted}{more}"#));
            assert_eq!(read(&result).unwrap_err(), Strange::Context, "{result}");
        }
    }
}

#[test]
fn a_state_and_questions_have_a_largest_size() {
    let state = |bytes: usize| format!(r#"{{"requestState":"{}"}}"#, "x".repeat(bytes));
    assert!(read(&state(STATE_MAX)).is_ok());
    assert_eq!(read(&state(STATE_MAX + 1)).unwrap_err(), Strange::TooLarge);
    let questions = |count: usize| {
        let all: Vec<_> = (0..count).map(|number| format!(r#""{number}":{{"method":"roots/list"}}"#)).collect();
        asking(&format!("{{{}}}", all.join(",")))
    };
    assert!(read(&questions(QUESTIONS_MAX)).is_ok());
    assert_eq!(read(&questions(QUESTIONS_MAX + 1)).unwrap_err(), Strange::TooLarge);
}

#[test]
fn only_what_the_client_declared_may_be_asked_of_it() {
    let form = asking(r#"{"a":{"method":"elicitation/create","params":{"message":""}}}"#);
    let url = asking(r#"{"a":{"method":"elicitation/create","params":{"message":"","mode":"url","url":"https://x"}}}"#);
    let sampling = asking(r#"{"a":{"method":"sampling/createMessage","params":{}}}"#);
    let tools = asking(r#"{"a":{"method":"sampling/createMessage","params":{"tools":[]}}}"#);
    let roots = asking(r#"{"a":{"method":"roots/list"}}"#);
    for (result, declared, can) in [
        (&form, r#"{"elicitation":{}}"#, true),
        (&form, r#"{"elicitation":{"form":{}}}"#, true),
        (&form, r#"{"elicitation":{"url":{}}}"#, false),
        (&form, r#"{"sampling":{},"roots":{}}"#, false),
        (&url, r#"{"elicitation":{"url":{}}}"#, true),
        (&url, r#"{"elicitation":{}}"#, false),
        (&sampling, r#"{"sampling":{}}"#, true),
        (&sampling, r#"{"elicitation":{}}"#, false),
        (&tools, r#"{"sampling":{"tools":{}}}"#, true),
        (&tools, r#"{"sampling":{}}"#, false),
        (&roots, r#"{"roots":{}}"#, true),
        (&roots, "{}", false),
    ] {
        let checked = read(result).unwrap().check(&object(declared));
        assert_eq!(checked, if can { Ok(()) } else { Err(Strange::Undeclared) }, "{result} {declared}");
        assert_eq!(read(result).unwrap().check(&object(ALL)), Ok(()));
    }
    let mixed = asking(r#"{"a":{"method":"roots/list"},"b":{"method":"sampling/createMessage","params":{}}}"#);
    assert_eq!(read(&mixed).unwrap().check(&object(r#"{"roots":{}}"#)), Err(Strange::Undeclared), "not even one");
}

#[test]
fn an_upstream_is_told_nothing_that_is_not_known_here() {
    let declared = r#"{"vendor":{"n":1e3 },"extensions":{"a/b":{}},"elicitation":{ "form":{"x":1},"url":{},"voice":{}},"sampling":{"context":{},"tools":{"y":[]}},"roots":{"listChanged":true},"experimental":{"x":{}}}"#;
    insta::assert_snapshot!(
        carried(&object(declared)),
        @r#"{"roots":{},"sampling":{"tools":{}},"elicitation":{"form":{},"url":{}}}"#
    );
    assert_eq!(carried(&object(r#"{"vendor":{},"sampling":5}"#)).as_str(), "{}");
}

proptest! {
    #[test]
    fn members_that_are_not_ours_survive_in_their_order(value in any_json(), other in any_json()) {
        let params = format!(r#"{{"z":{value},"message":"?","a":{other}}}"#);
        let request = format!(r#"{{"y":{other},"method":"elicitation/create","params":{params},"b":{value}}}"#);
        let result = format!(r#"{{"x":{value},"inputRequests":{{"k":{request}}},"c":{other}}}"#);
        prop_assume!(Raw::check(&result, &Limits::upstream()).is_ok());
        let told = told(&result);
        let (before, after) = (object(&result), object(&told));
        let kept = |object: &Object<'_>| -> Vec<(String, String)> {
            let members = object.iter().filter(|(key, _)| ["x", "y", "z", "a", "b", "c"].contains(key));
            members.map(|(key, value)| (key.to_owned(), value.get().to_owned())).collect()
        };
        let inner = |object: &Object<'_>| object.object("inputRequests").unwrap().get("k").unwrap().get().to_owned();
        prop_assert_eq!(kept(&after), kept(&before));
        let (before, after) = (inner(&before), inner(&after));
        prop_assert_eq!(kept(&object(&after)), kept(&object(&before)));
        let params = |text: &str| object(text).get("params").unwrap().get().to_owned();
        let (before, after) = (params(&before), params(&after));
        prop_assert_eq!(kept(&object(&after)), kept(&object(&before)));
        let question = object(&after).text("message").unwrap().into_owned();
        prop_assert_eq!(question, "[crm] ?");
    }
}
