//! What users, clients, engines and disks may do wrong: a typed error with the place and the way out; nothing applied, nothing lost, and
//! the daemon stays up.

mod clients;
mod disk;
mod engine;
mod manifests;
mod observe;
mod start;

use std::path::Path;
use std::process::ExitCode;

use anyhow::ensure;
use jaco_e2e::{Case, Daemon, Shared, can_run, run};

/// A daemon without an engine: none of these cases needs a container.
pub(crate) struct Lab {
    pub(crate) daemon: Daemon,
    /// The log of a daemon that a case had for itself.
    pub(crate) evidence: String,
}

/// Where no engine listens.
pub(crate) const NO_ENGINE: &str = "/nonexistent/docker.sock";

impl Shared for Lab {
    fn start() -> anyhow::Result<Lab> {
        Ok(Lab { daemon: Daemon::start_cluster(Path::new(NO_ENGINE))?, evidence: String::new() })
    }

    fn evidence(&self) -> String {
        format!("{}\n{}", self.daemon.log_tail(20), self.evidence)
    }

    /// Whatever a case did: the daemon is the same process, answers, and has no panic in its log.
    fn clear(&mut self) -> anyhow::Result<()> {
        ensure!(self.daemon.is_running(), "the daemon ended: {}", self.daemon.log_tail(20));
        ensure!(!self.daemon.log().contains("panicked"), "a panic: {}", self.daemon.log_tail(50));
        let list = self.daemon.cli().json(&["get", "deployments"])?;
        for name in list.as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()) {
            self.daemon.cli().run(&["delete", name])?;
        }
        self.evidence.clear();
        Ok(())
    }
}

const CASES: &[Case<Lab>] = &[
    ("calls_before_init_say_so", start::calls_before_init_say_so),
    ("a_wrong_configuration_is_refused_by_key", start::a_wrong_configuration_is_refused_by_key),
    ("a_second_daemon_is_refused", start::a_second_daemon_is_refused),
    ("garbage_on_the_control_socket_concerns_nobody", clients::garbage_on_the_control_socket_concerns_nobody),
    ("clients_that_hang_up_leave_nothing_behind", clients::clients_that_hang_up_leave_nothing_behind),
    ("garbage_at_the_ingress_concerns_nobody", clients::garbage_at_the_ingress_concerns_nobody),
    ("wrong_command_lines_are_usage_errors", clients::wrong_command_lines_are_usage_errors),
    ("every_wrong_manifest_is_refused_with_its_place", manifests::every_wrong_manifest_is_refused_with_its_place),
    ("missing_and_unreadable_files_are_named", manifests::missing_and_unreadable_files_are_named),
    ("too_large_a_manifest_is_refused_quickly", manifests::too_large_a_manifest_is_refused_quickly),
    (
        "an_engine_that_answers_nonsense_is_told_and_survived",
        engine::an_engine_that_answers_nonsense_is_told_and_survived,
    ),
    ("metrics_and_readiness_are_served", observe::metrics_and_readiness_are_served),
    ("loops_and_log_level_are_seen_and_set", observe::loops_and_log_level_are_seen_and_set),
    ("a_full_disk_refuses_and_passes", disk::a_full_disk_refuses_and_passes),
];

fn main() -> ExitCode {
    if !can_run("bad_input") {
        return ExitCode::SUCCESS;
    }
    run("bad_input", CASES)
}
