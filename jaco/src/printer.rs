//! The one way to standard output: table, JSON or YAML, and the frames of a watch.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::Failure;
use crate::terminal::Size;

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
}

/// The printer of a command.
pub type StdoutPrinter = Printer<io::Stdout>;

impl<W: Write> Printer<W> {
    /// A printer; `size` only when the output is a terminal.
    pub fn new(out: W, format: Format, quiet: bool, size: Option<Size>) -> Self {
        Printer { out, format, quiet, size, items: 0, frame: 0 }
    }

    /// Prints the one result of a command.
    pub fn show<V: View>(&mut self, view: &V) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table if self.quiet => view.quiet(),
            Format::Table => self.cut(&view.table()),
            Format::Json => json_pretty(view)?,
            Format::Yaml => yaml(view)?,
        };
        self.write(&text)
    }

    /// Prints one item of an endless list: a line each, YAML documents apart by `---`. Lines of text are never cut: they are
    /// somebody's log.
    pub fn item<V: View>(&mut self, view: &V) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => view.table(),
            Format::Json => json_line(view)?,
            Format::Yaml => self.apart(&yaml(view)?),
        };
        self.items += 1;
        self.write(&text)
    }

    /// Prints the next state of something watched: in place of the one before on a terminal, else after it, apart by `---` (JSON
    /// values need no separator).
    pub fn frame<V: View>(&mut self, view: &V, size: Option<Size>) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => {
                self.size = size;
                let table = if self.quiet { view.quiet() } else { view.table() };
                match size {
                    Some(size) => self.replace(&table, size),
                    None => self.apart(&table),
                }
            }
            Format::Json => json_line(view)?,
            Format::Yaml => self.apart(&yaml(view)?),
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

fn json_pretty<V: View>(view: &V) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(view).map_err(|error| unprintable(&error))?;
    text.push('\n');
    Ok(text)
}

fn json_line<V: View>(view: &V) -> Result<String, Failure> {
    let mut text = serde_json::to_string(view).map_err(|error| unprintable(&error))?;
    text.push('\n');
    Ok(text)
}

fn yaml<V: View>(view: &V) -> Result<String, Failure> {
    let mut text = serde_saphyr::to_string(view).map_err(|error| unprintable(&error))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
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
