//! Merging of compose documents by the specification's rules: later files over earlier ones, and a service over the one it extends.
//!
//! In general maps are merged key by key, lists are appended, and everything else is replaced. The exceptions stand in [`rules`];
//! `!override` replaces and `!reset` removes. Both tags stay on the result, because a result may itself be merged over an earlier
//! file; [`finish`] takes them away at the very end and drops repeated list entries.

mod rules;
mod unique;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use jaco_types::ErrorCode;

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::yaml::{Entry, MergeTag, Node, Position, Scalar, Value};
use rules::Rule;

/// Merges `over` on top of `base`. `path` is where both stand, for the rules: empty for whole documents, `services`, `web` for a
/// service.
pub(crate) fn merge(base: Node, over: Node, path: &mut Vec<String>, diagnostics: &mut Diagnostics) -> Node {
    match (base.tag, over.tag) {
        (_, MergeTag::Reset | MergeTag::Override) => return over,
        (MergeTag::Reset, MergeTag::None) => return Node { tag: MergeTag::Override, ..over },
        (MergeTag::None | MergeTag::Override, MergeTag::None) => {}
    }
    let tag = base.tag;
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    let rule = rules::rule(&segments);
    let (base, over) = match rule {
        Rule::Replace => return if over.is_null() { base } else { Node { tag, ..over } },
        Rule::KeyValue { bare } => match (key_value(base, bare), key_value(over, bare)) {
            (Ok(base), Ok(over)) => return Node { tag, ..replace_keys(base, over) },
            (Ok(base) | Err(base), Ok(over) | Err(over)) => (base, over),
        },
        Rule::Sequence => (sequence(base), sequence(over)),
        Rule::DependsOn => (rules::depends_on_map(base), rules::depends_on_map(over)),
        Rule::Networks => (rules::network_map(base), rules::network_map(over)),
        Rule::Build => (rules::build_map(base), rules::build_map(over)),
        Rule::Logging if rules::other_driver(&base, &over) => return Node { tag, ..over },
        Rule::Ulimit if base.as_map().is_none() || over.as_map().is_none() => return Node { tag, ..over },
        Rule::Subnets => return Node { tag, ..rules::subnets(base, over, path, diagnostics) },
        Rule::General | Rule::Logging | Rule::Ulimit => (base, over),
    };
    Node { tag, ..general(base, over, path, diagnostics) }
}

fn general(base: Node, over: Node, path: &mut Vec<String>, diagnostics: &mut Diagnostics) -> Node {
    if over.is_null() {
        return base;
    }
    if base.is_null() {
        return over;
    }
    let (base_kind, over_kind, over_at) = (base.kind(), over.kind(), over.at.clone());
    match (base.value, over.value) {
        (Value::Map(below), Value::Map(above)) => Node::map(merge_entries(below, above, path, diagnostics), &base.at),
        (Value::List(mut below), Value::List(above)) => {
            below.extend(above);
            Node::list(below, &base.at)
        }
        (Value::Scalar(_), Value::Scalar(scalar)) => {
            Node { value: Value::Scalar(scalar), at: over_at, tag: MergeTag::None }
        }
        // A scalar says less than a map or list, and a longer form may take its place: `gpus: all`, then a list of devices.
        (Value::Scalar(_), value @ (Value::List(_) | Value::Map(_))) => {
            Node { value, at: over_at, tag: MergeTag::None }
        }
        (value @ (Value::List(_) | Value::Map(_)), Value::Scalar(_) | Value::List(_) | Value::Map(_)) => {
            let place = format!("{}:{}", base.at.file, base.at.line);
            let message =
                format!("{over_kind} cannot be merged over {base_kind} ({place}); `!override` would replace it");
            let error = Diagnostic::new(Severity::Error, ErrorCode::ValidationFailed, message);
            diagnostics.push(error.at(&over_at).field(path.join(".")));
            Node { value, at: base.at, tag: MergeTag::None }
        }
    }
}

fn merge_entries(
    below: Vec<Entry>,
    above: Vec<Entry>,
    path: &mut Vec<String>,
    diagnostics: &mut Diagnostics,
) -> Vec<Entry> {
    let mut index: HashMap<String, usize> = below.iter().enumerate().map(|(i, e)| (e.key.clone(), i)).collect();
    let mut result: Vec<Entry> = below;
    for entry in above {
        let Some(slot) = index.get(&entry.key).and_then(|i| result.get_mut(*i)) else {
            index.insert(entry.key.clone(), result.len());
            result.push(entry);
            continue;
        };
        let placeholder = Node::null(&entry.at);
        let base = std::mem::replace(&mut slot.value, placeholder);
        path.push(entry.key);
        slot.value = merge(base, entry.value, path, diagnostics);
        slot.at = entry.at;
        path.pop();
    }
    result
}

/// `["A=1", "B"]` as `{A: 1, B: …}`; maps as they are; anything else comes back as an error, unchanged.
pub(crate) fn key_value(node: Node, bare: Bare) -> Result<Node, Node> {
    let Value::List(items) = &node.value else {
        return if node.as_map().is_some() { Ok(node) } else { Err(node) };
    };
    let mut entries: Vec<Entry> = Vec::with_capacity(items.len());
    let mut index: HashMap<String, usize> = HashMap::new();
    for item in items {
        let Value::Scalar(scalar) = &item.value else { return Err(node) };
        if item.tag == MergeTag::Reset {
            continue;
        }
        let entry = pair(scalar, &item.at, bare);
        match index.get(&entry.key).and_then(|i| entries.get_mut(*i)) {
            Some(slot) => *slot = entry,
            None => {
                index.insert(entry.key.clone(), entries.len());
                entries.push(entry);
            }
        }
    }
    Ok(Node { value: Value::Map(entries), at: node.at, tag: node.tag })
}

/// What a list entry without `=` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bare {
    /// No value yet: an environment variable that is passed on.
    Null,
    /// The empty string: a label.
    Empty,
}

fn pair(scalar: &Scalar, at: &Position, bare: Bare) -> Entry {
    let value = |text: &str| {
        let scalar = Scalar { text: text.to_owned(), plain: false, interpolated: scalar.interpolated };
        Node { value: Value::Scalar(scalar), at: at.clone(), tag: MergeTag::None }
    };
    match (scalar.text.split_once('='), bare) {
        (Some((key, text)), _) => Entry { key: key.to_owned(), at: at.clone(), value: value(text) },
        (None, Bare::Null) => Entry { key: scalar.text.clone(), at: at.clone(), value: Node::null(at) },
        (None, Bare::Empty) => Entry { key: scalar.text.clone(), at: at.clone(), value: value("") },
    }
}

/// Later keys replace earlier ones, also with null.
fn replace_keys(base: Node, over: Node) -> Node {
    let (Value::Map(mut result), Value::Map(above), at) = (base.value, over.value, base.at) else {
        return Node::null(&over.at);
    };
    let mut index: HashMap<String, usize> = result.iter().enumerate().map(|(i, e)| (e.key.clone(), i)).collect();
    for entry in above {
        match index.get(&entry.key).and_then(|i| result.get_mut(*i)) {
            Some(slot) => *slot = entry,
            None => {
                index.insert(entry.key.clone(), result.len());
                result.push(entry);
            }
        }
    }
    Node::map(result, &at)
}

/// A single value as a list of one.
fn sequence(node: Node) -> Node {
    match &node.value {
        Value::Scalar(scalar) if !scalar.is_null() => {
            let (at, tag) = (node.at.clone(), node.tag);
            Node { value: Value::List(vec![Node { tag: MergeTag::None, ..node }]), at, tag }
        }
        Value::Scalar(_) | Value::List(_) | Value::Map(_) => node,
    }
}

/// Ends a merge: keys and items under `!reset` go, `!override` has done its work, and of list entries with the same key (a
/// variable's name, a mount's target, a port) the last one stays, in the place of the first.
pub(crate) fn finish(document: &mut Node) {
    drop_tags(document);
    unique::apply(document, &mut Vec::new());
}

fn drop_tags(node: &mut Node) {
    node.tag = MergeTag::None;
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::List(items) => {
            items.retain(|item| item.tag != MergeTag::Reset);
            items.iter_mut().for_each(drop_tags);
        }
        Value::Map(entries) => {
            entries.retain(|entry| entry.value.tag != MergeTag::Reset);
            entries.iter_mut().for_each(|entry| drop_tags(&mut entry.value));
        }
    }
}
