//! W3C trace context: taken from the caller, continued towards the upstream.

use std::fmt;

use domain::Clock;

/// The place of a call in a distributed trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// Identifies the whole trace.
    pub id: [u8; 16],
    /// Our span in it; the parent of what the upstream does.
    pub span: [u8; 8],
    /// The caller's span, where the caller has one.
    pub parent: Option<[u8; 8]>,
    /// Whether the caller records this trace.
    pub sampled: bool,
    /// Where the trace came from.
    pub source: TraceSource,
}

/// Where a trace came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceSource {
    /// `params._meta.traceparent`.
    Meta,
    /// The HTTP header.
    Header,
    /// It begins here.
    New,
}

impl TraceSource {
    /// The written form, as in audit records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Meta => "_meta",
            Self::Header => "http",
            Self::New => "new",
        }
    }
}

impl Trace {
    /// Continues the trace of the message's `_meta`, else of the header, else begins one.
    #[must_use]
    pub fn begin(meta: Option<&str>, header: Option<&str>, clock: &Clock) -> Self {
        let found = meta
            .and_then(parse)
            .map(|found| (found, TraceSource::Meta))
            .or_else(|| header.and_then(parse).map(|found| (found, TraceSource::Header)));
        let fresh = clock.entropy();
        let span = std::array::from_fn(|index| fresh[index]);
        if let Some(((id, parent, sampled), source)) = found {
            return Self { id, span: nonzero(span), parent: Some(parent), sampled, source };
        }
        let (first, second) = (clock.entropy(), clock.entropy());
        let id = std::array::from_fn(|index| if index < 8 { first[index] } else { second[index - 8] });
        Self { id: nonzero(id), span: nonzero(span), parent: None, sampled: false, source: TraceSource::New }
    }

    /// The trace's id, 32 hexadecimal digits.
    #[must_use]
    pub fn id_text(&self) -> String {
        hex::encode(self.id)
    }
}

/// `traceparent` for the next hop (W3C Trace Context, 3.2).
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        // Both parts have exactly twice as many digits as bytes.
        let _ = hex::encode_to_slice(self.id, &mut text[3..35]);
        let _ = hex::encode_to_slice(self.span, &mut text[36..52]);
        text[54] = if self.sampled { b'1' } else { b'0' };
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// An all-zero id is invalid (W3C Trace Context, 3.2.2.3).
fn nonzero<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    if bytes == [0; N] {
        bytes[N - 1] = 1;
    }
    bytes
}

fn parse(text: &str) -> Option<([u8; 16], [u8; 8], bool)> {
    let text = text.trim().as_bytes();
    // A later version may be longer, but begins the same (W3C Trace Context, 4.1).
    let dashed = text.len() >= 55 && text[2] == b'-' && text[35] == b'-' && text[52] == b'-';
    if !dashed || &text[..2] == b"ff" || (&text[..2] == b"00" && text.len() != 55) {
        return None;
    }
    let (mut id, mut span, mut flags, mut version) = ([0; 16], [0; 8], [0; 1], [0; 1]);
    lower_hex(&text[..2], &mut version)?;
    lower_hex(&text[3..35], &mut id)?;
    lower_hex(&text[36..52], &mut span)?;
    lower_hex(&text[53..55], &mut flags)?;
    (id != [0; 16] && span != [0; 8]).then_some((id, span, flags[0] & 1 == 1))
}

fn lower_hex(text: &[u8], to: &mut [u8]) -> Option<()> {
    let lower = text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (lower && hex::decode_to_slice(text, to).is_ok()).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn clock() -> Clock {
        Clock::new(chrono::DateTime::default, || [7; 10])
    }

    #[test]
    fn the_message_wins_over_the_header_and_the_span_is_ours() {
        let trace =
            Trace::begin(Some(GIVEN), Some("00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-00"), &clock());
        assert_eq!(trace.to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0707070707070707-01");
        assert_eq!(trace.source, TraceSource::Meta);
    }

    #[test]
    fn what_is_no_trace_context_begins_a_new_trace() {
        for wrong in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0é4736-00f067aa0ba902b7-0",
        ] {
            let trace = Trace::begin(Some(wrong), None, &clock());
            assert_eq!(trace.source, TraceSource::New, "{wrong}");
            assert_eq!(trace.id, [7; 16]);
        }
    }
}
