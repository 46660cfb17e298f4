//! W3C trace context: taken from the caller, continued towards the upstream.

use std::fmt;

use domain::Clock;

use super::tracestate;

/// What a message, or the head of a request, says of the trace it belongs to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said<'a> {
    /// `traceparent`.
    pub parent: Option<&'a str>,
    /// `tracestate`; it counts only with the parent it came with.
    pub state: Option<&'a str>,
}

/// The place of a call in a distributed trace. W3C Baggage is not carried on: it may hold what is the caller's alone.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// `tracestate` for the next hop, as the caller sent it.
    pub state: Option<String>,
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
    pub fn begin(meta: Said<'_>, header: Said<'_>, clock: &Clock) -> Self {
        let found = [(meta, TraceSource::Meta), (header, TraceSource::Header)]
            .into_iter()
            .find_map(|(said, source)| Some((said.parent.and_then(parse)?, said.state, source)));
        let fresh = clock.entropy();
        let span = std::array::from_fn(|index| fresh[index]);
        if let Some(((id, parent, sampled), state, source)) = found {
            let state = state.and_then(tracestate::read);
            return Self { id, span: nonzero(span), parent: Some(parent), sampled, source, state };
        }
        let (first, second) = (clock.entropy(), clock.entropy());
        let id = std::array::from_fn(|index| if index < 8 { first[index] } else { second[index - 8] });
        let (id, span) = (nonzero(id), nonzero(span));
        Self { id, span, parent: None, sampled: false, source: TraceSource::New, state: None }
    }

    /// The trace's id, 32 hexadecimal digits.
    #[must_use]
    pub fn id_text(&self) -> String {
        hex_text(&self.id)
    }

    /// Our span's id, 16 hexadecimal digits.
    #[must_use]
    pub fn span_text(&self) -> String {
        hex_text(&self.span)
    }
}

/// As `hex::encode`, which makes its text letter by letter.
pub(crate) fn hex_text(bytes: &[u8]) -> String {
    let mut text = vec![b'0'; 2 * bytes.len()];
    // It has exactly twice as many digits as there are bytes.
    let _ = hex::encode_to_slice(bytes, &mut text);
    String::from_utf8(text).unwrap_or_default()
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

    fn said(parent: &'static str, state: &'static str) -> Said<'static> {
        Said { parent: Some(parent), state: Some(state) }
    }

    fn clock() -> Clock {
        Clock::new(chrono::DateTime::default, || [7; 10])
    }

    #[test]
    fn the_message_wins_over_the_header_and_the_span_is_ours() {
        let header = said("00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-00", "a=header");
        let trace = Trace::begin(said(GIVEN, "a=message"), header, &clock());
        assert_eq!(trace.to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0707070707070707-01");
        assert_eq!((trace.source, trace.state.as_deref()), (TraceSource::Meta, Some("a=message")));
        let trace = Trace::begin(Said::default(), header, &clock());
        assert_eq!((trace.source, trace.state.as_deref()), (TraceSource::Header, Some("a=header")));
        let alone = Said { parent: Some(GIVEN), state: None };
        assert_eq!(Trace::begin(alone, header, &clock()).state, None, "it belongs to another parent");
        assert_eq!(Trace::begin(said(GIVEN, "no list"), header, &clock()).state, None);
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
            let trace = Trace::begin(said(wrong, "a=b"), Said::default(), &clock());
            assert_eq!((trace.source, trace.state), (TraceSource::New, None), "{wrong}");
            assert_eq!(trace.id, [7; 16]);
        }
    }
}
