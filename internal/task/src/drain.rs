//! Stopping everything in order, under one deadline.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::status::TaskRecord;

/// How the stop went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Tasks that ended by themselves, after having been asked to or before.
    pub joined: Vec<String>,
    /// Tasks that had to be aborted, because their share of the time was over.
    pub aborted: Vec<String>,
}

/// Groups tasks into the stages of a stop: one for each entry of the order, and a last one for those it does not name.
pub(crate) fn stages(tasks: Vec<Arc<TaskRecord>>, order: &[&str]) -> Vec<Vec<Arc<TaskRecord>>> {
    let mut rest = tasks;
    let mut stages = Vec::new();
    for entry in order {
        let (now, later) = rest.into_iter().partition(|task: &Arc<TaskRecord>| matches(entry, &task.name));
        stages.push(now);
        rest = later;
    }
    stages.push(rest);
    stages.retain(|stage| !stage.is_empty());
    stages
}

fn matches(entry: &str, name: &str) -> bool {
    entry.strip_suffix('*').map_or(entry == name, |prefix| name.starts_with(prefix))
}

/// Asks a stage to stop and waits for it, until `until`; returns the tasks that are still there.
pub(crate) async fn stop(stage: &[Arc<TaskRecord>], until: Instant) -> Vec<Arc<TaskRecord>> {
    for task in stage {
        task.shutdown.cancel();
    }
    let mut late = Vec::new();
    for task in stage {
        if timeout_at(until, task.ended.cancelled()).await.is_err() {
            late.push(Arc::clone(task));
        }
    }
    late
}

/// When a stage's time is over: the last stage has all that is left, any other at most half, so that one that hangs does not take
/// from those behind it the chance to stop by themselves.
pub(crate) fn share(deadline: Instant, is_last: bool) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    if is_last { deadline } else { Instant::now() + left / 2 }
}

/// How long an aborted task is waited for; it ends at its next await point, which a blocked thread never reaches.
pub(crate) const ABORT_WAIT: Duration = Duration::from_millis(500);
