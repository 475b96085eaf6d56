//! The life of a long-running command: its tasks, the signals that end it, and how it ends.
//!
//! The first SIGTERM or SIGINT stops the taking of work; what is under way is finished. A second one,
//! or the deadline, ends the process as it is: a window not committed is simply done again by the
//! next run. A critical task that ends by itself takes the others down with it, and the exit is not 0.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Ended, Exit};

/// Two seconds less than the ten that container tools wait before they kill.
const DEADLINE: Duration = Duration::from_secs(8);

/// How a life ended.
#[derive(Debug)]
pub enum Ending {
    /// Everything came to its end.
    Finished,
    /// A second signal or the deadline came first; tasks were left as they were.
    CutShort,
    /// A critical task ended by itself.
    Broken(anyhow::Error),
}

impl Ending {
    /// As a command ends: cut short is a failure, and a broken task tells its own exit.
    pub fn into_exit(self) -> Result<Exit, anyhow::Error> {
        match self {
            Self::Finished => Ok(Exit::Done),
            Self::CutShort => Err(Ended::new(Exit::Failed, "stopped before everything was finished").into()),
            Self::Broken(error) => Err(error),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Lifecycle {
    stopping: CancellationToken,
    halted: CancellationToken,
    tasks: TaskTracker,
    broken: Arc<Mutex<Option<anyhow::Error>>>,
}

impl Lifecycle {
    /// Listens for SIGTERM and SIGINT from now on. Must be called within a runtime.
    pub fn start() -> std::io::Result<Self> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (sender, signals) = mpsc::channel(4);
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                if sender.send(name).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self::with_signals(signals, DEADLINE))
    }

    fn with_signals(mut signals: mpsc::Receiver<&'static str>, deadline: Duration) -> Self {
        let lifecycle = Self {
            stopping: CancellationToken::new(),
            halted: CancellationToken::new(),
            tasks: TaskTracker::new(),
            broken: Arc::default(),
        };
        let (stopping, halted) = (lifecycle.stopping.clone(), lifecycle.halted.clone());
        tokio::spawn(async move {
            // The deadline counts from the stop, whoever asked for it.
            tokio::select! {
                Some(name) = signals.recv() => {
                    tracing::info!(signal = name, "Stopping: what is under way is finished first; a second signal stops at once.");
                    stopping.cancel();
                }
                () = stopping.cancelled() => {}
            }
            tokio::select! {
                Some(name) = signals.recv() => tracing::warn!(signal = name, "Stopping at once; what was under way is done again by the next run."),
                () = tokio::time::sleep(deadline) => {
                    tracing::warn!(seconds = deadline.as_secs(), "What is under way did not finish in time; the next run does it again.");
                }
            }
            halted.cancel();
        });
        lifecycle
    }

    /// Cancelled when no more work is to be taken. Never wrap a transaction in it.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Asks everything to stop, as a first signal does.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Runs a task without which the process is worth nothing. It may end once a stop was asked for;
    /// ending earlier, by an error, by a panic or without either, breaks the process.
    pub fn spawn_critical<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), anyhow::Error>> + Send + 'static,
    {
        let (stopping, broken) = (self.stopping.clone(), Arc::clone(&self.broken));
        self.tasks.spawn(async move {
            let ended = std::panic::AssertUnwindSafe(task).catch_unwind().await;
            let error = match ended {
                Ok(Ok(())) if stopping.is_cancelled() => None,
                Ok(Ok(())) => Some(anyhow::anyhow!("the task ended by itself")),
                Ok(Err(error)) => Some(error),
                // The panic hook has told the message.
                Err(_) => Some(anyhow::anyhow!("the task panicked")),
            };
            if let Some(error) = error {
                // The first cause counts: the others fall in its wake.
                let mut broken = broken.lock().unwrap_or_else(PoisonError::into_inner);
                broken.get_or_insert(error.context(format!("{name} has ended")));
                stopping.cancel();
            }
        });
    }

    /// Runs a task whose end means nothing by itself; the process waits for it when it stops.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(task);
    }

    /// Carries one piece of work to its end. After a stop it is waited for as tasks are: until the second
    /// signal or the deadline, and what is left then is left as it is.
    pub async fn complete<T, F>(&self, work: F) -> Result<T, anyhow::Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, anyhow::Error>> + Send + 'static,
    {
        let task = tokio::spawn(work);
        match self.halted.run_until_cancelled(task).await {
            Some(Ok(ended)) => ended,
            // The panic hook has told the message.
            Some(Err(_)) => Err(anyhow::anyhow!("the work panicked")),
            None => Err(Ended::new(Exit::Partly, "stopped before everything was finished").into()),
        }
    }

    /// Waits for the stop, then for the tasks, at most until the second signal or the deadline.
    pub async fn wait(self) -> Ending {
        self.stopping.cancelled().await;
        self.tasks.close();
        let is_finished = self.halted.run_until_cancelled(self.tasks.wait()).await.is_some();
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (broken, is_finished) {
            (Some(error), _) => Ending::Broken(error),
            (None, true) => Ending::Finished,
            (None, false) => Ending::CutShort,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::from_hours(1);

    fn life(deadline: Duration) -> (mpsc::Sender<&'static str>, Lifecycle) {
        let (sender, signals) = mpsc::channel(4);
        (sender, Lifecycle::with_signals(signals, deadline))
    }

    #[tokio::test]
    async fn a_signal_lets_tasks_finish() {
        let (signals, life) = life(NEVER);
        let stopping = life.stopping();
        life.spawn_critical("work", async move {
            stopping.cancelled().await;
            Ok(())
        });
        signals.send("SIGTERM").await.expect("a listener");
        assert!(matches!(life.wait().await, Ending::Finished));
    }

    #[tokio::test]
    async fn a_second_signal_waits_for_nobody() {
        let (signals, life) = life(NEVER);
        life.spawn_critical("work", std::future::pending());
        signals.send("SIGTERM").await.expect("a listener");
        signals.send("SIGTERM").await.expect("a listener");
        assert!(matches!(life.wait().await, Ending::CutShort));
    }

    #[tokio::test]
    async fn the_deadline_waits_for_nobody() {
        let (_signals, life) = life(Duration::from_millis(1));
        life.spawn(std::future::pending());
        life.stop();
        assert!(matches!(life.wait().await, Ending::CutShort));
    }

    #[tokio::test]
    async fn a_critical_task_that_ends_breaks_the_process() {
        let (_signals, quiet) = life(NEVER);
        quiet.spawn_critical("planner", async { Ok(()) });
        let Ending::Broken(error) = quiet.wait().await else { panic!("a broken end") };
        assert_eq!(format!("{error:#}"), "planner has ended: the task ended by itself");

        let (_signals, failing) = life(NEVER);
        failing.spawn_critical("planner", async { Err(Ended::new(Exit::OutOfReach, "no database").into()) });
        let error = failing.wait().await.into_exit().expect_err("a broken end");
        assert_eq!(crate::cli::exit::of(&error), Exit::OutOfReach);

        let (_signals, panicking) = life(NEVER);
        panicking.spawn_critical("planner", async { panic!("a planted panic") });
        assert!(matches!(panicking.wait().await, Ending::Broken(_)));
    }

    #[tokio::test]
    async fn the_first_broken_task_is_the_one_told() {
        let (_signals, life) = life(NEVER);
        let stopping = life.stopping();
        life.spawn_critical("first", async { Err(anyhow::anyhow!("cause")) });
        life.spawn_critical("second", async move {
            stopping.cancelled().await;
            Err(anyhow::anyhow!("wake"))
        });
        let Ending::Broken(error) = life.wait().await else { panic!("a broken end") };
        assert_eq!(format!("{error:#}"), "first has ended: cause");
    }
}
