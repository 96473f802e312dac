//! `devices`, `gpus` and `deploy.resources.reservations.devices`.

use jaco_types::{DeviceMapping, DeviceRequest};

use crate::reading::report::{Field, Report};
use crate::reading::{keys, read};

/// `devices`; of two entries for one path in the container the later counts.
pub(crate) fn read(report: &mut Report<'_>, field: &Field<'_>) -> Vec<DeviceMapping> {
    let mut devices: Vec<DeviceMapping> = Vec::new();
    for item in report.items(field) {
        let device = match item.scalar() {
            Some(_) if item.is_off() => continue,
            Some(scalar) => short(report, &item, &scalar.text),
            None => long(report, &item),
        };
        if let Some(device) = device {
            devices.retain(|earlier| earlier.container != device.container);
            devices.push(device);
        }
    }
    devices
}

fn short(report: &mut Report<'_>, field: &Field<'_>, text: &str) -> Option<DeviceMapping> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, permissions) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        // The second part may be the permissions already.
        [host, second] if is_permissions(second) => (*host, *host, *second),
        [host, container] => (*host, *container, "rwm"),
        [host, container, permissions] => (*host, *container, *permissions),
        _ => {
            report.invalid(field, "is not `host[:container[:permissions]]`");
            return None;
        }
    };
    mapping(report, field, host, container, permissions)
}

fn long(report: &mut Report<'_>, field: &Field<'_>) -> Option<DeviceMapping> {
    let (mut source, mut target, mut permissions) = (None, None, None);
    for (key, value) in report.keyed(field, &keys::DEVICE) {
        let text = read::text(report, &value);
        match key {
            "source" => source = text,
            "target" => target = text,
            _ => permissions = text,
        }
    }
    let Some(source) = source else {
        report.invalid(field, "has no `source`");
        return None;
    };
    let target = target.unwrap_or_else(|| source.clone());
    mapping(report, field, &source, &target, permissions.as_deref().unwrap_or("rwm"))
}

fn is_permissions(text: &str) -> bool {
    !text.is_empty() && text.len() <= 3 && text.chars().all(|c| matches!(c, 'r' | 'w' | 'm'))
}

fn mapping(
    report: &mut Report<'_>,
    field: &Field<'_>,
    host: &str,
    container: &str,
    permissions: &str,
) -> Option<DeviceMapping> {
    if !host.starts_with('/') && host.contains('=') {
        report.refused(
            "devices.cdi",
            field,
            "CDI device names are not offered; give the path of the device, or use `gpus`",
        );
        return None;
    }
    if !host.starts_with('/') || !container.starts_with('/') {
        report.invalid(field, "both paths of a device must be absolute");
        return None;
    }
    if !is_permissions(permissions) {
        report.invalid(field, "the permissions are letters of `rwm`");
        return None;
    }
    Some(DeviceMapping { host: host.to_owned(), container: container.to_owned(), permissions: permissions.to_owned() })
}

/// `gpus`: `all` or a list.
pub(crate) fn gpus(report: &mut Report<'_>, field: &Field<'_>) -> Vec<DeviceRequest> {
    if field.scalar().is_none() {
        return requests(report, field, true);
    }
    match read::word(report, field, &["all"]) {
        Some(_) => {
            vec![DeviceRequest { count: -1, capabilities: vec![vec!["gpu".to_owned()]], ..DeviceRequest::default() }]
        }
        None => Vec::new(),
    }
}

/// A list of device requests; `gpu` adds that capability to each.
pub(crate) fn requests(report: &mut Report<'_>, field: &Field<'_>, gpu: bool) -> Vec<DeviceRequest> {
    let items = report.items(field);
    items.into_iter().filter_map(|item| request(report, &item, gpu)).collect()
}

fn request(report: &mut Report<'_>, field: &Field<'_>, gpu: bool) -> Option<DeviceRequest> {
    let mut request = DeviceRequest::default();
    let mut count = None;
    let mut capabilities = Vec::new();
    for (key, value) in report.keyed(field, &keys::DEVICE_REQUEST) {
        match key {
            "capabilities" => capabilities = read::distinct(report, &value, false),
            "count" => count = self::count(report, &value),
            "device_ids" => request.device_ids = read::distinct(report, &value, false),
            "driver" => request.driver = read::text(report, &value).unwrap_or_default(),
            _ => request.options = read::string_map(report, &value),
        }
    }
    if gpu && !capabilities.iter().any(|c| c == "gpu") {
        capabilities.push("gpu".to_owned());
    }
    if capabilities.is_empty() {
        report.invalid(field, "has no `capabilities`; write `capabilities: [gpu]`");
        return None;
    }
    if count.is_some() && !request.device_ids.is_empty() {
        report.invalid(field, "has both `count` and `device_ids`; remove one of them");
        return None;
    }
    request.count = if request.device_ids.is_empty() { count.unwrap_or(-1) } else { 0 };
    request.capabilities = vec![capabilities];
    Some(request)
}

/// A number of devices, or `all`.
fn count(report: &mut Report<'_>, field: &Field<'_>) -> Option<i64> {
    if field.scalar().is_some_and(|s| s.text.trim() == "all") {
        return Some(-1);
    }
    read::integer(report, field, -1, i64::from(u16::MAX))
}
