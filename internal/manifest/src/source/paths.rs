//! Paths as text: joining, normalising, and moving the paths of a document to another directory.

use crate::yaml::{Node, Value};

/// The directory part; empty for a bare name.
pub(super) fn directory(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((directory, _)) => directory,
        None => "",
    }
}

/// `path` seen from `directory`; an absolute path stays.
pub(super) fn join(directory: &str, path: &str) -> String {
    if directory.is_empty() || path.starts_with('/') {
        return path.to_owned();
    }
    let path = path.strip_prefix("./").unwrap_or(path);
    format!("{}/{path}", directory.trim_end_matches('/'))
}

/// Without `.` and without `..` where that is possible; empty for the directory itself.
pub(super) fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if path.starts_with('/') => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    if path.starts_with('/') { format!("/{joined}") } else { joined }
}

/// Whether fetching this would need git, a registry or the web.
pub(super) fn is_remote(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    ["http://", "https://", "git://", "ssh://", "git@", "oci://", "oci:", "github.com/"]
        .iter()
        .any(|prefix| lower.starts_with(prefix))
}

/// A path as compose writes it: `./a`, `../a` or `/a`.
fn rebased(base: &str, path: &str) -> String {
    let moved = normal(&join(base, path));
    if moved.is_empty() {
        ".".to_owned()
    } else if moved.starts_with('/') || moved.starts_with("../") || moved == ".." {
        moved
    } else {
        format!("./{moved}")
    }
}

/// Makes the relative paths of a document, written for the directory `base` (seen from the project's), relative to the project's.
pub(super) fn rebase(document: &mut Node, base: &str) {
    if normal(base).is_empty() {
        return;
    }
    for service in children(document, "services") {
        rebase_service(service, base);
    }
    for section in ["secrets", "configs"] {
        for resource in children(document, section) {
            change(resource.get_mut("file"), base, always);
        }
    }
    for volume in children(document, "volumes") {
        if let Some(options) = volume.get_mut("driver_opts") {
            let bind = options.get("o").and_then(Node::as_str).is_some_and(|o| o.split(',').any(|o| o == "bind"));
            if bind {
                change(options.get_mut("device"), base, always);
            }
        }
    }
}

fn rebase_service(service: &mut Node, base: &str) {
    for key in ["env_file", "label_file"] {
        if let Some(node) = service.get_mut(key) {
            each(node, |item| {
                let target = if item.as_map().is_some() { item.get_mut("path") } else { Some(item) };
                change(target, base, always);
            });
        }
    }
    if let Some(Value::List(mounts)) = service.get_mut("volumes").map(|node| &mut node.value) {
        for mount in mounts {
            if mount.as_map().is_some() {
                let bind = mount.get("type").and_then(Node::as_str) == Some("bind");
                change(mount.get_mut("source").filter(|_| bind), base, always);
            } else {
                rebase_short_mount(mount, base);
            }
        }
    }
    if let Some(build) = service.get_mut("build") {
        if build.as_map().is_some() {
            change(build.get_mut("context"), base, always);
            if let Some(Value::Map(contexts)) = build.get_mut("additional_contexts").map(|node| &mut node.value) {
                contexts.iter_mut().for_each(|entry| change(Some(&mut entry.value), base, dotted));
            }
        } else {
            change(Some(build), base, always);
        }
    }
    let watch = service.get_mut("develop").and_then(|develop| develop.get_mut("watch"));
    if let Some(watch) = watch {
        each(watch, |rule| change(rule.get_mut("path"), base, always));
    }
}

/// `./a:/b:ro`; a source without a leading dot is a volume's name or absolute.
fn rebase_short_mount(mount: &mut Node, base: &str) {
    let Value::Scalar(scalar) = &mut mount.value else { return };
    if let Some((source, rest)) = scalar.text.split_once(':')
        && dotted(source)
    {
        scalar.text = format!("{}:{rest}", rebased(base, source));
    }
}

/// Relative, and not the home directory or another machine's.
fn always(path: &str) -> bool {
    !path.is_empty() && !path.starts_with(['/', '~']) && !path.contains("://") && !is_remote(path)
}

fn dotted(path: &str) -> bool {
    path.starts_with('.')
}

fn change(node: Option<&mut Node>, base: &str, applies: fn(&str) -> bool) {
    if let Some(Value::Scalar(scalar)) = node.map(|node| &mut node.value)
        && applies(&scalar.text)
        && !scalar.is_null()
    {
        scalar.text = rebased(base, &scalar.text);
    }
}

/// The items of a list, or the one value itself.
fn each(node: &mut Node, mut act: impl FnMut(&mut Node)) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(act),
        Value::Scalar(_) | Value::Map(_) => act(node),
    }
}

/// The values of a top level section.
pub(super) fn children<'a>(document: &'a mut Node, section: &str) -> Vec<&'a mut Node> {
    match document.get_mut(section).map(|node| &mut node.value) {
        Some(Value::Map(entries)) => entries.iter_mut().map(|entry| &mut entry.value).collect(),
        Some(Value::Scalar(_) | Value::List(_)) | None => Vec::new(),
    }
}
