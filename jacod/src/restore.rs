//! `jacod restore`: makes this node the only member of a new life of a cluster, from a backup. The daemon is stopped meanwhile.
//!
//! The backup and the recovery key are checked whole before anything is touched; what is built appears in the data directory at once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use jaco_controlplane::{
    DataDirLock, LifeEvent, LockError, NewLife, Reader, Replaced, Sealing, Staging, begin_life, open_with_recovery_key,
    read_backup, read_state, sign_node, write_state,
};
use jaco_identity::{
    Certificate, CertificateRequest, JoinRecord, Keyring, NodeDirectory, PrivateKey, RecoveryKey, RequestNames,
};
use jaco_state::{Clock, StateMachine, SystemClock};
use jaco_types::{ErrorCode, Hostname, Node, NodeId, UserError};
use serde::Serialize;

use crate::config::Config;
use crate::record::own_record;
use crate::{VERSION, node_id};

/// Flags of `jacod restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArguments {
    /// The backup.
    #[arg(long, value_name = "PATH")]
    input: PathBuf,
    /// Name of this node in the restored cluster.
    #[arg(long, value_name = "HOSTNAME")]
    name: String,
    /// File with the recovery key that `jaco cluster init` printed.
    #[arg(long, value_name = "PATH")]
    recovery_key_file: PathBuf,
    /// No other node of the cluster runs, nor will before it has joined anew: exclusive replicas may start.
    #[arg(long)]
    old_nodes_are_off: bool,
    /// Print the result, or the error, as one JSON object on standard output.
    #[arg(long, hide = true)]
    pub(crate) json: bool,
}

/// A cluster that was restored.
#[derive(Debug, Serialize)]
pub(crate) struct Restored {
    data_dir: PathBuf,
    cluster_id: String,
    snapshot_index: u64,
    hostname: String,
    /// Set when the configuration has another name than the restored node.
    #[serde(skip_serializing_if = "Option::is_none")]
    configured_hostname: Option<String>,
}

impl std::fmt::Display for Restored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Restored { data_dir, cluster_id, snapshot_index, hostname, configured_hostname } = self;
        write!(f, "restored cluster {cluster_id} at index {snapshot_index} into {} as {hostname}", data_dir.display())?;
        if let Some(configured) = configured_hostname {
            write!(f, "\nset `hostname: {hostname}` in jacod.yaml before the first start: it says {configured}")?;
        }
        write!(f, "\nnext: systemctl start jaco; then let the other nodes join anew")
    }
}

pub(super) fn internal(what: &str, reason: impl std::fmt::Display) -> UserError {
    UserError::internal(what.to_owned(), reason)
}

/// Restores. Blocks.
///
/// # Errors
/// `backup_incompatible`, `restore_not_empty`, `validation_failed` for the name or the recovery key, `conflict` while the daemon runs;
/// nothing has changed on disk then.
pub(crate) fn run(arguments: &RestoreArguments, config: &Config) -> Result<Restored, UserError> {
    let hostname = Hostname::new(arguments.name.as_str())
        .map_err(|error| UserError::new(ErrorCode::ValidationFailed, error.to_string()).with("field", "name"))?;
    let recovery = read_recovery_key(&arguments.recovery_key_file)?;
    let unreadable = |error: std::io::Error| {
        let text = format!("the backup {} cannot be opened: {error}", arguments.input.display());
        UserError::new(ErrorCode::ValidationFailed, text).with("field", "input")
    };
    let input = File::open(&arguments.input).map_err(unreadable)?;
    let reader = Reader { version: VERSION, feature_level: config.feature_level };
    let backup = read_backup(input, reader).map_err(|error| error.user_error())?;
    let keys = open_with_recovery_key(&backup.machine.view(), &recovery)?;

    let lock = lock(&config.data_dir)?;
    refuse_member(&lock)?;
    let staging = Staging::begin(&lock, Replaced::Discard).map_err(|error| internal("the data directory", error))?;
    let id = node_id::load_or_create(staging.path(), rand::random())
        .map_err(|error| internal("the node's identity", error))?;
    let directory = NodeDirectory::open(staging.path()).map_err(|error| internal("the node's directory", error))?;
    let key = directory.pending_key().map_err(|error| internal("the node's key", error))?;
    let now_ms = SystemClock::new().now_ms();
    let plan = Plan {
        directory: &directory,
        key: &key,
        keys: &keys,
        life: NewLife {
            event: LifeEvent::Restored,
            node: Node { hostname: hostname.clone(), ..own_record(config, id, now_ms) },
            incarnation: rand::random(),
            now_ms,
            old_nodes_are_off: arguments.old_nodes_are_off,
        },
        address: config.advertise,
    };
    plan.build(staging.path(), backup.machine)?;
    staging.commit().map_err(|error| internal("the restored state cannot be put in place", error))?;
    Ok(Restored {
        data_dir: config.data_dir.clone(),
        cluster_id: backup.meta.cluster_id,
        snapshot_index: backup.meta.snapshot_index,
        configured_hostname: (config.hostname != hostname).then(|| config.hostname.to_string()),
        hostname: hostname.to_string(),
    })
}

/// A new life, and where this node's part of it is.
pub(super) struct Plan<'a> {
    pub(super) directory: &'a NodeDirectory,
    /// The node's key: pending, or the one it has.
    pub(super) key: &'a PrivateKey,
    /// The old life's data keys.
    pub(super) keys: &'a Keyring,
    /// Its node lacks the keys, which are added here.
    pub(super) life: NewLife,
    pub(super) address: std::net::IpAddr,
}

impl Plan<'_> {
    /// Makes the state, the certificate and the record of the membership.
    pub(super) fn build(mut self, staging: &Path, machine: StateMachine) -> Result<(), UserError> {
        let seal_key = self.directory.seal_key().map_err(|error| internal("the node's sealing key", error))?;
        self.life.node.public_keys = vec![self.key.public_key().to_string()];
        self.life.node.seal_key = seal_key.public().to_string();
        let NewLife { node, incarnation, now_ms, .. } = &self.life;
        let sealing = Sealing::new(node.id, seal_key);
        let machine = begin_life(machine, &self.life, self.keys, &sealing)?;
        let authority = sealing.authority(&machine.view())?;
        let names = RequestNames { hostname: Some(node.hostname.clone()), addresses: vec![self.address] };
        let csr = CertificateRequest::new(self.key, &names).map_err(|error| internal("the node's request", error))?;
        let certificate = sign_node(&authority, &csr, node, *incarnation, *now_ms)?;
        self.install(&certificate, authority.certificate(), &machine)?;
        write_state(staging, &machine, node.id, &node.cluster_address)
            .map_err(|error| internal("the state of the new life", error))
    }

    fn install(
        &self,
        certificate: &Certificate,
        authority: &Certificate,
        machine: &StateMachine,
    ) -> Result<(), UserError> {
        let failed = |error| internal("the node's certificate cannot be kept", error);
        self.directory.install(certificate, authority).map_err(failed)?;
        let view = machine.view();
        let record = JoinRecord {
            cluster_id: view.cluster().map(|cluster| cluster.cluster_id.clone()).unwrap_or_default(),
            node_id: self.life.node.id,
            hostname: self.life.node.hostname.clone(),
            incarnation: self.life.incarnation,
            ca_fingerprint: authority.fingerprint().to_string(),
            peers: Vec::new(),
        };
        self.directory.write_join(&record).map_err(failed)
    }
}

/// Locks the data directory, so that no daemon runs on it, and finishes what an earlier attempt had decided.
pub(super) fn lock(data_dir: &Path) -> Result<DataDirLock, UserError> {
    let lock = DataDirLock::acquire(data_dir).map_err(|error| match error {
        LockError::InUse { .. } => UserError::new(
            ErrorCode::Conflict,
            format!("jacod is running: {error}; stop it first, with systemctl stop jaco"),
        ),
        LockError::Io { ref source, .. } => internal(&error.to_string(), source),
    })?;
    Staging::finish(&lock).map_err(|error| internal("an earlier restore or recovery cannot be finished", error))?;
    Ok(lock)
}

fn refuse_member(lock: &DataDirLock) -> Result<(), UserError> {
    let data_dir = lock.path();
    let not_empty = || {
        let text = format!(
            "{} holds cluster state: restore into a data directory without any; move this one away first if it is not needed",
            data_dir.display()
        );
        Err(UserError::new(ErrorCode::RestoreNotEmpty, text).with("data_dir", data_dir.display()))
    };
    let exists = |name: &str| data_dir.join(name).try_exists().map_err(|error| internal("the data directory", error));
    if exists("node/join.json")? {
        let directory = NodeDirectory::open(data_dir).map_err(|error| internal("the node's directory", error))?;
        let joined = directory.read_join().map_err(|error| internal("the node's join record", error))?;
        if joined.is_some_and(|record| !record.peers.is_empty()) {
            return not_empty();
        }
    }
    // A daemon that was started before it got its place has an empty state.
    if !exists("raft")? {
        return Ok(());
    }
    let Some(id) = stored_id(data_dir)? else { return not_empty() };
    let state = read_state(data_dir, id).map_err(|error| internal("the state that is there", error))?;
    if state.is_some_and(|state| state.machine.view().cluster().is_some()) { not_empty() } else { Ok(()) }
}

/// The node's id; `None` when it never had one.
pub(super) fn stored_id(data_dir: &Path) -> Result<Option<NodeId>, UserError> {
    let there = data_dir.join("node/id").try_exists().map_err(|error| internal("the node's identity", error))?;
    if !there {
        return Ok(None);
    }
    let id = node_id::load_or_create(data_dir, 0).map_err(|error| internal("the node's identity", error))?;
    Ok(Some(id))
}

fn read_recovery_key(path: &Path) -> Result<RecoveryKey, UserError> {
    let refused = |reason: String| {
        UserError::new(ErrorCode::ValidationFailed, format!("{}: {reason}", path.display()))
            .with("field", "recovery-key-file")
    };
    let text = fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    let text = zeroize::Zeroizing::new(text);
    RecoveryKey::parse(&text).map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
mod tests;
