//! Resource limits in their two spellings.
//!
//! `deploy.resources` wins as a whole over the older keys beside it; where both say something about the same limit they must agree.
//! A block that only reserves devices says nothing about limits, and leaves the older keys in force.

use jaco_types::Resources;

use crate::reading::report::{Field, Report, Spot};
use crate::reading::{keys, read};

/// A value and where it is written.
type Written<T> = Option<(T, Spot)>;

/// What a service says about limits.
#[derive(Default)]
pub(crate) struct Limits {
    cpus: Written<u64>,
    memory: Written<u64>,
    reservation: Written<u64>,
    pids: Written<i64>,
    shares: Written<u64>,
    cpuset: Written<String>,
    modern: Option<Resources>,
}

/// Reads one of the older keys.
pub(crate) fn read_legacy(report: &mut Report<'_>, key: &str, field: &Field<'_>, limits: &mut Limits) {
    let spot = field.spot();
    match key {
        "cpus" => limits.cpus = read::cpus(report, field).filter(|n| *n > 0).map(|n| (n, spot)),
        "mem_limit" => limits.memory = read::size(report, field).filter(|n| *n > 0).map(|n| (n, spot)),
        "mem_reservation" => limits.reservation = read::size(report, field).filter(|n| *n > 0).map(|n| (n, spot)),
        "pids_limit" => limits.pids = read::integer(report, field, -1, i64::MAX).filter(|n| *n != 0).map(|n| (n, spot)),
        "cpu_shares" => limits.shares = read::unsigned(report, field).filter(|n| *n > 0).map(|n| (n, spot)),
        _ => limits.cpuset = read::text(report, field).map(|text| (text, spot)),
    }
}

/// Reads `deploy.resources.limits`.
pub(crate) fn read_limits(report: &mut Report<'_>, field: &Field<'_>, limits: &mut Limits) {
    let modern = limits.modern.get_or_insert_default();
    for (key, value) in report.keyed(field, &keys::LIMITS) {
        match key {
            "cpus" => modern.nano_cpus = read::cpus(report, &value).filter(|n| *n > 0),
            "memory" => modern.memory = read::size(report, &value).filter(|n| *n > 0),
            _ => modern.pids = read::integer(report, &value, -1, i64::MAX).filter(|n| *n != 0),
        }
    }
}

/// Reads one of the reservations that are not devices.
pub(crate) fn read_reservation(report: &mut Report<'_>, key: &str, field: &Field<'_>, limits: &mut Limits) {
    let modern = limits.modern.get_or_insert_default();
    if key == "cpus" {
        modern.reserved_nano_cpus = read::cpus(report, field).filter(|n| *n > 0);
    } else {
        modern.memory_reservation = read::size(report, field).filter(|n| *n > 0);
    }
    if !field.is_off() {
        report.note(
            "deploy.resources.reservations",
            field,
            "nodes are not chosen by reservations yet; the memory reservation is given to the engine",
        );
    }
}

impl Limits {
    /// Decides between the two spellings, and fills in what counts.
    pub(crate) fn settle(self, report: &mut Report<'_>, resources: &mut Resources) {
        let Some(modern) = self.modern else {
            resources.nano_cpus = self.cpus.map(|(n, _)| n);
            resources.memory = self.memory.map(|(n, _)| n);
            resources.memory_reservation = self.reservation.map(|(n, _)| n);
            resources.pids = self.pids.map(|(n, _)| n);
            resources.cpu_shares = self.shares.map(|(n, _)| n);
            resources.cpuset = self.cpuset.map(|(text, _)| text);
            return;
        };
        beside(report, self.cpus.as_ref(), modern.nano_cpus.as_ref(), "cpus", "limits.cpus");
        beside(report, self.memory.as_ref(), modern.memory.as_ref(), "mem_limit", "limits.memory");
        beside(
            report,
            self.reservation.as_ref(),
            modern.memory_reservation.as_ref(),
            "mem_reservation",
            "reservations.memory",
        );
        beside(report, self.pids.as_ref(), modern.pids.as_ref(), "pids_limit", "limits.pids");
        beside(report, self.shares.as_ref(), None, "cpu_shares", "limits.cpus");
        beside(report, self.cpuset.as_ref(), None, "cpuset", "limits.cpus");
        resources.nano_cpus = modern.nano_cpus;
        resources.reserved_nano_cpus = modern.reserved_nano_cpus;
        resources.memory = modern.memory;
        resources.memory_reservation = modern.memory_reservation;
        resources.pids = modern.pids;
    }
}

/// An older key beside a `deploy.resources` block.
fn beside<T: PartialEq>(report: &mut Report<'_>, old: Option<&(T, Spot)>, modern: Option<&T>, key: &str, path: &str) {
    let Some((old, spot)) = old else { return };
    match modern {
        Some(modern) if modern == old => {}
        Some(_) => report.refused(
            "limits.conflict",
            spot,
            format!("`{key}` and `deploy.resources.{path}` have different values; remove one of them"),
        ),
        None => report.warn(
            "limits.overridden",
            spot,
            format!("`{key}` has no effect, as `deploy.resources` is there and wins as a whole; write it as `deploy.resources.{path}`"),
        ),
    }
}
