//! One deadline for everything a command does on the wire, retries included.

use std::time::Duration;

use tokio::time::Instant;

/// A point in time after which a call is given up, or none for calls that go on until they are stopped.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Option<Instant>,
    length: Duration,
}

impl Deadline {
    /// `length` from now on.
    pub fn after(length: Duration) -> Self {
        Deadline { at: Instant::now().checked_add(length), length }
    }

    /// Never.
    pub fn none() -> Self {
        Deadline { at: None, length: Duration::MAX }
    }

    /// How long it was when it was set.
    pub fn length(self) -> Duration {
        self.length
    }

    /// When it is; `None` for never.
    pub fn at(self) -> Option<Instant> {
        self.at
    }

    /// Time left, zero once it has passed, `None` for never.
    pub fn left(self) -> Option<Duration> {
        self.at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Whether it has passed.
    pub fn has_passed(self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// Runs the future until the deadline; `None` when that came first. The future is dropped then.
    pub async fn limit<F: Future>(self, future: F) -> Option<F::Output> {
        match self.at {
            Some(at) => tokio::time::timeout_at(at, future).await.ok(),
            None => Some(future.await),
        }
    }
}
