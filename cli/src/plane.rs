//! A plane as a program: logs, runs until it is told to end, lets others turn away and what is under way finish.

use std::time::Duration;

use anyhow::Context as _;
use service::shutdown::Shutdown;
use service::telemetry::DEFAULT_FILTER;
use service::{Drain, telemetry};

/// How long what is under way may take once the program was told to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a plane. `SLUICE_LOG` filters its log (`info` when not set), `SLUICE_LOG_FORMAT` is `text` or `json`.
///
/// Told to end, it is not ready from then on, goes on for `SLUICE_LEAVE_S` seconds (0 when not set; a second signal cuts
/// them short), and then takes nothing new.
pub(crate) async fn run<F, E>(plane: impl FnOnce(Drain) -> F) -> anyhow::Result<()>
where
    F: Future<Output = Result<(), E>>,
    E: std::error::Error + Send + Sync + 'static,
{
    let format = crate::environment("SLUICE_LOG_FORMAT").map(|text| text.parse()).transpose()?.unwrap_or_default();
    telemetry::init(format, &crate::environment("SLUICE_LOG").unwrap_or_else(|| DEFAULT_FILTER.to_owned()))?;
    let leave = leave_for(crate::environment("SLUICE_LEAVE_S"))?;
    let (drain, mut shutdown) = (Drain::new(), Shutdown::on_signals()?);
    let running = plane(drain.clone());
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => ended?,
        () = told_to_leave(&mut shutdown, &drain, leave) => {
            drain.begin();
            tokio::time::timeout(PATIENCE, running).await.unwrap_or(Ok(()))?;
        }
    }
    drain.begin();
    drain.finish(PATIENCE).await?;
    Ok(())
}

/// Waits until the plane is told to end, announces it, and lets the time pass in which others turn away.
async fn told_to_leave(shutdown: &mut Shutdown, drain: &Drain, leave: Duration) {
    shutdown.requested().await;
    drain.leave();
    tokio::select! {
        () = tokio::time::sleep(leave) => {}
        _ = shutdown.requested() => {}
    }
}

fn leave_for(text: Option<String>) -> anyhow::Result<Duration> {
    let seconds = text.map_or(Some(0), |text| text.parse().ok().filter(|seconds| *seconds <= 3600));
    seconds.map(Duration::from_secs).context("SLUICE_LEAVE_S is wrong: it must be a number of seconds from 0 to 3600")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_leave_is_none_unless_it_is_set() {
        let read = |text: &str| leave_for(Some(text.to_owned())).ok();
        assert_eq!(leave_for(None).unwrap(), Duration::ZERO);
        assert_eq!(read("10"), Some(Duration::from_secs(10)));
        assert_eq!((read("3601"), read("-1"), read("10s")), (None, None, None));
    }
}
