//! A cluster comes about, and any of its nodes serves any command.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jaco_e2e::{Project, announce, eventually};
use serde_json::Value;

use crate::Rig;
use crate::cluster::{Cluster, cluster_status, nodes, options, refused};
use crate::workload::{deploy, only_host};

/// Init, a join through the first member and one through the second; every node tells the same.
pub(crate) fn three_hosts_become_one_cluster(rig: &mut Rig) -> anyhow::Result<()> {
    let lab = rig.lab();
    let before = lab.host(2).start_jacod(&options()).and_then(|_| cluster_status(lab.host(2)))?;
    ensure!(before["initialized"] == false, "{before}");
    refused(lab.host(2), &["node", "list"], 6, &["cluster_uninitialized"])?;

    let cluster = Cluster::found(lab, &["--name", "first"])?;
    for field in ["cluster_id", "operator_token", "recovery_key", "ca_fingerprint"] {
        ensure!(
            cluster.founded[field].as_str().is_some_and(|text| text.len() >= 32),
            "no {field}: {}",
            cluster.founded
        );
    }
    let mut joins = Vec::new();
    for (number, peer) in [(2, 1), (3, 2)] {
        let begin = Instant::now();
        cluster.add(number, peer)?;
        cluster.node_becomes(1, number, &["ready"], Duration::from_secs(20))?;
        joins.push(begin.elapsed());
    }
    let begin = Instant::now();
    cluster.settled(&[1, 2, 3])?;
    announce(&format!("joined and ready after {joins:.2?}, three voters {:.2?} later", begin.elapsed()));

    let mut told = Vec::new();
    for host in cluster.hosts(&[1, 2, 3]) {
        let status = cluster_status(host)?;
        ensure!(status["cluster_name"] == "first" && status["quorum"] == true, "{status}");
        let text = host.jaco(&["cluster", "status"])?.ok()?;
        ensure!(text.contains("Nodes (3):") && text.contains("[READY, VOTER]"), "{text}");
        let list = host.jaco_json(&["node", "list"])?;
        let names: Vec<&str> = nodes(&list).iter().filter_map(|node| node["hostname"].as_str()).collect();
        ensure!(names == ["host1", "host2", "host3"], "{list}");
        for (number, node) in nodes(&list).iter().enumerate() {
            let address = cluster.host(number + 1).address().to_string();
            ensure!(node["address"].as_str().is_some_and(|text| text.starts_with(&address)), "{node}");
        }
        let table = host.jaco(&["node", "list"])?.ok()?;
        ensure!(table.matches("NODE_STATUS_READY").count() == 3, "{table}");
        told.push((status["cluster_id"].clone(), status["leader"].clone(), status["leader_addr"].clone()));
    }
    told.dedup();
    ensure!(told.len() == 1, "the nodes disagree: {told:?}");
    refused(cluster.host(3), &["cluster", "init", "--no-systemd-enable"], 7, &["cluster_already_initialized"])?;
    Ok(())
}

/// Every command on a node that does not lead, and what it wrote is there in the next one.
pub(crate) fn a_follower_serves_every_command(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let leader = cluster.leader(&[1, 2, 3])?;
    let others: Vec<usize> = (1..=3).filter(|number| *number != leader).collect();
    let (follower, other) = (cluster.host(others[0]), cluster.host(others[1]));

    let project = deploy(follower, "web", 3)?;
    // What a node acknowledged it knows.
    ensure!(follower.jaco_json(&["get", "deployment", "web"])?["applied_revision"] == 1);
    let dry = follower.jaco_json(&["apply", &project.jaco(), "--dry-run"])?;
    ensure!(dry["changed"] == false, "{dry}");
    refused(
        follower,
        &["apply", &bad_manifest()?.jaco()],
        3,
        &["validation_failed", "parse_failed", "unknown_service"],
    )?;
    follower.jaco_json(&["apply", &project.jaco()])?;
    let history = follower.jaco_json(&["history", "web"])?;
    ensure!(history["revisions"].as_array().is_some_and(|all| all.len() == 2), "{history}");
    ensure!(history["revisions"][0]["identity"] == "local", "{history}");
    follower.jaco_json(&["rollback", "web", "--to", "1"])?;
    for arguments in [
        &["status"][..],
        &["get", "deployments"],
        &["get", "replicas"],
        &["get", "replica", "web-web-0"],
        &["get", "routes"],
        &["get", "route", "web.test"],
        &["node", "list"],
        &["node", "status"],
        &["cluster", "status"],
    ] {
        follower.jaco_json(arguments)?;
    }
    // Other nodes know it within the two seconds that a change may take.
    eventually(Duration::from_secs(2), "another follower knows of the rollback", || {
        let found = other.jaco_json(&["get", "deployment", "web"]).map_err(|error| format!("{error:#}"))?;
        if found["applied_revision"] == 1 { Ok(()) } else { Err(found.to_string()) }
    })?;
    tokens(&cluster, others[0], others[1])?;
    logs(&cluster, others[0])?;
    follower.jaco_json(&["delete", "web", "--wait", "--timeout", "60s"])?;
    refused(other, &["get", "deployment", "web"], 4, &["deployment_not_found"])?;
    Ok(())
}

fn bad_manifest() -> anyhow::Result<Project> {
    Project::new("deployment: bad\nservices:\n  - name: nobody\n", "services:\n  web:\n    image: x\n")
}

fn tokens(cluster: &Cluster<'_>, follower: usize, other: usize) -> anyhow::Result<()> {
    let (follower, other) = (cluster.host(follower), cluster.host(other));
    let issued = follower.jaco_json(&["token", "issue", "--name", "alice"])?;
    ensure!(issued["token"].as_str().is_some_and(|token| token.len() == 64), "{issued}");
    refused(other, &["token", "issue", "--name", "alice"], 7, &["identity_exists"])?;
    follower.jaco_json(&["token", "revoke", "alice"])?;
    let list = follower.jaco_json(&["token", "list"])?;
    let alice = list["tokens"].as_array().into_iter().flatten().find(|one| one["identity"] == "alice");
    ensure!(alice.is_some_and(|alice| alice["revoked_at"].is_string()), "{list}");
    refused(other, &["token", "revoke", "nobody"], 4, &["identity_not_found"])?;
    Ok(())
}

/// Lines of a container are read on a node that does not run it.
fn logs(cluster: &Cluster<'_>, asked: usize) -> anyhow::Result<()> {
    let follower = cluster.host(asked);
    let jaco = "deployment: talk\nservices:\n  - name: web\n    replicas: 3\n";
    let compose = "services:\n  web:\n    image: jaco.test/web:1\n    pull_policy: never\n    \
                   command: [sh, -c, \"trap 'exit 0' TERM; echo begin; while true; do usleep 100000; done\"]\n";
    let project = Project::new(jaco, compose)?;
    crate::workload::apply(follower, &project)?;
    let text = follower.jaco(&["-o", "json", "logs", "talk/web"])?.ok()?;
    let mut hosts = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| text.clone())?;
        if line["line"] == "begin" {
            hosts.push(line["host"].as_str().unwrap_or_default().to_owned());
        }
    }
    hosts.sort_unstable();
    ensure!(hosts == ["host1", "host2", "host3"], "lines came from {hosts:?}:\n{text}");
    follower.jaco_json(&["delete", "talk", "--wait", "--timeout", "60s"])?;

    deploy(follower, "lone", 1)?;
    let owner = only_host(follower, "lone")?;
    for number in (1..=3).filter(|number| *number != owner) {
        let detail = cluster.host(number).jaco_json(&["get", "replica", "lone-web-0"])?;
        ensure!(detail["host"] == format!("host{owner}") && detail["state"] == "running", "{detail}");
    }
    Ok(())
}
