//! Files of variables: the project's own, and the services' `env_file` and `label_file`.

use std::collections::{BTreeMap, BTreeSet};

use jaco_types::ErrorCode;

use super::documents::{Session, located};
use super::paths;
use crate::diagnostic::{Diagnostic, Severity};
use crate::envfile::{self, Format, Variable};
use crate::interpolate::Variables;
use crate::merge::{Bare, key_value};
use crate::yaml::{Entry, MergeTag, Node, Position, Scalar, Value, quote};

/// Reads a file of variables for interpolation. A name without value is not set.
pub(super) fn read_variables(
    session: &mut Session<'_>,
    path: &str,
    at: Option<&Position>,
    outer: &dyn Fn(&str) -> Option<String>,
) -> Option<Variables> {
    let read = read(session, path, Format::Dotenv, at.map(|at| (at, "environment")), outer)?;
    Some(read.into_iter().filter_map(|variable| Some((variable.name, variable.value?))).collect())
}

fn read(
    session: &mut Session<'_>,
    path: &str,
    format: Format,
    at: Option<(&Position, &str)>,
    outer: &dyn Fn(&str) -> Option<String>,
) -> Option<Vec<Variable>> {
    let text = session.read(path, "file of variables", at)?;
    match envfile::parse(path, &text, format, outer) {
        Ok(file) => {
            for (name, line) in file.unset {
                let message = format!("the variable {} is not set and becomes the empty string", quote(&name));
                let mut warning = Diagnostic::new(Severity::Warning, ErrorCode::ValidationFailed, message);
                warning.at = Some(Position { file: path.into(), line, column: 1 });
                warning.details.insert("variable".to_owned(), name);
                session.diagnostics.push(warning);
            }
            Some(file.variables)
        }
        Err(problems) => {
            problems.into_iter().for_each(|problem| session.diagnostics.push(problem));
            None
        }
    }
}

/// One entry of `env_file`.
struct Reference {
    path: String,
    required: bool,
    format: Format,
    at: Position,
}

type Cache = BTreeMap<(String, Format), Option<Vec<Variable>>>;

/// Folds `env_file` into `environment` and `label_file` into `labels`: an explicit value wins, then a later file. Environment keys
/// without value take the variable of the `environment:` file.
pub(super) fn apply(session: &mut Session<'_>, document: &mut Node, variables: &Variables) {
    let mut cache = Cache::new();
    let mut unset = BTreeSet::new();
    let Some(Value::Map(services)) = document.get_mut("services").map(|services| &mut services.value) else { return };
    for service in services {
        let (name, service) = (&service.key, &mut service.value);
        fold(session, service, (name, "label_file", "labels"), variables, &mut cache);
        fold(session, service, (name, "env_file", "environment"), variables, &mut cache);
        pass_through(session, service, name, variables, &mut unset);
    }
}

fn fold(
    session: &mut Session<'_>,
    service: &mut Node,
    (name, from, into): (&str, &str, &str),
    variables: &Variables,
    cache: &mut Cache,
) {
    let Some(entry) = service.remove(from) else { return };
    let field = format!("services.{name}.{from}");
    let mut folded = Node::map(Vec::new(), &entry.at);
    for reference in references(session, &entry.value, &field) {
        let Some(values) = values(session, &reference, &field, variables, cache) else { continue };
        if !session.charge(values.len(), &reference.at) {
            return;
        }
        for Variable { name, value, .. } in values {
            // A name alone is passed on like one in `environment`; a label without value is empty.
            let value = match value {
                Some(text) => from_file(text, &reference.at),
                None if into == "labels" => Node::string("", &reference.at),
                None => Node::null(&reference.at),
            };
            folded.set(&name, &reference.at, value);
        }
    }
    if folded.entries().is_empty() {
        return;
    }
    let bare = if into == "labels" { Bare::Empty } else { Bare::Null };
    match service.remove(into).filter(|explicit| !explicit.value.is_null()) {
        None => service.set(into, &entry.at, folded),
        Some(explicit) => match key_value(explicit.value, bare) {
            Ok(explicit_map) => {
                let Value::Map(entries) = explicit_map.value else { return };
                for explicit in entries {
                    // A key without value says nothing against the file's.
                    if !explicit.value.is_null() || folded.get(&explicit.key).is_none() {
                        folded.set(&explicit.key, &explicit.at.clone(), explicit.value);
                    }
                }
                service.set(into, &explicit.at, folded);
            }
            Err(unknown) => service.set(into, &explicit.at, unknown),
        },
    }
}

fn from_file(text: String, at: &Position) -> Node {
    let scalar = Scalar { text, plain: false, interpolated: true };
    Node { value: Value::Scalar(scalar), at: at.clone(), tag: MergeTag::None }
}

fn values(
    session: &mut Session<'_>,
    reference: &Reference,
    field: &str,
    variables: &Variables,
    cache: &mut Cache,
) -> Option<Vec<Variable>> {
    let path = session.real_path("", &reference.path);
    if !reference.required && !session.files.exists(&path) {
        return None;
    }
    let key = (paths::normal(&path), reference.format);
    if let Some(known) = cache.get(&key) {
        return known.clone();
    }
    let outer = |name: &str| variables.get(name).cloned();
    let values = read(session, &path, reference.format, Some((&reference.at, field)), &outer);
    cache.insert(key, values.clone());
    values
}

fn references(session: &mut Session<'_>, node: &Node, field: &str) -> Vec<Reference> {
    if node.is_null() {
        return Vec::new();
    }
    let single = std::slice::from_ref(node);
    let items = node.as_list().unwrap_or(single);
    items.iter().filter_map(|item| reference(session, item, field)).collect()
}

fn reference(session: &mut Session<'_>, item: &Node, field: &str) -> Option<Reference> {
    let mut reference = Reference { path: String::new(), required: true, format: Format::Dotenv, at: item.at.clone() };
    if let Some(path) = item.as_str() {
        reference.path = path.to_owned();
    } else if let Some(entries) = item.as_map() {
        for entry in entries {
            let field = format!("{field}.{}", entry.key);
            let result = match entry.key.as_str() {
                "path" => entry.value.expect_str().map(|path| reference.path = path.to_owned()),
                "required" => entry.value.expect_bool().map(|required| reference.required = required),
                "format" => match entry.value.as_str() {
                    Some("raw") => {
                        reference.format = Format::Raw;
                        Ok(())
                    }
                    None | Some("") => Ok(()),
                    Some(_) => Err(Box::new(entry.value.mismatch("`raw`, or left out"))),
                },
                key if key.starts_with("x-") => Ok(()),
                key => {
                    let message =
                        format!("the key {} is not known here; `path`, `required` and `format` are", quote(key));
                    Err(Box::new(Diagnostic::new(Severity::Error, ErrorCode::ValidationFailed, message).at(&entry.at)))
                }
            };
            if let Err(problem) = result {
                session.diagnostics.push(located(*problem, &field));
            }
        }
    } else {
        session.diagnostics.push(located(item.mismatch("a path, or a map with `path`"), field));
        return None;
    }
    if reference.path.is_empty() {
        session.error(&item.at, field, "the path is empty");
        return None;
    }
    Some(reference)
}

/// `environment: [FOO]` and `environment: {FOO: }`.
fn pass_through(
    session: &mut Session<'_>,
    service: &mut Node,
    name: &str,
    variables: &Variables,
    unset: &mut BTreeSet<String>,
) {
    let Some(environment) = service.get_mut("environment") else { return };
    match &mut environment.value {
        Value::Scalar(_) => {}
        Value::List(items) => {
            for item in items {
                let at = item.at.clone();
                let Value::Scalar(scalar) = &mut item.value else { continue };
                if scalar.is_null() || scalar.text.contains('=') {
                    continue;
                }
                match variables.get(&scalar.text) {
                    Some(value) => {
                        scalar.text = format!("{}={value}", scalar.text);
                        scalar.plain = false;
                        scalar.interpolated = true;
                    }
                    None => not_set(session, &scalar.text, name, &at, unset),
                }
            }
        }
        Value::Map(entries) => {
            for Entry { key, at, value } in entries {
                if !value.is_null() || value.tag == MergeTag::Reset {
                    continue;
                }
                match variables.get(key) {
                    Some(text) => *value = from_file(text.clone(), at),
                    None => not_set(session, key, name, at, unset),
                }
            }
        }
    }
}

fn not_set(session: &mut Session<'_>, key: &str, service: &str, at: &Position, unset: &mut BTreeSet<String>) {
    if unset.insert(key.to_owned()) {
        let message = format!(
            "{} has no value here and none in the `environment:` file, so it is not set (the variables of this shell are never used)",
            quote(key)
        );
        let mut note = Diagnostic::new(Severity::Note, ErrorCode::ValidationFailed, message).at(at);
        note.details.insert("variable".to_owned(), key.to_owned());
        session.diagnostics.push(located(note, &format!("services.{service}.environment.{key}")));
    }
}
