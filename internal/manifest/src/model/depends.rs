//! `depends_on`.

use std::collections::BTreeMap;

use jaco_types::{Dependency, DependencyCondition, ErrorCode, ServiceName};

use crate::reading::report::{Field, Report, Spot};
use crate::reading::{keys, read};

/// Reads the list or the map form.
pub(crate) fn read(report: &mut Report<'_>, field: &Field<'_>, into: &mut BTreeMap<ServiceName, (Dependency, Spot)>) {
    if !matches!(field.node.value, crate::Value::Map(_)) {
        for (item, name) in read::texts(report, field, false) {
            let started = Dependency { condition: DependencyCondition::Started, required: true };
            add(report, &item, &name, started, into);
        }
        return;
    }
    for entry in report.entries(field) {
        let child = field.child(entry);
        let mut dependency = Dependency { condition: DependencyCondition::Started, required: true };
        for (key, value) in report.keyed(&child, &keys::DEPENDENCY) {
            match key {
                "condition" => dependency.condition = condition(report, &value),
                _ => dependency.required = read::boolean(report, &value).unwrap_or(true),
            }
        }
        add(report, &child, &entry.key, dependency, into);
    }
}

fn condition(report: &mut Report<'_>, field: &Field<'_>) -> DependencyCondition {
    match read::text(report, field).as_deref() {
        None | Some("service_started") => DependencyCondition::Started,
        Some("service_healthy") => DependencyCondition::Healthy,
        Some("service_completed_successfully") => {
            report.not_yet(
                "depends_on.completed_successfully",
                field,
                "run the preparing step before the apply, or in the entrypoint of the service that needs it",
            );
            DependencyCondition::Started
        }
        Some(other) => {
            let message = format!(
                "there is no condition {:?}; use service_started or service_healthy",
                crate::reading::report::shorten(other)
            );
            report.error(ErrorCode::UnsupportedDependsOnCondition, field, message);
            DependencyCondition::Started
        }
    }
}

fn add(
    report: &mut Report<'_>,
    field: &Field<'_>,
    name: &str,
    dependency: Dependency,
    into: &mut BTreeMap<ServiceName, (Dependency, Spot)>,
) {
    match ServiceName::new(name) {
        Ok(name) => {
            into.insert(name, (dependency, field.spot()));
        }
        Err(problem) => report.invalid(field, problem.to_string()),
    }
}

/// Adds the dependency that `links`, `volumes_from` and shared namespaces imply, unless a written one is there.
pub(crate) fn imply(name: ServiceName, spot: Spot, into: &mut BTreeMap<ServiceName, (Dependency, Spot)>) {
    let started = Dependency { condition: DependencyCondition::Started, required: true };
    into.entry(name).or_insert((started, spot));
}
