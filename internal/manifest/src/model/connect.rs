//! How a service is connected: networks, links and shared namespaces.

use jaco_types::{NetworkAttachment, ServiceName};

use super::depends::imply;
use super::draft::Draft;
use crate::reading::report::{Field, Report};
use crate::reading::{keys, read};

/// `networks`, list or map form.
pub(crate) fn networks(report: &mut Report<'_>, field: &Field<'_>, draft: &mut Draft) {
    if !matches!(field.node.value, crate::Value::Map(_)) {
        for (item, name) in read::texts(report, field, false) {
            join(report, &item, &name, NetworkAttachment::default(), draft);
        }
        return;
    }
    for entry in report.entries(field) {
        let child = field.child(entry);
        let attachment = attachment(report, &child);
        join(report, &child, &entry.key, attachment, draft);
    }
}

fn join(report: &mut Report<'_>, field: &Field<'_>, name: &str, attachment: NetworkAttachment, draft: &mut Draft) {
    if let Some(name) = read::network_name(report, field, name) {
        draft.networks.push((name.clone(), field.spot()));
        draft.container.networks.insert(name, attachment);
    }
}

fn attachment(report: &mut Report<'_>, field: &Field<'_>) -> NetworkAttachment {
    let mut attachment = NetworkAttachment::default();
    for (key, value) in report.keyed(field, &keys::ATTACHMENT) {
        match key {
            "aliases" => attachment.aliases = read::distinct(report, &value, false),
            "priority" => attachment.priority = read::integer(report, &value, i64::MIN, i64::MAX).unwrap_or_default(),
            _ => engine_options(report, &value, "networks.driver_opts"),
        }
    }
    attachment
}

/// `driver_opts` of a network: those of the engine's own bridge have no effect, others would change what is asked for.
pub(crate) fn engine_options(report: &mut Report<'_>, field: &Field<'_>, feature: &str) {
    for (name, value) in read::pairs(report, field) {
        if name.starts_with("com.docker.network.") {
            report.note(feature, field, "the engine's own network options have no effect");
        } else if value.is_some_and(|value| !value.is_empty()) {
            report.not_yet("network.driver_opts.other", field, format!("remove the option `{name}`"));
        }
    }
}

/// `network_mode`.
pub(crate) fn network_mode(report: &mut Report<'_>, field: &Field<'_>, draft: &mut Draft) {
    let Some(mode) = read::text(report, field) else { return };
    draft.network_mode = Some(field.spot());
    match mode.as_str() {
        "none" => report.not_yet("network_mode.none", field, "give it a network of its own with `internal: true`"),
        "host" => report.not_yet("network_mode.host", field, "publish the ports it needs with `ports`"),
        shared if shared.starts_with("service:") => {
            report.not_yet("network_mode.service", field, "use a common network and the service's name");
        }
        foreign if foreign.starts_with("container:") => report.refused(
            "network_mode.container",
            field,
            "names a container outside the deployment, whose node is unknown; use `service:<name>`",
        ),
        _ => report.refused(
            "network_mode.other",
            field,
            "is not offered; leave `network_mode` out, and use `networks` to choose networks",
        ),
    }
}

/// `links`: a dependency, and another name for it.
pub(crate) fn links(report: &mut Report<'_>, field: &Field<'_>, draft: &mut Draft) {
    for (item, text) in read::texts(report, field, false) {
        let (service, alias) = text.split_once(':').unwrap_or((&text, &text));
        match ServiceName::new(service) {
            Ok(name) if !alias.is_empty() => {
                imply(name.clone(), item.spot(), &mut draft.depends_on);
                draft.container.links.retain(|(_, taken)| taken != alias);
                draft.container.links.push((name, alias.to_owned()));
            }
            Ok(_) => report.invalid(&item, "is not `service` or `service:alias`"),
            Err(problem) => report.invalid(&item, problem.to_string()),
        }
    }
}

/// `pid` and `ipc`.
pub(crate) fn shared_namespace(report: &mut Report<'_>, key: &str, field: &Field<'_>, draft: &mut Draft) {
    let Some(mode) = read::text(report, field) else { return };
    let own: &[&str] = if key == "pid" { &["host"] } else { &["host", "private", "shareable", "none"] };
    if let Some(service) = mode.strip_prefix("service:") {
        match ServiceName::new(service) {
            Ok(name) => imply(name, field.spot(), &mut draft.depends_on),
            Err(problem) => report.invalid(field, problem.to_string()),
        }
    } else if mode.starts_with("container:") {
        report.refused(
            &format!("{key}.container"),
            field,
            "names a container outside the deployment, whose node is unknown; use `service:<name>`",
        );
    } else if !own.contains(&mode.as_str()) {
        report.wrong_type(field, &format!("one of {}, service:<name>", own.join(", ")));
    }
    let slot = if key == "pid" { &mut draft.container.pid } else { &mut draft.container.ipc };
    *slot = Some(mode);
}
