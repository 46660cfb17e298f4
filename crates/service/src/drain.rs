//! How a program ends: it lets others turn away, takes nothing new, finishes what it has, and after a while drops the rest.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Owns every spawned task of a program and ends them in two steps, which it may announce. Cloning is cheap; all clones are
/// one.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    leaving: CancellationToken,
    begun: CancellationToken,
    ended: CancellationToken,
    tasks: TaskTracker,
}

/// Tasks that were dropped because they did not finish in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{tasks} tasks did not finish in time and were dropped")]
pub struct Unfinished {
    /// How many.
    pub tasks: usize,
}

impl Drain {
    /// A program that has just begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns a task that this drain waits for. It is dropped at the second step, wherever it waits then.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        // A token of the task's own: asked each time the task runs, it is no place where all cores meet.
        let ended = self.ended.child_token();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = task => {}
                () = ended.cancelled() => {}
            }
        })
    }

    /// Announces the end: not ready any more, but everything that comes is still taken. Whoever deals out connections has
    /// time to turn to others before one is refused.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// Fires when the end is announced, at the first step at the latest.
    #[must_use]
    pub fn leaving(&self) -> &CancellationToken {
        &self.leaving
    }

    /// First step: take nothing new and come to an end.
    pub fn begin(&self) {
        self.leaving.cancel();
        self.begun.cancel();
    }

    /// Fires at the first step.
    #[must_use]
    pub fn begun(&self) -> &CancellationToken {
        &self.begun
    }

    /// Fires at the second step: the time is over.
    #[must_use]
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Takes both steps: begins, waits for the tasks at most `patience`, then drops those left.
    ///
    /// # Errors
    /// [`Unfinished`] when some had to be dropped.
    pub async fn finish(&self, patience: Duration) -> Result<(), Unfinished> {
        self.begin();
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_ok() {
            return Ok(());
        }
        let tasks = self.tasks.len();
        self.ended.cancel();
        self.tasks.wait().await;
        Err(Unfinished { tasks })
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_when_told_to_is_waited_for() {
        let drain = Drain::new();
        let (done, finished) = oneshot::channel();
        let begun = drain.begun().clone();
        drain.spawn(async move {
            begun.cancelled().await;
            tokio::task::yield_now().await;
            let _ = done.send(());
        });
        assert_eq!(drain.finish(Duration::from_secs(10)).await, Ok(()));
        assert_eq!(finished.await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_dropped_and_counted() {
        let drain = Drain::new();
        let (held, dropped) = oneshot::channel::<()>();
        drain.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        assert_eq!(drain.finish(Duration::from_secs(10)).await, Err(Unfinished { tasks: 1 }));
        assert!(dropped.await.is_err(), "what the task held is gone");
    }
}
