//! `deploy`.

use super::draft::Draft;
use super::{devices, limits};
use crate::reading::report::{Field, Report};
use crate::reading::{keys, read};

/// Reads the block.
pub(crate) fn read(report: &mut Report<'_>, field: &Field<'_>, draft: &mut Draft) {
    for (key, value) in report.keyed(field, &keys::DEPLOY) {
        match key {
            "mode" => mode(report, &value, draft),
            "replicas" => {
                draft.replicas =
                    read::integer(report, &value, 0, i64::from(u32::MAX)).and_then(|n| u32::try_from(n).ok());
            }
            _ => resources(report, &value, draft),
        }
    }
}

fn mode(report: &mut Report<'_>, field: &Field<'_>, draft: &mut Draft) {
    match read::word(report, field, &["replicated", "global", "replicated-job", "global-job"]) {
        None | Some("replicated") => {}
        Some("global") => draft.global = true,
        Some(_) => {
            report.not_yet("deploy.mode.job", field, "services that end come with a later version; run the job by hand")
        }
    }
}

fn resources(report: &mut Report<'_>, field: &Field<'_>, draft: &mut Draft) {
    for (key, value) in report.keyed(field, &keys::RESOURCES) {
        if key == "limits" {
            if !value.is_off() {
                limits::read_limits(report, &value, &mut draft.limits);
            }
            continue;
        }
        for (key, value) in report.keyed(&value, &keys::RESERVATIONS) {
            if key == "devices" {
                let requests = devices::requests(report, &value, false);
                draft.container.device_requests.extend(requests);
            } else {
                limits::read_reservation(report, key, &value, &mut draft.limits);
            }
        }
    }
}
