//! What an operator can see and set while it runs.

use anyhow::ensure;
use jaco_e2e::get;

use crate::Lab;

/// The contract's names as far as their subsystems exist; certificates and tokens come later.
const METRICS: &[&str] = &[
    "jaco_raft_commit_latency_seconds",
    "jaco_apply_duration_seconds",
    "jaco_scheduler_reconcile_lag_seconds",
    "jaco_replica_state",
    "jaco_ingress_requests_total",
    "jaco_ingress_duration_seconds",
    "jaco_runtime_container_starts_total",
];

pub(crate) fn metrics_and_readiness_are_served(lab: &mut Lab) -> anyhow::Result<()> {
    let address = lab.daemon.metrics();
    ensure!(get(lab.daemon.http(), "nobody.test", "/")?.status == 404);
    let reply = get(address, "localhost", "/metrics")?;
    ensure!(reply.status == 200 && reply.head.to_lowercase().contains("openmetrics-text"), "{reply:?}");
    let missing: Vec<_> = METRICS.iter().filter(|name| !reply.body.contains(**name)).collect();
    ensure!(missing.is_empty(), "{missing:?} are missing in\n{}", reply.body);
    ensure!(reply.body.ends_with("# EOF\n"), "{}", reply.body);
    ensure!(reply.body.contains("jaco_ingress_requests_total{class=\"4xx\"}"), "{}", reply.body);
    let ready = get(address, "localhost", "/ready")?;
    ensure!(ready.status == 200, "{ready:?}");
    ensure!(get(address, "localhost", "/else")?.status == 404);
    Ok(())
}

pub(crate) fn loops_and_log_level_are_seen_and_set(lab: &mut Lab) -> anyhow::Result<()> {
    let cli = lab.daemon.cli();
    let status = cli.json(&["node", "status"])?;
    let names: Vec<&str> =
        status["loops"].as_array().into_iter().flatten().filter_map(|l| l["name"].as_str()).collect();
    for name in ["api", "ingress-routes", "metrics", "runtime", "scheduler"] {
        ensure!(names.contains(&name), "no loop {name} in {names:?}");
    }
    for one in status["loops"].as_array().into_iter().flatten() {
        for field in ["name", "state", "runs", "errors_in_a_row", "lag_ms"] {
            ensure!(one.get(field).is_some(), "a loop without {field}: {one}");
        }
    }
    ensure!(status["hostname"] == "node-a" && status["log_level"] == "debug", "{status}");
    ensure!(cli.run(&["node", "status"])?.contains("scheduler"));

    let said = |lab: &Lab| lab.daemon.log().matches("log level changed").count();
    let before = said(lab);
    cli.run(&["node", "log-level", "error"])?;
    ensure!(cli.json(&["node", "status"])?["log_level"] == "error");
    ensure!(said(lab) == before, "an event below the new level was logged");
    ensure!(cli.json(&["node", "log-level", "info"])?["level"] == "info");
    ensure!(said(lab) == before + 1, "an event of the new level was not logged");
    let wrong = cli.try_run(&["node", "log-level", "loud"]);
    ensure!(wrong.code == 2, "{wrong:?}");
    Ok(())
}
