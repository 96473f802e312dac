//! Deployments of the web image, and where they run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jaco_e2e::{Project, Reply, eventually, web_compose, web_jaco};
use jaco_lab::{Host, Lab};
use serde_json::Value;

/// A web deployment with so many replicas, applied on a host; returns when all are running.
pub(crate) fn deploy(host: &Host, name: &str, replicas: u32) -> anyhow::Result<Project> {
    let project = Project::new(&web_jaco(name, replicas), &web_compose(name))?;
    apply(host, &project)?;
    Ok(project)
}

/// Applies and waits until it runs.
pub(crate) fn apply(host: &Host, project: &Project) -> anyhow::Result<Value> {
    host.jaco_json(&["apply", &project.jaco(), "--wait", "--timeout", "60s"])
}

/// A deployment that starts nothing: a write and no more.
pub(crate) fn idle_project(name: &str) -> anyhow::Result<Project> {
    let jaco = format!("deployment: {name}\nservices:\n  - name: none\n    replicas: 0\n");
    Project::new(&jaco, "services:\n  none:\n    image: jaco.test/web:1\n")
}

/// Running replicas of a deployment by host, as this host tells.
pub(crate) fn placement(host: &Host, deployment: &str) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let status = host.jaco_json(&["status", deployment])?;
    let mut placed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for replica in status["replicas"].as_array().into_iter().flatten().filter(|replica| replica["state"] == "running") {
        let (Some(id), Some(on)) = (replica["id"].as_str(), replica["host"].as_str()) else { continue };
        placed.entry(on.to_owned()).or_default().push(id.to_owned());
    }
    Ok(placed)
}

/// Waits until so many replicas run, each on one of these hosts, on no two of them numbers that differ by more than one; gives the time
/// it took.
pub(crate) fn spread(
    asked: &Host,
    deployment: &str,
    replicas: usize,
    over: &[usize],
    deadline: Duration,
) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let what = format!("{replicas} replicas of {deployment} run spread over hosts {over:?}");
    eventually(deadline, &what, || {
        let placed = placement(asked, deployment).map_err(|error| format!("{error:#}"))?;
        let counts: Vec<usize> =
            over.iter().map(|number| placed.get(&format!("host{number}")).map_or(0, Vec::len)).collect();
        let total: usize = placed.values().map(Vec::len).sum();
        let even = counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0) <= 1;
        if total == replicas && counts.iter().sum::<usize>() == replicas && even {
            Ok(())
        } else {
            Err(format!("{placed:?}"))
        }
    })?;
    Ok(begin.elapsed())
}

/// Names of the containers that run on a host for a deployment, by its engine.
pub(crate) fn containers(host: &Host, deployment: &str) -> anyhow::Result<Vec<String>> {
    let filter = format!("label=jaco.deployment={deployment}");
    let text = host.docker(&["ps", "--filter", &filter, "--format", "{{.Names}}"])?;
    let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
    names.sort_unstable();
    Ok(names)
}

/// Waits until the engines run exactly what the cluster says: nothing superseded is left anywhere.
pub(crate) fn engines_agree(asked: &Host, hosts: &[&Host], deployment: &str, deadline: Duration) -> anyhow::Result<()> {
    eventually(deadline, &format!("the engines run of {deployment} what the cluster says"), || {
        let placed = placement(asked, deployment).map_err(|error| format!("{error:#}"))?;
        for host in hosts {
            let mut wanted = placed.get(host.name()).cloned().unwrap_or_default();
            wanted.sort_unstable();
            let found = containers(host, deployment).map_err(|error| format!("{error:#}"))?;
            if found != wanted {
                return Err(format!("{} runs {found:?} and should run {wanted:?}", host.name()));
            }
        }
        Ok(())
    })
}

/// Asks the ingress of a host from outside the cluster.
pub(crate) fn ask(lab: &Lab, host: &Host, deployment: &str) -> anyhow::Result<Reply> {
    let address = (host.address(), 80).into();
    let domain = format!("{deployment}.test");
    lab.network().inside(|| jaco_e2e::get(address, &domain, "/cgi-bin/show"))?
}

/// Waits until it answers well.
pub(crate) fn answers(lab: &Lab, host: &Host, deployment: &str, deadline: Duration) -> anyhow::Result<()> {
    eventually(deadline, &format!("the ingress of {} answers for {deployment}", host.name()), || {
        let reply = ask(lab, host, deployment).map_err(|error| format!("{error:#}"))?;
        if reply.status == 200 { Ok(()) } else { Err(format!("{reply:?}")) }
    })
}

/// The one host that a deployment of one replica runs on.
pub(crate) fn only_host(asked: &Host, deployment: &str) -> anyhow::Result<usize> {
    let placed = placement(asked, deployment)?;
    ensure!(placed.len() == 1, "{deployment} runs on {placed:?}");
    let name = placed.keys().next().context("nowhere")?;
    name.strip_prefix("host").and_then(|number| number.parse().ok()).with_context(|| format!("a host called {name}"))
}
