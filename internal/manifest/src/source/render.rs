//! The text that is sent, and its counterpart on the receiving side.

use std::collections::HashSet;

use jaco_types::ErrorCode;

use super::profiles;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::merge;
use crate::yaml::{Budget, Entry, Node, Value, emit, load};

/// Top level key of a sent text that lists, as JSON pointers, the values that variables are part of. It lets the receiver hide
/// them; an extension key, so that every compose reader can still read the text.
const MARKS: &str = "x-jaco-interpolated";

/// A resolved tree as text.
pub(super) fn render(tree: &Node) -> String {
    let mut pointers = Vec::new();
    collect(tree, &mut String::new(), &mut pointers);
    let mut tree = tree.clone();
    tree.remove(MARKS);
    if !pointers.is_empty() {
        let at = tree.at.clone();
        let items = pointers.into_iter().map(|pointer| Node::string(pointer, &at)).collect();
        tree.set(MARKS, &at, Node::list(items, &at));
    }
    emit(&tree)
}

fn collect(node: &Node, pointer: &mut String, pointers: &mut Vec<String>) {
    match &node.value {
        Value::Scalar(scalar) => {
            if scalar.interpolated {
                pointers.push(pointer.clone());
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                descend(pointer, &index.to_string(), |pointer| collect(item, pointer, pointers));
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                descend(pointer, &escaped(&entry.key), |pointer| collect(&entry.value, pointer, pointers));
            }
        }
    }
}

fn mark(node: &mut Node, pointer: &mut String, pointers: &HashSet<String>) {
    match &mut node.value {
        Value::Scalar(scalar) => scalar.interpolated = pointers.contains(pointer.as_str()),
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                descend(pointer, &index.to_string(), |pointer| mark(item, pointer, pointers));
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                descend(pointer, &escaped(&entry.key), |pointer| mark(&mut entry.value, pointer, pointers));
            }
        }
    }
}

fn descend(pointer: &mut String, segment: &str, act: impl FnOnce(&mut String)) {
    let length = pointer.len();
    pointer.push('/');
    pointer.push_str(segment);
    act(pointer);
    pointer.truncate(length);
}

/// Service and key of every marked value of a sent text; nothing for a text that cannot be read.
pub(crate) fn marked_service_keys(text: &str) -> Vec<(String, String)> {
    // Most texts have no marks, and need no reading.
    if !text.contains(MARKS) {
        return Vec::new();
    }
    let Ok(document) = load("compose.yaml", text.as_bytes(), Budget::default()) else { return Vec::new() };
    let marks = document.get(MARKS).and_then(Node::as_list).unwrap_or_default();
    let place = |pointer: &str| {
        let mut segments = pointer.strip_prefix("/services/")?.split('/');
        Some((unescaped(segments.next()?), unescaped(segments.next()?)))
    };
    marks.iter().filter_map(Node::as_str).filter_map(place).collect()
}

/// A segment of a JSON pointer as a key.
fn unescaped(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

/// A key as a segment of a JSON pointer (RFC 6901).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Makes a received document what the sender's tree was: marks back on the values, merge tags resolved, repeated list entries
/// dropped, services with profiles left out (the sender decides which are active). What only the sender could resolve is refused.
pub(crate) fn finish_received(document: &mut Node, diagnostics: &mut Diagnostics) {
    if let Some(Entry { value, .. }) = document.remove(MARKS) {
        let pointers = value.as_list().unwrap_or_default().iter().filter_map(Node::as_str).map(str::to_owned).collect();
        mark(document, &mut String::new(), &pointers);
    }
    let refuse = |entry: &Entry, field: String| {
        let message = format!("`{}` refers to a file and has to be resolved before the text is sent", entry.key);
        Diagnostic::new(Severity::Error, ErrorCode::ValidationFailed, message).at(&entry.at).field(field)
    };
    if let Some(include) = document.remove("include") {
        diagnostics.push(refuse(&include, "include".to_owned()));
    }
    if let Some(Value::Map(services)) = document.get_mut("services").map(|services| &mut services.value) {
        for service in services {
            if let Some(extends) = service.value.remove("extends") {
                let field = format!("services.{}.extends", service.key);
                diagnostics.push(refuse(&extends, field).service(&service.key));
            }
        }
    }
    profiles::apply(document, &[], diagnostics);
    merge::finish(document);
}
