//! `jacod recover`: makes this node the only member of a new life of its cluster, when the majority is lost for good. The daemon is
//! stopped meanwhile.
//!
//! What this node has counts, the end of its log included, whether it is known to have been committed or not. What only the lost nodes
//! had is lost. The replaced state is kept beside the new one.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jaco_controlplane::{LifeEvent, NewLife, Replaced, Sealing, Staging, read_state};
use jaco_identity::NodeDirectory;
use jaco_state::{Clock, SystemClock};
use jaco_types::{ErrorCode, Node, UserError};
use serde::Serialize;

use crate::config::Config;
use crate::restore::{Plan, internal, lock, stored_id};

/// Said before anything is done, and when it is not.
const WARNING: &str = "this makes the node the only member of a new life of the cluster: what only the other nodes \
     have is lost, they are refused until each has joined anew, and if they still run, both sides go on by themselves";

/// Flags of `jacod recover`.
#[derive(Debug, clap::Args)]
pub(crate) struct RecoverArguments {
    /// Do it: the majority is lost for good.
    #[arg(long)]
    pub(crate) yes: bool,
    /// No other node of the cluster runs, nor will before it has joined anew: exclusive replicas may start.
    #[arg(long)]
    pub(crate) old_nodes_are_off: bool,
    /// Print the result, or the error, as one JSON object on standard output.
    #[arg(long, hide = true)]
    pub(crate) json: bool,
}

/// A cluster that was recovered.
#[derive(Debug, Serialize)]
pub(crate) struct Recovered {
    data_dir: PathBuf,
    cluster_id: String,
    /// The last index of the old life that this node had.
    state_index: u64,
    hostname: String,
    /// The members that are none any more.
    old_nodes: Vec<String>,
}

impl std::fmt::Display for Recovered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Recovered { data_dir, cluster_id, state_index, hostname, old_nodes } = self;
        let old = if old_nodes.is_empty() { "none".to_owned() } else { old_nodes.join(", ") };
        write!(f, "recovered cluster {cluster_id} at index {state_index} in {} on {hostname}", data_dir.display())?;
        write!(f, "\nmembers that have to join anew, with an empty data directory: {old}")?;
        write!(f, "\nnext: systemctl start jaco")
    }
}

/// Recovers. Blocks.
///
/// # Errors
/// `usage` without `--yes`, `cluster_uninitialized` for a node without a cluster, `node_removed` for one that was let go, `conflict` while
/// the daemon runs; nothing has changed on disk then.
pub(crate) fn run(arguments: &RecoverArguments, config: &Config) -> Result<Recovered, UserError> {
    if !arguments.yes {
        return Err(UserError::new(ErrorCode::Usage, format!("{WARNING}. Say --yes to do it")));
    }
    let data_dir = &config.data_dir;
    let lock = lock(data_dir)?;
    let none = || UserError::new(ErrorCode::ClusterUninitialized, "this node does not belong to a cluster");
    let id = stored_id(data_dir)?.ok_or_else(none)?;
    let present = NodeDirectory::open(data_dir).map_err(|error| internal("the node's directory", error))?;
    let installed = present.load().map_err(|error| internal("the node's certificate", error))?.ok_or_else(none)?;
    let state = read_state(data_dir, id).map_err(|error| internal("the node's state", error))?.ok_or_else(none)?;
    let view = state.machine.view();
    let cluster = view.cluster().ok_or_else(none)?;
    let removed = || UserError::new(ErrorCode::NodeRemoved, "this node is no member of the cluster in its own state");
    let node = view.get::<Node>(&id.to_string()).ok_or_else(removed)?;
    let seal_key = present.seal_key().map_err(|error| internal("the node's sealing key", error))?;
    let keys = Sealing::new(id, seal_key).keyring(&view)?;

    if !arguments.json {
        crate::report(&format!("Warning: {WARNING}"));
    }
    let failed = |error: std::io::Error| internal("the new life cannot be built", error);
    let staging = Staging::begin(&lock, Replaced::Keep).map_err(failed)?;
    copy_directory(present.path(), &staging.path().join("node")).map_err(failed)?;
    let directory = NodeDirectory::open(staging.path()).map_err(|error| internal("the node's directory", error))?;
    let plan = Plan {
        directory: &directory,
        key: &installed.key,
        keys: &keys,
        life: NewLife {
            event: LifeEvent::Recovered,
            node: node.clone(),
            incarnation: rand::random(),
            now_ms: SystemClock::new().now_ms(),
            old_nodes_are_off: arguments.old_nodes_are_off,
        },
        address: config.advertise,
    };
    plan.build(staging.path(), state.machine)?;
    staging.commit().map_err(|error| internal("the recovered state cannot be put in place", error))?;
    let others = view.list::<Node>().filter(|other| other.id != id);
    Ok(Recovered {
        data_dir: data_dir.clone(),
        cluster_id: cluster.cluster_id.clone(),
        state_index: view.index(),
        hostname: node.hostname.to_string(),
        old_nodes: others.map(|other| other.hostname.to_string()).collect(),
    })
}

/// Copies the files of a directory; modes go with them.
fn copy_directory(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
