//! The figures, each beside its floor or peer, as a table and as JSON: pure but for [`Report::write`].

use std::path::Path;

use serde_json::{Map, Value, json};

/// A value as measured, with what belongs to it in the table.
#[derive(Debug, Clone)]
pub(crate) struct Measure {
    /// The value, in the figure's unit.
    pub(crate) value: f64,
    /// Further words for the table, such as latencies.
    pub(crate) detail: String,
    /// Further numbers for the result file.
    pub(crate) numbers: Value,
}

impl Measure {
    /// A value with nothing more to say.
    pub(crate) fn of(value: f64) -> Self {
        Measure { value, detail: String::new(), numbers: Value::Null }
    }

    /// With words for the table.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// With numbers for the result file.
    pub(crate) fn numbers(mut self, numbers: Value) -> Self {
        self.numbers = numbers;
        self
    }
}

/// What a figure has to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bar {
    /// At least this many times the floor or peer.
    RatioAtLeast(f64),
    /// At most this many times the floor or peer.
    RatioAtMost(f64),
    /// At most this, in the figure's unit.
    AtMost(f64),
}

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// Part of the benchmark, `a` to `k`.
    pub(crate) part: char,
    /// What was measured.
    pub(crate) name: String,
    /// Unit of all its values.
    pub(crate) unit: &'static str,
    /// Ours.
    pub(crate) ours: Measure,
    /// What it stands beside: name and value.
    pub(crate) floor: Option<(String, Measure)>,
    /// Ours over that; the median of the rounds' ratios where rounds were paired.
    pub(crate) ratio: Option<f64>,
    /// What is asked for, if anything.
    pub(crate) bar: Option<Bar>,
    /// What a reader of the figure has to know.
    pub(crate) note: String,
}

impl Figure {
    /// Whether the bar is met; `None` without one.
    pub(crate) fn is_met(&self) -> Option<bool> {
        Some(match self.bar? {
            Bar::RatioAtLeast(least) => self.ratio? >= least,
            Bar::RatioAtMost(most) => self.ratio? <= most,
            Bar::AtMost(most) => self.ours.value <= most,
        })
    }

    fn cells(&self, note: Option<usize>) -> [String; 6] {
        let bar = match self.bar {
            None => String::new(),
            Some(Bar::RatioAtLeast(least)) => format!(">= {least} x"),
            Some(Bar::RatioAtMost(most)) => format!("<= {most} x"),
            Some(Bar::AtMost(most)) => format!("<= {most} {}", self.unit),
        };
        let verdict = match self.is_met() {
            None => "",
            Some(true) => "met",
            Some(false) => "MISSED",
        };
        let mark = note.map(|number| format!(" [{number}]")).unwrap_or_default();
        [
            format!("({}) {}{mark}", self.part, self.name),
            shown(&self.ours, self.unit),
            self.floor.as_ref().map(|(name, floor)| format!("{name}: {}", shown(floor, self.unit))).unwrap_or_default(),
            self.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            bar,
            verdict.to_owned(),
        ]
    }

    fn json(&self) -> Value {
        let bar = self.bar.map(|bar| match bar {
            Bar::RatioAtLeast(least) => json!({ "ratio_at_least": least }),
            Bar::RatioAtMost(most) => json!({ "ratio_at_most": most }),
            Bar::AtMost(most) => json!({ "at_most": most }),
        });
        let measure = |measure: &Measure| json!({ "value": measure.value, "numbers": measure.numbers });
        json!({
            "part": self.part.to_string(),
            "name": self.name,
            "unit": self.unit,
            "ours": measure(&self.ours),
            "floor": self.floor.as_ref().map(|(name, floor)| json!({ "name": name, "measured": measure(floor) })),
            "ratio": self.ratio,
            "bar": bar,
            "met": self.is_met(),
            "note": self.note,
        })
    }
}

fn shown(measure: &Measure, unit: &str) -> String {
    let value = measure.value;
    let digits = if value.abs() >= 100.0 { 0 } else { 2 };
    let detail = if measure.detail.is_empty() { String::new() } else { format!(" ({})", measure.detail) };
    format!("{value:.digits$} {unit}{detail}")
}

/// Everything a run found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
    /// Parts, or pieces of them, that were not run, with the reason.
    skipped: Vec<(String, String)>,
    /// Parts that failed, with the reason.
    failed: Vec<(String, String)>,
}

impl Report {
    /// Adds a figure.
    pub(crate) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Names something that cannot run here.
    pub(crate) fn skip(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        self.skipped.push((what.into(), reason.into()));
    }

    /// Names a part that failed.
    pub(crate) fn fail(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        self.failed.push((what.into(), reason.into()));
    }

    /// Whether a part failed.
    pub(crate) fn has_failures(&self) -> bool {
        !self.failed.is_empty()
    }

    /// The table with its notes.
    pub(crate) fn table(&self) -> String {
        let header = ["figure", "ours", "floor or peer", "ratio", "bar", "verdict"].map(str::to_owned);
        let mut notes: Vec<&str> = Vec::new();
        let mut rows = vec![header];
        for figure in &self.figures {
            let note = (!figure.note.is_empty()).then(|| match notes.iter().position(|known| *known == figure.note) {
                Some(known) => known + 1,
                None => {
                    notes.push(&figure.note);
                    notes.len()
                }
            });
            rows.push(figure.cells(note));
        }
        let mut widths = [0; 6];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for row in &rows {
            let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        for (number, note) in notes.iter().enumerate() {
            text.push_str(&format!("[{}] {note}\n", number + 1));
        }
        for (what, reason) in &self.skipped {
            text.push_str(&format!("SKIPPED {what}: {reason}\n"));
        }
        for (what, reason) in &self.failed {
            text.push_str(&format!("FAILED {what}: {reason}\n"));
        }
        text
    }

    /// Writes the result file. `about` says when and where it was measured.
    pub(crate) fn write(&self, path: &Path, about: Map<String, Value>) -> std::io::Result<()> {
        let named = |list: &[(String, String)]| -> Vec<Value> {
            list.iter().map(|(what, reason)| json!({ "what": what, "reason": reason })).collect()
        };
        let mut all = about;
        all.insert("figures".to_owned(), self.figures.iter().map(Figure::json).collect());
        all.insert("skipped".to_owned(), named(&self.skipped).into());
        all.insert("failed".to_owned(), named(&self.failed).into());
        std::fs::write(path, format!("{:#}\n", Value::Object(all)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(ratio: f64, bar: Option<Bar>) -> Figure {
        Figure {
            part: 'a',
            name: "commits".to_owned(),
            unit: "/s",
            ours: Measure::of(70.0),
            floor: Some(("append".to_owned(), Measure::of(100.0))),
            ratio: Some(ratio),
            bar,
            note: String::new(),
        }
    }

    #[test]
    fn a_bar_is_met_on_its_own_side() {
        assert_eq!(figure(0.7, None).is_met(), None);
        assert_eq!(figure(0.7, Some(Bar::RatioAtLeast(0.5))).is_met(), Some(true));
        assert_eq!(figure(0.4, Some(Bar::RatioAtLeast(0.5))).is_met(), Some(false));
        assert_eq!(figure(1.2, Some(Bar::RatioAtMost(1.25))).is_met(), Some(true));
        assert_eq!(figure(1.3, Some(Bar::RatioAtMost(1.25))).is_met(), Some(false));
        assert_eq!(figure(1.0, Some(Bar::AtMost(70.0))).is_met(), Some(true));
        assert_eq!(figure(1.0, Some(Bar::AtMost(69.0))).is_met(), Some(false));
    }

    #[test]
    fn the_table_names_misses_skips_and_failures_and_says_a_note_once() {
        let mut report = Report::default();
        for _ in 0..2 {
            report.add(Figure { note: "same disk".to_owned(), ..figure(0.4, Some(Bar::RatioAtLeast(0.5))) });
        }
        report.skip("f", "no corpus");
        report.fail("b", "no engine");
        let table = report.table();
        assert!(table.contains("(a) commits [1]"), "{table}");
        assert_eq!(table.matches("MISSED").count(), 2);
        assert_eq!(table.matches("same disk").count(), 1);
        assert!(table.contains("SKIPPED f: no corpus") && table.contains("FAILED b: no engine"));
        assert!(report.has_failures());
    }
}
