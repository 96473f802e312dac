//! Whom this node followed before it led, and since when that one is silent.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jaco_types::NodeId;
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;
use tokio::time::Instant;

use super::{ControlPlane, Inner};
use crate::runtime::Runtime;
use crate::sessions::Predecessor;

/// The last leader that sent entries or a heartbeat, and when.
#[derive(Default)]
pub(super) struct Followed(Mutex<Option<(NodeId, Instant)>>);

impl Followed {
    pub(super) fn heard(&self, leader: NodeId) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((leader, Instant::now()));
    }

    /// For how long this leader has sent nothing; `None` when the last one that was followed is another.
    pub(super) fn silence(&self, leader: NodeId) -> Option<Duration> {
        let (last, heard) = self.last()?;
        (last == leader).then(|| heard.elapsed())
    }

    fn last(&self) -> Option<(NodeId, Instant)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Runtime> Inner<R> {
    fn silence_of_predecessor(&self) -> Option<(NodeId, Duration)> {
        let (predecessor, heard) = self.followed.last()?;
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if !metrics.state.is_leader() {
            return None;
        }
        let answers = metrics.heartbeat.as_ref();
        let answered = answers.and_then(|answers| answers.get(&predecessor.0)).and_then(Option::as_ref);
        let silence = heard.elapsed();
        Some((predecessor, answered.map_or(silence, |answered| silence.min(answered.elapsed()))))
    }
}

impl<R: Runtime> Predecessor for ControlPlane<R> {
    fn silence(&self) -> Option<(NodeId, Duration)> {
        self.inner.silence_of_predecessor()
    }
}
