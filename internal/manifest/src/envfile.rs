//! Files of variables: the dotenv dialect of docker compose, and its `format: raw`.
//!
//! A line is `NAME=value`, with optional `export` before and blanks around the `=`. An unquoted value ends at a `#` after a blank or at the line's
//! end; a value in single quotes is literal, one in double quotes knows escapes, both may span lines. Except in single quotes,
//! `$NAME` and `${NAME:-default}` refer to other variables. A name alone has no value of its own.

mod reader;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jaco_types::ErrorCode;

use crate::diagnostic::{Diagnostic, Severity};
use crate::yaml::Position;

/// How the lines of a file are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Quotes, comments, escapes and references mean something.
    Dotenv,
    /// Everything after the first `=` is the value.
    Raw,
}

/// One variable of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; `None` for a name that stands alone.
    pub value: Option<String>,
    /// The line of its name, from 1.
    pub line: usize,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvFile {
    /// The variables in the order written; a later one of the same name replaces an earlier one.
    pub variables: Vec<Variable>,
    /// References to variables that have no value: name and line.
    pub unset: Vec<(String, usize)>,
}

/// Bytes that one file may have, and its values after references are put in.
pub const LIMIT_BYTES: usize = 1 << 20;

/// Reads a file. References are looked up with `outer` first, then among the variables above in the same file.
///
/// # Errors
/// `parse_failed` with file and line for each line that cannot be read; `request_too_large` beyond [`LIMIT_BYTES`].
pub fn parse(
    file: &str,
    text: &[u8],
    format: Format,
    outer: &dyn Fn(&str) -> Option<String>,
) -> Result<EnvFile, Vec<Diagnostic>> {
    let file: Arc<str> = Arc::from(file);
    let at = |line: usize| Position { file: Arc::clone(&file), line, column: 1 };
    if text.len() > LIMIT_BYTES {
        return Err(vec![too_large(&at(1))]);
    }
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let text = std::str::from_utf8(text).map_err(|error| {
        let before = text.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        vec![Diagnostic::new(Severity::Error, ErrorCode::ParseFailed, "the file is not UTF-8 text").at(&at(line))]
    })?;
    let text = text.replace("\r\n", "\n");
    let result = match format {
        Format::Dotenv => reader::dotenv(&text, outer),
        Format::Raw => reader::raw(&text),
    };
    result.map_err(|problems| {
        let report = |problem: reader::Problem| match problem.message {
            Some(message) => Diagnostic::new(Severity::Error, ErrorCode::ParseFailed, message).at(&at(problem.line)),
            None => too_large(&at(problem.line)),
        };
        problems.into_iter().map(report).collect()
    })
}

fn too_large(at: &Position) -> Diagnostic {
    let message = format!("a file of variables and its values may have {LIMIT_BYTES} bytes");
    let mut diagnostic = Diagnostic::new(Severity::Error, ErrorCode::RequestTooLarge, message).at(at);
    diagnostic.details.insert("limit".to_owned(), LIMIT_BYTES.to_string());
    diagnostic
}
