//! Logs on standard error, as text for people or JSON for machines.

use std::io;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// What is logged when nothing else is asked for.
pub const DEFAULT_FILTER: &str = "info,sqlx=warn";

/// What is not logged unless the filter names it: these log, as errors, what every caller of theirs deals with, and
/// repeat what a server of secrets answered.
const QUIET: &str = "vaultrs=off,rustify=off";

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
    Filter(#[from] ParseError),
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
    let log = tracing_subscriber::fmt().with_env_filter(quietened(filter)?).with_writer(io::stderr);
    match format {
        Format::Text => log.with_ansi(false).finish().try_init()?,
        Format::Json => {
            log.json().flatten_event(true).with_current_span(true).with_span_list(false).finish().try_init()?;
        }
    }
    Ok(())
}

fn quietened(filter: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(format!("{QUIET},{filter}"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a filter lets through.
    fn logged(filter: &str) -> String {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_env_filter(quietened(filter).unwrap());
        let subscriber = subscriber.with_writer(move || writer.clone());
        tracing::subscriber::with_default(subscriber.finish(), || {
            tracing::error!(target: "vaultrs::api", "theirs");
            tracing::debug!(target: "data_plane", "ours");
        });
        String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_client_of_secrets_logs_only_where_the_filter_names_it() {
        for (filter, theirs, ours) in
            [("trace", false, true), ("info", false, false), ("info,vaultrs=error", true, false)]
        {
            let log = logged(filter);
            assert_eq!((log.contains("theirs"), log.contains("ours")), (theirs, ours), "{filter}: {log}");
        }
    }

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
