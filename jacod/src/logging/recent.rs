//! The newest lines of the log, in memory: for a debug bundle, wherever else the log goes.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that are kept.
const KEPT: usize = 1 << 20;

/// The lines. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recent(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Recent {
    /// All that are kept, oldest first, each ended.
    pub(crate) fn text(&self) -> Vec<u8> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.lines.iter().flatten().copied().collect()
    }

    fn push(&self, line: &[u8]) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.bytes += line.len();
        lines.lines.push_back(line.to_vec());
        while lines.bytes > KEPT {
            let Some(oldest) = lines.lines.pop_front() else { return };
            lines.bytes -= oldest.len();
        }
    }
}

/// One event is written at once.
impl io::Write for Recent {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Recent {
    type Writer = Recent;

    fn make_writer(&'a self) -> Recent {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept() {
        let recent = Recent::default();
        let line = |number: usize| format!("{number:06} {}\n", "x".repeat(1000)).into_bytes();
        for number in 0..2000 {
            recent.push(&line(number));
        }
        let text = String::from_utf8(recent.text()).unwrap();
        assert!(text.len() <= KEPT && text.len() > KEPT - 2000, "{}", text.len());
        assert!(text.lines().last().unwrap().starts_with("001999 "));
        assert!(!text.starts_with("000000"));
    }

    #[test]
    fn a_log_writes_into_it() {
        use tracing_subscriber::layer::SubscriberExt;
        let recent = Recent::default();
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(recent.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(replica = "a", "first");
            tracing::warn!("second");
        });
        let text = String::from_utf8(recent.text()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["replica"], &lines[1]["message"]), (&"a".into(), &"second".into()));
    }
}
