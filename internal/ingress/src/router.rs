//! From host and path to a value. Pure.

use std::borrow::Cow;
use std::collections::HashMap;

#[cfg(test)]
mod tests;

/// Exact hosts, and below each of them path prefixes that end on segment borders.
#[derive(Debug)]
pub struct Router<T> {
    hosts: HashMap<Box<str>, Host<T>>,
}

#[derive(Debug)]
struct Host<T> {
    catch_all: Option<Rule<T>>,
    prefixes: HashMap<Box<str>, Rule<T>>,
    /// Length in bytes of the longest prefix; bounds the work a long path can cause.
    longest: usize,
}

#[derive(Debug)]
struct Rule<T> {
    strip: bool,
    value: T,
}

/// The rule that answers a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<'a, T> {
    /// What was inserted.
    pub value: &'a T,
    /// Bytes to cut off the front of the path; 0 unless the rule strips its prefix.
    pub strip: usize,
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Router { hosts: HashMap::new() }
    }
}

impl<T> Router<T> {
    /// Adds a rule. `path` is a prefix like `/api`; empty (or only slashes) is the host's catch-all. A rule for the same host and
    /// path is replaced.
    pub fn insert(&mut self, domain: &str, path: &str, strip: bool, value: T) {
        let host = fold_host(domain).unwrap_or(Cow::Borrowed(domain)).into_owned().into_boxed_str();
        let host =
            self.hosts.entry(host).or_insert_with(|| Host { catch_all: None, prefixes: HashMap::new(), longest: 0 });
        let path = path.trim_end_matches('/');
        if path.is_empty() {
            host.catch_all = Some(Rule { strip: false, value });
        } else {
            host.longest = host.longest.max(path.len());
            host.prefixes.insert(path.into(), Rule { strip, value });
        }
    }

    /// The rule with the longest prefix of `path` on this host (as in the `Host` header: any case, with or without a port or a
    /// trailing dot), else the host's catch-all.
    pub fn find(&self, host: &str, path: &str) -> Option<Found<'_, T>> {
        let host = self.hosts.get(fold_host(host)?.as_ref())?;
        host.longest_prefix(path)
            .map(|(length, rule)| Found { value: &rule.value, strip: if rule.strip { length } else { 0 } })
            .or_else(|| host.catch_all.as_ref().map(|rule| Found { value: &rule.value, strip: 0 }))
    }
}

impl<T> Host<T> {
    fn longest_prefix(&self, path: &str) -> Option<(usize, &Rule<T>)> {
        if self.prefixes.is_empty() {
            return None;
        }
        let mut cut = match path.as_bytes().get(..=self.longest) {
            Some(head) => head.iter().rposition(|byte| *byte == b'/')?,
            None => path.len(),
        };
        loop {
            let candidate = path.get(..cut)?;
            if let Some(rule) = self.prefixes.get(candidate) {
                return Some((cut, rule));
            }
            cut = candidate.rfind('/')?;
        }
    }
}

/// A `Host` value as it is compared: without port and trailing dot, in lower case. `None` for what is no host name, such as an IPv6
/// literal.
fn fold_host(host: &str) -> Option<Cow<'_, str>> {
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) => return None,
        None => host,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() {
        return None;
    }
    Some(if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    })
}
