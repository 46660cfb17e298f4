use proptest::prelude::*;

use super::*;

fn read(stream: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    Reader::new(1 << 20).read(stream, &mut events).unwrap();
    events
}

fn message(data: &str) -> Event {
    Event { kind: None, data: data.as_bytes().to_vec(), id: None }
}

#[test]
fn the_specifications_stream_has_a_notification_and_a_response() {
    let stream = concat!(
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\n",
        "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":41,\"result\":{}}\n\n",
    );
    let events = read(stream.as_bytes());
    assert_eq!(events[0], message(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#));
    assert_eq!(events[1].kind.as_deref(), Some("message"));
    assert_eq!(events[1].data, br#"{"jsonrpc":"2.0","id":41,"result":{}}"#);
}

#[test]
fn lines_end_with_cr_lf_or_both() {
    for end in ["\n", "\r", "\r\n"] {
        let stream = ["data: a", "data: b", "", "data: c", "", ""].join(end);
        assert_eq!(read(stream.as_bytes()), [message("a\nb"), message("c")], "{end:?}");
    }
}

#[test]
fn only_one_space_and_only_the_first_byte_order_mark_go() {
    assert_eq!(read("\u{feff}data:  a\n\n".as_bytes()), [message(" a")]);
    assert_eq!(read("data:a\n\n\u{feff}data: b\n\n".as_bytes()), [message("a")]);
}

#[test]
fn comments_and_unknown_fields_are_passed_over() {
    assert_eq!(read(b":\n\n: ping\r\n\r\nfoo: bar\nfoo\ndata: a\n:x\n\n"), [message("a")]);
}

#[test]
fn an_id_stays_until_another_comes() {
    let events = read(b"id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata\n\nid\ndata: c\n\nid: \0\ndata: d\n\n");
    let ids: Vec<_> = events.iter().map(|event| event.id.as_deref()).collect();
    assert_eq!(ids, [Some("1"), Some("1"), Some("2"), None, None]);
    assert_eq!(events[2].data, b"", "an event that primes the stream has an id and empty data");
}

#[test]
fn an_id_without_data_is_no_event_but_is_kept() {
    let mut reader = Reader::new(100);
    let mut events = Vec::new();
    reader.read(b"id: 7\nretry: 250\n\nretry: x\nretry: 99999999999999999999\n\n", &mut events).unwrap();
    assert_eq!((events.len(), reader.last_id(), reader.retry()), (0, Some("7"), Some(250)));
}

#[test]
fn an_event_whose_end_never_came_is_none() {
    assert_eq!(read(b"data: a\n\ndata: b\n"), [message("a")]);
}

#[test]
fn a_type_belongs_to_one_event() {
    let events = read(b"event: endpoint\ndata: /x\n\ndata: a\n\nevent: lost\n\ndata: b\n\n");
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_deref()).collect();
    assert_eq!(kinds, [Some("endpoint"), None, None]);
}

#[test]
fn an_event_over_the_limit_ends_the_reading() {
    let mut reader = Reader::new(20);
    let mut events = Vec::new();
    let failed = reader.read(b"data: ok\n\ndata: 0123456789\ndata: 0123456789\n\n", &mut events);
    assert_eq!(failed, Err(TooLarge { limit: 20 }));
    assert_eq!(events, [message("ok")]);
    assert!(reader.read(b"data: a\n\n", &mut events).is_err(), "it stays failed");
    assert_eq!(events.len(), 1);
}

#[test]
fn a_line_without_end_is_not_collected_for_ever() {
    let mut reader = Reader::new(1000);
    let mut events = Vec::new();
    let failed = (0..100).find(|_| reader.read(&[b'x'; 64], &mut events).is_err());
    assert_eq!(failed, Some(15));
}

#[test]
fn a_message_over_several_lines_is_one_event() {
    let pretty = "{\n  \"a\": 1,\r\n  \"b\": 2\r}";
    assert_eq!(read(&event(pretty)), [message("{\n  \"a\": 1,\n  \"b\": 2\n}")]);
    assert_eq!(event("{}"), b"data: {}\n\n");
    assert!(read(KEEP_ALIVE).is_empty());
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "data", "event", "id", "retry", ":", " ", "\n", "\r", "\r\n", "\n\n", "a", "17", "é", "\u{feff}", "\0", "{}",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_events(stream in pieces(), cuts in prop::collection::vec(0_usize..80, 0..12), limit in 0_usize..60) {
        let mut whole = (Reader::new(limit), Vec::new());
        let whole_ok = whole.0.read(&stream, &mut whole.1);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut parts = (Reader::new(limit), Vec::new());
        let mut parts_ok = Ok(());
        for cut in cuts.windows(2) {
            parts_ok = parts_ok.and(parts.0.read(&stream[cut[0]..cut[1]], &mut parts.1));
        }
        prop_assert_eq!(whole_ok, parts_ok);
        prop_assert_eq!(&whole.1, &parts.1);
        prop_assert_eq!(whole.0.last_id(), parts.0.last_id());
        prop_assert_eq!(whole.0.retry(), parts.0.retry());
    }

    #[test]
    fn what_is_written_reads_back(messages in prop::collection::vec("[^\r\n]{0,40}", 0..6)) {
        let mut stream = Vec::new();
        for text in &messages {
            write(&mut stream, text);
        }
        let expected: Vec<Event> = messages.iter().map(|text| message(text)).collect();
        prop_assert_eq!(read(&stream), expected);
    }
}
