//! How a loop and a service live.

use std::any::Any;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::{Backoff, Jitter};
use crate::status::{TaskRecord, TaskState};
use crate::wake::Wake;

/// When a loop runs.
#[derive(Debug, Clone)]
pub struct LoopSpec {
    /// Name in the status and in logs; by convention what the loop keeps true.
    pub name: String,
    /// Safety tick: longest time between the end of a run and the next one.
    pub period: Duration,
    /// Quiet time after a wake-up before the run begins; zero runs at once.
    pub debounce: Duration,
    /// Longest time a wake-up may be held back by others that follow it.
    pub max_wait: Duration,
    /// Waits after failures.
    pub backoff: Backoff,
}

impl LoopSpec {
    /// A loop with this safety tick, a debounce of 20 ms, a longest wait of 200 ms and the default backoff.
    pub fn new(name: impl Into<String>, period: Duration) -> Self {
        LoopSpec {
            name: name.into(),
            period,
            debounce: Duration::from_millis(20),
            max_wait: Duration::from_millis(200),
            backoff: Backoff::default(),
        }
    }

    /// Sets the debounce and the longest wait.
    #[must_use]
    pub fn debounce(mut self, quiet: Duration, max_wait: Duration) -> Self {
        self.debounce = quiet;
        self.max_wait = max_wait;
        self
    }

    /// Sets the backoff.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }
}

/// What the end of a service means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExit {
    /// The node cannot go on without it: [`crate::Supervisor::fatal`] completes.
    StopNode,
    /// It is started again after a wait. Having run for longer than the backoff's longest wait clears its failures.
    Restart(Backoff),
}

/// What a body is given.
#[derive(Debug, Clone)]
pub struct TaskContext {
    /// Name of the task.
    pub name: Arc<str>,
    /// Cancelled when the task is to stop: finish or give up what is under way, and return.
    pub shutdown: CancellationToken,
}

/// One pass of a loop. Closures that take a [`TaskContext`] are bodies; a struct with state of its own implements this.
pub trait LoopBody: Send + 'static {
    /// Why a pass failed.
    type Error: Display + Send;

    /// Makes one full, idempotent pass.
    ///
    /// It is dropped in the middle only when the drain's deadline has passed; otherwise it ends by itself, soon after
    /// `context.shutdown` is cancelled.
    fn run(&mut self, context: &TaskContext) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

impl<F, R, E> LoopBody for F
where
    F: FnMut(TaskContext) -> R + Send + 'static,
    R: Future<Output = Result<(), E>> + Send,
    E: Display + Send,
{
    type Error = E;

    fn run(&mut self, context: &TaskContext) -> impl Future<Output = Result<(), E>> + Send {
        self(context.clone())
    }
}

pub(crate) async fn run_loop<B: LoopBody>(
    spec: LoopSpec,
    wake: Wake,
    mut body: B,
    record: Arc<TaskRecord>,
    jitter: Jitter,
) {
    let shutdown = record.shutdown.clone();
    let context = TaskContext { name: spec.name.as_str().into(), shutdown: shutdown.clone() };
    while !shutdown.is_cancelled() {
        record.begin_run();
        let wait = match guarded(async { body.run(&context).await }).await {
            Ok(()) => {
                record.succeeded();
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return,
                    () = wake.notified() => settle(&spec, &wake, &shutdown).await,
                    () = tokio::time::sleep(spec.period) => {}
                }
                continue;
            }
            Err(text) if shutdown.is_cancelled() => {
                tracing::debug!(task = %spec.name, error = %text, "last pass failed while stopping");
                return;
            }
            Err(text) => spec.backoff.delay(record.failed(&text), jitter()),
        };
        record.set_state(TaskState::Backoff);
        // Wake-ups do not cut the wait short: a broken loop with busy neighbours would otherwise spin.
        let _ = tokio::time::timeout(wait, shutdown.cancelled()).await;
    }
}

/// Waits until wake-ups have been quiet for the debounce, but no longer than `max_wait` after the oldest unanswered one.
async fn settle(spec: &LoopSpec, wake: &Wake, shutdown: &CancellationToken) {
    let latest = wake.pending_since().unwrap_or_else(Instant::now) + spec.max_wait;
    loop {
        let quiet_at = (Instant::now() + spec.debounce).min(latest);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep_until(quiet_at) => return,
            () = wake.notified() => {}
        }
    }
}

pub(crate) async fn run_service<S, R, E>(
    on_exit: OnExit,
    mut start: S,
    record: Arc<TaskRecord>,
    jitter: Jitter,
    fatal: impl Fn(String) + Send,
) where
    S: FnMut(TaskContext) -> R + Send,
    R: Future<Output = Result<(), E>> + Send,
    E: Display,
{
    let shutdown = record.shutdown.clone();
    let context = TaskContext { name: record.name.as_str().into(), shutdown: shutdown.clone() };
    while !shutdown.is_cancelled() {
        record.begin_run();
        let began = Instant::now();
        let outcome = guarded(async { start(context.clone()).await }).await;
        if shutdown.is_cancelled() {
            if let Err(text) = outcome {
                tracing::debug!(task = %record.name, error = %text, "failed while stopping");
            }
            return;
        }
        let text = outcome.err().unwrap_or_else(|| "ended without being asked to".to_owned());
        match on_exit {
            OnExit::StopNode => {
                record.failed(&text);
                fatal(text);
                return;
            }
            OnExit::Restart(backoff) => {
                if began.elapsed() > backoff.max {
                    record.forget_failures();
                }
                let wait = backoff.delay(record.failed(&text), jitter());
                record.set_state(TaskState::Backoff);
                let _ = tokio::time::timeout(wait, shutdown.cancelled()).await;
            }
        }
    }
}

/// Runs a future to its end; an error or a panic becomes its text.
async fn guarded<E: Display>(future: impl Future<Output = Result<(), E>>) -> Result<(), String> {
    // A body whose pass panicked is run again: it makes a full pass, so state left half-way by the panic is looked at anew.
    match AssertUnwindSafe(future).catch_unwind().await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => Err(format!("panic: {}", panic_text(panic.as_ref()))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}
