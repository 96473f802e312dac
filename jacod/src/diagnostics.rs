//! What an engineer who was not there needs to see of this node: files for a debug bundle.
//!
//! No file holds a secret: no manifest, no environment of a container, no label but ours, no key, no token. What is written is chosen field
//! by field, so that something new in a structure is not in a bundle by itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jaco_api::Diagnostics;
use jaco_controlplane::{ControlPlane, Status};
use jaco_proto::v1::DiagnosticFile;
use jaco_runtime::engine::{Container, EngineVersion};
use jaco_runtime::{DockerEngine, Engine, EngineError};
use jaco_state::{BoxFuture, Store, View};
use jaco_types::{ClusterMeta, label};
use serde_json::{Value, json};

use crate::VERSION;
use crate::config::Config;
use crate::logging::Recent;
use crate::metrics::Metrics;

/// The engine has this long for everything that is asked of it.
const ENGINE: Duration = Duration::from_secs(8);
/// The labels that are shown: each has a value that we have put there.
const LABELS: [&str; 8] = [
    label::CLUSTER_ID,
    label::DEPLOYMENT,
    label::SERVICE,
    label::REPLICA_ID,
    label::REPLICA_INDEX,
    label::RAFT_INDEX,
    label::SPEC_HASH,
    label::EPOCH,
];
/// Containers that are described.
const CONTAINERS: usize = 500;
/// Bytes of one file; what is beyond is cut off, and said to be.
const LARGEST: usize = 1 << 20;

/// Makes the files.
pub(crate) struct NodeDiagnostics {
    pub(crate) config: Config,
    pub(crate) control_plane: ControlPlane,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) recent: Recent,
}

impl Diagnostics for NodeDiagnostics {
    fn collect(&self) -> BoxFuture<'_, Vec<DiagnosticFile>> {
        Box::pin(async {
            let view = self.control_plane.view();
            let metrics =
                self.metrics.text().unwrap_or_else(|error| format!("the figures cannot be written: {error}\n"));
            let engine = DockerEngine::new(self.config.docker_socket.display().to_string());
            let engine = tokio::time::timeout(ENGINE, describe_engine(&engine, view.cluster())).await;
            let late = |_elapsed| json!({ "error": format!("the engine did not answer within {ENGINE:?}") });
            vec![
                file("config.yaml", self.config.to_yaml().into_bytes()),
                json_file("engine.json", &engine.unwrap_or_else(late)),
                json_file("host.json", &host(&self.config.data_dir)),
                file("log.jsonl", self.recent.text()),
                file("metrics.txt", metrics.into_bytes()),
                json_file("raft.json", &raft(&self.control_plane.status())),
                json_file("store.json", &store(&view)),
            ]
        })
    }
}

fn file(name: &str, mut data: Vec<u8>) -> DiagnosticFile {
    if data.len() > LARGEST {
        data.truncate(LARGEST);
        data.extend_from_slice(b"\n(cut off here)\n");
    }
    DiagnosticFile { name: name.to_owned(), data }
}

fn json_file(name: &str, value: &Value) -> DiagnosticFile {
    file(name, format!("{value:#}\n").into_bytes())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The engine, and the containers of this cluster on it.
async fn describe_engine(engine: &dyn Engine, cluster: Option<&ClusterMeta>) -> Value {
    let version = match engine.version().await {
        Ok(EngineVersion { engine, api }) => json!({ "engine": engine, "api": api.to_string() }),
        Err(error) => return json!({ "error": error.to_string() }),
    };
    let containers = match cluster {
        Some(cluster) => containers(engine, &cluster.cluster_id).await,
        None => Ok(Vec::new()),
    };
    match containers {
        Ok(containers) => json!({ "version": version, "containers": containers }),
        Err(error) => json!({ "version": version, "error": error.to_string() }),
    }
}

async fn containers(engine: &dyn Engine, cluster_id: &str) -> Result<Vec<Value>, EngineError> {
    let mut found = Vec::new();
    for id in engine.list(label::CLUSTER_ID, cluster_id).await?.iter().take(CONTAINERS) {
        // One that has gone meanwhile is none.
        if let Some(container) = engine.inspect(id).await? {
            found.push(describe(&container));
        }
    }
    found.sort_by_key(|container| container["name"].to_string());
    Ok(found)
}

fn describe(container: &Container) -> Value {
    let ours = container.labels.iter().filter(|(name, _)| LABELS.contains(&name.as_str()));
    json!({
        "id": container.id,
        "name": container.name,
        "image": container.image,
        "state": format!("{:?}", container.state).to_ascii_lowercase(),
        "health": container.health.map(|health| format!("{health:?}").to_ascii_lowercase()),
        "exit_code": container.exit_code,
        "oom_killed": container.oom_killed,
        "has_start_error": !container.error.is_empty(),
        "created_at_ms": container.created_at_ms,
        "started_at_ms": container.started_at_ms,
        "finished_at_ms": container.finished_at_ms,
        "networks": container.networks,
        "labels": ours.collect::<BTreeMap<_, _>>(),
    })
}

fn raft(status: &Status) -> Value {
    let members = status.members.iter().map(|member| {
        json!({
            "node_id": member.node_id.to_string(),
            "address": member.address,
            "voter": member.voter,
            "matched": member.matched,
            "lag": member.lag,
            "heard_ms_ago": member.heard.map(millis),
        })
    });
    json!({
        "term": status.term,
        "leader": status.leader.map(|leader| leader.to_string()),
        "is_leader": status.is_leader,
        "quorum_acked_ms_ago": status.quorum_acked.map(millis),
        "applied_index": status.applied_index,
        "last_index": status.last_index,
        "snapshot_index": status.snapshot_index,
        "membership_is_changing": status.changing,
        "members": members.collect::<Vec<_>>(),
        "log": format!("{:?}", status.log),
    })
}

/// What is in the store, by numbers; and the cluster's own record, which holds no secret.
fn store(view: &View) -> Value {
    let cluster = view.cluster().map(|cluster| {
        json!({
            "cluster_id": cluster.cluster_id,
            "name": cluster.name,
            "incarnation": format!("{:016x}", cluster.incarnation),
            "feature_level": cluster.feature_level,
            "created_at_ms": cluster.created_at_ms,
            "ipam_pool": cluster.ipam_pool.to_string(),
            "mesh_cidr": cluster.mesh_cidr.to_string(),
            "node_down_after_ms": cluster.node_down_after_ms,
        })
    });
    json!({
        "jacod": VERSION,
        "cluster": cluster,
        "index": view.index(),
        "now_ms": view.now_ms(),
        "nodes": view.count::<jaco_types::Node>(),
        "deployments": view.count::<jaco_types::Deployment>(),
        "replicas_desired": view.count::<jaco_types::ReplicaDesired>(),
        "replicas_observed": view.count::<jaco_types::ReplicaObserved>(),
        "node_operations": view.count::<jaco_types::NodeOperation>(),
    })
}

/// The machine. What cannot be read is left out.
fn host(data_dir: &Path) -> Value {
    let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let system = read("/etc/os-release").and_then(|text| {
        let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
        Some(name.trim_matches('"').to_owned())
    });
    let memory = read("/proc/meminfo").map(|text| text.lines().take(5).map(str::to_owned).collect::<Vec<_>>());
    let disk = nix::sys::statvfs::statvfs(data_dir).ok().map(|disk| {
        let unit = disk.fragment_size();
        json!({ "bytes": disk.blocks() * unit, "available_bytes": disk.blocks_available() * unit })
    });
    json!({
        "system": system,
        "kernel": read("/proc/sys/kernel/osrelease"),
        "processors": std::thread::available_parallelism().ok(),
        "load": read("/proc/loadavg"),
        "uptime": read("/proc/uptime"),
        "memory": memory,
        "cgroup_v2": Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        "data_disk": disk,
    })
}

#[cfg(test)]
mod tests;
