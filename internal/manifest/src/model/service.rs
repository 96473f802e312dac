//! One service of the compose file.

use std::collections::BTreeSet;

use jaco_types::PullPolicy;

use crate::{Node, Value};

use super::draft::Draft;
use super::{connect, depends, deploy, devices, health, limits, mounts, ports, settings};
use crate::reading::keys;
use crate::reading::report::{Field, Report};
use crate::reading::{read, scalar};

/// Reads one service; everything that can be read is, whatever else is wrong.
pub(crate) fn read(report: &mut Report<'_>, field: &Field<'_>) -> Draft {
    let mut draft = Draft::new(field.spot());
    for (key, value) in report.keyed(field, &keys::SERVICE) {
        let known =
            settings::read(report, key, &value, &mut draft.container) || read_key(report, key, &value, &mut draft);
        if !known {
            // Unreachable while the test of the key table holds; refusing is safer than dropping the key.
            report.invalid(&value, format!("no reader for `{key}`"));
        }
    }
    finish(report, field, &mut draft);
    draft
}

/// The keys that need more than the container; `false` for a key that is not one of them.
fn read_key(report: &mut Report<'_>, key: &str, field: &Field<'_>, draft: &mut Draft) -> bool {
    match key {
        "image" => {
            draft.has_image = !field.is_off();
            draft.container.image = image(report, field);
        }
        "build" => read_build(report, field, draft),
        "command" => draft.container.command = command(report, field),
        "entrypoint" => draft.container.entrypoint = command(report, field),
        "environment" => environment(report, field, draft),
        "container_name" => container_name(report, field, draft),
        "pull_policy" => draft.pull_policy = pull_policy(report, field),
        "restart" => restart(report, field),
        "scale" => {
            draft.scale = read::integer(report, field, 0, i64::from(u32::MAX))
                .and_then(|n| u32::try_from(n).ok())
                .map(|n| (n, field.spot()));
        }
        "healthcheck" => draft.container.healthcheck = health::read(report, field),
        "ports" => draft.ports = ports::read(report, field, &mut draft.container.expose),
        "expose" => ports::read_expose(report, field, &mut draft.container.expose),
        "volumes" => mounts::read(report, field, draft),
        "volumes_from" => mounts::read_from(report, field, draft),
        "tmpfs" => mounts::read_tmpfs(report, field, &mut draft.container.tmpfs),
        "networks" => connect::networks(report, field, draft),
        "network_mode" => connect::network_mode(report, field, draft),
        "links" => connect::links(report, field, draft),
        "pid" | "ipc" => connect::shared_namespace(report, key, field, draft),
        "depends_on" => depends::read(report, field, &mut draft.depends_on),
        "deploy" => deploy::read(report, field, draft),
        "devices" => draft.container.devices = devices::read(report, field),
        "gpus" => draft.container.device_requests.extend(devices::gpus(report, field)),
        "cpus" | "mem_limit" | "mem_reservation" | "pids_limit" | "cpu_shares" | "cpuset" => {
            limits::read_legacy(report, key, field, &mut draft.limits);
        }
        _ => return false,
    }
    true
}

fn finish(report: &mut Report<'_>, field: &Field<'_>, draft: &mut Draft) {
    match (&draft.build, draft.has_image) {
        (Some(spot), true) => {
            report.note(
                "build.with_image",
                spot,
                "`build` has no effect beside `image`: the image is pulled, nothing is built",
            );
        }
        (Some(spot), false) => report.not_yet(
            "build",
            spot,
            "the service has only `build`; build and push the image yourself, and name it under `image`",
        ),
        (None, true) => {}
        (None, false) => report.invalid(field, "the service has no `image`"),
    }
    let limits = std::mem::take(&mut draft.limits);
    limits.settle(report, &mut draft.container.resources);
    if let Some((scale, spot)) = draft.scale.take() {
        if draft.replicas.is_some_and(|replicas| replicas != scale) {
            report.invalid(&spot, "`scale` and `deploy.replicas` differ; remove one of them");
        }
        draft.replicas = Some(scale);
    }
    if draft.global && draft.replicas.take().is_some() {
        report
            .invalid(&draft.spot, "`deploy.mode: global` runs one replica on each node; remove `replicas` and `scale`");
    }
    mounts::check_targets(report, draft);
}

fn image(report: &mut Report<'_>, field: &Field<'_>) -> String {
    let text = read::text(report, field).unwrap_or_default();
    if text.is_empty() {
        return text;
    }
    // The engine judges the reference in full; this keeps out what cannot be one.
    if text.len() > 1024 || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        report.invalid(field, "is no image reference: write `name`, `name:tag` or `registry/name:tag`");
    }
    text
}

fn read_build(report: &mut Report<'_>, field: &Field<'_>, draft: &mut Draft) {
    if field.is_off() {
        return;
    }
    if field.scalar().is_none() {
        report.keyed(field, &keys::BUILD);
    }
    draft.build = Some(field.spot());
}

/// `command` and `entrypoint`: words or one line; empty clears the image's own.
fn command(report: &mut Report<'_>, field: &Field<'_>) -> Option<Vec<String>> {
    if field.is_null() {
        return None;
    }
    if let Some(line) = field.scalar() {
        return match scalar::split_words(&line.text) {
            Ok(words) => Some(words),
            Err(problem) => {
                report.invalid(field, format!("is no command line: {problem}"));
                None
            }
        };
    }
    let mut words = Vec::new();
    for item in report.items(field) {
        match item.scalar().filter(|_| !item.is_null()) {
            Some(word) => words.push(word.text.clone()),
            None => report.wrong_type(&item, "a text"),
        }
    }
    Some(words)
}

fn environment(report: &mut Report<'_>, field: &Field<'_>, draft: &mut Draft) {
    draft.hidden = interpolated(field);
    for (name, value) in read::pairs(report, field) {
        match value {
            Some(value) => {
                draft.container.environment.insert(name, value);
            }
            None => report.unset_variable(field, &name),
        }
    }
}

/// The variables whose text holds something from a file of variables.
fn interpolated(field: &Field<'_>) -> BTreeSet<String> {
    let marked = |node: &Node| node.as_scalar().is_some_and(|scalar| scalar.interpolated);
    match &field.node.value {
        Value::Map(entries) => entries.iter().filter(|e| marked(&e.value)).map(|e| e.key.clone()).collect(),
        Value::List(items) => {
            let names = items.iter().filter(|item| marked(item)).filter_map(Node::as_str);
            names.filter_map(|text| text.split_once('=')).map(|(name, _)| name.to_owned()).collect()
        }
        Value::Scalar(_) => BTreeSet::new(),
    }
}

fn container_name(report: &mut Report<'_>, field: &Field<'_>, draft: &mut Draft) {
    let Some(name) = read::text(report, field) else { return };
    if jaco_types::ReplicaId::new(name.as_str()).is_err() {
        report.invalid(
            field,
            "a container name starts with a letter or digit and has letters, digits, `_`, `.` and `-` only",
        );
        return;
    }
    draft.container.container_name = Some(name);
    draft.container_name = Some(field.spot());
}

fn pull_policy(report: &mut Report<'_>, field: &Field<'_>) -> PullPolicy {
    match read::text(report, field).as_deref() {
        None => PullPolicy::PreferRemote,
        Some("always") => PullPolicy::Always,
        Some("missing" | "if_not_present" | "build") => PullPolicy::Missing,
        Some("never") => PullPolicy::Never,
        Some(by_age) if matches!(by_age, "daily" | "weekly" | "refresh") || by_age.starts_with("every_") => {
            report.refused(
                "pull_policy.by_age",
                field,
                "images are not pulled by age; use `always`, `missing` or `never`, or a new tag",
            );
            PullPolicy::PreferRemote
        }
        Some(_) => {
            report.wrong_type(field, "one of always, missing, if_not_present, build, never");
            PullPolicy::PreferRemote
        }
    }
}

fn restart(report: &mut Report<'_>, field: &Field<'_>) {
    let way_out =
        "services that may end come with a later version; use `always` or `unless-stopped` if it should keep running";
    match read::text(report, field).as_deref() {
        None | Some("always" | "unless-stopped") => {}
        Some("no" | "false") => report.not_yet("restart.no", field, way_out),
        Some("on-failure") => report.not_yet("restart.on-failure", field, way_out),
        Some(counted) if counted.strip_prefix("on-failure:").is_some_and(|n| n.parse::<u32>().is_ok()) => {
            report.not_yet("restart.on-failure", field, way_out);
        }
        Some(_) => report.wrong_type(field, "one of always, unless-stopped, no, on-failure, on-failure:<times>"),
    }
}
