//! Restarts underneath running replicas: of the daemon, of the engine, of both; and what belongs to others stays.

mod daemon;
mod engine;
mod sockets;

use std::process::ExitCode;
use std::time::Duration;

use jaco_e2e::{Case, Daemon, Engine, Node, Shared, build_web_image, can_run, eventually, run};

/// An engine that keeps containers while it restarts; each case has a daemon of its own.
pub(crate) struct Lab {
    engine: Option<Engine>,
    /// The case's node, for the evidence.
    log: String,
}

impl Shared for Lab {
    fn start() -> anyhow::Result<Lab> {
        let engine = Engine::start(true)?;
        build_web_image(&engine)?;
        Ok(Lab { engine: Some(engine), log: String::new() })
    }

    fn evidence(&self) -> String {
        self.log.clone()
    }

    fn clear(&mut self) -> anyhow::Result<()> {
        self.engine.as_ref().map_or(Ok(()), Engine::clear)
    }
}

impl Lab {
    /// Runs a case on a new cluster; the engine comes back to the lab whatever becomes of it.
    fn with_node(&mut self, case: impl FnOnce(&mut Node) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let engine = self.engine.take().ok_or_else(|| anyhow::anyhow!("an earlier case lost the engine"))?;
        let daemon = match Daemon::start_cluster(&engine.socket()) {
            Ok(daemon) => daemon,
            Err(error) => {
                self.engine = Some(engine);
                return Err(error);
            }
        };
        let mut node = Node { daemon, engine };
        let result = case(&mut node);
        self.log = if result.is_err() { node.evidence() } else { String::new() };
        let revived = node.engine.revive();
        self.engine = Some(node.engine);
        result.and(revived)
    }
}

/// Waits until the node says that it can run containers.
pub(crate) fn until_ready(daemon: &Daemon) -> anyhow::Result<()> {
    eventually(Duration::from_secs(40), "the node is ready", || {
        let status = daemon.cli().json(&["node", "status"]).map_err(|error| format!("{error:#}"))?;
        if status["status"] == "ready" { Ok(()) } else { Err(status.to_string()) }
    })
}

const CASES: &[Case<Lab>] = &[
    ("the_daemon_restarts_under_running_replicas", daemon::the_daemon_restarts_under_running_replicas),
    ("what_happens_while_the_daemon_is_away_is_made_good", daemon::what_happens_while_the_daemon_is_away_is_made_good),
    (
        "orphans_of_this_cluster_go_and_foreign_containers_stay",
        daemon::orphans_of_this_cluster_go_and_foreign_containers_stay,
    ),
    ("a_foreign_container_in_the_way_is_told_and_kept", daemon::a_foreign_container_in_the_way_is_told_and_kept),
    (
        "a_request_in_flight_ends_when_its_replica_is_replaced",
        daemon::a_request_in_flight_ends_when_its_replica_is_replaced,
    ),
    ("the_engine_restarts_and_keeps_its_containers", engine::the_engine_restarts_and_keeps_its_containers),
    ("the_engine_is_killed_and_comes_back", engine::the_engine_is_killed_and_comes_back),
    ("the_engine_restarts_without_live_restore", engine::the_engine_restarts_without_live_restore),
    ("the_engine_is_absent_when_the_daemon_starts", engine::the_engine_is_absent_when_the_daemon_starts),
    ("an_upgrade_refuses_no_connection", sockets::an_upgrade_refuses_no_connection),
];

fn main() -> ExitCode {
    if !can_run("restart") {
        return ExitCode::SUCCESS;
    }
    run("restart", CASES)
}
