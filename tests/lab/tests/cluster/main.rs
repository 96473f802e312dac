//! Several real nodes as one cluster, tested by breaking it: each case makes a cluster of its own on hosts of one lab.
//!
//! Times measured against a bar are printed, so that a run tells how near it was.

mod abuse;
mod backups;
mod clocks;
mod cluster;
mod debugging;
mod disks;
mod failover;
mod forming;
mod growth;
mod joining;
mod leader;
mod leaving;
mod links;
mod losses;
mod partition;
mod recovery;
mod remote;
mod upgrade;
mod workload;
mod writers;

use std::process::ExitCode;

use jaco_e2e::{Case, Shared, run};
use jaco_lab::{Capabilities, Capability, DataDisk, Lab, LabOptions, can_run};

use cluster::Cluster;

/// As many hosts as the largest case needs.
const HOSTS: usize = 5;

/// Size of the hosts' data disks where they can have a limit: several times what a case writes.
const DATA_DISK_MIB: u32 = 512;

/// Hosts with engines and the web image; every case begins with no cluster on them.
pub(crate) struct Rig {
    lab: Lab,
}

impl Rig {
    /// The hosts and their network.
    pub(crate) fn lab(&self) -> &Lab {
        &self.lab
    }

    /// A new cluster of hosts 1 to `nodes`, all ready.
    pub(crate) fn cluster(&self, nodes: usize) -> anyhow::Result<Cluster<'_>> {
        Cluster::form(&self.lab, nodes)
    }
}

impl Shared for Rig {
    fn start() -> anyhow::Result<Rig> {
        let limited = Capabilities::detect().missing(Capability::Ext4).is_none();
        let data_disk = if limited { DataDisk::Ext4 { mib: DATA_DISK_MIB } } else { DataDisk::Folder };
        let rig = Rig { lab: Lab::start(LabOptions { hosts: HOSTS, data_disk, ..LabOptions::default() })? };
        rig.lab.build_web_image()?;
        Ok(rig)
    }

    fn evidence(&self) -> String {
        self.lab.evidence()
    }

    /// A case may leave faults, dead hosts and half a cluster behind.
    fn clear(&mut self) -> anyhow::Result<()> {
        self.lab.network().heal()?;
        self.lab.each(|host| {
            if !host.is_running() {
                host.boot()?;
            }
            cluster::erase(host)
        })
    }
}

const CASES: &[Case<Rig>] = &[
    ("three_hosts_become_one_cluster", forming::three_hosts_become_one_cluster),
    ("a_follower_serves_every_command", forming::a_follower_serves_every_command),
    ("replicas_of_a_killed_host_run_elsewhere", failover::replicas_of_a_killed_host_run_elsewhere),
    ("each_host_is_killed_in_turn", failover::each_host_is_killed_in_turn),
    ("writes_go_on_when_the_leader_is_killed", leader::writes_go_on_when_the_leader_is_killed),
    ("writes_go_on_when_the_leader_is_paused", leader::writes_go_on_when_the_leader_is_paused),
    ("writes_go_on_when_the_leader_stops", leader::writes_go_on_when_the_leader_stops),
    ("one_three_five_three_under_writes", growth::one_three_five_three_under_writes),
    ("a_cut_off_leader_serves_reads_and_refuses_writes", partition::a_cut_off_leader_serves_reads_and_refuses_writes),
    ("a_returning_follower_deposes_nobody", partition::a_returning_follower_deposes_nobody),
    ("a_cut_one_way_stops_nothing_for_long", partition::a_cut_one_way_stops_nothing_for_long),
    ("a_refused_join_leaves_everything_as_it_was", joining::a_refused_join_leaves_everything_as_it_was),
    ("a_host_name_that_is_taken_is_refused", joining::a_host_name_that_is_taken_is_refused),
    ("a_node_is_drained_and_taken_back", leaving::a_node_is_drained_and_taken_back),
    ("a_node_leaves_and_joins_again", leaving::a_node_leaves_and_joins_again),
    ("the_leader_can_leave", leaving::the_leader_can_leave),
    ("a_dead_node_is_removed_by_force", leaving::a_dead_node_is_removed_by_force),
    ("a_lost_majority_comes_back", losses::a_lost_majority_comes_back),
    ("a_node_that_lost_its_disk_is_replaced", losses::a_node_that_lost_its_disk_is_replaced),
    ("the_only_survivor_recovers_the_cluster", recovery::the_only_survivor_recovers_the_cluster),
    ("the_data_key_is_rotated_under_writes", recovery::the_data_key_is_rotated_under_writes),
    ("writes_go_on_when_a_disk_is_full", disks::writes_go_on_when_a_disk_is_full),
    ("writes_go_on_over_bad_links", links::writes_go_on_over_bad_links),
    ("a_node_moves_to_another_address", links::a_node_moves_to_another_address),
    ("a_clock_that_jumps_moves_nothing", clocks::a_clock_that_jumps_moves_nothing),
    ("members_are_upgraded_one_after_the_other", upgrade::members_are_upgraded_one_after_the_other),
    ("a_bundle_shows_every_node_and_no_secret", debugging::a_bundle_shows_every_node_and_no_secret),
    ("garbage_and_slow_clients_harm_nobody", abuse::garbage_and_slow_clients_harm_nobody),
    ("ten_thousand_connections_harm_nobody", abuse::ten_thousand_connections_harm_nobody),
    ("a_request_that_is_too_large_is_refused", abuse::a_request_that_is_too_large_is_refused),
    ("a_context_works_from_outside", remote::a_context_works_from_outside),
    ("a_revoked_token_is_refused_everywhere", remote::a_revoked_token_is_refused_everywhere),
    ("a_backup_becomes_a_new_cluster", backups::a_backup_becomes_a_new_cluster),
];

fn main() -> ExitCode {
    if !can_run("cluster", &[Capability::Docker, Capability::Busybox]) {
        return ExitCode::SUCCESS;
    }
    run("cluster", CASES)
}
