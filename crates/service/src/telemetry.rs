//! Logs on standard error, as text for people or JSON for machines.

use std::io;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// What is logged when nothing else is asked for.
pub const DEFAULT_FILTER: &str = "info";

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter can't be read.
    #[error("the log filter must look like `info,data_plane=debug`")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody else logs already.
    #[error("logging was begun twice")]
    Twice(#[from] TryInitError),
}

/// The text is no format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log format must be `text` or `json`")]
pub struct FormatError;

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(FormatError),
        }
    }
}

/// Begins to log, for the whole process, what `filter` lets through.
///
/// # Errors
/// [`TelemetryError`] when the filter can't be read or logging has begun already.
pub fn init(format: Format, filter: &str) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(filter)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        Format::Text => log.with_ansi(false).finish().try_init()?,
        Format::Json => {
            log.json().flatten_event(true).with_current_span(true).with_span_list(false).finish().try_init()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_can_not_be_read_is_an_error_and_not_silence() {
        assert!(matches!(init(Format::Text, "data_plane=loud"), Err(TelemetryError::Filter(_))));
    }

    #[test]
    fn a_format_is_text_or_json() {
        assert_eq!(("json".parse(), "text".parse()), (Ok(Format::Json), Ok(Format::Text)));
        assert_eq!("JSON".parse::<Format>(), Err(FormatError));
    }
}
