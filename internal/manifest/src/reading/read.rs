//! Typed values out of fields. Each reader reports what is wrong and gives `None`; nothing written gives `None` without a remark.

use std::collections::BTreeMap;
use std::time::Duration;

use jaco_types::NetworkName;

use super::report::{Field, Report, shorten};
use super::scalar::{parse_bool, parse_cpus, parse_duration, parse_integer, parse_size};
use crate::Value;

/// A text; numbers and booleans are their text. An empty one counts as not written, as an unset variable leaves it.
pub(crate) fn text(report: &mut Report<'_>, field: &Field<'_>) -> Option<String> {
    if field.is_null() {
        return None;
    }
    match field.scalar() {
        Some(scalar) if scalar.text.is_empty() => None,
        Some(scalar) if scalar.text.contains('\0') => {
            report.invalid(field, "must not contain a zero byte");
            None
        }
        Some(scalar) => Some(scalar.text.clone()),
        None => {
            report.wrong_type(field, "a text");
            None
        }
    }
}

/// A scalar read by `parse`; `wanted` names the kind in the message.
fn parsed<T>(report: &mut Report<'_>, field: &Field<'_>, parse: fn(&str) -> Option<T>, wanted: &str) -> Option<T> {
    let text = text(report, field)?;
    let value = parse(&text);
    if value.is_none() {
        report.wrong_type(field, wanted);
    }
    value
}

/// A boolean.
pub(crate) fn boolean(report: &mut Report<'_>, field: &Field<'_>) -> Option<bool> {
    parsed(report, field, parse_bool, "true or false")
}

/// A size in bytes.
pub(crate) fn size(report: &mut Report<'_>, field: &Field<'_>) -> Option<u64> {
    parsed(report, field, parse_size, "a size such as 64m or 1.5g")
}

/// A duration.
pub(crate) fn duration(report: &mut Report<'_>, field: &Field<'_>) -> Option<Duration> {
    parsed(report, field, parse_duration, "a duration with its unit, such as 30s or 1m30s")
}

/// CPUs in billionths.
pub(crate) fn cpus(report: &mut Report<'_>, field: &Field<'_>) -> Option<u64> {
    parsed(report, field, parse_cpus, "a number of CPUs such as 0.5 or 2")
}

/// An integer between two bounds, both included.
pub(crate) fn integer(report: &mut Report<'_>, field: &Field<'_>, least: i64, most: i64) -> Option<i64> {
    let value = parsed(report, field, parse_integer, "a whole number")?;
    if (least..=most).contains(&value) {
        return Some(value);
    }
    let range = if most == i64::MAX { format!("at least {least}") } else { format!("between {least} and {most}") };
    report.invalid(field, format!("must be {range}, not {value}"));
    None
}

/// A whole number that is not negative.
pub(crate) fn unsigned(report: &mut Report<'_>, field: &Field<'_>) -> Option<u64> {
    integer(report, field, 0, i64::MAX).and_then(|n| u64::try_from(n).ok())
}

/// A list of texts; a single text counts as a list of one when `single`. Empty items are left out.
pub(crate) fn texts<'a>(report: &mut Report<'_>, field: &Field<'a>, single: bool) -> Vec<(Field<'a>, String)> {
    let fields = match &field.node.value {
        Value::Scalar(_) if single => vec![field.clone()],
        Value::Scalar(_) | Value::List(_) | Value::Map(_) => report.items(field),
    };
    fields.into_iter().filter_map(|item| text(report, &item).map(|text| (item, text))).collect()
}

/// The texts alone.
pub(crate) fn strings(report: &mut Report<'_>, field: &Field<'_>, single: bool) -> Vec<String> {
    texts(report, field, single).into_iter().map(|(_, text)| text).collect()
}

/// A list of texts in which the same text twice counts once.
pub(crate) fn distinct(report: &mut Report<'_>, field: &Field<'_>, single: bool) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for text in strings(report, field, single) {
        if !list.contains(&text) {
            list.push(text);
        }
    }
    list
}

/// A mapping, or a list of `key=value`; a key without a value has `None`. The later of two entries with one key counts.
pub(crate) fn pairs(report: &mut Report<'_>, field: &Field<'_>) -> BTreeMap<String, Option<String>> {
    let mut pairs = BTreeMap::new();
    if matches!(field.node.value, Value::Map(_)) {
        for entry in report.entries(field) {
            let child = field.child(entry);
            if let Some(value) = pair_value(report, &child) {
                insert(report, &child, &mut pairs, &entry.key, value);
            }
        }
        return pairs;
    }
    for (item, text) in texts(report, field, false) {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text.as_str(), None),
        };
        insert(report, &item, &mut pairs, key, value);
    }
    pairs
}

/// A mapping's value: a scalar, or nothing.
fn pair_value(report: &mut Report<'_>, field: &Field<'_>) -> Option<Option<String>> {
    match field.scalar() {
        _ if field.is_null() => Some(None),
        Some(scalar) => Some(Some(scalar.text.clone())),
        None => {
            report.wrong_type(field, "a text, number, boolean or nothing");
            None
        }
    }
}

fn insert(
    report: &mut Report<'_>,
    field: &Field<'_>,
    pairs: &mut BTreeMap<String, Option<String>>,
    key: &str,
    value: Option<String>,
) {
    if key.trim().is_empty() {
        report.invalid(field, "has no name before the `=`");
    } else if key.contains('\0') || value.as_ref().is_some_and(|v| v.contains('\0')) {
        report.invalid(field, format!("`{}` must not contain a zero byte", shorten(key)));
    } else {
        pairs.insert(key.to_owned(), value);
    }
}

/// [`pairs`] in which a key without a value has an empty one.
pub(crate) fn string_map(report: &mut Report<'_>, field: &Field<'_>) -> BTreeMap<String, String> {
    pairs(report, field).into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect()
}

/// One word of a closed set.
pub(crate) fn word(report: &mut Report<'_>, field: &Field<'_>, words: &[&'static str]) -> Option<&'static str> {
    let given = text(report, field)?;
    let found = words.iter().copied().find(|word| *word == given);
    if found.is_none() {
        report.wrong_type(field, &format!("one of {}", words.join(", ")));
    }
    found
}

/// An absolute path in the container.
pub(crate) fn container_path(report: &mut Report<'_>, field: &Field<'_>, path: &str) -> bool {
    let good = path.starts_with('/');
    if !good {
        report.invalid(field, format!("the path in the container must be absolute, not {:?}", shorten(path)));
    }
    good
}

/// The implicit network, under either of its two names.
pub(crate) fn network_name(report: &mut Report<'_>, field: &Field<'_>, name: &str) -> Option<NetworkName> {
    let name = if name == "_default" { "default" } else { name };
    match NetworkName::new(name) {
        Ok(name) => Some(name),
        Err(problem) => {
            report.invalid(field, problem.to_string());
            None
        }
    }
}
