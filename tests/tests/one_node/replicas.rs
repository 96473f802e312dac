//! What becomes of single replicas: killed, sick, crashing, waiting.

use std::time::Duration;

use anyhow::ensure;
use jaco_e2e::{Node, Project, WEB_IMAGE, eventually, web_compose, web_jaco};
use serde_json::Value;

fn states(replica: &Value) -> Vec<&str> {
    replica["state_history"].as_array().into_iter().flatten().filter_map(|change| change["state"].as_str()).collect()
}

pub(crate) fn a_killed_container_comes_back(node: &mut Node) -> anyhow::Result<()> {
    let project = Project::new(&web_jaco("killed", 1), &web_compose("one"))?;
    node.apply(&project)?;
    let before = node.engine.container_id("killed-web-0")?;
    node.engine.docker(&["kill", "killed-web-0"])?;
    let replica = node.replica_when("killed-web-0", "is back", |replica| {
        replica["state"] == "running" && replica["restart_count"].as_u64() >= Some(1)
    })?;
    ensure!(states(&replica).iter().any(|state| *state != "running"), "its history does not show the exit: {replica}");
    ensure!(replica["state_history"].to_string().contains("container_exited"), "{replica}");
    ensure!(node.engine.container_id("killed-web-0")? == before, "it was made anew instead of started again");
    ensure!(node.get_when("killed.test", "/", 200)?.status == 200);
    let status = node.daemon.cli().json(&["status", "killed"])?;
    ensure!(status["deployments"][0]["status"] == "active", "{status}");
    Ok(())
}

pub(crate) fn a_removed_container_comes_back(node: &mut Node) -> anyhow::Result<()> {
    let project = Project::new(&web_jaco("removed", 1), &web_compose("one"))?;
    node.apply(&project)?;
    let before = node.engine.container_id("removed-web-0")?;
    node.engine.docker(&["rm", "--force", "removed-web-0"])?;
    node.replica_when("removed-web-0", "runs in a new container", |replica| {
        replica["state"] == "running" && replica["container_id"].as_str() != Some(before.as_str())
    })?;
    ensure!(node.get_when("removed.test", "/", 200)?.status == 200);
    Ok(())
}

pub(crate) fn an_unhealthy_replica_leaves_routing_and_is_restarted(node: &mut Node) -> anyhow::Result<()> {
    let project = Project::new(&web_jaco("sick", 1), &web_compose("one"))?;
    node.apply(&project)?;
    node.engine.exec("sick-web-0", &["touch", "/tmp/sick"]).map_err(anyhow::Error::msg)?;
    // The only replica: without it there is nobody. Its restart clears /tmp, which is a tmpfs.
    node.get_when("sick.test", "/", 503)?;
    let replica = node.replica_when("sick-web-0", "was restarted and is well", |replica| {
        replica["state"] == "running" && replica["restart_count"].as_u64() >= Some(1)
    })?;
    ensure!(states(&replica).contains(&"degraded"), "{replica}");
    ensure!(node.get_when("sick.test", "/", 200)?.status == 200);
    Ok(())
}

pub(crate) fn a_crash_loop_ends_and_an_apply_tries_again(node: &mut Node) -> anyhow::Result<()> {
    let compose = format!(
        "services:\n  web:\n    image: {WEB_IMAGE}\n    pull_policy: never\n    \
         command: [\"sh\", \"-c\", \"[ -e /data/ok ] && exec /bin/start; exit 3\"]\n    volumes: [\"data:/data\"]\nvolumes:\n  data:\n"
    );
    let project = Project::new(&web_jaco("loop", 1), &compose)?;
    let error =
        node.daemon.cli().refused(&["apply", &project.jaco(), "--wait", "--timeout", "60s"], 9, "rollout_aborted")?;
    ensure!(error["message"].as_str().is_some_and(|text| text.contains("loop-web-0")), "{error}");
    let replica = node.replica("loop-web-0")?;
    ensure!(replica["state"] == "failed" && replica["code"] == "restart_exhausted", "{replica}");
    ensure!(replica["details"]["exit_code"] == "3", "{replica}");
    let container = node.engine.container_id("loop-web-0")?;
    ensure!(node.daemon.cli().json(&["status", "loop"])?["deployments"][0]["status"] == "pending");

    let volume = "jaco_loop_data:/data";
    node.engine.docker(&["run", "--rm", "--network", "none", "--volume", volume, WEB_IMAGE, "touch", "/data/ok"])?;
    node.apply(&project)?;
    ensure!(node.engine.container_id("loop-web-0")? == container, "an equal spec was given a new container");
    ensure!(node.get_when("loop.test", "/", 200)?.status == 200);
    Ok(())
}

pub(crate) fn an_image_that_is_not_there_is_told(node: &mut Node) -> anyhow::Result<()> {
    let compose = "services:\n  web:\n    image: jaco.test/nothing:1\n    pull_policy: never\n";
    let project = Project::new(&web_jaco("noimage", 1), compose)?;
    node.daemon.cli().run(&["apply", &project.jaco()])?;
    let replica =
        node.replica_when("noimage-web-0", "says that the image is missing", |r| r["code"] == "image_pull_failed")?;
    ensure!(replica["message"].as_str().is_some_and(|text| text.contains("jaco.test/nothing:1")), "{replica}");
    ensure!(node.containers()?.is_empty());
    node.daemon.cli().refused(&["apply", &project.jaco(), "--wait", "--timeout", "2s"], 8, "wait_timeout")?;
    // Nobody else is kept waiting by it.
    let other = Project::new(&web_jaco("beside", 1), &web_compose("one"))?;
    node.apply(&other)?;
    Ok(())
}

pub(crate) fn a_dependency_holds_the_start_back(node: &mut Node) -> anyhow::Result<()> {
    let compose = format!(
        "services:\n  web:\n    image: {WEB_IMAGE}\n    pull_policy: never\n    depends_on:\n      db:\n        condition: service_healthy\n  \
         db:\n    image: {WEB_IMAGE}\n    pull_policy: never\n    tmpfs: [/tmp]\n    healthcheck:\n      test: [\"CMD-SHELL\", \"[ -e /tmp/ready ]\"]\n      \
         interval: 1s\n      start_period: 60s\n"
    );
    let project = Project::new(&web_jaco("order", 1), &compose)?;
    node.daemon.cli().run(&["apply", &project.jaco()])?;
    let waiting = node.replica_when("order-web-0", "waits for db", |replica| replica["code"] == "depends_on_unmet")?;
    ensure!(waiting["state"] == "pending" && waiting["details"]["waiting_on"] == "db", "{waiting}");
    ensure!(waiting["depends_on"][0]["service"] == "db" && waiting["depends_on"][0]["satisfied"] == false, "{waiting}");
    eventually(Duration::from_secs(20), "db's container is up", || {
        node.engine.exec("order-db-0", &["touch", "/tmp/ready"]).map(|_| ())
    })?;
    node.replica_when("order-web-0", "runs", |replica| replica["state"] == "running")?;
    let started = |name: &str| node.engine.inspect(name, "{{.State.StartedAt}}");
    ensure!(started("order-db-0")? < started("order-web-0")?, "they were started in the wrong order");
    Ok(())
}

pub(crate) fn a_named_volume_survives_a_replacement(node: &mut Node) -> anyhow::Result<()> {
    let compose = |value: &str| web_compose(value) + "    volumes:\n      - data:/data\nvolumes:\n  data:\n";
    let project = Project::new(&web_jaco("keeps", 1), &compose("one"))?;
    node.apply(&project)?;
    let before = node.engine.container_id("keeps-web-0")?;
    node.engine.exec("keeps-web-0", &["touch", "/data/kept"]).map_err(anyhow::Error::msg)?;
    project.write("compose.yml", &compose("two"))?;
    node.apply(&project)?;
    ensure!(node.engine.container_id("keeps-web-0")? != before);
    node.engine.exec("keeps-web-0", &["test", "-e", "/data/kept"]).map_err(anyhow::Error::msg)?;
    let mounts = node.engine.inspect("keeps-web-0", "{{range .Mounts}}{{.Name}}{{end}}")?;
    ensure!(mounts == "jaco_keeps_data", "{mounts}");
    Ok(())
}
