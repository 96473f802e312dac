//! One node with an engine of its own, and the questions that tests ask it.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{Daemon, Engine, Project, Reply, Shared, build_web_image, eventually, get, try_get};

/// A `jacod` that is the only member of its cluster, and its engine.
pub struct Node {
    /// The daemon.
    pub daemon: Daemon,
    /// Its engine, which keeps containers while it restarts.
    pub engine: Engine,
}

impl Shared for Node {
    fn start() -> anyhow::Result<Node> {
        let engine = Engine::start(true)?;
        build_web_image(&engine)?;
        Ok(Node { daemon: Daemon::start_cluster(&engine.socket())?, engine })
    }

    fn evidence(&self) -> String {
        let containers = self.engine.docker(&["ps", "--all"]).unwrap_or_else(|error| error.to_string());
        let status = self.daemon.cli().try_run(&["status"]);
        format!("{}\n{}{}\n{containers}", self.daemon.log_tail(40), status.stdout, status.stderr)
    }

    fn clear(&mut self) -> anyhow::Result<()> {
        for name in self.deployments()? {
            self.daemon.cli().run(&["delete", &name, "--wait", "--timeout", "60s"])?;
        }
        let left = self.engine.containers(&self.label()?)?;
        ensure!(left.is_empty(), "containers of deleted deployments: {left:?}");
        self.engine.clear()
    }
}

impl Node {
    /// Names of the deployments.
    pub fn deployments(&self) -> anyhow::Result<Vec<String>> {
        let list = self.daemon.cli().json(&["get", "deployments"])?;
        Ok(list.as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).map(str::to_owned).collect())
    }

    /// The label of everything that belongs to this cluster.
    pub fn label(&self) -> anyhow::Result<String> {
        Ok(format!("jaco.cluster_id={}", self.cluster_id()?))
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> anyhow::Result<String> {
        let status = self.daemon.cli().json(&["cluster", "status"])?;
        Ok(status["cluster_id"].as_str().context("no cluster id")?.to_owned())
    }

    /// Applies and waits until it runs; the answer.
    pub fn apply(&self, project: &Project) -> anyhow::Result<Value> {
        self.daemon.cli().json(&["apply", &project.jaco(), "--wait", "--timeout", "60s"])
    }

    /// Everything about a replica.
    pub fn replica(&self, id: &str) -> anyhow::Result<Value> {
        self.daemon.cli().json(&["get", "replica", id])
    }

    /// Waits until a replica is as wanted, and gives it.
    pub fn replica_when(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        eventually(Duration::from_secs(40), &format!("replica {id} {what}"), || {
            let replica = self.replica(id).map_err(|error| format!("{error:#}"))?;
            if wanted(&replica) { Ok(replica) } else { Err(replica.to_string()) }
        })
    }

    /// Asks the ingress.
    pub fn get(&self, domain: &str, path: &str) -> anyhow::Result<Reply> {
        get(self.daemon.http(), domain, path)
    }

    /// Asks the ingress until it answers with this status.
    pub fn get_when(&self, domain: &str, path: &str, status: u16) -> anyhow::Result<Reply> {
        eventually(Duration::from_secs(30), &format!("{status} from {domain}{path}"), || {
            try_get(self.daemon.http(), domain, path, status)
        })
    }

    /// Names of this cluster's containers, running or not.
    pub fn containers(&self) -> anyhow::Result<Vec<String>> {
        self.engine.containers(&self.label()?)
    }
}
