//! Notices that an answer is owed for too long.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Counts what was asked and answered on one ordered stream.
pub(crate) struct Silence {
    limit: Duration,
    owed: Mutex<Owed>,
    asked: Notify,
}

struct Owed {
    answers: u64,
    /// When the oldest of them began to be owed.
    since: Instant,
}

impl Silence {
    pub(crate) fn new(limit: Duration) -> Self {
        Silence { limit, owed: Mutex::new(Owed { answers: 0, since: Instant::now() }), asked: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more answer is owed.
    pub(crate) fn asked(&self) {
        let mut owed = self.lock();
        if owed.answers == 0 {
            owed.since = Instant::now();
        }
        owed.answers += 1;
        drop(owed);
        self.asked.notify_one();
    }

    /// An answer came; the next one has the whole time.
    pub(crate) fn answered(&self) {
        let mut owed = self.lock();
        owed.answers = owed.answers.saturating_sub(1);
        owed.since = Instant::now();
    }

    /// Resolves when an answer has been owed for longer than the limit.
    pub(crate) async fn too_long(&self) {
        loop {
            let due = {
                let owed = self.lock();
                (owed.answers > 0).then(|| owed.since + self.limit)
            };
            match due {
                Some(due) if due <= Instant::now() => return,
                Some(due) => tokio::time::sleep_until(due).await,
                None => self.asked.notified().await,
            }
        }
    }
}
