//! A plane as a program: logs, runs until it is told to end, lets what is under way finish.

use std::time::Duration;

use service::shutdown::Shutdown;
use service::telemetry::DEFAULT_FILTER;
use service::{Drain, telemetry};

/// How long what is under way may take once the program was told to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a plane. `SLUICE_LOG` filters its log (`info` when not set), `SLUICE_LOG_FORMAT` is `text` or `json`.
pub(crate) async fn run<F, E>(plane: impl FnOnce(Drain) -> F) -> anyhow::Result<()>
where
    F: Future<Output = Result<(), E>>,
    E: std::error::Error + Send + Sync + 'static,
{
    let format = crate::environment("SLUICE_LOG_FORMAT").map(|text| text.parse()).transpose()?.unwrap_or_default();
    telemetry::init(format, &crate::environment("SLUICE_LOG").unwrap_or_else(|| DEFAULT_FILTER.to_owned()))?;
    let (drain, mut shutdown) = (Drain::new(), Shutdown::on_signals()?);
    let running = plane(drain.clone());
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => ended?,
        _ = shutdown.requested() => {
            drain.begin();
            tokio::time::timeout(PATIENCE, running).await.unwrap_or(Ok(()))?;
        }
    }
    drain.begin();
    drain.finish(PATIENCE).await?;
    Ok(())
}
