//! Libraries that complain about the same thing several times a second are passed on at first, when the text changes, and every ten
//! minutes with the number of times that were left out.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The same complaint is passed on this often (contract: 10 min).
const AGAIN: Duration = Duration::from_secs(600);
/// Different complaints that are remembered; beyond, the one longest silent is forgotten.
const REMEMBERED: usize = 256;
/// Digits in a row up to which a number counts as one that changes all the time: an index, a term, a port, a time. Node ids are longer.
const CHANGING: usize = 9;

/// What becomes of a complaint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Passed on; so many of the same were left out since the last one.
    Pass {
        /// How many.
        left_out: u64,
    },
    /// Left out.
    LeaveOut,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    passed: Instant,
    seen: Instant,
    left_out: u64,
}

/// The complaints that are known.
#[derive(Debug, Default)]
struct Memory(HashMap<String, Known>);

impl Memory {
    fn judge(&mut self, text: &str, now: Instant) -> Verdict {
        let key = recognisable(text);
        if let Some(known) = self.0.get_mut(&key) {
            known.seen = now;
            if now.saturating_duration_since(known.passed) < AGAIN {
                known.left_out += 1;
                return Verdict::LeaveOut;
            }
            known.passed = now;
            return Verdict::Pass { left_out: std::mem::take(&mut known.left_out) };
        }
        if self.0.len() >= REMEMBERED {
            let oldest = self.0.iter().min_by_key(|(_, known)| known.seen).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.0.remove(&key));
        }
        self.0.insert(key, Known { passed: now, seen: now, left_out: 0 });
        Verdict::Pass { left_out: 0 }
    }
}

/// The text without the numbers that differ each time.
fn recognisable(text: &str) -> String {
    let mut key = String::with_capacity(text.len());
    let mut digits = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        if digits.len() > CHANGING {
            key.push_str(&digits);
        } else if !digits.is_empty() {
            key.push('#');
        }
        digits.clear();
        key.push(c);
    }
    key
}

/// Leaves out what libraries repeat. Our own crates see to that themselves.
#[derive(Debug, Default)]
pub(super) struct Repeats(Mutex<Memory>);

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN || metadata.target().starts_with("jaco") {
            return true;
        }
        let mut text = Text(metadata.target().to_owned());
        event.record(&mut text);
        let verdict = self.0.lock().unwrap_or_else(PoisonError::into_inner).judge(&text.0, Instant::now());
        match verdict {
            Verdict::LeaveOut => false,
            Verdict::Pass { left_out: 0 } => true,
            Verdict::Pass { left_out } => {
                tracing::warn!(target: "jacod::logging", left_out, by = metadata.target(), "a message was repeated, and comes again");
                true
            }
        }
    }
}

/// The message and the fields of an event.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a string never fails.
        let _ = write!(self.0, " {field}={value:?}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn the_same_complaint_comes_at_first_and_every_ten_minutes_with_its_number() {
        let mut memory = Memory::default();
        let begin = Instant::now();
        let mut at = |seconds: u64, text: &str| memory.judge(text, begin + Duration::from_secs(seconds));
        let dead = |index: u64| format!("append to 12345678901234567890 at {index}: refused (os error 111)");
        assert_eq!(at(0, &dead(1)), Verdict::Pass { left_out: 0 });
        for second in 1..600 {
            assert_eq!(at(second, &dead(second)), Verdict::LeaveOut, "{second}");
        }
        assert_eq!(at(600, &dead(600)), Verdict::Pass { left_out: 599 });
        assert_eq!(at(601, &dead(601)), Verdict::LeaveOut);
        assert_eq!(at(1200, &dead(602)), Verdict::Pass { left_out: 1 });
    }

    #[test]
    fn another_node_or_another_reason_is_another_complaint() {
        let mut memory = Memory::default();
        let now = Instant::now();
        let texts = [
            "append to 12345678901234567890: refused",
            "append to 12345678901234567899: refused",
            "append to 12345678901234567890: timed out",
        ];
        for text in texts {
            assert_eq!(memory.judge(text, now), Verdict::Pass { left_out: 0 }, "{text}");
        }
        assert_eq!(memory.judge(texts[0], now), Verdict::LeaveOut);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_longest_silent_goes_first() {
        let mut memory = Memory::default();
        let begin = Instant::now();
        let word = |number: usize| ["a", "b"].iter().cycle().take(number + 1).copied().collect::<String>();
        for number in 0..REMEMBERED {
            memory.judge(&word(number), begin + Duration::from_millis(number as u64));
        }
        let later = begin + Duration::from_secs(1);
        assert_eq!(memory.judge(&word(0), later), Verdict::LeaveOut, "it has just been heard again");
        memory.judge("one more", later);
        assert_eq!(memory.0.len(), REMEMBERED);
        assert_eq!(memory.judge(&word(0), later), Verdict::LeaveOut);
        assert_eq!(memory.judge(&word(1), later), Verdict::Pass { left_out: 0 }, "it was forgotten");
    }

    /// Counts what arrives.
    struct Count(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn libraries_are_limited_and_our_own_crates_are_not() {
        let count = Arc::new(AtomicUsize::new(0));
        let subscriber = tracing_subscriber::registry().with(Repeats::default()).with(Count(count.clone()));
        let after = |log: fn(usize)| {
            count.store(0, Ordering::Relaxed);
            (0..10).for_each(log);
            count.load(Ordering::Relaxed)
        };
        tracing::subscriber::with_default(subscriber, || {
            assert_eq!(after(|n| tracing::warn!(target: "openraft::core", "heartbeat {n} failed")), 1);
            assert_eq!(after(|n| tracing::error!(target: "openraft::core", index = n, "lost")), 1);
            assert_eq!(after(|n| tracing::info!(target: "openraft::core", "round {n}")), 10);
            assert_eq!(after(|n| tracing::warn!(target: "jaco_runtime", "round {n}")), 10);
        });
    }
}
