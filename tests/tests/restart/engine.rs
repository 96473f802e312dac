//! The engine goes and comes back.

use std::time::Duration;

use anyhow::ensure;
use jaco_e2e::{Daemon, Engine, Node, Project, Shared, Traffic, build_web_image, eventually, web_compose, web_jaco};

use crate::{Lab, until_ready};

/// Waits until the node says that its engine does not answer.
fn until_engine_is_missed(daemon: &Daemon) -> anyhow::Result<()> {
    eventually(Duration::from_secs(30), "the node tells of its engine", || {
        let status = daemon.cli().json(&["node", "status"]).map_err(|error| format!("{error:#}"))?;
        let told = status["status"] != "ready" && status["status_details"]["docker"].is_string();
        if told { Ok(()) } else { Err(status.to_string()) }
    })
}

fn ids_and_processes(node: &Node, names: &[&str]) -> anyhow::Result<Vec<String>> {
    names.iter().map(|name| node.engine.inspect(name, "{{.Id}} {{.State.Pid}} {{.State.StartedAt}}")).collect()
}

fn engine_restarts(node: &mut Node, kill: bool) -> anyhow::Result<()> {
    let project = Project::new(&web_jaco("live", 2), &web_compose("one"))?;
    node.apply(&project)?;
    let names = ["live-web-0", "live-web-1"];
    let before = ids_and_processes(node, &names)?;
    let traffic = Traffic::start(2, node.daemon.http(), "live.test", "/cgi-bin/show");
    if kill {
        node.engine.kill()?;
    } else {
        node.engine.stop()?;
    }
    until_engine_is_missed(&node.daemon)?;
    node.engine.boot()?;
    until_ready(&node.daemon)?;
    let asked = traffic.end_without_failure()?;
    ensure!(asked > 10, "only {asked} requests were made meanwhile");
    ensure!(ids_and_processes(node, &names)? == before, "the containers did not live on");
    for name in names {
        node.replica_when(name, "runs", |replica| replica["state"] == "running" && replica["restart_count"] == 0)?;
    }
    // The link to the engine works again: what is asked for now happens.
    project.write("jaco.yaml", &web_jaco("live", 3))?;
    node.apply(&project)?;
    ensure!(ids_and_processes(node, &names)? == before);
    node.daemon.cli().run(&["delete", "live", "--wait", "--timeout", "60s"])?;
    Ok(())
}

pub(crate) fn the_engine_restarts_and_keeps_its_containers(lab: &mut Lab) -> anyhow::Result<()> {
    lab.with_node(|node| engine_restarts(node, false))
}

pub(crate) fn the_engine_is_killed_and_comes_back(lab: &mut Lab) -> anyhow::Result<()> {
    lab.with_node(|node| engine_restarts(node, true))
}

pub(crate) fn the_engine_restarts_without_live_restore(_lab: &mut Lab) -> anyhow::Result<()> {
    let engine = Engine::start(false)?;
    build_web_image(&engine)?;
    let mut node = Node { daemon: Daemon::start_cluster(&engine.socket())?, engine };
    let result = replicas_run_again(&mut node);
    result.map_err(|error| error.context(node.evidence()))
}

fn replicas_run_again(node: &mut Node) -> anyhow::Result<()> {
    let project = Project::new(&web_jaco("again", 2), &web_compose("one"))?;
    node.apply(&project)?;
    let ids = node.engine.container_ids(&["again-web-0", "again-web-1"])?;
    node.engine.stop()?;
    until_engine_is_missed(&node.daemon)?;
    node.engine.boot()?;
    until_ready(&node.daemon)?;
    for id in ["again-web-0", "again-web-1"] {
        node.replica_when(id, "runs again", |replica| replica["state"] == "running")?;
    }
    ensure!(node.get_when("again.test", "/cgi-bin/show", 200)?.body.ends_with("one\n"));
    ensure!(node.engine.container_ids(&["again-web-0", "again-web-1"])? == ids, "made anew instead of started again");
    eventually(Duration::from_secs(20), "the deployment is active again", || {
        let status = node.daemon.cli().json(&["status", "again"]).map_err(|error| format!("{error:#}"))?;
        if status["deployments"][0]["status"] == "active" { Ok(()) } else { Err(status.to_string()) }
    })?;
    node.daemon.cli().run(&["delete", "again", "--wait", "--timeout", "60s"])?;
    Ok(())
}

pub(crate) fn the_engine_is_absent_when_the_daemon_starts(lab: &mut Lab) -> anyhow::Result<()> {
    lab.with_node(|node| {
        node.daemon.stop()?;
        node.engine.stop()?;
        node.daemon.boot()?;
        until_engine_is_missed(&node.daemon)?;
        let project = Project::new(&web_jaco("later", 1), &web_compose("one"))?;
        node.daemon.cli().run(&["apply", &project.jaco()])?;
        let status = node.daemon.cli().json(&["status", "later"])?;
        ensure!(status["deployments"][0]["status"] == "pending", "{status}");
        node.engine.boot()?;
        until_ready(&node.daemon)?;
        node.replica_when("later-web-0", "runs", |replica| replica["state"] == "running")?;
        ensure!(node.get_when("later.test", "/", 200)?.status == 200);
        node.daemon.cli().run(&["delete", "later", "--wait", "--timeout", "60s"])?;
        Ok(())
    })
}
