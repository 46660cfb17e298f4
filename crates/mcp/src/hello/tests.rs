use super::*;
use crate::Limits;

fn object(text: &str) -> Object<'_> {
    Raw::check(text, &Limits::upstream()).unwrap().object().unwrap()
}

const IDENTITY: Identity<'static> = Identity {
    server_info: Raw::constant(r#"{"name":"acme-gateway","version":"1.4.0"}"#),
    capabilities: CAPABILITIES,
    instructions: Some("Tools of 3 servers, prefixed crm__, git__, docs__."),
};

#[test]
fn our_constants_are_json() {
    assert!(Raw::check(CAPABILITIES.get(), &Limits::default()).is_ok());
}

#[test]
fn initialize_is_answered_by_us() {
    insta::assert_snapshot!(
        IDENTITY.initialize_result(Version::V2025_06_18),
        @r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"acme-gateway","version":"1.4.0"},"instructions":"Tools of 3 servers, prefixed crm__, git__, docs__."}"#
    );
}

#[test]
fn discover_is_answered_by_us_and_lists_modern_versions_only() {
    insta::assert_snapshot!(
        IDENTITY.discover_result(60000),
        @r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"instructions":"Tools of 3 servers, prefixed crm__, git__, docs__.","ttlMs":60000,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"acme-gateway","version":"1.4.0"}}}"#
    );
}

#[test]
fn a_client_introduces_itself() {
    let params = object(
        r#"{"protocolVersion":"2025-11-25","capabilities":{"roots":{"listChanged":true},"sampling":{},"elicitation":{"form":{},"url":{}}},"clientInfo":{"name":"cursor","version":"3.1"}}"#,
    );
    let introduction = Introduction::read(&params).unwrap();
    assert_eq!(introduction.version, Version::V2025_11_25);
    assert_eq!(introduction.client.unwrap().name, "cursor");
    assert_eq!(
        introduction.capabilities.to_json().as_str(),
        r#"{"roots":{},"sampling":{},"elicitation":{"form":{},"url":{}}}"#
    );
}

#[test]
fn a_sparse_introduction_is_enough_but_a_version_must_be_there() {
    let introduction = Introduction::read(&object(r#"{"protocolVersion":"1.0"}"#)).unwrap();
    assert_eq!((introduction.version, introduction.client), (Version::LATEST_LEGACY, None));
    assert_eq!(Introduction::read(&Object::empty()).unwrap_err().code, Code::InvalidParams);
}

#[test]
fn we_offer_legacy_upstreams_our_latest_legacy_version() {
    insta::assert_snapshot!(
        initialize_params(Raw::EMPTY, Raw::constant(r#"{"name":"gw","version":"1"}"#)),
        @r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"gw","version":"1"}}"#
    );
}

#[test]
fn an_upstreams_introduction_is_read_or_strange() {
    let legacy = |text| Upstream::initialized(&object(text)).map(|upstream| upstream.version);
    assert_eq!(legacy(r#"{"protocolVersion":"2025-03-26","capabilities":{}}"#), Ok(Version::V2025_03_26));
    assert_eq!(legacy(r#"{"protocolVersion":"2024-11-05","capabilities":{}}"#), Err(Strange::NoCommonVersion));
    assert_eq!(legacy(r#"{"protocolVersion":"2026-07-28","capabilities":{}}"#), Err(Strange::NoCommonVersion));
    assert_eq!(legacy(r#"{"protocolVersion":"2025-03-26"}"#), Err(Strange::Malformed));
    assert_eq!(legacy("{}"), Err(Strange::Malformed));

    let modern = |text| Upstream::discovered(&object(text)).map(|upstream| upstream.version);
    assert_eq!(modern(r#"{"supportedVersions":["2026-07-28"],"capabilities":{}}"#), Ok(Version::V2026_07_28));
    assert_eq!(modern(r#"{"supportedVersions":["2027-01-01"],"capabilities":{}}"#), Err(Strange::NoCommonVersion));
    assert_eq!(modern(r#"{"supportedVersions":["2026-07-28"]}"#), Err(Strange::Malformed));
}
