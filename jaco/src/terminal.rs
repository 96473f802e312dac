//! What is known about the terminals, if there are any.

use std::io::IsTerminal;

use console::Term;

/// Columns and rows of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

/// The size of the terminal that standard output is, `None` for a pipe or file.
pub fn stdout_size() -> Option<Size> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let (rows, columns) = Term::stdout().size();
    Some(Size { columns: columns.into(), rows: rows.into() })
}

/// Whether standard error is a terminal.
pub fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}
