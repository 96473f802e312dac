//! Lists whose entries have a key: the last entry of a key stays, in the place of the first.

use std::collections::HashMap;

use crate::yaml::{Node, Value};

/// What makes two entries of a list the same one.
#[derive(Debug, Clone, Copy)]
enum Key {
    /// The whole text.
    Text,
    /// The text before `=`.
    Name,
    /// Address, published port, container port, protocol.
    Port,
    /// The path in the container.
    Mount,
    /// The path in the container; a device without one has the host's.
    Device,
    /// Where a secret or config is put; a name alone goes below this directory.
    File(&'static str),
    /// The text before `:`.
    Path,
    /// The path of an `env_file`.
    EnvFile,
}

fn key(path: &[&str]) -> Option<Key> {
    match path {
        ["services", _, inner @ ..] => service_key(inner),
        ["networks" | "volumes" | "secrets" | "configs", _, "labels"] => Some(Key::Name),
        _ => None,
    }
}

fn service_key(path: &[&str]) -> Option<Key> {
    match path {
        ["environment" | "labels" | "annotations" | "sysctls"]
        | ["deploy", "labels"]
        | ["build", "args" | "labels" | "additional_contexts"] => Some(Key::Name),
        [
            "cap_add" | "cap_drop" | "dns" | "dns_opt" | "dns_search" | "expose" | "links" | "profiles" | "extra_hosts",
        ]
        | ["networks", _, "aliases" | "link_local_ips"]
        | ["build", "tags" | "platforms"] => Some(Key::Text),
        ["ports"] => Some(Key::Port),
        ["volumes"] => Some(Key::Mount),
        ["devices"] => Some(Key::Device),
        ["secrets"] => Some(Key::File("/run/secrets")),
        ["configs"] => Some(Key::File("")),
        ["tmpfs"] => Some(Key::Path),
        ["env_file"] => Some(Key::EnvFile),
        _ => None,
    }
}

pub(super) fn apply(node: &mut Node, path: &mut Vec<String>) {
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::List(items) => {
            let segments: Vec<&str> = path.iter().map(String::as_str).collect();
            if let Some(key) = key(&segments) {
                let all = std::mem::take(items);
                *items = keep_last(all, key);
            }
        }
        // Keyed lists stand at most five levels deep.
        Value::Map(entries) if path.len() < 5 => {
            for entry in entries {
                path.push(entry.key.clone());
                apply(&mut entry.value, path);
                path.pop();
            }
        }
        Value::Map(_) => {}
    }
}

fn keep_last(items: Vec<Node>, key: Key) -> Vec<Node> {
    let mut index: HashMap<String, usize> = HashMap::new();
    let mut result: Vec<Node> = Vec::with_capacity(items.len());
    for item in items {
        let slot = entry_key(&item, key).and_then(|text| {
            let known = index.get(&text).copied();
            if known.is_none() {
                index.insert(text, result.len());
            }
            known
        });
        match slot.and_then(|slot| result.get_mut(slot)) {
            Some(slot) => *slot = item,
            None => result.push(item),
        }
    }
    result
}

/// The key of an entry; `None` for one that has a form this list does not know, which is kept for the field's own error.
fn entry_key(item: &Node, key: Key) -> Option<String> {
    let field = |name: &str| item.get(name).and_then(Node::as_str);
    match key {
        Key::Text => item.as_str().map(str::to_owned),
        Key::Name => item.as_str().map(|text| text.split_once('=').map_or(text, |(name, _)| name).to_owned()),
        Key::Path => item.as_str().map(|text| text.split_once(':').map_or(text, |(path, _)| path).to_owned()),
        Key::EnvFile => item.as_str().or_else(|| field("path")).map(str::to_owned),
        Key::Port => match item.as_str() {
            Some(text) => Some(short_port(text)),
            None => field("target").map(|target| {
                let (ip, published) = (field("host_ip").unwrap_or_default(), field("published").unwrap_or_default());
                port_key(ip, published, target, field("protocol").unwrap_or("tcp"))
            }),
        },
        Key::Mount => match item.as_str() {
            Some(text) => Some(mount_target(text)),
            None => field("target").map(clean),
        },
        Key::Device => match item.as_str() {
            Some(text) => {
                let mut parts = text.split(':');
                let source = parts.next().unwrap_or_default();
                Some(clean(parts.next().unwrap_or(source)))
            }
            None => field("target").or_else(|| field("source")).map(clean),
        },
        Key::File(directory) => {
            let below = |name: &str| {
                if name.starts_with('/') { name.to_owned() } else { format!("{directory}/{name}") }
            };
            item.as_str().or_else(|| field("target")).or_else(|| field("source")).map(below)
        }
    }
}

fn port_key(ip: &str, published: &str, target: &str, protocol: &str) -> String {
    let ip = if ip.is_empty() { "0.0.0.0" } else { ip };
    format!("{ip}|{published}|{target}|{}", protocol.to_ascii_lowercase())
}

/// `[ip:][published:]target[/protocol]`, read from the right, as an IPv6 address has colons of its own.
fn short_port(text: &str) -> String {
    let (rest, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let (rest, target) = rest.rsplit_once(':').unwrap_or(("", rest));
    let (ip, published) = rest.rsplit_once(':').unwrap_or(("", rest));
    port_key(ip, published, target, protocol)
}

/// `target`, `source:target` or `source:target:options`.
fn mount_target(text: &str) -> String {
    clean(text.split(':').nth(1).unwrap_or(text))
}

fn clean(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() { path.to_owned() } else { trimmed.to_owned() }
}
