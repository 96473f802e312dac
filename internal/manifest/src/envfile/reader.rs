//! Lines to variables.

use std::collections::HashMap;

use super::{EnvFile, LIMIT_BYTES, Variable};
use crate::interpolate::{Problem as TemplateProblem, Template};
use crate::yaml::quote;

/// A line that cannot be read; without message when the limit is exceeded.
pub(super) struct Problem {
    pub(super) line: usize,
    pub(super) message: Option<String>,
}

pub(super) fn raw(text: &str) -> Result<EnvFile, Vec<Problem>> {
    let mut file = EnvFile::default();
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line.trim_end(), None),
        };
        match check_name(name) {
            Ok(()) => file.variables.push(Variable { name: name.to_owned(), value, line: line_number }),
            Err(message) => problems.push(Problem { line: line_number, message: Some(message) }),
        }
    }
    if problems.is_empty() { Ok(file) } else { Err(problems) }
}

pub(super) fn dotenv(text: &str, outer: &dyn Fn(&str) -> Option<String>) -> Result<EnvFile, Vec<Problem>> {
    let mut reader =
        Reader { rest: text, line: 1, outer, known: HashMap::new(), bytes_left: LIMIT_BYTES, file: EnvFile::default() };
    let mut problems = Vec::new();
    while !reader.rest.is_empty() {
        let begin = reader.line;
        match reader.statement() {
            Ok(()) => {}
            Err(Stop::Line(message)) => {
                problems.push(Problem { line: begin, message: Some(message) });
                reader.skip_line();
            }
            Err(Stop::File(message)) => {
                problems.push(Problem { line: begin, message });
                break;
            }
        }
    }
    if problems.is_empty() { Ok(reader.file) } else { Err(problems) }
}

/// How far a mistake reaches.
enum Stop {
    Line(String),
    File(Option<String>),
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    outer: &'a dyn Fn(&str) -> Option<String>,
    known: HashMap<String, String>,
    bytes_left: usize,
    file: EnvFile,
}

impl<'a> Reader<'a> {
    fn advance(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn line_length(&self) -> usize {
        self.rest.find('\n').unwrap_or(self.rest.len())
    }

    fn skip_line(&mut self) {
        let length = self.line_length() + 1;
        self.advance(length);
    }

    fn skip_blanks(&mut self) {
        let length = self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\u{c}', '\r']).len();
        self.advance(length);
    }

    fn statement(&mut self) -> Result<(), Stop> {
        self.skip_blanks();
        if self.rest.starts_with(['\n', '#']) || self.rest.is_empty() {
            self.skip_line();
            return Ok(());
        }
        let line = self.line;
        let whole = self.rest.get(..self.line_length()).unwrap_or_default();
        if whole.contains('\0') {
            return Err(Stop::Line("a NUL byte cannot be part of a variable".to_owned()));
        }
        if let Some(after) = whole.strip_prefix("export").filter(|after| after.starts_with([' ', '\t'])) {
            let blanks = after.len() - after.trim_start().len();
            self.advance("export".len() + blanks);
        }
        let whole = self.rest.get(..self.line_length()).unwrap_or_default();
        let Some(end) = whole.find(['=', ':']) else {
            let name = whole.split_once(" #").map_or(whole, |(name, _)| name).trim();
            check_name(name).map_err(Stop::Line)?;
            let name = name.to_owned();
            self.skip_line();
            self.file.variables.push(Variable { name, value: None, line });
            return Ok(());
        };
        let name = whole.get(..end).unwrap_or_default().trim().to_owned();
        check_name(&name).map_err(Stop::Line)?;
        self.advance(end + 1);
        let spaced = self.rest.starts_with([' ', '\t']);
        self.skip_blanks();
        let value = match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote, &name)?,
            _ => self.unquoted(&name, spaced)?,
        };
        if value.contains('\0') {
            return Err(Stop::Line("a NUL byte cannot be part of a variable".to_owned()));
        }
        self.known.insert(name.clone(), value.clone());
        self.file.variables.push(Variable { name, value: Some(value), line });
        Ok(())
    }

    /// A comment begins after a blank: `A=#fff` is a colour, `A= # unset` is empty.
    fn unquoted(&mut self, name: &str, spaced: bool) -> Result<String, Stop> {
        let whole = self.rest.get(..self.line_length()).unwrap_or_default();
        let begins = spaced && whole.starts_with('#');
        let comment = if begins { Some(0) } else { [whole.find(" #"), whole.find("\t#")].into_iter().flatten().min() };
        let value = comment.map_or(whole, |at| whole.get(..at).unwrap_or_default()).trim_end();
        let value = self.expand(value, name)?;
        self.skip_line();
        Ok(value)
    }

    fn quoted(&mut self, quote_mark: char, name: &str) -> Result<String, Stop> {
        let body = self.rest.get(1..).unwrap_or_default();
        let Some(end) = closing_quote(body, quote_mark) else {
            let message = format!("the value of {} has no closing quote", quote(name));
            return Err(Stop::File(Some(message)));
        };
        let inside = body.get(..end).unwrap_or_default();
        let after = body.get(end + 1..).unwrap_or_default();
        let after = after.get(..after.find('\n').unwrap_or(after.len())).unwrap_or_default();
        if !after.trim().is_empty() && !after.trim_start().starts_with('#') {
            let message = format!("text follows the closing quote of {}", quote(name));
            self.advance(end + 2);
            return Err(Stop::Line(message));
        }
        let value = match quote_mark {
            '\'' => inside.replace("\\'", "'"),
            _ => self.expand(&unescape(inside), name)?,
        };
        self.advance(end + 2);
        self.skip_line();
        Ok(value)
    }

    fn expand(&mut self, text: &str, name: &str) -> Result<String, Stop> {
        if !text.contains('$') {
            return Ok(text.to_owned());
        }
        let explain = |problem: TemplateProblem| match problem {
            TemplateProblem::TooLong { .. } => Stop::File(None),
            TemplateProblem::Required { .. } | TemplateProblem::Syntax { .. } => {
                Stop::Line(format!("the value of {}: {problem}", quote(name)))
            }
        };
        let template = Template::parse(text).map_err(explain)?;
        let lookup = |name: &str| (self.outer)(name).or_else(|| self.known.get(name).cloned());
        let expanded = template.expand(&lookup, self.bytes_left).map_err(explain)?;
        self.bytes_left -= expanded.text.len().min(self.bytes_left);
        let line = self.line;
        self.file.unset.extend(expanded.unset.into_iter().map(|name| (name, line)));
        Ok(expanded.text)
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
    if name.is_empty() {
        return Err("a variable name is missing before the `=`".to_owned());
    }
    if name.chars().all(allowed) {
        return Ok(());
    }
    Err(format!("{} is not a variable name; a line is `NAME=value`", quote(name)))
}

/// Where the quote is closed; a backslash takes the next character with it.
fn closing_quote(text: &str, quote_mark: char) -> Option<usize> {
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote_mark {
            return Some(index);
        }
    }
    None
}

/// The escapes of a double-quoted value; an escaped dollar sign is doubled, so that it does not begin a reference.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('a') => out.push('\u{7}'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('v') => out.push('\u{b}'),
            Some('$') => out.push_str("$$"),
            Some(c @ ('"' | '\'' | '\\')) => out.push(c),
            Some(c) => {
                out.push('\\');
                out.push(c);
            }
            None => out.push('\\'),
        }
    }
    out
}
