//! Progress on standard error: one line per replica on a terminal, nothing in a pipe.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::terminal::stderr_is_terminal;
use crate::text::one_line;

/// One replica on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Replica id.
    pub id: String,
    /// What it is doing or waiting for.
    pub doing: String,
    /// Whether it has arrived.
    pub done: bool,
    /// Whether an image is being pulled for it.
    pub pulls: bool,
}

/// Lines that follow the replicas of a change.
pub struct Progress {
    bars: Option<MultiProgress>,
    lines: BTreeMap<String, ProgressBar>,
}

impl Progress {
    /// Shown only when `wanted` and standard error is a terminal.
    pub fn new(wanted: bool) -> Self {
        let bars = (wanted && stderr_is_terminal()).then(MultiProgress::new);
        Progress { bars, lines: BTreeMap::new() }
    }

    /// Whether anybody sees it.
    pub fn is_shown(&self) -> bool {
        self.bars.is_some()
    }

    /// Shows the steps as they are now; replicas that are gone leave.
    pub fn update(&mut self, steps: &[Step]) {
        let Some(bars) = &self.bars else { return };
        self.lines.retain(|id, line| {
            let stays = steps.iter().any(|step| step.id == *id);
            if !stays {
                line.finish_and_clear();
            }
            stays
        });
        for step in steps {
            let line = self.lines.entry(step.id.clone()).or_insert_with(|| {
                let line = bars.add(ProgressBar::new_spinner());
                line.set_style(style());
                line.set_prefix(one_line(&step.id));
                line
            });
            let text = one_line(&step.doing);
            if step.done {
                line.finish_with_message(text);
            } else {
                // A replica may fall back after it had arrived.
                if line.is_finished() {
                    line.reset();
                }
                line.set_message(text);
                line.enable_steady_tick(Duration::from_millis(120));
            }
        }
    }
}

impl Drop for Progress {
    /// Leaves the lines as they last were.
    fn drop(&mut self) {
        for line in self.lines.values().filter(|line| !line.is_finished()) {
            line.abandon();
        }
    }
}

fn style() -> ProgressStyle {
    // The template is a constant; were it wrong, plain spinners would do.
    ProgressStyle::with_template("{spinner} {prefix:.bold} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .tick_strings(&["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", "✓"])
}
