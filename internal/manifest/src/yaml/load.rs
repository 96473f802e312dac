//! Events of the YAML parser to a tree.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use jaco_types::ErrorCode;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use super::budget::Budget;
use super::build::{Builder, Tagged};
use super::node::{Node, Position};
use crate::diagnostic::{Diagnostic, Severity};

/// Reads one YAML 1.2 document. `file` is the name that positions carry.
///
/// Anchors, aliases and merge keys are resolved; an empty text is null.
///
/// # Errors
/// `parse_failed` for a text that is not UTF-8, not YAML, or more than one document (one diagnostic, reading stops there);
/// `request_too_large` when the budget is exceeded; `validation_failed` for each duplicate key and each tag or key of a kind that
/// manifests do not have.
pub fn load(file: &str, text: &[u8], budget: Budget) -> Result<Node, Vec<Diagnostic>> {
    let file: Arc<str> = Arc::from(file);
    let mut text = Cow::Borrowed(decode(&file, text, budget).map_err(|diagnostic| vec![*diagnostic])?);
    let mut padding = Padding::new();
    let mut work_left = REPAIR_BYTES;
    loop {
        let mut builder = Builder::new(Arc::clone(&file), budget);
        match read_events(&text, &mut builder, &padding) {
            Ok(()) => return builder.finish(),
            Err(Stop::Refused(diagnostic)) => return Err(vec![*diagnostic]),
            Err(Stop::Outdented { index, line, diagnostic }) => {
                // Parsing up to there, and copying all of it, which is some thirty times as fast.
                let Some(left) = work_left.checked_sub(index + text.len() / 32) else { return Err(vec![*diagnostic]) };
                work_left = left;
                let pad = padding.get(&line).copied().unwrap_or_default().max(1);
                text = Cow::Owned(indented(&text, index, pad));
                *padding.entry(line).or_default() += pad;
            }
        }
    }
}

/// Bytes that are parsed again at most to accept lines that stand too far left inside brackets.
const REPAIR_BYTES: usize = 8 << 20;

/// Spaces put before a line, by its number.
type Padding = HashMap<usize, usize>;

/// Why reading ended early.
enum Stop {
    Refused(Box<Diagnostic>),
    /// The token at this character, the first of its line and inside brackets, stands further left than YAML wants. Other parsers
    /// do not mind, and many files close a list in the column of its key. The parser checks this inside brackets only, where
    /// indentation says nothing, so the line may be moved to the right.
    Outdented {
        index: usize,
        line: usize,
        diagnostic: Box<Diagnostic>,
    },
}

impl From<Box<Diagnostic>> for Stop {
    fn from(diagnostic: Box<Diagnostic>) -> Self {
        Stop::Refused(diagnostic)
    }
}

/// The text with spaces before the line of the character with this index.
fn indented(text: &str, index: usize, pad: usize) -> String {
    let offset = text.char_indices().nth(index).map_or(text.len(), |(offset, _)| offset);
    let before = text.get(..offset).unwrap_or_default();
    let start = before.rfind(['\n', '\r']).map_or(0, |end| end + 1);
    let (head, tail) = text.split_at_checked(start).unwrap_or((text, ""));
    format!("{head}{}{tail}", " ".repeat(pad))
}

fn parse_failed(message: impl Into<String>, at: &Position) -> Box<Diagnostic> {
    Box::new(Diagnostic::new(Severity::Error, ErrorCode::ParseFailed, message).at(at))
}

/// Checks size, encoding and characters. The parser takes a NUL for the end of the text, so what YAML calls unprintable is found
/// here, not left to it.
fn decode<'a>(file: &Arc<str>, text: &'a [u8], budget: Budget) -> Result<&'a str, Box<Diagnostic>> {
    if text.len() > budget.text_bytes {
        let message = format!("the file has {} bytes; at most {} are read", text.len(), budget.text_bytes);
        let mut diagnostic = Diagnostic::new(Severity::Error, ErrorCode::RequestTooLarge, message);
        diagnostic.at = Some(Position { file: Arc::clone(file), line: 1, column: 1 });
        diagnostic.details.insert("limit".to_owned(), budget.text_bytes.to_string());
        return Err(Box::new(diagnostic));
    }
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let decoded = std::str::from_utf8(text).map_err(|error| {
        let valid = text.get(..error.valid_up_to()).unwrap_or_default();
        let at = position_after(file, &String::from_utf8_lossy(valid));
        parse_failed("the file is not UTF-8 text", &at)
    })?;
    match decoded.char_indices().find(|(_, c)| !printable(*c)) {
        Some((index, c)) => {
            let at = position_after(file, decoded.get(..index).unwrap_or_default());
            Err(parse_failed(format!("the character U+{:04X} is not allowed in YAML", u32::from(c)), &at))
        }
        None => Ok(decoded),
    }
}

/// YAML 1.2.2, production 1 (`c-printable`).
fn printable(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' | '\u{85}' => true,
        '\u{FEFF}' => false,
        c => c >= ' ' && !('\u{7F}'..='\u{9F}').contains(&c) && !matches!(c, '\u{FFFE}' | '\u{FFFF}'),
    }
}

fn position_after(file: &Arc<str>, before: &str) -> Position {
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    Position { file: Arc::clone(file), line, column }
}

fn read_events(text: &str, builder: &mut Builder, padding: &Padding) -> Result<(), Stop> {
    let mut parser = Parser::new_from_str(text);
    let mut documents = 0usize;
    let place = |builder: &Builder, marker: &Marker| {
        let line = marker.line().max(1);
        let moved = padding.get(&line).copied().unwrap_or_default();
        builder.position(line, (marker.col() + 1).saturating_sub(moved).max(1))
    };
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let marker = error.marker();
            let at = place(builder, marker);
            let diagnostic = parse_failed(format!("not valid YAML: {}", error.info()), &at);
            match error.info() {
                "invalid indentation" | "invalid indentation in flow construct" => {
                    Stop::Outdented { index: marker.index(), line: at.line, diagnostic }
                }
                _ => Stop::Refused(diagnostic),
            }
        })?;
        let at = place(builder, &span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    let message = "a second YAML document begins here; a manifest is one document";
                    return Err(parse_failed(message, &at).into());
                }
            }
            Event::Alias(anchor) => builder.alias(anchor, &at)?,
            Event::Scalar(text, style, anchor, tag) => {
                let tagged = Tagged { at, anchor, tag: tag.as_deref() };
                builder.scalar(text.into_owned(), style == ScalarStyle::Plain, tagged)?;
            }
            Event::SequenceStart(anchor, tag) => builder.open(false, Tagged { at, anchor, tag: tag.as_deref() })?,
            Event::MappingStart(anchor, tag) => builder.open(true, Tagged { at, anchor, tag: tag.as_deref() })?,
            Event::SequenceEnd | Event::MappingEnd => builder.close()?,
        }
    }
    Ok(())
}
