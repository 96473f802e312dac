//! `jaco apply`.

use std::sync::Arc;

use jaco_state::{Transaction, View};
use jaco_types::{
    Deployment, DeploymentRevision, DeploymentSpec, ErrorCode, Hostname, Node, Placement, RevisionCounter,
    RevisionKind, UserError,
};

use super::{audit_privileged, begun, claims, resolved};

/// What a user applies, after the manifests were read and checked.
#[derive(Debug, Clone)]
pub struct ApplyRequest {
    /// The resolved spec.
    pub spec: Arc<DeploymentSpec>,
    /// `jaco.yaml` as sent.
    pub jaco_yaml: String,
    /// The compose text as sent.
    pub compose_yaml: String,
    /// Who applies.
    pub identity: String,
    /// Now, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// An apply that can be proposed. The caller may set its request id and reply.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Every write of the apply.
    pub transaction: Transaction,
    /// The new revision.
    pub revision: u64,
    /// The one that was active before.
    pub previous_revision: Option<u64>,
}

/// Makes the spec the next revision of its deployment and its routes, ports and names those in force.
///
/// Errors: `unknown_host`, `route_conflict`, `port_conflict`, `name_conflict` with the owner in `details.owner`, and
/// `validation_failed` for a container name that several replicas would share.
pub fn apply(view: &View, request: &ApplyRequest) -> Result<Applied, UserError> {
    let spec = &request.spec;
    let name = &spec.name;
    check_hosts(view, spec)?;
    claims::check_within(spec)?;
    claims::check_container_names(view, spec)?;

    let before = view.get::<Deployment>(name.as_str());
    let highest = view.get::<RevisionCounter>(name.as_str()).map_or(0, |counter| counter.highest);
    let revision = highest + 1;
    let previous_revision = before.map(|deployment| deployment.active_revision);
    // Attempts need to differ from each other only while the deployment exists; what was observed before is of another generation.
    let attempt = before.map_or(revision, |deployment| deployment.attempt + 1);

    let mut transaction = Transaction::new(request.identity.as_str());
    transaction.check_unchanged::<Deployment>(name.as_str(), view.version::<Deployment>(name.as_str()));
    transaction.check_unchanged::<RevisionCounter>(name.as_str(), view.version::<RevisionCounter>(name.as_str()));
    claims::exchange(&mut transaction, view, name, &claims::wanted(spec))?;
    resolved::replace(&mut transaction, view, name, Some(spec));
    transaction.put(RevisionCounter { deployment: name.clone(), highest: revision });
    transaction.put(DeploymentRevision {
        deployment: name.clone(),
        revision,
        spec: Arc::clone(spec),
        jaco_yaml: request.jaco_yaml.clone(),
        compose_yaml: request.compose_yaml.clone(),
        identity: request.identity.clone(),
        applied_at_ms: request.now_ms,
        kind: RevisionKind::Apply,
    });
    transaction.put(begun(name.clone(), revision, previous_revision, attempt));
    transaction.audit("apply", [("deployment", name.to_string()), ("revision", revision.to_string())]);
    audit_privileged(&mut transaction, spec, &request.identity);
    Ok(Applied { transaction, revision, previous_revision })
}

/// Pinned hosts must be members; they need not be ready.
fn check_hosts(view: &View, spec: &DeploymentSpec) -> Result<(), UserError> {
    let is_member = |host: &Hostname| view.list::<Node>().any(|node| node.hostname == *host);
    for (name, service) in &spec.services {
        let Placement::Hosts(hosts) = &service.placement else { continue };
        let Some(unknown) = hosts.iter().find(|host| !is_member(host)) else { continue };
        return Err(UserError::new(
            ErrorCode::UnknownHost,
            format!(
                "service {name:?} is pinned to host {unknown:?}, which is no member of this cluster; `jaco cluster status` shows those that are"
            ),
        )
        .with("service", name)
        .with("host", unknown)
        .with("field", "hosts"));
    }
    Ok(())
}
