//! Any stream: no panic, and the same events however it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp::sse::Reader;

fuzz_target!(|input: &[u8]| {
    let [limit, cut, stream @ ..] = input else { return };
    let (limit, cut) = (usize::from(*limit), usize::from(*cut) + 1);
    let (mut whole, mut parts) = (Reader::new(limit), Reader::new(limit));
    let (mut at_once, mut in_parts) = (Vec::new(), Vec::new());
    let whole_read = whole.read(stream, &mut at_once);
    let parts_read = stream.chunks(cut).try_for_each(|chunk| parts.read(chunk, &mut in_parts));
    assert_eq!(whole_read, parts_read);
    assert_eq!(at_once, in_parts);
    assert_eq!((whole.last_id(), whole.retry()), (parts.last_id(), parts.retry()));
    assert!(at_once.iter().all(|event| event.data.len() <= limit));
});
