//! What an apply would change: two specs compared, for `apply --dry-run`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jaco_types::{DeploymentSpec, ServiceName, ServiceSpec};
use serde::Serialize;
use serde_json::Value;

/// What stands in place of a value that is not shown.
const HIDDEN: &str = "(hidden)";

/// The differences between two revisions, in order of kind and name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SpecDiff {
    /// Things that come.
    pub adds: Vec<Object>,
    /// Fields that change.
    pub updates: Vec<Update>,
    /// Things that go.
    pub removes: Vec<Object>,
    /// Services whose running containers are replaced, as their settings differ.
    pub restarts: Vec<ServiceName>,
}

/// A named thing of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Object {
    /// `service`, `network`, `volume`, `route` or `deployment`.
    pub kind: &'static str,
    /// Its name; a route's is domain and path.
    pub name: String,
}

/// One field that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Update {
    /// As in [`Object`].
    pub kind: &'static str,
    /// As in [`Object`].
    pub name: String,
    /// Dotted path of the field: `image`, `environment.LOG_LEVEL`.
    pub field: String,
    /// The old value; absent when the field was not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// The new value; absent when the field is not set any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

impl SpecDiff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.adds.is_empty() && self.updates.is_empty() && self.removes.is_empty()
    }
}

/// The lines of the text output: `+ kind/name`, `~ kind/name field: old -> new`, `- kind/name`, or `No changes`.
impl fmt::Display for SpecDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "No changes");
        }
        for Object { kind, name } in &self.adds {
            writeln!(f, "+ {kind}/{name}")?;
        }
        for Update { kind, name, field, old, new } in &self.updates {
            let (old, new) = (old.as_deref().unwrap_or("(none)"), new.as_deref().unwrap_or("(none)"));
            writeln!(f, "~ {kind}/{name} {field}: {old} -> {new}")?;
        }
        for Object { kind, name } in &self.removes {
            writeln!(f, "- {kind}/{name}")?;
        }
        Ok(())
    }
}

/// A revision to compare.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// What it asks for.
    pub spec: &'a DeploymentSpec,
    /// The compose text it was made of, which says where variables are part of a value; empty when that is not known.
    pub compose_yaml: &'a str,
}

/// Compares the active revision, if there is one, with a new one. Values that may be secret are not in the result: those of
/// variables with a telling name, and those that a file of variables is part of, where they are free text (an image or a port
/// that a variable chose is shown).
pub fn diff(old: Option<Side<'_>>, new: Side<'_>) -> SpecDiff {
    let mut result = SpecDiff::default();
    let old_objects = old.map(objects).unwrap_or_default();
    let new_objects = objects(new);
    let (old, new) = (old.map(|side| side.spec), new.spec);
    for (key, fields) in &new_objects {
        let object = Object { kind: key.0, name: key.1.clone() };
        match old_objects.get(key) {
            None => result.adds.push(object),
            Some(before) => compare(&object, before, fields, &mut result.updates),
        }
    }
    let gone = old_objects.keys().filter(|key| !new_objects.contains_key(*key));
    result.removes = gone.map(|(kind, name)| Object { kind, name: name.clone() }).collect();
    if let Some(old) = old {
        let replaced = |(name, after): &(&ServiceName, &ServiceSpec)| {
            old.services
                .get(*name)
                .is_some_and(|before| before.replicas > 0 && after.replicas > 0 && before.hash() != after.hash())
        };
        result.restarts = new.services.iter().filter(replaced).map(|(name, _)| name.clone()).collect();
    }
    result
}

/// A field's value, and whether it is kept out of output.
#[derive(PartialEq)]
struct FieldValue {
    text: String,
    hidden: bool,
}

type Fields = BTreeMap<String, FieldValue>;

fn objects(side: Side<'_>) -> BTreeMap<(&'static str, String), Fields> {
    let spec = side.spec;
    let marked = marked_texts(side.compose_yaml);
    let mut objects = BTreeMap::new();
    let none = Secrets::default();
    let mut deployment = Fields::new();
    if let Some(email) = &spec.acme_email {
        deployment.insert("acme_email".to_owned(), FieldValue { text: email.clone(), hidden: false });
    }
    objects.insert(("deployment", spec.name.to_string()), deployment);
    for (name, service) in &spec.services {
        let secrets = Secrets {
            variables: service.hidden_environment.iter().map(String::as_str).collect(),
            fields: marked.get(name.as_str()).cloned().unwrap_or_default(),
        };
        let mut fields = fields(service, &secrets);
        // These are always there, so that a change to or from the default shows both values.
        fields.insert("placement".to_owned(), shown(placement_text(&service.placement)));
        fields.retain(|field, _| field != "hidden_environment" && !field.starts_with("placement."));
        objects.insert(("service", name.to_string()), fields);
    }
    for (name, network) in &spec.networks {
        objects.insert(("network", name.to_string()), fields(network, &none));
    }
    for (name, volume) in &spec.volumes {
        objects.insert(("volume", name.to_string()), fields(volume, &none));
    }
    for route in &spec.routes {
        let path = if route.path.is_empty() { "/" } else { &route.path };
        let mut fields = fields(route, &none);
        fields.insert("tls".to_owned(), shown(route.tls.as_str().to_owned()));
        objects.insert(("route", format!("{}{path}", route.domain)), fields);
    }
    objects
}

fn shown(text: String) -> FieldValue {
    FieldValue { text, hidden: false }
}

fn placement_text(placement: &jaco_types::Placement) -> String {
    match placement {
        jaco_types::Placement::Hosts(hosts) => {
            let names: Vec<&str> = hosts.iter().map(jaco_types::Hostname::as_str).collect();
            format!("hosts {}", names.join(","))
        }
        jaco_types::Placement::Spread | jaco_types::Placement::Pack | jaco_types::Placement::Global => {
            placement.as_str().to_owned()
        }
    }
}

/// The leaves of a spec by dotted path; `container.` is left out, as users write those keys on the service.
fn fields(spec: &impl Serialize, secrets: &Secrets<'_>) -> Fields {
    let mut fields = Fields::new();
    // A spec holds nothing JSON cannot; an empty result would merely compare as "no fields".
    let value = serde_json::to_value(spec).unwrap_or_default();
    collect("", &value, secrets, &mut fields);
    fields
}

fn collect(path: &str, value: &Value, secrets: &Secrets<'_>, fields: &mut Fields) {
    match value {
        Value::Object(map) if !map.is_empty() || path.is_empty() => {
            for (key, child) in map {
                let child_path = match path {
                    "" => key.clone(),
                    "container" => key.clone(),
                    _ => format!("{path}.{key}"),
                };
                collect(&child_path, child, secrets, fields);
            }
        }
        Value::Null => {}
        Value::String(text) => {
            fields.insert(path.to_owned(), FieldValue { text: text.clone(), hidden: secrets.hide(path) });
        }
        Value::Object(_) | Value::Array(_) | Value::Bool(_) | Value::Number(_) => {
            fields.insert(path.to_owned(), FieldValue { text: value.to_string(), hidden: secrets.hide(path) });
        }
    }
}

/// What of a service is not shown.
#[derive(Default)]
struct Secrets<'a> {
    /// Names of environment variables.
    variables: BTreeSet<&'a str>,
    /// Fields of free text that variables are part of.
    fields: BTreeSet<&'static str>,
}

impl Secrets<'_> {
    fn hide(&self, path: &str) -> bool {
        let (field, name) = path.split_once('.').unwrap_or((path, ""));
        match field {
            "environment" => self.variables.contains(name) || is_secret_name(name),
            "labels" | "annotations" | "logging" => self.fields.contains(field) || is_secret_name(name),
            _ => self.fields.contains(field),
        }
    }
}

/// Fields of a service that hold free text, in which a password may stand: named alike in the compose file and in the spec.
const FREE_TEXTS: [&str; 6] = ["annotations", "command", "entrypoint", "healthcheck", "labels", "logging"];

/// By service: the fields of free text that variables are part of.
fn marked_texts(compose_yaml: &str) -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut marked: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
    for (service, key) in crate::source::marked_service_keys(compose_yaml) {
        if let Some(field) = FREE_TEXTS.into_iter().find(|field| *field == key) {
            marked.entry(service).or_default().insert(field);
        }
    }
    marked
}

/// Whether a variable's name is one that secrets usually have.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace(['.', '-'], "_");
    let marks = ["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "CREDENTIAL", "PRIVATE", "APIKEY"];
    marks.iter().any(|mark| name.contains(mark))
        || name.split('_').any(|word| matches!(word, "KEY" | "KEYS" | "PASS" | "PWD" | "AUTH" | "DSN" | "SALT"))
}

fn compare(object: &Object, old: &Fields, new: &Fields, updates: &mut Vec<Update>) {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for field in names {
        let (before, after) = (old.get(field), new.get(field));
        if before.map(|v| &v.text) == after.map(|v| &v.text) {
            continue;
        }
        let secret = [before, after].into_iter().flatten().any(|value| value.hidden);
        let show = |value: &FieldValue| if secret { HIDDEN.to_owned() } else { one_line(&value.text) };
        updates.push(Update {
            kind: object.kind,
            name: object.name.clone(),
            field: field.clone(),
            old: before.map(show),
            new: after.map(show),
        });
    }
}

/// A value on one line of output.
fn one_line(text: &str) -> String {
    if text.contains(['\n', '\r', '\t']) { format!("{text:?}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests;
