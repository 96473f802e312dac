//! One node does the main job: the real programs on a real engine, case by case.

mod cluster;
mod manifest;
mod network;
mod replicas;
mod streams;

use std::process::ExitCode;

use jaco_e2e::{Case, Node, can_run, run};

const CASES: &[Case<Node>] = &[
    ("init_twice_is_refused", cluster::init_twice_is_refused),
    ("reads_have_the_promised_shapes", cluster::reads_have_the_promised_shapes),
    ("lookups_that_find_nothing_say_so", cluster::lookups_that_find_nothing_say_so),
    (
        "apply_becomes_healthy_containers_behind_the_ingress",
        manifest::apply_becomes_healthy_containers_behind_the_ingress,
    ),
    ("scale_to_zero_three_and_one", manifest::scale_to_zero_three_and_one),
    ("a_change_replaces_containers_and_nobody_notices", manifest::a_change_replaces_containers_and_nobody_notices),
    ("an_equal_apply_restarts_nothing", manifest::an_equal_apply_restarts_nothing),
    ("dry_run_tells_and_does_nothing", manifest::dry_run_tells_and_does_nothing),
    ("rollback_restores_a_stored_revision", manifest::rollback_restores_a_stored_revision),
    ("a_service_that_is_gone_is_torn_down", manifest::a_service_that_is_gone_is_torn_down),
    ("delete_leaves_nothing_but_volumes", manifest::delete_leaves_nothing_but_volumes),
    ("a_killed_container_comes_back", replicas::a_killed_container_comes_back),
    ("a_removed_container_comes_back", replicas::a_removed_container_comes_back),
    (
        "an_unhealthy_replica_leaves_routing_and_is_restarted",
        replicas::an_unhealthy_replica_leaves_routing_and_is_restarted,
    ),
    ("a_crash_loop_ends_and_an_apply_tries_again", replicas::a_crash_loop_ends_and_an_apply_tries_again),
    ("an_image_that_is_not_there_is_told", replicas::an_image_that_is_not_there_is_told),
    ("a_dependency_holds_the_start_back", replicas::a_dependency_holds_the_start_back),
    ("a_named_volume_survives_a_replacement", replicas::a_named_volume_survives_a_replacement),
    ("published_ports_carry_tcp_and_udp", network::published_ports_carry_tcp_and_udp),
    ("networks_isolate_names", network::networks_isolate_names),
    ("routes_choose_by_host_and_path", network::routes_choose_by_host_and_path),
    ("logs_are_read_and_followed_over_a_replacement", streams::logs_are_read_and_followed_over_a_replacement),
    ("a_watch_shows_every_change", streams::a_watch_shows_every_change),
];

fn main() -> ExitCode {
    if !can_run("one_node") {
        return ExitCode::SUCCESS;
    }
    run("one_node", CASES)
}
