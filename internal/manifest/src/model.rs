//! The merged, final compose tree and `jaco.yaml` to the deployment they describe.
//!
//! The tree is final: variables are filled in, environment files folded, other files merged. What is left of those steps is refused
//! by name. Reading goes on after a problem so that all are told at once.

mod check;
mod connect;
mod depends;
mod deploy;
mod devices;
mod draft;
mod health;
mod limits;
mod mounts;
mod ports;
mod service;
mod settings;
#[cfg(test)]
mod tests;
mod top;

use std::collections::{BTreeMap, BTreeSet};

use jaco_types::{DeploymentSpec, ErrorCode, NetworkAttachment, NetworkName, Placement, ServiceName, ServiceSpec};

use crate::jaco_yaml::JacoFile;
pub use crate::reading::MAX_PORTS;
use crate::reading::keys;
use crate::reading::report::{Field, Report, Spot};
use crate::{Diagnostics, Node};
use draft::Draft;

/// Most services of a deployment.
pub const MAX_SERVICES: usize = 1_000;
/// Most replicas of a deployment, global services counted once.
pub const MAX_REPLICAS: usize = 10_000;
/// Most routes of a deployment.
pub const MAX_ROUTES: usize = 1_000;
/// Most networks of a deployment.
pub const MAX_NETWORKS: usize = 256;
/// Most named volumes of a deployment.
pub const MAX_VOLUMES: usize = 1_000;

/// What the two files do not say.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Ports the daemon itself uses on the nodes; publishing one is `reserved_port`, as are 80 and 443 always.
    pub daemon_ports: BTreeSet<u16>,
    /// Whether routes are served without TLS whatever they ask for; said in a note then.
    pub plain_http_only: bool,
}

/// Builds the deployment. What is wrong, and what has no effect, goes to `diagnostics`.
///
/// `None` when anything was refused, in this call or before, and when `jaco` has no deployment name.
pub fn build(
    jaco: &JacoFile,
    compose: &Node,
    options: &Options,
    diagnostics: &mut Diagnostics,
) -> Option<DeploymentSpec> {
    let mut report = Report::new(diagnostics);
    let root = Field::root(compose);
    let mut parts = Parts::read(&mut report, &root);
    parts.override_services(&mut report, jaco);
    let networks = parts.networks(&mut report);
    let volumes = parts.volumes(&mut report);
    check::all(&mut report, &root, jaco, &parts.drafts, options);
    if report.has_errors() {
        return None;
    }
    let name = jaco.deployment.clone()?;
    let services = parts.drafts.into_iter().map(|(name, placed)| (name, placed.into_spec())).collect();
    let routes = jaco.routes.iter().map(|route| route.spec.clone()).collect();
    Some(DeploymentSpec { name, services, networks, volumes, routes, acme_email: jaco.acme_email.clone() })
}

/// A service with its overrides.
pub(crate) struct Placed {
    draft: Draft,
    placement: Placement,
    replicas: u32,
    exclusive: bool,
    reschedule: jaco_types::Reschedule,
    /// Where its count and placement are said.
    spot: Spot,
}

impl Placed {
    fn new(draft: Draft) -> Self {
        let placement = if draft.global { Placement::Global } else { Placement::Spread };
        let (replicas, spot) = (draft.replicas.unwrap_or(1), draft.spot.clone());
        Placed { draft, placement, replicas, exclusive: false, reschedule: jaco_types::Reschedule::Auto, spot }
    }

    fn into_spec(self) -> ServiceSpec {
        let mut hidden = self.draft.hidden;
        hidden.retain(|variable| self.draft.container.environment.contains_key(variable));
        let published =
            |p: &ports::Port| jaco_types::PublishedPort { protocol: p.protocol, host_port: p.host, target: p.target };
        let mut ports: Vec<_> = self.draft.ports.iter().map(published).collect();
        ports.sort();
        let replicas = if self.placement == Placement::Global { 1 } else { self.replicas };
        ServiceSpec {
            replicas,
            placement: self.placement,
            exclusive: self.exclusive,
            reschedule: self.reschedule,
            restart: jaco_types::RestartMode::Always,
            pull_policy: self.draft.pull_policy,
            depends_on: self.draft.depends_on.into_iter().map(|(name, (dependency, _))| (name, dependency)).collect(),
            ports,
            hidden_environment: hidden.into_iter().collect(),
            container: self.draft.container,
        }
    }
}

/// The document taken apart.
struct Parts<'a> {
    drafts: BTreeMap<ServiceName, Placed>,
    networks: Option<Field<'a>>,
    volumes: Option<Field<'a>>,
}

impl<'a> Parts<'a> {
    fn read(report: &mut Report<'_>, root: &Field<'a>) -> Self {
        let mut parts = Parts { drafts: BTreeMap::new(), networks: None, volumes: None };
        let mut has_services = false;
        for (key, value) in report.keyed(root, &keys::TOP) {
            match key {
                "services" => {
                    has_services = !value.is_off();
                    parts.drafts = services(report, &value);
                }
                "networks" => parts.networks = Some(value),
                "volumes" => parts.volumes = Some(value),
                "secrets" => top::files(report, &value, &keys::SECRET, is_used(root, key)),
                _ => top::files(report, &value, &keys::CONFIG, is_used(root, key)),
            }
        }
        if !has_services {
            report.invalid(root, "the compose file has no services");
        }
        parts
    }

    /// Applies `services[]` of `jaco.yaml`.
    fn override_services(&mut self, report: &mut Report<'_>, jaco: &JacoFile) {
        for wanted in &jaco.services {
            let Some(placed) = self.drafts.get_mut(&wanted.name) else {
                let hint = report.hint(wanted.name.as_str(), self.drafts.keys().map(ServiceName::as_str));
                let message = format!("the compose file has no service `{}`{hint}", wanted.name);
                report.error(ErrorCode::UnknownService, &wanted.spot, message);
                continue;
            };
            report.set_service(Some(wanted.name.as_str()));
            placed.spot = wanted.spot.clone();
            placed.exclusive = wanted.exclusive;
            placed.reschedule = wanted.reschedule;
            if let Some(placement) = &wanted.placement {
                placed.placement = placement.clone();
                if *placement == Placement::Global && placed.draft.replicas.is_some() {
                    report.note(
                        "replicas.global",
                        &placed.draft.spot,
                        "the count of the compose file has no effect: `placement: global` runs one replica on each node",
                    );
                }
            }
            if let Some(replicas) = wanted.replicas {
                placed.replicas = replicas;
                if placed.placement == Placement::Global && wanted.placement.is_none() {
                    report.invalid(&wanted.spot, "the service is global in the compose file; remove `replicas`");
                }
            }
            if let Some(networks) = &wanted.networks {
                placed.draft.networks.clone_from(networks);
                let old = std::mem::take(&mut placed.draft.container.networks);
                let keep = |name: &NetworkName| (name.clone(), old.get(name).cloned().unwrap_or_default());
                placed.draft.container.networks = networks.iter().map(|(name, _)| keep(name)).collect();
            }
            report.set_service(None);
        }
    }

    /// Puts services without networks into the implicit one, and reads the networks that are used.
    fn networks(&mut self, report: &mut Report<'_>) -> BTreeMap<NetworkName, jaco_types::NetworkSpec> {
        let mut used: BTreeMap<NetworkName, Vec<Spot>> = BTreeMap::new();
        for (name, placed) in &mut self.drafts {
            let draft = &mut placed.draft;
            if draft.networks.is_empty() && draft.network_mode.is_none() {
                if let Ok(default) = NetworkName::new("default") {
                    draft.container.networks.insert(default.clone(), NetworkAttachment::default());
                    used.entry(default).or_default();
                }
            } else if let (Some(spot), false) = (&draft.network_mode, draft.networks.is_empty()) {
                report.set_service(Some(name.as_str()));
                report.invalid(spot, "the service has both `network_mode` and `networks`; remove one of them");
                report.set_service(None);
            }
            for (network, spot) in &draft.networks {
                used.entry(network.clone()).or_default().push(spot.clone());
            }
        }
        top::networks(report, self.networks.as_ref(), &used)
    }

    /// Reads the volumes that are mounted.
    fn volumes(&self, report: &mut Report<'_>) -> BTreeMap<jaco_types::VolumeName, jaco_types::VolumeSpec> {
        let mut used: BTreeMap<_, Vec<Spot>> = BTreeMap::new();
        for placed in self.drafts.values() {
            for (volume, spot) in &placed.draft.volumes {
                used.entry(volume.clone()).or_default().push(spot.clone());
            }
        }
        top::volumes(report, self.volumes.as_ref(), &used)
    }
}

/// Whether any service has something under this key.
fn is_used(root: &Field<'_>, key: &str) -> bool {
    let services = root.node.get("services").map(Node::entries).unwrap_or_default();
    services.iter().filter_map(|service| service.value.get(key)).any(|node| !Field::root(node).is_off())
}

fn services(report: &mut Report<'_>, field: &Field<'_>) -> BTreeMap<ServiceName, Placed> {
    let mut drafts = BTreeMap::new();
    let entries = report.entries(field);
    if entries.len() > MAX_SERVICES {
        report.too_large(field, "services", MAX_SERVICES);
        return drafts;
    }
    for entry in entries {
        let child = field.child(entry);
        match ServiceName::new(entry.key.as_str()) {
            Ok(name) => {
                report.set_service(Some(&entry.key));
                let draft = service::read(report, &child);
                drafts.insert(name, Placed::new(draft));
                report.set_service(None);
            }
            Err(problem) => report.invalid(&child, problem.to_string()),
        }
    }
    drafts
}
