//! Top-level networks, volumes, secrets and configs.
//!
//! A declaration nobody uses is only checked for its shape: what it asks for would have no effect.

use std::collections::BTreeMap;

use jaco_types::{ErrorCode, NetworkName, NetworkSpec, VolumeName, VolumeSpec};

use super::{MAX_NETWORKS, MAX_VOLUMES, connect};
use crate::reading::keys::{self, Table};
use crate::reading::read;
use crate::reading::report::{Field, Report, Spot};

/// The networks in use; `used` has the places that name each.
pub(crate) fn networks(
    report: &mut Report<'_>,
    field: Option<&Field<'_>>,
    used: &BTreeMap<NetworkName, Vec<Spot>>,
) -> BTreeMap<NetworkName, NetworkSpec> {
    let mut specs = BTreeMap::new();
    let mut names: BTreeMap<String, ()> = BTreeMap::new();
    if let Some(field) = field {
        let entries = report.entries(field);
        if entries.len() > MAX_NETWORKS {
            report.too_large(field, "networks", MAX_NETWORKS);
        }
        for entry in entries {
            let child = field.child(entry);
            let Some(key) = read::network_name(report, &child, &entry.key) else { continue };
            report.set_unused(!used.contains_key(&key));
            let (spec, name) = network(report, &child);
            if name.is_some_and(|name| names.insert(name, ()).is_some()) {
                report.refused("network.name.twice", &child, "two networks have the same `name`; use one network");
            }
            report.set_unused(false);
            specs.insert(key, spec);
        }
    }
    for (name, spots) in used {
        if name.as_str() == "default" {
            specs.entry(name.clone()).or_default();
        } else if !specs.contains_key(name) {
            let hint = report.hint(name.as_str(), specs.keys().map(NetworkName::as_str));
            let message = format!("the network `{name}` is not declared under the top-level `networks`{hint}");
            for spot in spots {
                report.error(ErrorCode::UnknownNetwork, spot, message.clone());
            }
        }
    }
    specs.retain(|name, _| used.contains_key(name));
    specs
}

/// One network, and its explicit name.
fn network(report: &mut Report<'_>, field: &Field<'_>) -> (NetworkSpec, Option<String>) {
    let mut spec = NetworkSpec::default();
    let mut name = None;
    for (key, value) in report.keyed(field, &keys::NETWORK) {
        match key {
            "driver" => network_driver(report, &value),
            "driver_opts" => connect::engine_options(report, &value, "network.driver_opts"),
            "enable_ipv4" => {
                if read::boolean(report, &value) == Some(false) {
                    report.not_yet("network.enable_ipv4", &value, "remove it: containers have IPv4");
                }
            }
            "internal" => spec.internal = read::boolean(report, &value).unwrap_or_default(),
            "ipam" => ipam(report, &value),
            "labels" => spec.labels = read::string_map(report, &value),
            _ => {
                name = read::text(report, &value);
                if name.is_some() {
                    report.note(
                        "network.name",
                        &value,
                        "a network's `name` has no effect: a network belongs to its deployment",
                    );
                }
            }
        }
    }
    (spec, name)
}

fn network_driver(report: &mut Report<'_>, field: &Field<'_>) {
    match read::text(report, field).as_deref() {
        None | Some("bridge" | "overlay" | "default") => {}
        Some(_) => report.refused(
            "network.driver",
            field,
            "this network driver is not offered; use bridge or overlay, which both mean the cluster's network",
        ),
    }
}

/// `ipam`: addresses come from the cluster's pool, so only an empty block, or the default driver alone, is accepted.
fn ipam(report: &mut Report<'_>, field: &Field<'_>) {
    for entry in report.entries(field) {
        let child = field.child(entry);
        let harmless = match entry.key.as_str() {
            "driver" => read::text(report, &child).is_none_or(|driver| driver == "default"),
            "config" | "options" => child.is_off() || empty_items(&child),
            key if key.starts_with("x-") => true,
            key => {
                report.unknown_key(&child, key, ["driver", "config", "options"]);
                true
            }
        };
        if !harmless {
            report.not_yet("network.ipam", &child, "remove `ipam`: addresses come from the cluster's pool");
        }
    }
}

/// Whether a list holds nothing but empty mappings.
fn empty_items(field: &Field<'_>) -> bool {
    match &field.node.value {
        crate::Value::List(items) => items.iter().all(|node| Field::root(node).is_off()),
        crate::Value::Scalar(_) | crate::Value::Map(_) => false,
    }
}

/// The volumes in use; `used` has the places that name each.
pub(crate) fn volumes(
    report: &mut Report<'_>,
    field: Option<&Field<'_>>,
    used: &BTreeMap<VolumeName, Vec<Spot>>,
) -> BTreeMap<VolumeName, VolumeSpec> {
    let mut specs = BTreeMap::new();
    if let Some(field) = field {
        let entries = report.entries(field);
        if entries.len() > MAX_VOLUMES {
            report.too_large(field, "volumes", MAX_VOLUMES);
        }
        for entry in entries {
            let child = field.child(entry);
            match VolumeName::new(entry.key.as_str()) {
                Ok(name) => {
                    report.set_unused(!used.contains_key(&name));
                    let spec = volume(report, &child, &name);
                    report.set_unused(false);
                    specs.insert(name, spec);
                }
                Err(problem) => report.invalid(&child, problem.to_string()),
            }
        }
    }
    for (name, spots) in used.iter().filter(|(name, _)| !specs.contains_key(*name)) {
        for spot in spots {
            let message = format!(
                "the volume `{name}` is not declared; declare it under the top-level `volumes`, or write a path"
            );
            report.invalid(spot, message);
        }
    }
    specs.retain(|name, _| used.contains_key(name));
    specs
}

fn volume(report: &mut Report<'_>, field: &Field<'_>, key: &VolumeName) -> VolumeSpec {
    let mut spec = VolumeSpec::default();
    let mut driver = None;
    for (key, value) in report.keyed(field, &keys::VOLUME) {
        match key {
            "driver" => {
                driver = read::text(report, &value);
                if driver.as_deref().is_some_and(|driver| driver != "local" && driver != "default") {
                    report.refused(
                        "volume.driver",
                        &value,
                        "this volume driver is not offered; use `local`, or leave it out",
                    );
                }
            }
            "driver_opts" => {
                // Options without a value are what an unset variable leaves.
                let options = read::pairs(report, &value);
                if options.values().any(|option| option.as_deref().is_some_and(|text| !text.is_empty())) {
                    report.not_yet(
                        "volume.driver_opts",
                        &value,
                        "mount the file system on the node, and bind its absolute path",
                    );
                }
            }
            "external" => external(report, &value, &mut spec),
            "labels" => spec.labels = read::string_map(report, &value),
            _ => {
                if let Some(name) = read::text(report, &value) {
                    check_volume_name(report, &value, &name);
                    spec.literal_name = Some(name);
                }
            }
        }
    }
    if spec.external {
        spec.literal_name.get_or_insert_with(|| key.as_str().to_owned());
        if driver.is_some() || !spec.labels.is_empty() {
            report.invalid(field, "an external volume exists already; remove `driver` and `labels`");
        }
    }
    spec
}

/// `external: true`, or the old form with a name inside.
fn external(report: &mut Report<'_>, field: &Field<'_>, spec: &mut VolumeSpec) {
    if field.scalar().is_some() {
        spec.external = read::boolean(report, field).unwrap_or_default();
        return;
    }
    spec.external = true;
    for entry in report.entries(field) {
        let child = field.child(entry);
        if entry.key == "name" {
            if let Some(name) = read::text(report, &child) {
                check_volume_name(report, &child, &name);
                spec.literal_name = Some(name);
            }
        } else if !entry.key.starts_with("x-") {
            report.unknown_key(&child, &entry.key, ["name"]);
        }
    }
}

fn check_volume_name(report: &mut Report<'_>, field: &Field<'_>, name: &str) {
    if jaco_types::ReplicaId::new(name).is_err() {
        report.invalid(
            field,
            "a volume's name starts with a letter or digit and has letters, digits, `_`, `.` and `-` only",
        );
    }
}

/// `secrets` and `configs`: only checked for their shape. A service that uses one is refused at its own key.
pub(crate) fn files(report: &mut Report<'_>, field: &Field<'_>, table: &'static Table, used: bool) {
    let entries = report.entries(field);
    for entry in entries {
        report.keyed(&field.child(entry), table);
    }
    if !entries.is_empty() && !used {
        report.note(&format!("unused.{}", table.scope), field, "no service uses these, so the block has no effect");
    }
}
