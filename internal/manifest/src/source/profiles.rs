//! Profiles: services that are there only when asked for.

use std::collections::{BTreeMap, BTreeSet};

use jaco_types::ErrorCode;

use super::documents::located;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::yaml::{Node, Value, quote};

/// Takes out the services none of whose profiles is active, and the key itself from the others. A service that stays and needs one
/// that goes is told, unless the dependency has `required: false`, which goes with it.
pub(super) fn apply(document: &mut Node, active: &[String], diagnostics: &mut Diagnostics) {
    let Some(services) = document.get_mut("services") else { return };
    let mut dropped: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for service in services.entries() {
        let Some(node) = service.value.get("profiles") else { continue };
        match names(node) {
            Ok(profiles) => {
                let on = |profile: &String| active.iter().any(|active| active == profile || active == "*");
                if !profiles.is_empty() && !profiles.iter().any(on) {
                    dropped.insert(service.key.clone(), profiles);
                }
            }
            Err(problem) => {
                diagnostics.push(located(*problem, &format!("services.{}.profiles", service.key)));
            }
        }
    }
    if let Value::Map(entries) = &mut services.value {
        entries.retain(|service| !dropped.contains_key(&service.key));
        for service in entries {
            service.value.remove("profiles");
            if !dropped.is_empty() {
                check(&service.key, &mut service.value, &dropped, diagnostics);
            }
        }
    }
}

fn names(node: &Node) -> Result<Vec<String>, Box<Diagnostic>> {
    if node.is_null() {
        return Ok(Vec::new());
    }
    node.expect_list()?.iter().map(|item| item.expect_str().map(str::to_owned)).collect()
}

fn check(name: &str, service: &mut Node, dropped: &BTreeMap<String, Vec<String>>, diagnostics: &mut Diagnostics) {
    let mut missing: BTreeSet<(String, String)> = BTreeSet::new();
    if let Some(depends_on) = service.get_mut("depends_on") {
        if let Value::Map(entries) = &mut depends_on.value {
            entries.retain(|entry| {
                let required = entry.value.get("required").and_then(Node::as_bool).unwrap_or(true);
                required || !dropped.contains_key(&entry.key)
            });
        }
        let list = depends_on.as_list().unwrap_or_default().iter().filter_map(Node::as_str);
        let names = depends_on.entries().iter().map(|entry| entry.key.as_str()).chain(list);
        missing.extend(names.map(|name| ("depends_on".to_owned(), name.to_owned())));
    }
    for key in ["network_mode", "pid", "ipc"] {
        let target = service.get(key).and_then(Node::as_str).and_then(|text| text.strip_prefix("service:"));
        missing.extend(target.map(|target| (key.to_owned(), target.to_owned())));
    }
    for key in ["links", "volumes_from"] {
        let items = service.get(key).and_then(Node::as_list).unwrap_or_default().iter().filter_map(Node::as_str);
        let targets = items.map(|text| text.split(':').next().unwrap_or_default());
        missing.extend(targets.map(|target| (key.to_owned(), target.to_owned())));
    }
    for (key, target) in missing {
        let Some(profiles) = dropped.get(&target) else { continue };
        let at = service.entry(&key).map_or(&service.at, |entry| &entry.at);
        let message = format!(
            "needs the service {}, which is off: it has the profiles {}; turn one on with --profile",
            quote(&target),
            profiles.join(", ")
        );
        let code = if key == "depends_on" { ErrorCode::UnknownDependsOnService } else { ErrorCode::ValidationFailed };
        let error = Diagnostic::new(Severity::Error, code, message).at(at);
        diagnostics.push(located(error, &format!("services.{name}.{key}")));
    }
}
