//! What is known of each task.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::repeat::FailureLog;
use crate::wake::Wake;

/// What a task is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// A loop that waits for a wake-up or its tick.
    Idle,
    /// Its body runs.
    Running,
    /// It failed and waits before it tries again.
    Backoff,
    /// It has ended.
    Stopped,
}

impl TaskState {
    /// The word used in output.
    pub fn as_str(self) -> &'static str {
        match self {
            TaskState::Idle => "idle",
            TaskState::Running => "running",
            TaskState::Backoff => "backoff",
            TaskState::Stopped => "stopped",
        }
    }
}

/// One line of `jaco node status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    /// Name given at the spawn.
    pub name: String,
    /// What it is doing.
    pub state: TaskState,
    /// Failures since its last success; panics are failures.
    pub errors_in_a_row: u32,
    /// Failures since its spawn.
    pub errors_total: u64,
    /// Text of the last failure, kept after a success until the next one.
    pub last_error: Option<String>,
    /// Runs begun since its spawn.
    pub runs: u64,
    /// Time since the last run began; `None` before the first.
    pub since_last_run: Option<Duration>,
    /// How late it is: how long the oldest unanswered wake-up has waited, or, when there is none, how long the last answered one had to.
    pub lag: Duration,
}

/// The part of a task that its supervisor and its status see.
#[derive(Debug)]
pub(crate) struct TaskRecord {
    pub(crate) name: String,
    pub(crate) shutdown: CancellationToken,
    /// Cancelled when the task has ended, however it ended.
    pub(crate) ended: CancellationToken,
    abort: OnceLock<AbortHandle>,
    wake: Option<Wake>,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    state: TaskState,
    errors_in_a_row: u32,
    errors_total: u64,
    last_error: Option<String>,
    runs: u64,
    last_run: Option<Instant>,
    last_lag: Duration,
    log: FailureLog,
}

impl TaskRecord {
    pub(crate) fn new(name: String, shutdown: CancellationToken, wake: Option<Wake>) -> Self {
        let progress = Progress {
            state: TaskState::Idle,
            errors_in_a_row: 0,
            errors_total: 0,
            last_error: None,
            runs: 0,
            last_run: None,
            last_lag: Duration::ZERO,
            log: FailureLog::default(),
        };
        let (ended, abort) = (CancellationToken::new(), OnceLock::new());
        TaskRecord { name, shutdown, ended, abort, wake, progress: Mutex::new(progress) }
    }

    pub(crate) fn set_abort(&self, handle: AbortHandle) {
        // Set once, right after the spawn.
        let _ = self.abort.set(handle);
    }

    pub(crate) fn abort(&self) {
        if let Some(handle) = self.abort.get() {
            handle.abort();
        }
    }

    fn with<R>(&self, change: impl FnOnce(&mut Progress) -> R) -> R {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_state(&self, state: TaskState) {
        self.with(|progress| progress.state = state);
    }

    pub(crate) fn begin_run(&self) {
        let now = Instant::now();
        let woken_at = self.wake.as_ref().and_then(Wake::answer);
        self.with(|progress| {
            progress.state = TaskState::Running;
            progress.runs += 1;
            progress.last_run = Some(now);
            progress.last_lag = woken_at.map_or(Duration::ZERO, |at| now.duration_since(at));
        });
    }

    pub(crate) fn succeeded(&self) {
        let ended = self.with(|progress| {
            progress.state = TaskState::Idle;
            progress.errors_in_a_row = 0;
            progress.log.recovered(Instant::now())
        });
        if let Some(report) = ended {
            tracing::info!(task = %self.name, failures = report.count, lasting = ?report.lasting, "task works again");
        }
    }

    /// Counts and logs a failure; returns the number of failures in a row.
    pub(crate) fn failed(&self, text: &str) -> u32 {
        let (failures, report) = self.with(|progress| {
            progress.errors_in_a_row = progress.errors_in_a_row.saturating_add(1);
            progress.errors_total += 1;
            let report = progress.log.failed(text, Instant::now());
            progress.last_error = Some(text.to_owned());
            (progress.errors_in_a_row, report)
        });
        if let Some(report) = report {
            tracing::warn!(task = %self.name, error = text, times = report.count, lasting = ?report.lasting, "task failed");
        }
        failures
    }

    /// Forgets earlier failures of a service that has since run for long enough.
    pub(crate) fn forget_failures(&self) {
        self.with(|progress| progress.errors_in_a_row = 0);
    }

    pub(crate) fn status(&self) -> TaskStatus {
        let now = Instant::now();
        let waiting = self.wake.as_ref().and_then(Wake::pending_since).map(|at| now.duration_since(at));
        self.with(|progress| TaskStatus {
            name: self.name.clone(),
            state: progress.state,
            errors_in_a_row: progress.errors_in_a_row,
            errors_total: progress.errors_total,
            last_error: progress.last_error.clone(),
            runs: progress.runs,
            since_last_run: progress.last_run.map(|at| now.duration_since(at)),
            lag: waiting.unwrap_or(progress.last_lag),
        })
    }
}

/// Marks a task as ended when dropped, so that an aborted task is marked as well.
pub(crate) struct EndMark(pub(crate) std::sync::Arc<TaskRecord>);

impl Drop for EndMark {
    fn drop(&mut self) {
        self.0.set_state(TaskState::Stopped);
        self.0.ended.cancel();
    }
}
