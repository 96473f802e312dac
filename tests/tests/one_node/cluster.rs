//! Init, and the shapes of what can be read.

use anyhow::ensure;
use jaco_e2e::{Node, Project, web_compose, web_jaco};
use serde_json::Value;

pub(crate) fn init_twice_is_refused(node: &mut Node) -> anyhow::Result<()> {
    let before = node.cluster_id()?;
    node.daemon.cli().refused(&["cluster", "init", "--no-systemd-enable"], 7, "cluster_already_initialized")?;
    ensure!(node.cluster_id()? == before, "a refused init changed the cluster");
    Ok(())
}

/// Fails unless every name is a field of the value.
fn has(value: &Value, what: &str, names: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<&&str> = names.iter().filter(|name| value.get(name).is_none()).collect();
    ensure!(missing.is_empty(), "{what} lacks {missing:?}: {value}");
    Ok(())
}

/// The first element of a list.
fn first<'a>(value: &'a Value, what: &str) -> anyhow::Result<&'a Value> {
    value.get(0).ok_or_else(|| anyhow::anyhow!("{what} is no list with an element: {value}"))
}

const REPLICA: &[&str] = &[
    "id",
    "deployment",
    "service",
    "index",
    "state",
    "host",
    "image",
    "revision",
    "container_id",
    "restart_count",
    "started_at",
    "state_history",
];
const ROUTE: &[&str] = &["domain", "path", "deployment", "service", "port", "tls", "strip_path"];

pub(crate) fn reads_have_the_promised_shapes(node: &mut Node) -> anyhow::Result<()> {
    let cli = node.daemon.cli();
    let status = cli.json(&["status"])?;
    for name in ["deployments", "replicas", "routes", "rollouts"] {
        ensure!(
            status[name].as_array().is_some_and(Vec::is_empty),
            "{name} of an empty cluster is no empty list: {status}"
        );
    }
    let project = Project::new(&web_jaco("shapes", 1), &web_compose("one"))?;
    let applied = node.apply(&project)?;
    has(&applied, "apply", &["deployment", "applied_revision", "changed", "diff", "waited", "result"])?;
    ensure!(
        applied["applied_revision"] == 1 && applied["result"] == "active" && applied["waited"] == true,
        "{applied}"
    );
    node.apply(&project)?;

    let cluster = cli.json(&["cluster", "status"])?;
    has(
        &cluster,
        "cluster status",
        &["initialized", "cluster_id", "cluster_name", "leader", "leader_addr", "raft_index", "quorum", "nodes"],
    )?;
    let member = first(&cluster["nodes"], "nodes")?;
    has(member, "a node", &["hostname", "address", "grpc_address", "status", "suffrage", "version"])?;
    ensure!(member["hostname"] == "node-a" && member["status"] == "ready" && member["suffrage"] == "voter", "{member}");

    let status = cli.json(&["status", "shapes/web"])?;
    has(
        first(&status["deployments"], "deployments")?,
        "a deployment",
        &["name", "applied_revision", "previous_revision", "status"],
    )?;
    let replica = first(&status["replicas"], "replicas")?;
    has(
        replica,
        "a replica",
        &["id", "state", "host", "container_id", "deployment", "service", "revision", "spec_current"],
    )?;
    ensure!(
        replica["state"] == "running" && replica["spec_current"] == true && replica["host"] == "node-a",
        "{replica}"
    );
    has(first(&status["routes"], "routes")?, "a route", ROUTE)?;

    let deployment = cli.json(&["get", "deployment", "shapes"])?;
    has(
        &deployment,
        "get deployment",
        &["name", "applied_revision", "previous_revision", "status", "services", "jaco_yaml", "compose_yaml"],
    )?;
    has(first(&deployment["services"], "services")?, "a service", &["name", "replicas", "placement"])?;
    let list = cli.json(&["get", "deployments"])?;
    ensure!(first(&list, "get deployments")?["services"] == serde_json::json!(["web"]), "{list}");
    has(first(&cli.json(&["get", "replicas", "--deployment", "shapes"])?, "get replicas")?, "a replica", REPLICA)?;
    has(&node.replica("shapes-web-0")?, "get replica", REPLICA)?;
    has(first(&cli.json(&["get", "routes", "--domain", "shapes.test"])?, "get routes")?, "a route", ROUTE)?;
    let route = cli.json(&["get", "route", "shapes.test"])?;
    let row = first(&route["routes"], "get route")?;
    has(row, "a row", &["path", "catch_all", "deployment", "service", "port", "tls", "strip_path"])?;
    ensure!(row["ready_replicas"] == 1 && row["total_replicas"] == 1, "{row}");

    let history = cli.json(&["history", "shapes"])?;
    has(
        first(&history["revisions"], "history")?,
        "a revision",
        &["revision", "applied_at", "identity", "kind", "active", "result"],
    )?;
    let numbers: Vec<u64> =
        history["revisions"].as_array().into_iter().flatten().filter_map(|r| r["revision"].as_u64()).collect();
    ensure!(numbers == [2, 1], "newest first: {history}");
    ensure!(history["revisions"][0]["active"] == true && history["revisions"][1]["active"] == false, "{history}");
    ensure!(history["revisions"][0]["identity"] == "local", "{history}");

    let table = cli.run(&["status"])?;
    for heading in ["Deployments:", "Replicas:", "Routes:", "DEPLOYMENT", "REPLICA_ID", "DOMAIN"] {
        ensure!(table.contains(heading), "{heading} is missing in\n{table}");
    }
    let yaml = cli.run(&["-o", "yaml", "get", "deployments"])?;
    ensure!(yaml.contains("name: shapes"), "{yaml}");
    Ok(())
}

pub(crate) fn lookups_that_find_nothing_say_so(node: &mut Node) -> anyhow::Result<()> {
    let cli = node.daemon.cli();
    cli.refused(&["get", "deployment", "nobody"], 4, "deployment_not_found")?;
    cli.refused(&["status", "nobody"], 4, "deployment_not_found")?;
    cli.refused(&["history", "nobody"], 4, "deployment_not_found")?;
    cli.refused(&["rollback", "nobody"], 4, "deployment_not_found")?;
    cli.refused(&["delete", "nobody"], 4, "deployment_not_found")?;
    cli.refused(&["logs", "nobody/web"], 4, "deployment_not_found")?;
    cli.refused(&["get", "replica", "nobody-web-0"], 4, "replica_not_found")?;
    cli.refused(&["get", "route", "nobody.test"], 4, "route_not_found")?;
    cli.refused(&["node", "status", "nobody"], 4, "node_not_found")?;
    let project = Project::new(&web_jaco("lookups", 0), &web_compose("one"))?;
    node.apply(&project)?;
    cli.refused(&["get", "deployment", "lookups", "--revision", "9"], 4, "revision_not_found")?;
    cli.refused(&["rollback", "lookups", "--to", "9"], 4, "revision_not_found")?;
    cli.refused(&["rollback", "lookups"], 7, "no_previous_revision")?;
    cli.refused(&["logs", "lookups/nobody"], 3, "unknown_service")?;
    Ok(())
}
