//! Manifests on their way in: limits, the checked spec with its remarks, and the comparison with what is active.

use jaco_manifest::diff::Side;
use jaco_manifest::model::Options;
use jaco_manifest::{Diagnostic, Resolution, Severity, SourceNames, diff as spec_diff, resolve as resolve_texts};
use jaco_proto::v1;
use jaco_state::View;
use jaco_types::{
    Deployment, DeploymentName, DeploymentRevision, DeploymentSpec, ErrorCode, ReplicaDesired, UserError,
};

use crate::Parts;
use crate::caller::Identity;

/// A manifest that was accepted.
pub(crate) struct Resolved {
    pub(crate) spec: DeploymentSpec,
    pub(crate) remarks: Vec<v1::Remark>,
}

/// Reads the two texts as final; a refusal carries every problem: the first as itself, the others in its details.
pub(crate) fn resolve(parts: &Parts, request: &v1::ApplyRequest) -> Result<Resolved, UserError> {
    for (name, text) in [("jaco.yaml", &request.jaco_yaml), ("compose.yaml", &request.compose_yaml)] {
        check_size(name, text.len(), parts.limits.manifest_bytes)?;
    }
    let options = Options { daemon_ports: parts.reserved_ports.iter().copied().collect(), plain_http_only: true };
    let Resolution { spec, mut diagnostics } =
        resolve_texts(&request.jaco_yaml, &request.compose_yaml, &SourceNames::default(), &options);
    if request.strict {
        diagnostics.make_strict();
    }
    let diagnostics = diagnostics.into_vec();
    let errors: Vec<&Diagnostic> = diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
    if let Some(refusal) = refusal(&errors) {
        return Err(refusal);
    }
    let spec = spec.ok_or_else(|| UserError::internal("the manifest gave no deployment", "no diagnostic says why"))?;
    check_replicas(&spec, parts.limits.deployment_replicas)?;
    Ok(Resolved { spec, remarks: diagnostics.iter().filter_map(remark).collect() })
}

fn check_size(name: &str, bytes: usize, limit: usize) -> Result<(), UserError> {
    if bytes <= limit {
        return Ok(());
    }
    Err(UserError::new(
        ErrorCode::RequestTooLarge,
        format!("{name} has {bytes} bytes and the limit is {limit}; split the deployment into smaller ones"),
    )
    .with("limit", limit)
    .with("size", bytes)
    .with("unit", "bytes"))
}

fn check_replicas(spec: &DeploymentSpec, limit: u64) -> Result<(), UserError> {
    let wanted: u64 = spec.services.values().map(|service| u64::from(service.replicas)).sum();
    if wanted <= limit {
        return Ok(());
    }
    Err(UserError::new(
        ErrorCode::RequestTooLarge,
        format!("{} asks for {wanted} replicas and the limit of a deployment is {limit}", spec.name),
    )
    .with("limit", limit)
    .with("size", wanted)
    .with("unit", "replicas"))
}

/// The label that says the author of a manifest wants a privileged service.
const ALLOW_PRIVILEGED: &str = "jaco.io/allow-privileged";

/// Whether this caller may have the privileged services of a spec. The control socket may; a token needs the permission.
///
/// Errors: `validation_failed` for a service without the label, `privilege_denied`.
pub(crate) fn check_privileges(spec: &DeploymentSpec, caller: &Identity) -> Result<(), UserError> {
    let privileged = spec
        .services
        .iter()
        .filter(|(_, service)| service.container.privileged || !service.container.security_opt.is_empty());
    for (name, service) in privileged {
        if service.container.labels.get(ALLOW_PRIVILEGED).map(String::as_str) != Some("true") {
            return Err(UserError::new(
                ErrorCode::ValidationFailed,
                format!("service {name} is privileged: it needs the label {ALLOW_PRIVILEGED} with the text \"true\""),
            )
            .with("service", name));
        }
        if !(caller.local || caller.allows_privileged) {
            return Err(UserError::new(
                ErrorCode::PrivilegeDenied,
                format!(
                    "service {name} is privileged, and the token of {} does not allow that: have one issued with --allow-privileged",
                    caller.name
                ),
            )
            .with("service", name)
            .with("identity", &caller.name));
        }
    }
    Ok(())
}

/// One error for all: the first problem's code and text; when there are more, all texts, one per line, in `details.problems`.
fn refusal(errors: &[&Diagnostic]) -> Option<UserError> {
    let (first, more) = errors.split_first()?;
    let mut error = first.to_user_error();
    if !more.is_empty() {
        let all: Vec<String> = errors.iter().map(|problem| format!("{}: {problem}", problem.code)).collect();
        error.message = format!("{} (and {} more)", error.message, more.len());
        error = error.with("problems", all.join("\n"));
    }
    Some(error)
}

fn remark(diagnostic: &Diagnostic) -> Option<v1::Remark> {
    let severity = match diagnostic.severity {
        Severity::Note => v1::remark::Severity::Note,
        Severity::Warning => v1::remark::Severity::Warning,
        Severity::Error => return None,
    };
    Some(jaco_proto::remark_to_wire(severity, diagnostic.to_user_error()))
}

/// A stored revision.
pub(crate) fn revision<'a>(view: &'a View, name: &DeploymentName, number: u64) -> Option<&'a DeploymentRevision> {
    view.get(&DeploymentRevision::key_of(name, number))
}

/// What differs between the active spec and one that was made of this compose text, and the replicas whose containers would be replaced.
pub(crate) fn diff(view: &View, before: Option<&DeploymentSpec>, after: &DeploymentSpec, text: &str) -> v1::Diff {
    let active = view
        .get::<Deployment>(after.name.as_str())
        .and_then(|deployment| revision(view, &deployment.name, deployment.active_revision));
    let before =
        before.map(|spec| Side { spec, compose_yaml: active.map_or("", |revision| revision.compose_yaml.as_str()) });
    let diff = spec_diff::diff(before, Side { spec: after, compose_yaml: text });
    let after = &after.name;
    let item = |object: &spec_diff::Object| v1::DiffItem { kind: object.kind.to_owned(), name: object.name.clone() };
    let restarts = view
        .list::<ReplicaDesired>()
        .filter(|replica| replica.deployment == *after && diff.restarts.contains(&replica.service))
        .map(|replica| replica.id.to_string())
        .collect();
    v1::Diff {
        adds: diff.adds.iter().map(item).collect(),
        updates: diff
            .updates
            .iter()
            .map(|update| v1::DiffUpdate {
                kind: update.kind.to_owned(),
                name: update.name.clone(),
                field: update.field.clone(),
                old: update.old.clone(),
                new: update.new.clone(),
            })
            .collect(),
        removes: diff.removes.iter().map(item).collect(),
        restarts,
    }
}

/// Whether an apply changes anything.
pub(crate) fn has_changes(diff: &v1::Diff) -> bool {
    !(diff.adds.is_empty() && diff.updates.is_empty() && diff.removes.is_empty())
}
