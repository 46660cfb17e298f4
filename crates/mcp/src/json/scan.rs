//! One pass over a JSON text: syntax, depth, duplicate keys and forbidden characters, remembering where values stand.

use std::borrow::Cow;

use super::{JsonError, Limits, Object, Raw, Texts};

type Result<T> = std::result::Result<T, JsonError>;

/// Reads values from a text, front to back.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth_left: usize,
    texts: Texts,
    /// The keys of the open objects, outermost first; each object checks and drops its own when it closes.
    keys: Vec<Cow<'a, str>>,
}

impl<'a> Scanner<'a> {
    /// Begins before the first byte.
    pub(crate) fn new(text: &'a str, limits: &Limits) -> Self {
        Self { text, at: 0, depth_left: limits.depth.min(Limits::DEEPEST), texts: limits.texts, keys: Vec::new() }
    }

    /// Begins before the first byte of a text that has passed its limits before.
    pub(super) fn trusted(text: &'a str) -> Self {
        Self::new(text, &Limits::upstream())
    }

    /// The next byte that is not space; not taken.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Makes sure that nothing but space is left.
    pub(crate) fn end(&mut self) -> Result<()> {
        if self.peek().is_none() { Ok(()) } else { Err(self.syntax()) }
    }

    /// Takes one value.
    pub(crate) fn value(&mut self) -> Result<Raw<'a>> {
        self.peek();
        let start = self.at;
        self.skip_value()?;
        Ok(Raw(&self.text[start..self.at]))
    }

    /// Takes one object, keeping its members.
    pub(crate) fn object(&mut self) -> Result<Object<'a>> {
        self.peek();
        let start = self.at;
        let mut members = Vec::with_capacity(4);
        self.members(|scanner, key| {
            members.push((key, scanner.value()?));
            Ok(())
        })?;
        Ok(Object { raw: Raw(&self.text[start..self.at]), members })
    }

    /// Takes one array, keeping its items.
    pub(super) fn array(&mut self) -> Result<Vec<Raw<'a>>> {
        let mut items = Vec::new();
        self.items(|scanner| {
            items.push(scanner.value()?);
            Ok(())
        })?;
        Ok(items)
    }

    /// Takes one object, giving each key to `member`, which takes the value.
    pub(crate) fn members(&mut self, mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Result<()>) -> Result<()> {
        self.open(b'{')?;
        let first_key = self.keys.len();
        if self.peek() == Some(b'}') {
            self.at += 1;
        } else {
            loop {
                let key = self.key()?;
                self.expect(b':')?;
                self.keys.push(key.clone());
                member(self, key)?;
                if self.closes(b'}')? {
                    break;
                }
            }
        }
        if has_twins(&mut self.keys[first_key..]) {
            return Err(JsonError::DuplicateKey { at: self.at });
        }
        self.keys.truncate(first_key);
        self.depth_left += 1;
        Ok(())
    }

    /// Takes one array, letting `item` take each value.
    pub(crate) fn items(&mut self, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.open(b'[')?;
        if self.peek() == Some(b']') {
            self.at += 1;
        } else {
            loop {
                item(self)?;
                if self.closes(b']')? {
                    break;
                }
            }
        }
        self.depth_left += 1;
        Ok(())
    }

    fn open(&mut self, bracket: u8) -> Result<()> {
        self.expect(bracket)?;
        self.depth_left = self.depth_left.checked_sub(1).ok_or(JsonError::TooDeep { at: self.at - 1 })?;
        Ok(())
    }

    /// Takes the comma or the closing bracket after a value.
    fn closes(&mut self, bracket: u8) -> Result<bool> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(false)
            }
            Some(byte) if byte == bracket => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.syntax()),
        }
    }

    fn expect(&mut self, wanted: u8) -> Result<()> {
        if self.peek() != Some(wanted) {
            return Err(self.syntax());
        }
        self.at += 1;
        Ok(())
    }

    fn key(&mut self) -> Result<Cow<'a, str>> {
        if self.peek() != Some(b'"') {
            return Err(self.syntax());
        }
        let start = self.at;
        let escaped = self.skip_string()?;
        let quoted = &self.text[start..self.at];
        if escaped {
            // Two spellings of one key are one key.
            serde_json::from_str(quoted).map(Cow::Owned).map_err(|_| JsonError::Syntax { at: start })
        } else {
            Ok(Cow::Borrowed(&quoted[1..quoted.len() - 1]))
        }
    }

    fn skip_value(&mut self) -> Result<()> {
        match self.peek() {
            Some(b'"') => self.skip_string().map(drop),
            Some(b'{') => self.members(|scanner, _| scanner.skip_value()),
            Some(b'[') => self.items(Self::skip_value),
            Some(b'-' | b'0'..=b'9') => self.skip_number(),
            Some(b't') => self.skip_word("true"),
            Some(b'f') => self.skip_word("false"),
            Some(b'n') => self.skip_word("null"),
            _ => Err(self.syntax()),
        }
    }

    fn skip_word(&mut self, word: &str) -> Result<()> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.syntax());
        }
        self.at += word.len();
        Ok(())
    }

    /// RFC 8259, 6: `[-] (0 | 1-9 digits) [. digits] [e [+-] digits]`.
    fn skip_number(&mut self) -> Result<()> {
        self.skip_if(|byte| byte == b'-');
        if !self.skip_if(|byte| byte == b'0') {
            self.skip_digits()?;
        }
        if self.skip_if(|byte| byte == b'.') {
            self.skip_digits()?;
        }
        if self.skip_if(|byte| matches!(byte, b'e' | b'E')) {
            self.skip_if(|byte| matches!(byte, b'+' | b'-'));
            self.skip_digits()?;
        }
        Ok(())
    }

    fn skip_if(&mut self, wanted: impl Fn(u8) -> bool) -> bool {
        let found = self.text.as_bytes().get(self.at).is_some_and(|byte| wanted(*byte));
        self.at += usize::from(found);
        found
    }

    fn skip_digits(&mut self) -> Result<()> {
        let digits = self.text.as_bytes()[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        if digits == 0 { Err(self.syntax()) } else { Ok(()) }
    }

    /// Takes a string and says whether it has escapes.
    fn skip_string(&mut self) -> Result<bool> {
        let bytes = self.text.as_bytes();
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain_length(&bytes[self.at..]);
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    match bytes.get(self.at + 1) {
                        // By far the most common.
                        Some(b'"' | b'\\' | b'n') => self.at += 2,
                        _ => self.skip_escape()?,
                    }
                }
                _ => return Err(self.syntax()),
            }
        }
    }

    fn skip_escape(&mut self) -> Result<()> {
        let at = self.at;
        match self.text.as_bytes().get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') if self.texts == Texts::Any => self.unit().map(drop),
            Some(b'u') => match self.unit()? {
                0 => Err(JsonError::NullCharacter { at }),
                0xD800..=0xDBFF => match self.unit() {
                    Ok(0xDC00..=0xDFFF) => Ok(()),
                    _ => Err(JsonError::LoneSurrogate { at }),
                },
                0xDC00..=0xDFFF => Err(JsonError::LoneSurrogate { at }),
                _ => Ok(()),
            },
            _ => Err(self.syntax()),
        }
    }

    /// Takes one `\u` and four hexadecimal digits.
    fn unit(&mut self) -> Result<u16> {
        let digits = self
            .text
            .get(self.at..self.at + 6)
            .and_then(|escape| escape.strip_prefix("\\u"))
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .ok_or_else(|| self.syntax())?;
        let unit = u16::from_str_radix(digits, 16).map_err(|_| self.syntax())?;
        self.at += 6;
        Ok(unit)
    }

    const fn syntax(&self) -> JsonError {
        JsonError::Syntax { at: self.at }
    }
}

/// Whether two of the keys are equal. Sorts where comparing each with each would be slow.
fn has_twins(keys: &mut [Cow<'_, str>]) -> bool {
    if keys.len() <= 8 {
        return keys.iter().enumerate().any(|(index, key)| keys[..index].contains(key));
    }
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}

/// How many bytes come before the first quote, backslash or control character; eight at a time.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // Zero bytes get their high bit; a borrow may mark a byte wrongly, but only above the lowest right one.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut length = 0;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found = controls | zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return length + (found.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    length + rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count()
}
