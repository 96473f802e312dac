//! A tree to YAML text: block style, two spaces, keys in the tree's order, strings quoted whenever a reader could take them for
//! something else. The same tree always gives the same text.

use super::node::{Node, Value};
use super::scalar::{Core, looks_typed, resolve};

/// Keys longer than this are written with `? `, as YAML limits the others to 1024 characters.
const IMPLICIT_KEY_CHARS: usize = 120;

/// Writes a tree as YAML. Positions, merge tags and the interpolated mark are not part of the text.
pub fn emit(node: &Node) -> String {
    let mut out = String::new();
    match &node.value {
        Value::Scalar(_) => {
            scalar(&mut out, node);
            out.push('\n');
        }
        Value::List(_) | Value::Map(_) => collection(&mut out, node, 0),
    }
    out
}

/// Whether two trees say the same: equal structure and texts, and scalars that are both typed or both strings. Positions and marks
/// do not count.
pub fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Scalar(a), Value::Scalar(b)) => {
            let typed = |plain: bool, text: &str| if plain { resolve(text) } else { Core::String };
            a.text == b.text && typed(a.plain, &a.text) == typed(b.plain, &b.text)
        }
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.key == b.key && same(&a.value, &b.value))
        }
        (Value::Scalar(_) | Value::List(_) | Value::Map(_), _) => false,
    }
}

/// Writes a list or map whose lines are indented by `indent`; the cursor is at the begin of a line.
fn collection(out: &mut String, node: &Node, indent: usize) {
    match &node.value {
        Value::Scalar(_) => {}
        Value::List(items) if items.is_empty() => line(out, indent, "[]"),
        Value::Map(entries) if entries.is_empty() => line(out, indent, "{}"),
        Value::List(items) => {
            for item in items {
                spaces(out, indent);
                out.push('-');
                item_value(out, item, indent);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                spaces(out, indent);
                if entry.key.chars().nth(IMPLICIT_KEY_CHARS).is_some() {
                    out.push_str("? ");
                    text(out, &entry.key);
                    out.push('\n');
                    spaces(out, indent);
                } else {
                    text(out, &entry.key);
                }
                out.push(':');
                entry_value(out, &entry.value, indent);
            }
        }
    }
}

/// What follows the `:` of a key.
fn entry_value(out: &mut String, node: &Node, indent: usize) {
    match &node.value {
        Value::List(items) if !items.is_empty() => {
            out.push('\n');
            collection(out, node, indent + 2);
        }
        Value::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            collection(out, node, indent + 2);
        }
        Value::Scalar(_) | Value::List(_) | Value::Map(_) => inline(out, node),
    }
}

/// What follows the `-` of a list item: a map or list begins in the same line.
fn item_value(out: &mut String, node: &Node, indent: usize) {
    let nested = match &node.value {
        Value::Scalar(_) => false,
        Value::List(items) => !items.is_empty(),
        Value::Map(entries) => !entries.is_empty(),
    };
    if !nested {
        inline(out, node);
        return;
    }
    let mut block = String::new();
    collection(&mut block, node, indent + 2);
    out.push(' ');
    out.push_str(block.trim_start_matches(' '));
}

/// A scalar or an empty collection, after `:` or `-`, and the end of the line.
fn inline(out: &mut String, node: &Node) {
    let before = out.len();
    out.push(' ');
    match &node.value {
        Value::Scalar(_) => scalar(out, node),
        Value::List(_) => out.push_str("[]"),
        Value::Map(_) => out.push_str("{}"),
    }
    if out.len() == before + 1 {
        out.truncate(before);
    }
    out.push('\n');
}

fn scalar(out: &mut String, node: &Node) {
    let Value::Scalar(scalar) = &node.value else { return };
    if scalar.plain && resolve(&scalar.text) != Core::String {
        out.push_str(&scalar.text);
    } else {
        text(out, &scalar.text);
    }
}

fn line(out: &mut String, indent: usize, content: &str) {
    spaces(out, indent);
    out.push_str(content);
    out.push('\n');
}

fn spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

/// A string: bare when it is a simple word for every YAML version, else in double quotes.
fn text(out: &mut String, text: &str) {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '+' | '@');
    let simple =
        text.chars().all(word) && text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '/'));
    if simple && !looks_typed(text) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        escape(out, c);
    }
    out.push('"');
}

fn escape(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\0' => out.push_str("\\0"),
        // Line breaks of YAML 1.1, the byte order mark, and what no YAML text may contain.
        '\u{0}'..='\u{1F}' | '\u{7F}'..='\u{A0}' => out.push_str(&format!("\\x{:02X}", u32::from(c))),
        '\u{2028}' | '\u{2029}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}' => {
            out.push_str(&format!("\\u{:04X}", u32::from(c)));
        }
        c => out.push(c),
    }
}
