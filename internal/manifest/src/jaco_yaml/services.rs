//! `services[]`: overrides of compose services.

use std::collections::BTreeSet;

use jaco_types::{Hostname, NetworkName, Placement, Reschedule, ServiceName};

use super::key;
use crate::reading::keys::Table;
use crate::reading::read;
use crate::reading::report::{Field, Report, Spot};

/// What `jaco.yaml` says about one service.
#[derive(Debug, Clone)]
pub struct ServiceOverride {
    /// The compose service.
    pub name: ServiceName,
    /// Replicas in place of the compose file's count.
    pub replicas: Option<u32>,
    /// Where replicas go, when it is said.
    pub placement: Option<Placement>,
    /// The networks in place of the compose file's list.
    pub(crate) networks: Option<Vec<(NetworkName, Spot)>>,
    /// At most one running instance of each replica, ever.
    pub exclusive: bool,
    /// What happens to replicas of a dead node.
    pub reschedule: Reschedule,
    /// Place of the whole entry.
    pub(crate) spot: Spot,
}

static SERVICE: Table = Table {
    scope: "jaco.services",
    keys: &[
        key("name"),
        key("replicas"),
        key("placement"),
        key("hosts"),
        key("networks"),
        key("exclusive"),
        key("reschedule"),
    ],
};

/// Reads the list; entries without a valid name are reported and left out.
pub(super) fn read(report: &mut Report<'_>, field: &Field<'_>) -> Vec<ServiceOverride> {
    let mut names = BTreeSet::new();
    let mut services = Vec::new();
    for item in report.items(field) {
        let Some(service) = service(report, &item) else { continue };
        if names.insert(service.name.clone()) {
            services.push(service);
        } else {
            report.invalid(&item, format!("the service `{}` is listed twice; join the two entries", service.name));
        }
    }
    services
}

fn service(report: &mut Report<'_>, field: &Field<'_>) -> Option<ServiceOverride> {
    let (mut name, mut replicas, mut mode, mut hosts) = (None, None, None, None);
    let (mut networks, mut exclusive, mut reschedule) = (None, false, Reschedule::Auto);
    let mut has_name = false;
    for (key, value) in report.keyed(field, &SERVICE) {
        match key {
            "name" => {
                has_name = !value.is_off();
                name = read::text(report, &value)
                    .and_then(|text| ServiceName::new(text).map_err(|p| report.invalid(&value, p.to_string())).ok());
            }
            "replicas" => {
                replicas = read::integer(report, &value, 0, i64::from(u32::MAX)).and_then(|n| u32::try_from(n).ok());
            }
            "placement" => mode = read::word(report, &value, &["spread", "pack", "hosts", "global"]),
            "hosts" => hosts = Some(self::hosts(report, &value)),
            "networks" => networks = network_list(report, &value),
            "exclusive" => exclusive = read::boolean(report, &value).unwrap_or_default(),
            _ => match read::word(report, &value, &["auto", "always", "never"]) {
                Some("always") => reschedule = Reschedule::Always,
                Some("never") => reschedule = Reschedule::Never,
                Some(_) | None => {}
            },
        }
    }
    if !has_name {
        report.invalid(field, "the entry has no `name`");
    }
    let placement = placement(report, field, mode, hosts);
    if placement == Some(Placement::Global) && replicas.is_some() {
        report.invalid(field, "`placement: global` runs one replica on each node; remove `replicas`");
    }
    Some(ServiceOverride { name: name?, replicas, placement, networks, exclusive, reschedule, spot: field.spot() })
}

fn hosts(report: &mut Report<'_>, field: &Field<'_>) -> Vec<Hostname> {
    let mut hosts: Vec<Hostname> = Vec::new();
    for (item, text) in read::texts(report, field, false) {
        match Hostname::new(text) {
            Ok(host) if hosts.contains(&host) => report.invalid(&item, format!("the host `{host}` is listed twice")),
            Ok(host) => hosts.push(host),
            Err(problem) => report.invalid(&item, problem.to_string()),
        }
    }
    hosts
}

fn placement(
    report: &mut Report<'_>,
    field: &Field<'_>,
    mode: Option<&'static str>,
    hosts: Option<Vec<Hostname>>,
) -> Option<Placement> {
    match (mode, hosts) {
        (Some("hosts"), Some(hosts)) if !hosts.is_empty() => Some(Placement::Hosts(hosts)),
        (Some("hosts"), _) => {
            report.invalid(field, "`placement: hosts` needs a list of `hosts`");
            None
        }
        (mode, Some(_)) => {
            report.invalid(field, "`hosts` needs `placement: hosts`");
            mode.and_then(plain)
        }
        (mode, None) => mode.and_then(plain),
    }
}

fn plain(mode: &'static str) -> Option<Placement> {
    match mode {
        "spread" => Some(Placement::Spread),
        "pack" => Some(Placement::Pack),
        "global" => Some(Placement::Global),
        _ => None,
    }
}

fn network_list(report: &mut Report<'_>, field: &Field<'_>) -> Option<Vec<(NetworkName, Spot)>> {
    if field.is_null() {
        return None;
    }
    let mut networks: Vec<(NetworkName, Spot)> = Vec::new();
    for (item, text) in read::texts(report, field, false) {
        if let Some(name) = read::network_name(report, &item, &text) {
            networks.push((name, item.spot()));
        }
    }
    Some(networks)
}
