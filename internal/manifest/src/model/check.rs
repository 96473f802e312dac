//! What can only be judged over all services.

use std::collections::{BTreeMap, BTreeSet};

use jaco_types::{ErrorCode, Placement, Protocol, ReplicaId, RouteTls, ServiceName};

use super::{MAX_REPLICAS, MAX_ROUTES, Options, Placed};
use crate::jaco_yaml::JacoFile;
use crate::reading::report::{Field, Report};

/// The ingress has these on every node.
const INGRESS_PORTS: [u16; 2] = [80, 443];

/// Runs every check.
pub(crate) fn all(
    report: &mut Report<'_>,
    root: &Field<'_>,
    jaco: &JacoFile,
    services: &BTreeMap<ServiceName, Placed>,
    options: &Options,
) {
    dependencies(report, services);
    cycles(report, services);
    ports(report, services, options);
    replicas(report, root, services);
    container_names(report, jaco, services);
    routes(report, root, jaco, services, options);
}

/// Every service that is waited for, linked or shared exists.
fn dependencies(report: &mut Report<'_>, services: &BTreeMap<ServiceName, Placed>) {
    for (name, placed) in services {
        report.set_service(Some(name.as_str()));
        for (target, (_, spot)) in &placed.draft.depends_on {
            if target == name {
                report.error(ErrorCode::InvalidDependsOn, spot, "a service cannot depend on itself");
            } else if !services.contains_key(target) {
                let hint = report.hint(target.as_str(), services.keys().map(ServiceName::as_str));
                report.error(
                    ErrorCode::UnknownDependsOnService,
                    spot,
                    format!("there is no service `{target}`, or its profile is not active{hint}"),
                );
            }
        }
    }
    report.set_service(None);
}

/// Most cycles that are told, and most services of a cycle that are named.
const MAX_CYCLES: usize = 10;
const MAX_NAMES: usize = 20;

/// Where the search stands with a service.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    /// On the path from the service the search began at.
    Open,
    /// No cycle can be reached from it.
    Done,
}

/// Dependencies form no cycle; each cycle is named once, from its first member in order of names.
fn cycles(report: &mut Report<'_>, services: &BTreeMap<ServiceName, Placed>) {
    let mut marks: BTreeMap<&ServiceName, Mark> = BTreeMap::new();
    let mut found = 0;
    for start in services.keys() {
        if marks.contains_key(start) {
            continue;
        }
        // Depth first with its own stack: a chain of a thousand services must not grow the thread's.
        let mut path: Vec<(&ServiceName, Vec<&ServiceName>)> = vec![(start, next(services, start))];
        marks.insert(start, Mark::Open);
        while let Some((current, left)) = path.last_mut() {
            let current = *current;
            let Some(target) = left.pop() else {
                marks.insert(current, Mark::Done);
                path.pop();
                continue;
            };
            match marks.get(target) {
                Some(Mark::Done) => {}
                Some(Mark::Open) if found < MAX_CYCLES => {
                    found += 1;
                    report_cycle(report, services, &path, current, target);
                }
                Some(Mark::Open) => {}
                None => {
                    marks.insert(target, Mark::Open);
                    path.push((target, next(services, target)));
                }
            }
        }
    }
    report.set_service(None);
}

/// What a service depends on, last name first; itself and the unknown were reported before.
fn next<'a>(services: &'a BTreeMap<ServiceName, Placed>, name: &ServiceName) -> Vec<&'a ServiceName> {
    let Some(placed) = services.get(name) else { return Vec::new() };
    placed.draft.depends_on.keys().filter(|target| *target != name && services.contains_key(*target)).rev().collect()
}

fn report_cycle(
    report: &mut Report<'_>,
    services: &BTreeMap<ServiceName, Placed>,
    path: &[(&ServiceName, Vec<&ServiceName>)],
    last: &ServiceName,
    target: &ServiceName,
) {
    let mut names: Vec<&str> =
        path.iter().map(|(name, _)| *name).skip_while(|name| *name != target).map(ServiceName::as_str).collect();
    if names.len() > MAX_NAMES {
        names.truncate(MAX_NAMES);
        names.push("…");
    }
    names.push(target.as_str());
    let Some((_, spot)) = services.get(last).and_then(|placed| placed.draft.depends_on.get(target)) else { return };
    report.set_service(Some(last.as_str()));
    report.error(
        ErrorCode::InvalidDependsOn,
        spot,
        format!("the services wait for each other: {}", names.join(" -> ")),
    );
}

/// Host ports are free: not the ingress's, not the daemon's, and no two alike.
fn ports(report: &mut Report<'_>, services: &BTreeMap<ServiceName, Placed>, options: &Options) {
    let mut owners: BTreeMap<(Protocol, u16), &ServiceName> = BTreeMap::new();
    for (name, placed) in services {
        report.set_service(Some(name.as_str()));
        for port in &placed.draft.ports {
            let label = format!("{}/{}", port.host, port.protocol.as_str());
            if INGRESS_PORTS.contains(&port.host) {
                let message = format!("the host port {label} belongs to the ingress: use a route in jaco.yaml");
                report.refused_as(ErrorCode::ReservedPort, "ports.reserved", &port.spot, message);
            } else if options.daemon_ports.contains(&port.host) {
                let message = format!("the host port {label} belongs to JACO itself: publish another one");
                report.refused_as(ErrorCode::ReservedPort, "ports.reserved", &port.spot, message);
            }
            if let Some(owner) = owners.insert((port.protocol, port.host), name) {
                let message = format!("the host port {label} is published twice (also by `{owner}`)");
                report.refused_as(ErrorCode::PortConflict, "ports.conflict", &port.spot, message);
            }
        }
    }
    report.set_service(None);
}

/// Counts fit the pinned hosts and the limit.
fn replicas(report: &mut Report<'_>, root: &Field<'_>, services: &BTreeMap<ServiceName, Placed>) {
    let mut total = 0usize;
    for (name, placed) in services {
        let count = usize::try_from(placed.replicas).unwrap_or(usize::MAX);
        if let Placement::Hosts(hosts) = &placed.placement
            && count > hosts.len()
        {
            report.set_service(Some(name.as_str()));
            report.error(
                ErrorCode::ReplicasExceedPinnedHosts,
                &placed.spot,
                format!(
                    "{count} replicas do not fit {} hosts, one on each; add hosts or lower `replicas`",
                    hosts.len()
                ),
            );
            report.set_service(None);
        }
        total = total.saturating_add(if placed.placement == Placement::Global { 1 } else { count });
    }
    if total > MAX_REPLICAS {
        report.too_large(root, "replicas", MAX_REPLICAS);
    }
}

/// A container name belongs to one container.
fn container_names(report: &mut Report<'_>, jaco: &JacoFile, services: &BTreeMap<ServiceName, Placed>) {
    let mut owners: BTreeMap<&str, &ServiceName> = BTreeMap::new();
    let ids = replica_ids(jaco, services);
    for (name, placed) in services {
        let (Some(container_name), Some(spot)) = (&placed.draft.container.container_name, &placed.draft.container_name)
        else {
            continue;
        };
        report.set_service(Some(name.as_str()));
        if placed.placement == Placement::Global || placed.replicas > 1 {
            report.refused(
                "container_name.replicas",
                spot,
                "a container name belongs to one container, and the service has several replicas; remove `container_name`",
            );
        }
        if let Some(owner) = owners.insert(container_name, name) {
            let message = format!("the service `{owner}` has the same `container_name`");
            report.error(ErrorCode::NameConflict, spot, message);
        }
        if ids.contains(container_name) {
            report.error(ErrorCode::NameConflict, spot, "is the name of a replica of this deployment; choose another");
        }
    }
    report.set_service(None);
}

/// The names that replicas without a `container_name` get.
fn replica_ids(jaco: &JacoFile, services: &BTreeMap<ServiceName, Placed>) -> BTreeSet<String> {
    let Some(deployment) = &jaco.deployment else { return BTreeSet::new() };
    let unnamed = services.iter().filter(|(_, placed)| placed.draft.container_name.is_none());
    let limit = u32::try_from(MAX_REPLICAS).unwrap_or(u32::MAX);
    unnamed
        .flat_map(|(name, placed)| (0..placed.replicas.min(limit)).map(move |index| (name, index)))
        // Over the limit of replicas the deployment is refused anyway.
        .take(MAX_REPLICAS)
        .filter_map(|(name, index)| ReplicaId::indexed(deployment, name, index).ok())
        .map(|id| id.as_str().to_owned())
        .collect()
}

/// Routes lead to services that can be reached.
fn routes(
    report: &mut Report<'_>,
    root: &Field<'_>,
    jaco: &JacoFile,
    services: &BTreeMap<ServiceName, Placed>,
    options: &Options,
) {
    if jaco.routes.len() > MAX_ROUTES {
        report.too_large(root, "routes", MAX_ROUTES);
    }
    for route in &jaco.routes {
        let service = &route.spec.service;
        match services.get(service) {
            None => {
                let hint = report.hint(service.as_str(), services.keys().map(ServiceName::as_str));
                let message = format!("the compose file has no service `{service}`{hint}");
                report.error(ErrorCode::UnknownService, &route.spot, message);
            }
            Some(placed) if placed.draft.network_mode.is_some() => {
                report.invalid(
                    &route.spot,
                    format!("the service `{service}` uses `network_mode` and cannot be routed to"),
                );
            }
            Some(_) => {}
        }
        if options.plain_http_only && route.spec.tls == RouteTls::Auto {
            let message =
                "certificates are not issued yet: the route is served in plain HTTP; `tls: off` says so yourself";
            report.note("jaco.routes.tls", &route.spot, message);
        }
    }
}
