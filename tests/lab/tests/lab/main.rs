//! The lab itself: hosts are machines of their own, faults are what they say, and nothing is left behind.

mod clear;
mod disks;
mod faults;
mod hosts;
mod network;
mod programs;

use std::process::ExitCode;

use jaco_e2e::{Case, Shared, run};
use jaco_lab::{Capabilities, Capability, Lab, LabOptions, can_run};

/// Word on the command line by which this program becomes the owner of a lab that a case kills.
pub(crate) const OWNER: &str = "--own-a-lab";

/// Two hosts with engines, for most cases; some take it down for a lab of another kind.
pub(crate) struct Rig {
    lab: Option<Lab>,
}

impl Rig {
    /// The lab, started again when a case took it down.
    pub(crate) fn lab(&mut self) -> anyhow::Result<&Lab> {
        let lab = match self.lab.take() {
            Some(lab) => lab,
            None => Lab::start(LabOptions { hosts: 2, ..LabOptions::default() })?,
        };
        Ok(self.lab.insert(lab))
    }

    /// Makes room for another lab.
    pub(crate) fn down(&mut self) -> anyhow::Result<()> {
        self.lab.take().map_or(Ok(()), Lab::down)
    }
}

impl Shared for Rig {
    fn start() -> anyhow::Result<Rig> {
        jaco_e2e::announce(&Capabilities::detect().to_string());
        let mut rig = Rig { lab: None };
        rig.lab()?;
        Ok(rig)
    }

    fn evidence(&self) -> String {
        self.lab.as_ref().map(Lab::evidence).unwrap_or_default()
    }

    /// A case may leave faults and dead hosts behind.
    fn clear(&mut self) -> anyhow::Result<()> {
        let Some(lab) = &self.lab else { return Ok(()) };
        lab.network().heal()?;
        lab.each(|host| if host.is_running() { Ok(()) } else { host.boot() })
    }
}

const CASES: &[Case<Rig>] = &[
    ("hosts_are_machines_of_their_own", hosts::hosts_are_machines_of_their_own),
    ("a_command_has_a_deadline_and_an_exit_code", hosts::a_command_has_a_deadline_and_an_exit_code),
    (
        "a_cut_stalls_connections_and_healing_lets_them_go_on",
        network::a_cut_stalls_connections_and_healing_lets_them_go_on,
    ),
    ("a_cut_one_way_leaves_the_way_back", network::a_cut_one_way_leaves_the_way_back),
    ("an_isolated_host_reaches_nobody", network::an_isolated_host_reaches_nobody),
    ("loss_drops_some_frames_and_not_all", network::loss_drops_some_frames_and_not_all),
    ("delay_holds_frames_back", network::delay_holds_frames_back),
    ("a_killed_host_is_dead_at_once_and_keeps_its_disks", faults::a_killed_host_is_dead_at_once_and_keeps_its_disks),
    ("a_frozen_host_stands_still", faults::a_frozen_host_stands_still),
    ("two_engines_run_containers_of_the_same_name", programs::two_engines_run_containers_of_the_same_name),
    ("an_image_is_loaded_from_a_file", programs::an_image_is_loaded_from_a_file),
    ("an_engine_is_stopped_killed_and_started_again", programs::an_engine_is_stopped_killed_and_started_again),
    ("jacod_runs_on_default_paths_in_each_host", programs::jacod_runs_on_default_paths_in_each_host),
    ("a_shifted_clock_is_one_daemons_own", programs::a_shifted_clock_is_one_daemons_own),
    ("a_second_lab_is_refused", clear::a_second_lab_is_refused),
    ("what_a_killed_owner_leaves_is_removed", clear::what_a_killed_owner_leaves_is_removed),
    (
        "what_a_killed_keeper_leaves_is_removed_by_the_next_start",
        clear::what_a_killed_keeper_leaves_is_removed_by_the_next_start,
    ),
    ("a_disk_fills_up_and_survives_its_host", disks::a_disk_fills_up_and_survives_its_host),
    ("a_memory_disk_fills_up", disks::a_memory_disk_fills_up),
];

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == OWNER) {
        return clear::own();
    }
    if !can_run("lab", &[Capability::Docker, Capability::Busybox]) {
        return ExitCode::SUCCESS;
    }
    run("lab", CASES)
}
