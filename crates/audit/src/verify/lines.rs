//! Reads a bundle from wherever its lines come, and verifies it.

use std::io::{self, BufRead};

use super::{NotABundle, Report, Verifier};
use crate::bundle::LINE_MAX;
use crate::note::{Checkpoint, VerifierKeys};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It can't be read.
    #[error("it can't be read")]
    Io(#[from] io::Error),
    /// It is none.
    #[error(transparent)]
    NotABundle(#[from] NotABundle),
}

/// Verifies a bundle, unpacked. `since` is a checkpoint that was kept before, read with the same keys.
///
/// # Errors
/// [`ReadError`] when it can't be read or is no bundle. One that was cut off while packed is a bundle that ends too early.
pub fn verify(
    lines: impl BufRead,
    keys: impl Into<VerifierKeys>,
    since: Option<Checkpoint>,
) -> Result<Report, ReadError> {
    let (mut verifier, mut begin) = (None, Some((keys.into(), since)));
    each(lines, |line| match (&mut verifier, begin.take()) {
        (_, Some((keys, since))) => verifier = Some(Verifier::new(keys, since, line)),
        (Some(Ok(verifier)), None) => verifier.line(line),
        (Some(Err(_)) | None, None) => {}
    })?;
    Ok(verifier.unwrap_or(Err(NotABundle))?.finish())
}

/// Takes each line where it lies, without its end. One that is too long is cut, and then is none; what is cut off while
/// packed ends where it was cut.
fn each(mut lines: impl BufRead, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let cut = |line: &[u8], room: usize| line.len().min(room);
    let mut carried = Vec::new();
    loop {
        let read = match lines.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            read => read?,
        };
        if read.is_empty() {
            break;
        }
        let mut rest = read;
        while let Some((line, after)) = memchr::memchr(b'\n', rest).map(|end| (&rest[..end], &rest[end + 1..])) {
            if carried.is_empty() {
                take(&line[..cut(line, LINE_MAX)]);
            } else {
                carried.extend_from_slice(&line[..cut(line, LINE_MAX - carried.len())]);
                take(&carried);
                carried.clear();
            }
            rest = after;
        }
        carried.extend_from_slice(&rest[..cut(rest, LINE_MAX - carried.len())]);
        let all = read.len();
        lines.consume(all);
    }
    if !carried.is_empty() {
        take(&carried);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn lines_are_the_same_however_they_are_read() {
        let text = b"one\n\ntwo and more\nlast";
        for size in 1..30 {
            let mut lines = Vec::new();
            each(BufReader::with_capacity(size, &text[..]), |line| lines.push(line.to_vec())).unwrap();
            assert_eq!(lines, [&b"one"[..], b"", b"two and more", b"last"], "{size}");
        }
        let long = vec![b'x'; LINE_MAX + 7];
        for size in [1000, LINE_MAX * 2] {
            let mut lengths = Vec::new();
            each(BufReader::with_capacity(size, &long[..]), |line| lengths.push(line.len())).unwrap();
            assert_eq!(lengths, [LINE_MAX], "{size}");
        }
    }
}
