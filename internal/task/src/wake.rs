//! Wake-up calls between tasks.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The bell of one loop: whoever holds a clone can ask the loop to look again.
///
/// Made before the tasks are, so that two loops can wake each other. Calls coalesce: any number of them before the loop begins its
/// next run lead to one run. One `Wake` belongs to one loop.
#[derive(Debug, Clone, Default)]
pub struct Wake {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    notify: Notify,
    /// When the first call came that no run has answered yet.
    since: Mutex<Option<Instant>>,
}

impl Wake {
    /// A bell that nobody has rung.
    pub fn new() -> Self {
        Wake::default()
    }

    /// Asks the loop to look again. Never blocks, and is cheap enough for every event.
    pub fn notify(&self) {
        {
            let mut since = self.inner.since.lock().unwrap_or_else(PoisonError::into_inner);
            if since.is_none() {
                *since = Some(Instant::now());
            }
        }
        self.inner.notify.notify_one();
    }

    /// Completes when the bell was rung since the last answer.
    pub(crate) async fn notified(&self) {
        self.inner.notify.notified().await;
    }

    /// When the oldest unanswered call came.
    pub(crate) fn pending_since(&self) -> Option<Instant> {
        *self.inner.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks all calls so far as answered by the run that begins now, and tells when the oldest came.
    ///
    /// The stored permit goes first: a call that comes between the two steps then at worst leads to one run too many, never to none.
    pub(crate) fn answer(&self) -> Option<Instant> {
        let _ = self.inner.notify.notified().now_or_never();
        self.inner.since.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
