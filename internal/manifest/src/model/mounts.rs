//! `volumes`, `tmpfs` and `volumes_from`.

use std::collections::{BTreeMap, BTreeSet};

use jaco_types::{Mount, ServiceName, TmpfsMount, VolumeName, VolumesFrom};

use super::depends::imply;
use super::draft::Draft;
use crate::reading::report::{Field, Place, Report, shorten};
use crate::reading::{keys, read};

/// Mount propagations of the engine.
const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];
const PROJECT_FILES: &str = "files of the project are not sent to the nodes; use an absolute path that exists on the node, a named volume, or an image";

/// `volumes`; of two entries with one target the later counts.
pub(crate) fn read(report: &mut Report<'_>, field: &Field<'_>, draft: &mut Draft) {
    let mut mounts: Vec<Mount> = Vec::new();
    for item in report.items(field) {
        let mount = match item.scalar() {
            Some(_) if item.is_null() => continue,
            Some(scalar) => short(report, &item, &scalar.text),
            None => long(report, &item),
        };
        let Some(mount) = mount else { continue };
        if let Mount::Volume { source, .. } = &mount {
            draft.volumes.push((source.clone(), item.spot()));
        }
        mounts.retain(|earlier| earlier.target() != mount.target());
        mounts.push(mount);
    }
    draft
        .volumes
        .retain(|(name, _)| mounts.iter().any(|m| matches!(m, Mount::Volume { source, .. } if source == name)));
    draft.container.mounts = mounts;
}

/// `[source:]target[:options]`.
fn short(report: &mut Report<'_>, field: &Field<'_>, text: &str) -> Option<Mount> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => {
            report.invalid(
                field,
                "is not `source:target` or `source:target:options`; use the long form for unusual paths",
            );
            return None;
        }
    };
    if source.is_some_and(str::is_empty) || target.is_empty() {
        report.invalid(field, "has an empty part; is a variable not set?");
        return None;
    }
    if !read::container_path(report, field, target) {
        return None;
    }
    let options = Options::parse(report, field, options);
    let target = clean(target);
    let Some(source) = source else {
        return Some(Mount::Anonymous { target, read_only: options.read_only });
    };
    if is_path(source) {
        let source = bind_source(report, field, source)?;
        if options.nocopy {
            report.note("volumes.options", field, "the option \"nocopy\" has no effect on a path of the node");
        }
        let propagation = options.propagation;
        return Some(Mount::Bind {
            source,
            target,
            read_only: options.read_only,
            create_host_path: false,
            propagation,
        });
    }
    let source = volume_name(report, field, source)?;
    if let Some(propagation) = &options.propagation {
        report.note("volumes.options", field, format!("the option {propagation:?} has no effect on a volume"));
    }
    Some(Mount::Volume { source, target, read_only: options.read_only, nocopy: options.nocopy, subpath: None })
}

/// What stands behind the second colon.
#[derive(Default)]
struct Options {
    read_only: bool,
    nocopy: bool,
    propagation: Option<String>,
}

impl Options {
    fn parse(report: &mut Report<'_>, field: &Field<'_>, text: &str) -> Self {
        let mut options = Options::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "ro" => options.read_only = true,
                "rw" => options.read_only = false,
                "nocopy" => options.nocopy = true,
                "z" | "Z" => {
                    report.note("volumes.options", field, "SELinux labels are not changed; set them on the node")
                }
                word if PROPAGATIONS.contains(&word) => options.propagation = Some(word.to_owned()),
                other => {
                    report.note("volumes.options", field, format!("the option {:?} has no effect", shorten(other)));
                }
            }
        }
        options
    }
}

/// Whether the source of a short form is a path rather than a volume's name.
fn is_path(source: &str) -> bool {
    source.starts_with(['.', '/', '~'])
}

/// A path of the node, checked; paths of the project are for later.
fn bind_source(report: &mut Report<'_>, field: &Field<'_>, source: &str) -> Option<String> {
    if source.starts_with('~') {
        report.not_yet("bind.home", field, PROJECT_FILES);
        return None;
    }
    if source == ".." || source.starts_with("../") || source.starts_with("./../") {
        report.not_yet("bind.parent", field, PROJECT_FILES);
        return None;
    }
    if !source.starts_with('/') {
        report.not_yet("bind.relative", field, PROJECT_FILES);
        return None;
    }
    if source.split('/').any(|part| part == "..") {
        report.invalid(field, "the path on the node must not contain `..`");
        return None;
    }
    let path = clean(source);
    if path.ends_with("/docker.sock") || path == "/var/lib/docker" || path.starts_with("/var/lib/docker/") {
        report.warn(
            "bind.docker",
            field,
            "the program will see the Docker containers of the node it runs on, not this cluster's; the path must exist on \
             that node",
        );
    }
    Some(path)
}

/// A path without doubled and trailing slashes and `.` parts.
fn clean(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("/{}", parts.join("/"))
}

fn volume_name(report: &mut Report<'_>, place: &impl Place, name: &str) -> Option<VolumeName> {
    VolumeName::new(name).map_err(|problem| report.invalid(place, problem.to_string())).ok()
}

/// The long form's fields.
#[derive(Default)]
struct Long {
    kind: Option<&'static str>,
    source: Option<String>,
    target: Option<String>,
    read_only: bool,
    nocopy: bool,
    subpath: Option<String>,
    create_host_path: bool,
    propagation: Option<String>,
    size: Option<u64>,
    mode: Option<u32>,
}

fn long(report: &mut Report<'_>, field: &Field<'_>) -> Option<Mount> {
    let mut long = Long::default();
    let mut blocks = Vec::new();
    for (key, value) in report.keyed(field, &keys::MOUNT) {
        if matches!(key, "bind" | "volume" | "tmpfs" | "image") && !value.is_off() {
            blocks.push((key, value.clone()));
        }
        match key {
            "type" => long.kind = read::word(report, &value, &["bind", "volume", "tmpfs", "npipe", "cluster", "image"]),
            "source" => long.source = read::text(report, &value),
            "target" => long.target = read::text(report, &value),
            "read_only" => long.read_only = read::boolean(report, &value).unwrap_or_default(),
            "bind" => long_bind(report, &value, &mut long),
            "volume" => long_volume(report, &value, &mut long),
            "tmpfs" => long_tmpfs(report, &value, &mut long),
            // `image:` belongs to `type: image`, which is refused below.
            _ => {}
        }
    }
    // What belongs to another type has no effect, in compose neither.
    let kind = long.kind.unwrap_or_default();
    for (key, value) in blocks.iter().filter(|(key, _)| long.kind.is_some() && *key != kind) {
        let message = format!("`{key}` has no effect on a mount of type {kind}; remove it, or change the type");
        report.warn("volumes.other_type", value, message);
    }
    let unnamed = kind == "volume" && long.source.is_none();
    if kind == "tmpfs" && long.source.is_some() {
        report.warn("volumes.other_type", field, "`source` has no effect on a mount of type tmpfs; remove it");
    } else if unnamed && long.subpath.is_some() {
        report.warn(
            "volumes.other_type",
            field,
            "`subpath` has no effect without a `source`: an anonymous volume is empty",
        );
    }
    long_mount(report, field, long)
}

fn long_bind(report: &mut Report<'_>, field: &Field<'_>, long: &mut Long) {
    for (key, value) in report.keyed(field, &keys::MOUNT_BIND) {
        match key {
            "create_host_path" => long.create_host_path = read::boolean(report, &value).unwrap_or_default(),
            "propagation" => long.propagation = read::word(report, &value, &PROPAGATIONS).map(str::to_owned),
            _ => {
                let recursive = read::word(report, &value, &["enabled", "disabled", "writable", "readonly"]);
                if recursive.is_some_and(|word| word != "enabled") {
                    report.not_yet("volumes.bind.recursive", &value, "remove it");
                }
            }
        }
    }
}

fn long_volume(report: &mut Report<'_>, field: &Field<'_>, long: &mut Long) {
    for (key, value) in report.keyed(field, &keys::MOUNT_VOLUME) {
        match key {
            "nocopy" => long.nocopy = read::boolean(report, &value).unwrap_or_default(),
            _ => long.subpath = read::text(report, &value),
        }
    }
}

fn long_tmpfs(report: &mut Report<'_>, field: &Field<'_>, long: &mut Long) {
    for (key, value) in report.keyed(field, &keys::MOUNT_TMPFS) {
        match key {
            "size" => long.size = read::size(report, &value),
            _ => {
                let digits = read::text(report, &value);
                long.mode = digits.as_deref().and_then(|d| u32::from_str_radix(d.trim_start_matches("0o"), 8).ok());
                if digits.is_some() && long.mode.is_none_or(|mode| mode > 0o7777) {
                    report.wrong_type(&value, "octal permission bits such as 1777");
                }
            }
        }
    }
}

fn long_mount(report: &mut Report<'_>, field: &Field<'_>, long: Long) -> Option<Mount> {
    let Some(kind) = long.kind else {
        report.invalid(field, "has no valid `type`; use bind, volume or tmpfs");
        return None;
    };
    if matches!(kind, "npipe" | "cluster" | "image") {
        report.refused(
            &format!("volumes.{kind}"),
            field,
            format!("mounts of type {kind} are not offered; use volume, bind or tmpfs"),
        );
        return None;
    }
    let Some(target) = long.target.filter(|target| read::container_path(report, field, target)) else {
        report.invalid(field, "has no valid `target`");
        return None;
    };
    let (target, read_only) = (clean(&target), long.read_only);
    match (kind, long.source) {
        ("tmpfs", _) => Some(Mount::Tmpfs(TmpfsMount { target, size: long.size, mode: long.mode, read_only })),
        ("bind", Some(source)) => {
            let source = bind_source(report, field, &source)?;
            let (create_host_path, propagation) = (long.create_host_path, long.propagation);
            Some(Mount::Bind { source, target, read_only, create_host_path, propagation })
        }
        ("bind", None) => {
            report.invalid(field, "a bind has no `source`");
            None
        }
        (_, Some(source)) => {
            let source = volume_name(report, field, &source)?;
            Some(Mount::Volume { source, target, read_only, nocopy: long.nocopy, subpath: long.subpath })
        }
        (_, None) => Some(Mount::Anonymous { target, read_only }),
    }
}

/// `tmpfs`: one or several `path[:options]`.
pub(crate) fn read_tmpfs(report: &mut Report<'_>, field: &Field<'_>, tmpfs: &mut BTreeMap<String, String>) {
    for (item, text) in read::texts(report, field, true) {
        let (path, options) = text.split_once(':').unwrap_or((&text, ""));
        if read::container_path(report, &item, path) {
            tmpfs.insert(clean(path), options.to_owned());
        }
    }
}

/// `volumes_from`: `service[:ro|:rw]`, which also waits for that service.
pub(crate) fn read_from(report: &mut Report<'_>, field: &Field<'_>, draft: &mut Draft) {
    for (item, text) in read::texts(report, field, false) {
        if text.starts_with("container:") {
            report.refused(
                "volumes_from.container",
                &item,
                "names a container outside the deployment, whose node is unknown; use a service's name",
            );
            continue;
        }
        let (service, mode) = text.split_once(':').unwrap_or((&text, "rw"));
        match (ServiceName::new(service), mode) {
            (Ok(service), "ro" | "rw") => {
                imply(service.clone(), item.spot(), &mut draft.depends_on);
                draft.container.volumes_from.retain(|earlier| earlier.service != service);
                draft.container.volumes_from.push(VolumesFrom { service, read_only: mode == "ro" });
            }
            (Ok(_), _) => report.invalid(&item, "is not `service`, `service:ro` or `service:rw`"),
            (Err(problem), _) => report.invalid(&item, problem.to_string()),
        }
    }
}

/// One path cannot be a volume and a tmpfs.
pub(crate) fn check_targets(report: &mut Report<'_>, draft: &Draft) {
    let targets: BTreeSet<&str> = draft.container.mounts.iter().map(Mount::target).collect();
    for path in draft.container.tmpfs.keys().filter(|path| targets.contains(path.as_str())) {
        report.invalid(&draft.spot, format!("both `volumes` and `tmpfs` mount {path:?}; remove one of them"));
    }
}
