//! The owner of all tasks.

use std::fmt::{self, Display};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::backoff::Jitter;
use crate::drain::{self, DrainReport};
use crate::run::{self, LoopBody, LoopSpec, OnExit, TaskContext};
use crate::status::{EndMark, TaskRecord, TaskStatus};
use crate::wake::Wake;

/// A service that the node cannot do without has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FatalExit {
    /// Name of the task.
    pub task: String,
    /// Why it ended.
    pub reason: String,
}

impl Display for FatalExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.task, self.reason)
    }
}

/// Owns every task of the process. Clones are handles to the same owner; a task that holds one keeps the owner alive until it ends.
#[derive(Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

struct Inner {
    tasks: Mutex<Tasks>,
    fatal: watch::Sender<Option<FatalExit>>,
    jitter: Jitter,
}

struct Tasks {
    set: JoinSet<()>,
    records: Vec<Arc<TaskRecord>>,
    draining: bool,
}

impl Default for Supervisor {
    fn default() -> Self {
        Supervisor::new()
    }
}

impl Supervisor {
    /// A supervisor without tasks, with random jitter.
    pub fn new() -> Self {
        Supervisor::with_jitter(rand::random::<f64>)
    }

    /// A supervisor whose jitter comes from `jitter`, which returns numbers in `0.0..1.0`.
    pub fn with_jitter(jitter: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        let tasks = Tasks { set: JoinSet::new(), records: Vec::new(), draining: false };
        let (fatal, _) = watch::channel(None);
        Supervisor { inner: Arc::new(Inner { tasks: Mutex::new(tasks), fatal, jitter: Arc::new(jitter) }) }
    }

    /// Starts a loop: `body` runs at once, then on each `wake` and on the safety tick. Must be called inside a tokio runtime.
    pub fn spawn_loop<B: LoopBody>(&self, spec: LoopSpec, wake: Wake, body: B) {
        let record = TaskRecord::new(spec.name.clone(), CancellationToken::new(), Some(wake.clone()));
        let jitter = Arc::clone(&self.inner.jitter);
        self.own(record, |record| run::run_loop(spec, wake, body, record, jitter));
    }

    /// Starts a service: the future that `start` makes is expected to run until its context's `shutdown` is cancelled; any other end,
    /// also one without an error, leads to what `on_exit` says. `start` is called again for each restart. Must be called inside a tokio
    /// runtime.
    pub fn spawn_service<S, R, E>(&self, name: impl Into<String>, on_exit: OnExit, start: S)
    where
        S: FnMut(TaskContext) -> R + Send + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + 'static,
    {
        let record = TaskRecord::new(name.into(), CancellationToken::new(), None);
        let jitter = Arc::clone(&self.inner.jitter);
        let (fatal, name) = (self.inner.fatal.clone(), record.name.clone());
        let report = move |reason: String| {
            fatal.send_if_modified(|first| {
                if first.is_some() {
                    return false;
                }
                *first = Some(FatalExit { task: name.clone(), reason });
                true
            });
        };
        self.own(record, |record| run::run_service(on_exit, start, record, jitter, report));
    }

    fn own<F>(&self, record: TaskRecord, task: impl FnOnce(Arc<TaskRecord>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let record = Arc::new(record);
        let mut tasks = self.tasks();
        if tasks.draining {
            tracing::debug!(task = %record.name, "not started: the node is stopping");
            return;
        }
        while tasks.set.try_join_next().is_some() {}
        tasks.records.retain(|other| other.name != record.name || !other.ended.is_cancelled());
        let mark = EndMark(Arc::clone(&record));
        let future = task(Arc::clone(&record));
        let abort = tasks.set.spawn(async move {
            let _mark = mark;
            future.await;
        });
        record.set_abort(abort);
        tasks.records.push(record);
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of every task, in the order of their spawn. A task that ended stays until one of its name is spawned again.
    pub fn status(&self) -> Vec<TaskStatus> {
        self.tasks().records.iter().map(|record| record.status()).collect()
    }

    /// Completes when a service with [`OnExit::StopNode`] has ended; the first one is the reason.
    pub async fn fatal(&self) -> FatalExit {
        let mut exits = self.inner.fatal.subscribe();
        match exits.wait_for(Option::is_some).await.map(|exit| exit.clone()) {
            Ok(Some(exit)) => exit,
            // The sender lives in `self`, and the condition excludes `None`: neither can be.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Stops every task: entry by entry of `order` (a name, or a prefix followed by `*`), then those it does not name.
    ///
    /// Each entry's tasks are asked to stop and waited for; an entry that takes more than half of the time left (the last one: all of
    /// it) is aborted. From here on nothing can be spawned. If the returned future is dropped, call it again to finish the stop.
    pub async fn drain(&self, order: &[&str], deadline: Duration) -> DrainReport {
        let deadline = Instant::now() + deadline;
        let stages = drain::stages(self.begin_drain(), order);
        let mut report = DrainReport::default();
        let count = stages.len();
        for (number, stage) in stages.into_iter().enumerate() {
            let late = drain::stop(&stage, drain::share(deadline, number + 1 == count)).await;
            for task in stage {
                if late.iter().any(|other| Arc::ptr_eq(other, &task)) {
                    tracing::warn!(task = %task.name, "task did not stop in time and is aborted");
                    task.abort();
                    report.aborted.push(task.name.clone());
                } else {
                    report.joined.push(task.name.clone());
                }
            }
        }
        self.join_all().await;
        report
    }

    fn begin_drain(&self) -> Vec<Arc<TaskRecord>> {
        let mut tasks = self.tasks();
        tasks.draining = true;
        tasks.records.clone()
    }

    async fn join_all(&self) {
        let mut set = std::mem::take(&mut self.tasks().set);
        let joined = timeout(drain::ABORT_WAIT, async { while set.join_next().await.is_some() {} }).await;
        if joined.is_err() {
            tracing::warn!(tasks = set.len(), "aborted tasks are blocked and are left behind");
        }
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("tasks", &self.tasks().records.len()).finish()
    }
}
