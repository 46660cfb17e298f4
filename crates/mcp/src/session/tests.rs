use proptest::prelude::*;

use super::*;
use crate::Limits;

fn object(text: &str) -> Object<'_> {
    Raw::check(text, &Limits::default()).unwrap().object().unwrap()
}

fn owner(user: &str) -> Owner {
    Owner { tenant: "ten_1".into(), user: user.into(), client: "tok_1".into() }
}

fn session() -> Session {
    let info = object(r#"{"name":"cursor","version":"3.1"}"#);
    Session {
        version: Version::V2025_11_25,
        capabilities: Capabilities::ROOTS,
        client: ClientInfo::read(&info),
        nonce: "00112233445566778899aabbccddeeff".into(),
        issued_at: 1000,
        expires_at: 2000,
        owner: owner("usr_1"),
    }
}

#[test]
fn a_session_travels_small_and_reads_back() {
    let text = serde_json::to_string(&session()).unwrap();
    insta::assert_snapshot!(text, @r#"{"v":"2025-11-25","c":1,"i":{"n":"cursor","v":"3.1"},"n":"00112233445566778899aabbccddeeff","b":1000,"e":2000,"o":{"t":"ten_1","u":"usr_1","k":"tok_1"}}"#);
    assert_eq!(serde_json::from_str::<Session>(&text).unwrap(), session());
    assert!(serde_json::from_str::<Session>(&text.replace("2025-11-25", "2099-01-01")).is_err());
}

#[test]
fn a_session_is_its_owners_until_it_ends() {
    let session = session();
    assert_eq!(session.check(&owner("usr_1"), 1000), Ok(()));
    assert_eq!(session.check(&owner("usr_1"), 1999), Ok(()));
    assert_eq!(session.check(&owner("usr_1"), 2000), Err(SessionError::Expired));
    assert_eq!(session.check(&owner("usr_1"), 939), Err(SessionError::Expired), "begun in the future");
    assert_eq!(session.check(&owner("usr_2"), 1500), Err(SessionError::NotYours));
    let other = Owner { client: "tok_2".into(), ..owner("usr_1") };
    assert_eq!(session.check(&other, 1500), Err(SessionError::NotYours));
    let elsewhere = Owner { tenant: "ten_2".into(), ..owner("usr_1") };
    assert_eq!(session.check(&elsewhere, 1500), Err(SessionError::NotYours));
}

#[test]
fn an_empty_elicitation_means_forms() {
    let read = |text| Capabilities::read(&object(text));
    assert_eq!(read(r#"{"elicitation":{}}"#), Capabilities::ELICITATION_FORM);
    assert_eq!(read(r#"{"elicitation":{"url":{}}}"#), Capabilities::ELICITATION_URL);
    assert!(read(r#"{"elicitation":{"form":{},"url":{}}}"#).has(Capabilities::ELICITATION_FORM));
    assert_eq!(read(r#"{"roots":true,"sampling":null,"vendor":{}}"#), Capabilities::default());
}

#[test]
fn what_a_client_calls_itself_is_cut_to_a_headers_size() {
    let text = format!(r#"{{"name":"a\u001b{}"}}"#, "é".repeat(500));
    let info = ClientInfo::read(&object(&text)).unwrap();
    assert_eq!((info.name.chars().count(), info.version.as_str()), (ClientInfo::LONGEST, ""));
    assert!(!info.name.contains('\u{1b}'));
    assert_eq!(ClientInfo::read(&object("{}")), None);
}

proptest! {
    #[test]
    fn capabilities_read_back(bits in 0_u8..32) {
        let all = [
            Capabilities::ROOTS,
            Capabilities::SAMPLING,
            Capabilities::SAMPLING_TOOLS,
            Capabilities::ELICITATION_FORM,
            Capabilities::ELICITATION_URL,
        ];
        let mut capabilities = Capabilities::default();
        for (place, bit) in all.into_iter().enumerate() {
            // Tools in sampling mean sampling.
            let with_tools = bit == Capabilities::SAMPLING && bits >> 2 & 1 == 1;
            capabilities.set(bit, bits >> place & 1 == 1 || with_tools);
        }
        let json = capabilities.to_json();
        prop_assert_eq!(Capabilities::read(&object(json.as_str())), capabilities);
    }
}
