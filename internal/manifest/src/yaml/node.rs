//! A YAML document with the place of every key and value.

use std::sync::Arc;

use jaco_types::ErrorCode;

use crate::diagnostic::{Diagnostic, Severity};

/// Where something stands: file, 1-based line and column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// File name as the user gave it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it begins.
    pub at: Position,
    /// A tag the compose merge rules know.
    pub tag: MergeTag,
}

/// `!reset` and `!override`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MergeTag {
    /// Merged by the usual rules.
    #[default]
    None,
    /// The key is removed from what was merged so far.
    Reset,
    /// The value replaces what was merged so far.
    Override,
}

/// A YAML value. Scalars keep their text: `8080`, `1.10` and `0x1F` stay what the user wrote until a field asks for a type.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A scalar.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order written, keys unique.
    Map(Vec<Entry>),
}

/// A scalar's text, and whether it was plain (a plain `null`, `~` or nothing is null; a plain `true` is a boolean) or quoted/block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text after unquoting and, later, interpolation.
    pub text: String,
    /// Whether it was written without quotes. What a variable put in is text, so a scalar that interpolation changed counts as
    /// quoted: an empty variable is the empty string, not null.
    pub plain: bool,
    /// Whether a value of the `environment:` file or of an `env_file` is part of the text: such values are hidden from display.
    pub interpolated: bool,
}

/// One key of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub at: Position,
    /// The value.
    pub value: Node,
}

impl Node {
    /// A quoted scalar standing at `at`.
    pub fn string(text: impl Into<String>, at: &Position) -> Node {
        let scalar = Scalar { text: text.into(), plain: false, interpolated: false };
        Node { value: Value::Scalar(scalar), at: at.clone(), tag: MergeTag::None }
    }

    /// A null standing at `at`.
    pub fn null(at: &Position) -> Node {
        let scalar = Scalar { text: String::new(), plain: true, interpolated: false };
        Node { value: Value::Scalar(scalar), at: at.clone(), tag: MergeTag::None }
    }

    /// A list standing at `at`.
    pub fn list(items: Vec<Node>, at: &Position) -> Node {
        Node { value: Value::List(items), at: at.clone(), tag: MergeTag::None }
    }

    /// A map standing at `at`. The keys must be unique.
    pub fn map(entries: Vec<Entry>, at: &Position) -> Node {
        Node { value: Value::Map(entries), at: at.clone(), tag: MergeTag::None }
    }

    /// Whether this is an unquoted `null`, `Null`, `NULL`, `~`, or nothing at all.
    pub fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar(scalar) => scalar.is_null(),
            Value::List(_) | Value::Map(_) => false,
        }
    }

    /// The scalar, null included.
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The text of a scalar that is not null; numbers and booleans are their text.
    pub fn as_str(&self) -> Option<&str> {
        self.as_scalar().filter(|scalar| !scalar.is_null()).map(|scalar| scalar.text.as_str())
    }

    /// The boolean a scalar says (`true`, `True`, `TRUE` and the like), quoted or not: an interpolated value arrives as text.
    pub fn as_bool(&self) -> Option<bool> {
        match self.as_str()? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    /// The integer a scalar says, quoted or not: decimal, `0x` or `0o`, as YAML 1.2 writes them.
    pub fn as_i64(&self) -> Option<i64> {
        super::scalar::parse_i64(self.as_str()?)
    }

    /// The finite number a scalar says, quoted or not.
    pub fn as_f64(&self) -> Option<f64> {
        let text = self.as_str()?;
        match super::scalar::parse_i64(text) {
            Some(integer) => Some(integer as f64),
            None => super::scalar::parse_f64(text),
        }
    }

    /// The items of a list.
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            Value::Scalar(_) | Value::Map(_) => None,
        }
    }

    /// The entries of a map.
    pub fn as_map(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            Value::Scalar(_) | Value::List(_) => None,
        }
    }

    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        self.as_map().unwrap_or_default()
    }

    /// The value of `key` when this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entry of `key` when this is a map that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value of `key`, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value),
            Value::Scalar(_) | Value::List(_) => None,
        }
    }

    /// Takes `key` out of a map.
    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        let Value::Map(entries) = &mut self.value else { return None };
        let index = entries.iter().position(|entry| entry.key == key)?;
        Some(entries.remove(index))
    }

    /// Sets `key` of a map, in its old place when it has one. Anything else than a map stays as it is.
    pub fn set(&mut self, key: &str, at: &Position, value: Node) {
        let Value::Map(entries) = &mut self.value else { return };
        match entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => entry.value = value,
            None => entries.push(Entry { key: key.to_owned(), at: at.clone(), value }),
        }
    }

    /// What a message calls this kind of value.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(scalar) => scalar.kind(),
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// [`Node::as_str`], or the error that says what stands here instead.
    pub fn expect_str(&self) -> Result<&str, Box<Diagnostic>> {
        self.as_str().ok_or_else(|| Box::new(self.mismatch("a string")))
    }

    /// [`Node::as_bool`], or the error that says what stands here instead.
    pub fn expect_bool(&self) -> Result<bool, Box<Diagnostic>> {
        self.as_bool().ok_or_else(|| Box::new(self.mismatch("true or false")))
    }

    /// [`Node::as_i64`], or the error that says what stands here instead.
    pub fn expect_i64(&self) -> Result<i64, Box<Diagnostic>> {
        self.as_i64().ok_or_else(|| Box::new(self.mismatch("an integer")))
    }

    /// [`Node::as_list`], or the error that says what stands here instead.
    pub fn expect_list(&self) -> Result<&[Node], Box<Diagnostic>> {
        self.as_list().ok_or_else(|| Box::new(self.mismatch("a list")))
    }

    /// [`Node::as_map`], or the error that says what stands here instead.
    pub fn expect_map(&self) -> Result<&[Entry], Box<Diagnostic>> {
        self.as_map().ok_or_else(|| Box::new(self.mismatch("a map")))
    }

    /// The error for a value of the wrong type, placed here; the caller adds the field and the service. A value that came from a
    /// file of variables is not shown.
    pub fn mismatch(&self, expected: &str) -> Diagnostic {
        let message = match self.as_scalar() {
            Some(scalar) if scalar.interpolated => format!("must be {expected}, not what the variables make of it"),
            Some(scalar) if !scalar.is_null() => {
                format!("must be {expected}, not {}", super::scalar::quote(&scalar.text))
            }
            Some(_) | None => format!("must be {expected}, not {}", self.kind()),
        };
        Diagnostic::new(Severity::Error, ErrorCode::ValidationFailed, message).at(&self.at)
    }
}

impl Scalar {
    /// Whether this is an unquoted `null`, `Null`, `NULL`, `~`, or nothing at all.
    pub fn is_null(&self) -> bool {
        self.plain && super::scalar::is_null(&self.text)
    }

    fn kind(&self) -> &'static str {
        match super::scalar::resolve(&self.text) {
            _ if !self.plain => "a string",
            super::scalar::Core::Null => "null",
            super::scalar::Core::Bool => "a boolean",
            super::scalar::Core::Integer | super::scalar::Core::Float => "a number",
            super::scalar::Core::String => "a string",
        }
    }
}
