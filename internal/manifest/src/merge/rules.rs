//! Which key is merged how. Source: "Merge and override" of the compose specification.

use crate::diagnostic::Diagnostics;
use crate::yaml::{Entry, Node, Value};

use super::Bare;

/// How the values of one key are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Maps key by key, lists appended, scalars replaced.
    General,
    /// The later value alone counts.
    Replace,
    /// `A: 1` or `A=1`, merged by name in either form.
    KeyValue { bare: Bare },
    /// One string or several, appended.
    Sequence,
    /// `depends_on`: a list is a map of defaults.
    DependsOn,
    /// A service's `networks`: a list is a map of nulls.
    Networks,
    /// `build`: a string is its context.
    Build,
    /// Options are merged only when both name the same driver.
    Logging,
    /// Merged when both are maps.
    Ulimit,
    /// `ipam.config`, by subnet.
    Subnets,
}

pub(super) fn rule(path: &[&str]) -> Rule {
    match path {
        ["services", _, inner @ ..] => service_rule(inner),
        ["networks", _, "ipam", "config"] => Rule::Subnets,
        ["networks" | "volumes" | "secrets" | "configs", _, "labels"] => Rule::KeyValue { bare: Bare::Empty },
        _ => Rule::General,
    }
}

fn service_rule(path: &[&str]) -> Rule {
    match path {
        ["command" | "entrypoint"] | ["healthcheck", "test"] => Rule::Replace,
        ["environment"] | ["build", "args"] => Rule::KeyValue { bare: Bare::Null },
        ["labels" | "annotations" | "sysctls"] | ["deploy" | "build", "labels"] | ["build", "additional_contexts"] => {
            Rule::KeyValue { bare: Bare::Empty }
        }
        ["dns" | "dns_search" | "dns_opt" | "tmpfs" | "env_file" | "label_file"] => Rule::Sequence,
        ["depends_on"] => Rule::DependsOn,
        ["networks"] => Rule::Networks,
        ["build"] => Rule::Build,
        ["logging"] => Rule::Logging,
        ["ulimits", _] | ["build", "ulimits", _] => Rule::Ulimit,
        _ => Rule::General,
    }
}

/// `[db]` as `{db: {condition: service_started, required: true}}`.
pub(super) fn depends_on_map(node: Node) -> Node {
    names_map(node, |name| {
        let word = |text: &str| Node::string(text, &name.at);
        let mut required = word("true");
        if let Value::Scalar(scalar) = &mut required.value {
            scalar.plain = true;
        }
        let entry = |key: &str, value| Entry { key: key.to_owned(), at: name.at.clone(), value };
        Node::map(vec![entry("condition", word("service_started")), entry("required", required)], &name.at)
    })
}

/// `[front]` as `{front: null}`.
pub(super) fn network_map(node: Node) -> Node {
    names_map(node, |name| Node::null(&name.at))
}

fn names_map(node: Node, value: impl Fn(&Node) -> Node) -> Node {
    let Some(items) = node.as_list() else { return node };
    let mut entries: Vec<Entry> = Vec::with_capacity(items.len());
    for item in items {
        let Some(name) = item.as_str() else { return node };
        if entries.iter().all(|entry| entry.key != name) {
            entries.push(Entry { key: name.to_owned(), at: item.at.clone(), value: value(item) });
        }
    }
    Node { value: Value::Map(entries), at: node.at, tag: node.tag }
}

/// `build: ./dir` as `build: {context: ./dir}`.
pub(super) fn build_map(node: Node) -> Node {
    if node.as_str().is_none() {
        return node;
    }
    let (at, tag) = (node.at.clone(), node.tag);
    let entry = Entry { key: "context".to_owned(), at: at.clone(), value: node };
    Node { tag, ..Node::map(vec![entry], &at) }
}

/// Whether both sides name a driver, and not the same one.
pub(super) fn other_driver(base: &Node, over: &Node) -> bool {
    let driver = |node: &Node| node.get("driver").and_then(Node::as_str).map(str::to_owned);
    matches!((driver(base), driver(over)), (Some(base), Some(over)) if base != over)
}

/// Merges address pools with the same subnet; others are appended.
pub(super) fn subnets(base: Node, over: Node, path: &mut Vec<String>, diagnostics: &mut Diagnostics) -> Node {
    let (Some(_), Some(_)) = (base.as_list(), over.as_list()) else {
        return super::general(base, over, path, diagnostics);
    };
    let (Value::List(mut result), Value::List(above), at) = (base.value, over.value, base.at) else {
        return Node::null(&over.at);
    };
    for pool in above {
        let subnet = pool.get("subnet").and_then(Node::as_str).map(str::to_owned);
        let same = |known: &Node| subnet.is_some() && known.get("subnet").and_then(Node::as_str) == subnet.as_deref();
        match result.iter_mut().find(|known| same(known)) {
            Some(slot) => {
                let below = std::mem::replace(slot, Node::null(&pool.at));
                path.push("[]".to_owned());
                *slot = super::merge(below, pool, path, diagnostics);
                path.pop();
            }
            None => result.push(pool),
        }
    }
    Node::list(result, &at)
}
