//! Server-sent events: bytes in, events out, and back. As in the HTML standard, 9.2.5 and 9.2.6, with a bound.

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The event's type; `None` means `message`.
    pub kind: Option<String>,
    /// The data lines, joined by line feeds; empty in events that only carry an id.
    pub data: Vec<u8>,
    /// The last event id of the stream at this event.
    pub id: Option<String>,
}

/// An event that is larger than the limit. The reader reads no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {limit} bytes")]
pub struct TooLarge {
    /// The most bytes an event may have.
    pub limit: usize,
}

/// Reads a stream in whatever pieces it comes.
#[derive(Debug)]
pub struct Reader {
    limit: usize,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// The data lines of the event being read; `None` while there is none.
    data: Option<Vec<u8>>,
    kind: Option<String>,
    id: Option<String>,
    retry: Option<u64>,
    after_return: bool,
    begun: bool,
    failed: bool,
}

impl Reader {
    /// A reader that takes events of at most `limit` bytes: data, type and the line being read.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            data: None,
            kind: None,
            id: None,
            retry: None,
            after_return: false,
            begun: false,
            failed: false,
        }
    }

    /// Takes the next bytes and adds the events they complete.
    ///
    /// # Errors
    /// [`TooLarge`], now and ever after, once an event is larger than the limit; events before it are added.
    pub fn read(&mut self, mut bytes: &[u8], events: &mut Vec<Event>) -> Result<(), TooLarge> {
        if self.failed {
            return Err(self.too_large());
        }
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_return) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = memchr::memchr2(b'\r', b'\n', bytes) else {
                self.line.extend_from_slice(bytes);
                return self.check(self.line.len());
            };
            self.after_return = bytes[end] == b'\r';
            self.take_line(&bytes[..end], events)?;
            bytes = &bytes[end + 1..];
        }
        Ok(())
    }

    /// The id to resume after, when the stream gave one.
    #[must_use]
    pub fn last_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// How long to wait before resuming, in milliseconds, when the stream said so.
    #[must_use]
    pub const fn retry(&self) -> Option<u64> {
        self.retry
    }

    fn take_line(&mut self, end: &[u8], events: &mut Vec<Event>) -> Result<(), TooLarge> {
        self.check(self.line.len() + end.len())?;
        if self.line.is_empty() {
            self.finish_line(end, events);
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(end);
            self.finish_line(&line, events);
            line.clear();
            self.line = line;
        }
        Ok(())
    }

    fn finish_line(&mut self, line: &[u8], events: &mut Vec<Event>) {
        let line = if self.begun { line } else { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line) };
        self.begun = true;
        if line.is_empty() {
            self.dispatch(events);
            return;
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        self.take_field(field, value.strip_prefix(b" ").unwrap_or(value));
    }

    fn take_field(&mut self, field: &[u8], value: &[u8]) {
        match field {
            b"data" => match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_vec()),
            },
            b"event" => self.kind = Some(String::from_utf8_lossy(value).into_owned()).filter(|kind| !kind.is_empty()),
            b"id" if !value.contains(&0) => {
                self.id = Some(String::from_utf8_lossy(value).into_owned()).filter(|id| !id.is_empty());
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                self.retry = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()).or(self.retry);
            }
            // A comment has an empty field name; unknown fields are ignored.
            _ => {}
        }
    }

    fn dispatch(&mut self, events: &mut Vec<Event>) {
        let kind = self.kind.take();
        if let Some(data) = self.data.take() {
            events.push(Event { kind, data, id: self.id.clone() });
        }
    }

    /// Fails when the event would be too large with so many bytes of a line.
    fn check(&mut self, line: usize) -> Result<(), TooLarge> {
        let kind = self.kind.as_ref().map_or(0, String::len);
        let data = self.data.as_ref().map_or(0, Vec::len);
        if data + kind + line <= self.limit {
            return Ok(());
        }
        self.failed = true;
        (self.line, self.data) = (Vec::new(), None);
        Err(self.too_large())
    }

    const fn too_large(&self) -> TooLarge {
        TooLarge { limit: self.limit }
    }
}

/// A comment, which keeps an idle stream open.
pub const KEEP_ALIVE: &[u8] = b":\n\n";

/// Writes a message as an event.
pub fn write(stream: &mut Vec<u8>, message: &str) {
    // A line break may stand between the tokens of JSON that was forwarded as it was written.
    stream.reserve(message.len() + 8);
    let mut rest = message.as_bytes();
    loop {
        let end = memchr::memchr2(b'\r', b'\n', rest);
        stream.extend_from_slice(b"data: ");
        stream.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        stream.push(b'\n');
        let Some(end) = end else { break };
        rest = rest[end..].strip_prefix(b"\r\n").unwrap_or(&rest[end + 1..]);
    }
    stream.push(b'\n');
}

/// A message as the bytes of one event.
#[must_use]
pub fn event(message: &str) -> Vec<u8> {
    let mut stream = Vec::with_capacity(message.len() + 8);
    write(&mut stream, message);
    stream
}

#[cfg(test)]
mod tests;
