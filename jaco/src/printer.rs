//! The one way to standard output: table, JSON or YAML, and the frames of a watch.

use std::io::{self, Write};

use clap::ValueEnum;
use jaco_client::Staleness;
use serde::Serialize;

use crate::failure::{Failure, complain};
use crate::terminal::Size;
use crate::text::duration;

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For both.
    Yaml,
}

/// Something a command prints. The serialised form is the JSON and YAML output; fields keep the documented order, maps are sorted.
pub trait View: Serialize {
    /// The text for people, each line ended.
    fn table(&self) -> String;

    /// The essential value only, for `--quiet`; each line ended.
    fn quiet(&self) -> String;
}

/// Writes views to an output.
pub struct Printer<W: Write> {
    out: W,
    format: Format,
    quiet: bool,
    /// The terminal's size; `None` for a pipe, whose lines are never cut.
    size: Option<Size>,
    /// Items of a stream printed so far.
    items: usize,
    /// Lines of the frame that the next one replaces.
    frame: usize,
    /// Whether what is printed may be old.
    staleness: Staleness,
    /// Whether that was said of what was printed last.
    told: bool,
}

/// The printer of a command.
pub type StdoutPrinter = Printer<io::Stdout>;

impl<W: Write> Printer<W> {
    /// A printer; `size` only when the output is a terminal.
    pub fn new(out: W, format: Format, quiet: bool, size: Option<Size>) -> Self {
        Printer { out, format, quiet, size, items: 0, frame: 0, staleness: Staleness::default(), told: false }
    }

    /// Marks what it prints while the answers it came from were read without a majority of the cluster: a warning on standard error, and
    /// `stale: true` in JSON and YAML objects.
    #[must_use]
    pub fn with_staleness(self, staleness: Staleness) -> Self {
        Printer { staleness, ..self }
    }

    /// Whether what is printed now may be old; says so when the answer has changed.
    fn is_stale(&mut self) -> bool {
        let since = self.staleness.get();
        if let (Some(since), false) = (since, self.told) {
            let text = format!(
                "stale: the node that answers has been without a majority of its cluster for {}, so this may be old",
                duration(since)
            );
            complain(&match self.format {
                Format::Table | Format::Yaml => format!("Warning: {text}"),
                Format::Json => serde_json::json!({ "warning": { "code": "stale", "message": text } }).to_string(),
            });
            // What is written below a frame takes its place.
            self.frame = 0;
        }
        self.told = since.is_some();
        self.told
    }

    /// Prints the one result of a command.
    pub fn show<V: View>(&mut self, view: &V) -> Result<(), Failure> {
        let stale = self.is_stale();
        let text = match self.format {
            Format::Table if self.quiet => view.quiet(),
            Format::Table => self.cut(&view.table()),
            Format::Json => json_pretty(view, stale)?,
            Format::Yaml => yaml(view, stale)?,
        };
        self.write(&text)
    }

    /// Prints one item of an endless list: a line each, YAML documents apart by `---`. Lines of text are never cut: they are
    /// somebody's log.
    pub fn item<V: View>(&mut self, view: &V) -> Result<(), Failure> {
        self.is_stale();
        let text = match self.format {
            Format::Table => view.table(),
            Format::Json => json_line(view, false)?,
            Format::Yaml => self.apart(&yaml(view, false)?),
        };
        self.items += 1;
        self.write(&text)
    }

    /// Prints the next state of something watched: in place of the one before on a terminal, else after it, apart by `---` (JSON
    /// values need no separator).
    pub fn frame<V: View>(&mut self, view: &V, size: Option<Size>) -> Result<(), Failure> {
        let stale = self.is_stale();
        let text = match self.format {
            Format::Table => {
                self.size = size;
                let table = if self.quiet { view.quiet() } else { view.table() };
                match size {
                    Some(size) => self.replace(&table, size),
                    None => self.apart(&table),
                }
            }
            Format::Json => json_line(view, stale)?,
            Format::Yaml => self.apart(&yaml(view, stale)?),
        };
        self.items += 1;
        self.write(&text)
    }

    /// Leaves the last frame where it is: something else was written below it.
    pub fn leave_frame(&mut self) {
        self.frame = 0;
    }

    fn apart(&self, text: &str) -> String {
        if self.items == 0 { text.to_owned() } else { format!("---\n{text}") }
    }

    /// Moves up over the frame before, clears from there, and leaves the last line free so that the terminal never scrolls.
    fn replace(&mut self, table: &str, size: Size) -> String {
        let room = size.rows.saturating_sub(1).max(1);
        let cut = self.cut(table);
        let mut lines: Vec<&str> = cut.lines().collect();
        let more = lines.len().saturating_sub(room);
        let hint = format!("… {} more lines", more + 1);
        if more > 0 {
            lines.truncate(room - 1);
            lines.push(&hint);
        }
        let up = match self.frame {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        };
        self.frame = lines.len();
        let mut text = up + &lines.join("\n");
        text.push('\n');
        text
    }

    fn cut(&self, text: &str) -> String {
        let Some(size) = self.size else { return text.to_owned() };
        let mut cut = String::with_capacity(text.len());
        for line in text.lines() {
            cut.push_str(&console::truncate_str(line, size.columns, "…"));
            cut.push('\n');
        }
        cut
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()?;
        Ok(())
    }
}

/// A view with the mark of age behind its own fields.
#[derive(Serialize)]
struct Marked<'a, V> {
    #[serde(flatten)]
    view: &'a V,
    stale: bool,
}

/// Writes a view, with the mark if it is wanted; a list has no place for it.
fn with_mark<V: View, E: std::fmt::Display>(
    view: &V,
    stale: bool,
    plain: impl Fn(&V) -> Result<String, E>,
    marked: impl Fn(&Marked<'_, V>) -> Result<String, E>,
) -> Result<String, Failure> {
    let marked = stale.then(|| marked(&Marked { view, stale })).and_then(Result::ok);
    let mut text = match marked {
        Some(text) => text,
        None => plain(view).map_err(|error| unprintable(&error))?,
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

fn json_pretty<V: View>(view: &V, stale: bool) -> Result<String, Failure> {
    with_mark(view, stale, |view| serde_json::to_string_pretty(view), |view| serde_json::to_string_pretty(view))
}

fn json_line<V: View>(view: &V, stale: bool) -> Result<String, Failure> {
    with_mark(view, stale, |view| serde_json::to_string(view), |view| serde_json::to_string(view))
}

fn yaml<V: View>(view: &V, stale: bool) -> Result<String, Failure> {
    with_mark(view, stale, |view| serde_saphyr::to_string(view), |view| serde_saphyr::to_string(view))
}

fn unprintable(error: &dyn std::fmt::Display) -> Failure {
    jaco_types::UserError::internal("the result cannot be printed in this format", error).into()
}

/// Prints help or a version.
pub fn print_plain(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

#[cfg(test)]
#[path = "printer/tests.rs"]
mod tests;
