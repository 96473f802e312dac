//! Everything of a deployment that no other deployment may have too.

use std::collections::{BTreeMap, BTreeSet};

use jaco_state::{Transaction, View};
use jaco_types::{
    Claim, ClaimKind, DeploymentName, DeploymentSpec, ErrorCode, Placement, Protocol, ReplicaDesired, Route, UserError,
    network_name, volume_name,
};

/// Claims by kind and key, with their detail.
pub(super) type Wanted = BTreeMap<(ClaimKind, String), String>;

/// The claims of a spec. The prefix of a service's replica ids is claimed as a container name, as is an explicit `container_name`;
/// external volumes belong to nobody.
pub(super) fn wanted(spec: &DeploymentSpec) -> Wanted {
    let mut wanted = Wanted::new();
    let mut claim = |kind, key: String| {
        wanted.insert((kind, key), String::new());
    };
    for (name, service) in &spec.services {
        claim(ClaimKind::ContainerName, format!("{}-{name}", spec.name));
        if let Some(container_name) = &service.container.container_name {
            claim(ClaimKind::ContainerName, container_name.clone());
        }
        for port in &service.ports {
            claim(ClaimKind::Port, port_key(port.protocol, port.host_port));
        }
    }
    for network in spec.networks.keys() {
        claim(ClaimKind::NetworkName, network_name(&spec.name, network));
    }
    for (key, volume) in spec.volumes.iter().filter(|(_, volume)| !volume.external) {
        claim(ClaimKind::VolumeName, volume_name(&spec.name, key, volume));
    }
    for route in &spec.routes {
        claim(ClaimKind::Route, Route::key_of(&route.domain, &route.path));
    }
    for route in &spec.routes {
        wanted.insert((ClaimKind::Domain, route.domain.as_str().to_owned()), route.tls.as_str().to_owned());
    }
    wanted
}

/// `tcp/8080`.
pub(super) fn port_key(protocol: Protocol, host_port: u16) -> String {
    format!("{}/{host_port}", protocol.as_str())
}

/// Takes what is wanted and gives back what is no longer, or says who has it.
///
/// The transaction must check the deployment's own record: that is what keeps two operations on one deployment apart, so claims it
/// already owns need no check.
pub(super) fn exchange(
    transaction: &mut Transaction,
    view: &View,
    deployment: &DeploymentName,
    wanted: &Wanted,
) -> Result<(), UserError> {
    for ((kind, key), detail) in wanted {
        match kind {
            ClaimKind::Domain => take_domain(transaction, view, deployment, key, detail)?,
            ClaimKind::Route
            | ClaimKind::Port
            | ClaimKind::ContainerName
            | ClaimKind::NetworkName
            | ClaimKind::VolumeName
            | ClaimKind::Subnet => take(transaction, view, deployment, *kind, key)?,
        }
    }
    release(transaction, view, deployment, wanted);
    Ok(())
}

fn take(
    transaction: &mut Transaction,
    view: &View,
    deployment: &DeploymentName,
    kind: ClaimKind,
    key: &str,
) -> Result<(), UserError> {
    let stored = Claim::key_of(kind, key);
    match view.get::<Claim>(&stored) {
        Some(claim) if claim.owner == *deployment => {}
        Some(claim) => return Err(conflict(kind, key, &claim.owner)),
        None => {
            transaction.check_absent::<Claim>(stored);
            transaction.put(claim(kind, key, deployment, ""));
        }
    }
    Ok(())
}

/// A domain may be shared by deployments that agree about TLS; each has paths of its own. Who joins writes the claim anew, so that
/// its owner cannot give it back at the same moment.
fn take_domain(
    transaction: &mut Transaction,
    view: &View,
    deployment: &DeploymentName,
    domain: &str,
    tls: &str,
) -> Result<(), UserError> {
    let stored = Claim::key_of(ClaimKind::Domain, domain);
    let held = view.get::<Claim>(&stored);
    let other_user = domain_users(view, domain).find(|user| *user != deployment);
    match held {
        Some(claim) if claim.detail != tls && other_user.is_some() => {
            let owner = other_user.unwrap_or(&claim.owner);
            return Err(UserError::new(
                ErrorCode::RouteConflict,
                format!(
                    "deployment {owner:?} serves {domain} with `tls: {}`, and a domain has one TLS mode; use the same mode or another domain",
                    claim.detail
                ),
            )
            .with("domain", domain)
            .with("tls", &claim.detail)
            .with("owner", owner));
        }
        Some(held) => {
            let joins = !domain_users(view, domain).any(|user| user == deployment);
            if joins || held.detail != tls {
                transaction.check_unchanged::<Claim>(stored.as_str(), view.version::<Claim>(&stored));
                let owner = if other_user.is_some() { &held.owner } else { deployment };
                transaction.put(claim(ClaimKind::Domain, domain, owner, tls));
            }
        }
        None => {
            transaction.check_absent::<Claim>(stored);
            transaction.put(claim(ClaimKind::Domain, domain, deployment, tls));
        }
    }
    Ok(())
}

/// Gives back the claims of a deployment that are not wanted any more. A domain that others use as well passes to one of them.
fn release(transaction: &mut Transaction, view: &View, deployment: &DeploymentName, wanted: &Wanted) {
    for held in view.list::<Claim>().filter(|claim| claim.owner == *deployment) {
        if wanted.contains_key(&(held.kind, held.key.clone())) {
            continue;
        }
        let stored = Claim::key_of(held.kind, &held.key);
        let heir = match held.kind {
            ClaimKind::Domain => domain_users(view, &held.key).find(|user| *user != deployment),
            ClaimKind::Route
            | ClaimKind::Port
            | ClaimKind::ContainerName
            | ClaimKind::NetworkName
            | ClaimKind::VolumeName
            | ClaimKind::Subnet => None,
        };
        // Whoever joins a domain writes its claim: the check fails when somebody did since this view.
        transaction.check_unchanged::<Claim>(stored.as_str(), view.version::<Claim>(&stored));
        match heir {
            Some(heir) => transaction.put(claim(held.kind, &held.key, heir, &held.detail)),
            None => transaction.delete::<Claim>(stored),
        };
    }
}

fn claim(kind: ClaimKind, key: &str, owner: &DeploymentName, detail: &str) -> Claim {
    Claim { kind, key: key.to_owned(), owner: owner.clone(), detail: detail.to_owned() }
}

/// The deployments with a route on a domain.
fn domain_users<'a>(view: &'a View, domain: &'a str) -> impl Iterator<Item = &'a DeploymentName> {
    // A route's key begins with its domain.
    let routes = view.list_prefix::<Route>(domain);
    routes.filter(move |route| route.domain.as_str() == domain).map(|route| &route.deployment)
}

/// An explicit container name may not look like a replica id of another deployment, nor the other way round: both are names of
/// containers. The claims themselves cannot say so, as a replica id is a claimed prefix with an index.
pub(super) fn check_container_names(view: &View, spec: &DeploymentSpec) -> Result<(), UserError> {
    let is_index = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Prefixes of replica ids begin with their owner's name; an explicit name of another deployment hardly ever does.
    let is_id_prefix = |claim: &Claim| claim.key.starts_with(&format!("{}-", claim.owner));
    for (service, settings) in &spec.services {
        let prefix = Claim::key_of(ClaimKind::ContainerName, &format!("{}-{service}-", spec.name));
        let explicit = view.list_prefix::<Claim>(&prefix).find(|claim| {
            claim.owner != spec.name
                && !is_id_prefix(claim)
                && Claim::key_of(claim.kind, &claim.key).strip_prefix(&prefix).is_some_and(is_index)
        });
        if let Some(claim) = explicit {
            return Err(conflict(ClaimKind::ContainerName, &claim.key, &claim.owner));
        }
        let Some(name) = &settings.container.container_name else { continue };
        if let Some(replica) = view.get::<ReplicaDesired>(name).filter(|replica| replica.deployment != spec.name) {
            return Err(conflict(ClaimKind::ContainerName, name, &replica.deployment));
        }
        let Some((prefix, _)) = name.rsplit_once('-').filter(|(_, index)| is_index(index)) else { continue };
        let ids = view.get::<Claim>(&Claim::key_of(ClaimKind::ContainerName, prefix));
        let ids = ids.filter(|claim| claim.owner != spec.name && is_id_prefix(claim));
        if let Some(claim) = ids {
            return Err(conflict(ClaimKind::ContainerName, name, &claim.owner));
        }
    }
    Ok(())
}

fn conflict(kind: ClaimKind, key: &str, owner: &DeploymentName) -> UserError {
    let (code, what, way_out) = match kind {
        ClaimKind::Route | ClaimKind::Domain => (ErrorCode::RouteConflict, "the route", "use another domain or path"),
        ClaimKind::Port => (ErrorCode::PortConflict, "the host port", "publish another host port"),
        ClaimKind::ContainerName => (
            ErrorCode::NameConflict,
            "the container name",
            "rename this deployment, the service, or its `container_name`",
        ),
        ClaimKind::NetworkName => {
            (ErrorCode::NameConflict, "the network name", "rename this deployment or the network")
        }
        ClaimKind::VolumeName => (
            ErrorCode::NameConflict,
            "the volume name",
            "rename the volume, or declare it `external: true` to share it",
        ),
        ClaimKind::Subnet => (ErrorCode::NameConflict, "the subnet", "choose another one"),
    };
    UserError::new(
        code,
        format!("{what} {key:?} belongs to deployment {owner:?}; {way_out}, or delete that deployment"),
    )
    .with("kind", kind.as_str())
    .with("key", key)
    .with("owner", owner)
}

/// Refuses a spec that wants one thing twice: the later of the two would quietly win.
pub(super) fn check_within(spec: &DeploymentSpec) -> Result<(), UserError> {
    let mut seen: BTreeSet<(ClaimKind, String)> = BTreeSet::new();
    let mut once = |kind: ClaimKind, key: String, service: &str| {
        if seen.insert((kind, key.clone())) {
            Ok(())
        } else {
            Err(conflict(kind, &key, &spec.name).with("service", service))
        }
    };
    for (name, service) in &spec.services {
        for port in &service.ports {
            once(ClaimKind::Port, port_key(port.protocol, port.host_port), name.as_str())?;
        }
        let many = service.replicas > 1 || service.placement == Placement::Global;
        if let Some(container_name) = &service.container.container_name {
            once(ClaimKind::ContainerName, container_name.clone(), name.as_str())?;
            if many {
                return Err(UserError::new(
                    ErrorCode::ValidationFailed,
                    format!(
                        "service {name:?} has `container_name` and more than one replica, and containers cannot share a name; remove \
                         `container_name` or set `replicas: 1`"
                    ),
                )
                .with("service", name)
                .with("field", format!("services.{name}.container_name")));
            }
        }
    }
    for route in &spec.routes {
        once(ClaimKind::Route, Route::key_of(&route.domain, &route.path), route.service.as_str())?;
    }
    Ok(())
}
