//! When a failure that repeats is worth another log line.

use std::time::Duration;

use tokio::time::Instant;

/// Time after which a failure that has not changed is logged again.
const REMIND_AFTER: Duration = Duration::from_secs(600);

/// Decides which of a row of failures are logged: the first, each that differs from the one before, and one every ten minutes.
///
/// It logs nothing itself; parts that are no task may use it for their own repeated failures.
#[derive(Debug, Default)]
pub struct FailureLog {
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    text: String,
    since: Instant,
    logged_at: Instant,
    count: u64,
}

/// What a log line about a failure should say beside its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureReport {
    /// How often this failure has happened in a row, this time included.
    pub count: u64,
    /// How long it has lasted.
    pub lasting: Duration,
}

impl FailureLog {
    /// Takes note of a failure; `Some` when it should be logged now.
    pub fn failed(&mut self, text: &str, now: Instant) -> Option<FailureReport> {
        match &mut self.current {
            Some(current) if current.text == text => {
                current.count += 1;
                if now.duration_since(current.logged_at) < REMIND_AFTER {
                    return None;
                }
                current.logged_at = now;
                Some(FailureReport { count: current.count, lasting: now.duration_since(current.since) })
            }
            Some(_) | None => {
                self.current = Some(Current { text: text.to_owned(), since: now, logged_at: now, count: 1 });
                Some(FailureReport { count: 1, lasting: Duration::ZERO })
            }
        }
    }

    /// Takes note of a success; `Some` when it ends a failure, which should be logged.
    pub fn recovered(&mut self, now: Instant) -> Option<FailureReport> {
        let current = self.current.take()?;
        Some(FailureReport { count: current.count, lasting: now.duration_since(current.since) })
    }
}
