//! What a manifest says becomes true: apply, scale, change, roll back, delete.

use std::time::Duration;

use anyhow::ensure;
use jaco_e2e::{Node, Project, Traffic, eventually, web_compose, web_jaco};

pub(crate) fn apply_becomes_healthy_containers_behind_the_ingress(node: &mut Node) -> anyhow::Result<()> {
    let project = Project::new(&web_jaco("hello", 2), &web_compose("one"))?;
    node.apply(&project)?;
    ensure!(node.containers()? == ["hello-web-0", "hello-web-1"], "{:?}", node.containers()?);
    let reply = node.get("hello.test", "/")?;
    ensure!(reply.status == 200 && reply.body == "hello from jaco\n", "{reply:?}");
    ensure!(node.get("HELLO.test", "/")?.status == 200, "hosts are compared without case");
    let unknown = node.get("nobody.test", "/")?;
    ensure!(unknown.status == 404 && unknown.head.to_lowercase().contains("server: jaco"), "{unknown:?}");
    let labels = node.engine.inspect("hello-web-0", "{{json .Config.Labels}}")?;
    for label in ["cluster_id", "deployment", "service", "replica_id", "replica_index", "raft_index", "spec_hash"] {
        ensure!(labels.contains(&format!("\"jaco.{label}\"")), "no label jaco.{label}: {labels}");
    }
    let rotation = node.engine.inspect("hello-web-0", "{{json .HostConfig.LogConfig}}")?;
    ensure!(rotation.contains("max-size"), "container logs are not rotated: {rotation}");
    ensure!(
        node.engine.networks(&node.label()?)? == ["jaco_hello__default"],
        "{:?}",
        node.engine.networks(&node.label()?)?
    );
    let plain = Project::new(&web_jaco("plain", 1).replace("    tls: off\n", ""), &web_compose("one"))?;
    let applied = node.apply(&plain)?;
    ensure!(
        applied["remarks"].to_string().contains("plain"),
        "no note that the route is served in plain HTTP: {applied}"
    );
    ensure!(node.get("plain.test", "/")?.status == 200);
    Ok(())
}

pub(crate) fn scale_to_zero_three_and_one(node: &mut Node) -> anyhow::Result<()> {
    let project = Project::new(&web_jaco("scale", 0), &web_compose("one"))?;
    node.apply(&project)?;
    ensure!(node.containers()?.is_empty(), "{:?}", node.containers()?);
    let nobody = node.get_when("scale.test", "/", 503)?;
    ensure!(nobody.head.to_lowercase().contains("server: jaco"), "{nobody:?}");
    project.write("jaco.yaml", &web_jaco("scale", 3))?;
    node.apply(&project)?;
    ensure!(node.containers()? == ["scale-web-0", "scale-web-1", "scale-web-2"], "{:?}", node.containers()?);
    ensure!(node.get("scale.test", "/")?.status == 200);
    let first = node.engine.container_id("scale-web-0")?;
    project.write("jaco.yaml", &web_jaco("scale", 1))?;
    node.apply(&project)?;
    eventually(Duration::from_secs(20), "one container is left", || match node.containers() {
        Ok(names) if names == ["scale-web-0"] => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    ensure!(node.engine.container_id("scale-web-0")? == first, "scaling replaced a container");
    eventually(Duration::from_secs(10), "status lists one replica", || {
        let status = node.daemon.cli().json(&["status", "scale"]).map_err(|error| error.to_string())?;
        if status["replicas"].as_array().is_some_and(|list| list.len() == 1) { Ok(()) } else { Err(status.to_string()) }
    })
}

pub(crate) fn a_change_replaces_containers_and_nobody_notices(node: &mut Node) -> anyhow::Result<()> {
    let project = Project::new(&web_jaco("change", 2), &web_compose("one"))?;
    node.apply(&project)?;
    let names = ["change-web-0", "change-web-1"];
    let before = node.engine.container_ids(&names)?;
    ensure!(node.get("change.test", "/cgi-bin/show")?.body.ends_with("one\n"));
    let traffic = Traffic::start(3, node.daemon.http(), "change.test", "/cgi-bin/show");
    project.write("compose.yml", &web_compose("two"))?;
    let applied = node.apply(&project)?;
    ensure!(applied["changed"] == true && applied["diff"]["restarts"] == serde_json::json!(names), "{applied}");
    eventually(Duration::from_secs(20), "the old containers are gone", || match node.containers() {
        Ok(found) if found == names => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    let asked = traffic.end_without_failure()?;
    let after = node.engine.container_ids(&names)?;
    ensure!(before.iter().all(|id| !after.contains(id)), "not every container was replaced: {before:?} {after:?}");
    for _ in 0..6 {
        let body = node.get("change.test", "/cgi-bin/show")?.body;
        ensure!(body.ends_with("two\n"), "after the change somebody says {body:?}");
    }
    ensure!(asked > 10, "only {asked} requests were made meanwhile");
    Ok(())
}

pub(crate) fn an_equal_apply_restarts_nothing(node: &mut Node) -> anyhow::Result<()> {
    let project = Project::new(&web_jaco("equal", 2), &web_compose("one"))?;
    node.apply(&project)?;
    let names = ["equal-web-0", "equal-web-1"];
    let before = node.engine.container_ids(&names)?;
    let again = node.apply(&project)?;
    ensure!(again["applied_revision"] == 2 && again["changed"] == false, "{again}");
    // A route and the number of replicas change no container.
    let more = web_jaco("equal", 3) + "  - domain: other.test\n    service: web\n    port: 8080\n    tls: off\n";
    project.write("jaco.yaml", &more)?;
    let changed = node.apply(&project)?;
    ensure!(changed["changed"] == true && changed["diff"]["restarts"] == serde_json::json!([]), "{changed}");
    ensure!(node.get_when("other.test", "/", 200)?.status == 200);
    ensure!(node.engine.container_ids(&names)? == before, "a container was replaced without need");
    let replica = node.replica("equal-web-0")?;
    ensure!(replica["restart_count"] == 0, "{replica}");
    Ok(())
}

pub(crate) fn dry_run_tells_and_does_nothing(node: &mut Node) -> anyhow::Result<()> {
    let cli = node.daemon.cli();
    let project = Project::new(&web_jaco("dry", 1), &web_compose("one"))?;
    let path = project.jaco();
    let dry = cli.try_run(&["apply", &path, "--dry-run", "--exit-code"]);
    ensure!(dry.code == 10 && dry.stdout.contains("+ service/web"), "{dry:?}");
    ensure!(node.deployments()?.is_empty() && node.containers()?.is_empty(), "a dry run did something");
    node.apply(&project)?;
    let same = cli.try_run(&["apply", &path, "--dry-run", "--exit-code"]);
    ensure!(same.code == 0 && same.stdout == "No changes\n", "{same:?}");
    project.write("compose.yml", &web_compose("two"))?;
    let without = cli.try_run(&["apply", &path, "--dry-run"]);
    ensure!(
        without.code == 0 && without.stdout.contains("~ service/web") && without.stdout.contains("dry-web-0"),
        "{without:?}"
    );
    let json = cli.json(&["apply", &path, "--dry-run"])?;
    ensure!(json["current_revision"] == 1 && json["changed"] == true, "{json}");
    ensure!(json["diff"]["restarts"] == serde_json::json!(["dry-web-0"]), "{json}");
    ensure!(cli.json(&["get", "deployment", "dry"])?["applied_revision"] == 1, "a dry run was committed");
    Ok(())
}

pub(crate) fn rollback_restores_a_stored_revision(node: &mut Node) -> anyhow::Result<()> {
    let cli = node.daemon.cli();
    let project = Project::new(&web_jaco("back", 1), &web_compose("one"))?;
    node.apply(&project)?;
    project.write("compose.yml", &web_compose("two"))?;
    node.apply(&project)?;
    let dry = cli.json(&["rollback", "back", "--dry-run"])?;
    ensure!(dry["changed"] == true && dry["diff"]["restarts"] == serde_json::json!(["back-web-0"]), "{dry}");
    let rolled = cli.json(&["rollback", "back", "--wait", "--timeout", "60s"])?;
    ensure!(rolled["revision"] == 1 && rolled["previous_revision"] == 2, "{rolled}");
    let deployment = cli.json(&["get", "deployment", "back"])?;
    ensure!(deployment["applied_revision"] == 1 && deployment["previous_revision"] == 2, "{deployment}");
    ensure!(deployment["compose_yaml"].as_str().is_some_and(|text| text.contains("VALUE: one")), "{deployment}");
    ensure!(node.get("back.test", "/cgi-bin/show")?.body.ends_with("one\n"));
    let to = cli.json(&["rollback", "back", "--to", "2", "--wait", "--timeout", "60s"])?;
    ensure!(to["revision"] == 2, "{to}");
    ensure!(node.get("back.test", "/cgi-bin/show")?.body.ends_with("two\n"));
    ensure!(node.apply(&project)?["applied_revision"] == 3, "the next apply takes the highest number and one");
    Ok(())
}

pub(crate) fn a_service_that_is_gone_is_torn_down(node: &mut Node) -> anyhow::Result<()> {
    let extra = "  extra:\n    image: jaco.test/web:1\n    pull_policy: never\n";
    let jaco = web_jaco("fewer", 1) + "  - domain: extra.test\n    service: extra\n    port: 8080\n    tls: off\n";
    let project = Project::new(&jaco, &(web_compose("one") + extra))?;
    node.apply(&project)?;
    ensure!(node.get_when("extra.test", "/", 200)?.status == 200);
    let kept = node.engine.container_id("fewer-web-0")?;
    project.write("jaco.yaml", &web_jaco("fewer", 1))?;
    project.write("compose.yml", &web_compose("one"))?;
    node.apply(&project)?;
    node.get_when("extra.test", "/", 404)?;
    eventually(Duration::from_secs(20), "the other service's container is gone", || match node.containers() {
        Ok(names) if names == ["fewer-web-0"] => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    ensure!(node.engine.container_id("fewer-web-0")? == kept);
    Ok(())
}

pub(crate) fn delete_leaves_nothing_but_volumes(node: &mut Node) -> anyhow::Result<()> {
    let compose = web_compose("one") + "    volumes:\n      - data:/data\nvolumes:\n  data:\n";
    let project = Project::new(&web_jaco("gone", 2), &compose)?;
    node.apply(&project)?;
    let label = node.label()?;
    ensure!(!node.engine.containers(&label)?.is_empty() && !node.engine.networks(&label)?.is_empty());
    let deleted = node.daemon.cli().json(&["delete", "gone", "--wait", "--timeout", "60s"])?;
    ensure!(deleted["deployment"] == "gone" && deleted["deleted"] == true, "{deleted}");
    ensure!(node.engine.containers(&label)?.is_empty(), "delete --wait came back too early: {:?}", node.containers()?);
    eventually(Duration::from_secs(20), "the network is gone", || match node.engine.networks(&label) {
        Ok(names) if names.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    let volumes = node.engine.docker(&["volume", "ls", "--quiet"])?;
    ensure!(volumes.lines().any(|name| name == "jaco_gone_data"), "the volume was removed: {volumes:?}");
    ensure!(node.get("gone.test", "/")?.status == 404);
    let status = node.daemon.cli().json(&["status"])?;
    ensure!(status["replicas"] == serde_json::json!([]) && status["routes"] == serde_json::json!([]), "{status}");
    ensure!(node.apply(&project)?["applied_revision"] == 2, "numbers go on after a delete");
    Ok(())
}
