//! From a data directory to a running raft node.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jaco_state::{Hub, MAX_TRANSACTION_BYTES, StateMachine};
use openraft::async_runtime::WatchReceiver;
use openraft::{Config, Raft, SnapshotPolicy};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::predecessor::Followed;
use super::{ControlPlane, Inner, OpenError, RaftHandle, TooOld, batching, compaction, forward};
use crate::data_dir::create_directory;
use crate::identity::{Incarnation, open_identity};
use crate::log::{FileLog, FileLogOptions, LogStorage};
use crate::options::{Limits, Options, Timing};
use crate::raft::{LogAdapter, Machine, MachineShared, PeerNetwork, SnapshotAfter};
use crate::runtime::Runtime;
use crate::snapshot::{SnapshotStorage, SnapshotStore, StoredSnapshot};
use crate::time::ClusterTime;

/// What frame and identity add to the largest transaction, generously.
const RECORD_MARGIN: u64 = 64 * 1024;

/// Everything that was read from disk.
struct Loaded {
    incarnation: u64,
    log: Arc<dyn LogStorage>,
    snapshots: SnapshotStore,
    machine: StateMachine,
    snapshot: Option<StoredSnapshot>,
}

pub(super) async fn open<R: Runtime>(options: Options) -> Result<ControlPlane<R>, OpenError> {
    let loaded = match (&options.log, &options.snapshots) {
        (Some(log), Some(snapshots)) if !log.blocks() && !snapshots.blocks() => load(&options)?,
        (Some(_) | None, Some(_) | None) => {
            let options = options.clone();
            let loaded = tokio::task::spawn_blocking(move || load(&options)).await;
            loaded.map_err(|error| OpenError::Raft { reason: error.to_string() })??
        }
    };
    TooOld::check(&loaded.machine.view(), options.feature_level)?;
    let hub = Hub::new(loaded.machine.view(), options.limits.hub);
    let policy =
        SnapshotAfter { entries: options.limits.snapshot_after_entries, bytes: options.limits.snapshot_after_bytes };
    let shared = MachineShared::new(hub, loaded.snapshots, policy, options.feature_level);
    let network = PeerNetwork::new(
        options.transport.clone(),
        options.node_id,
        loaded.incarnation,
        4 * options.timing.election_max,
    );
    let machine = Machine::new(loaded.machine, loaded.snapshot, shared.clone());
    let starting = start(&options, &loaded.log, machine, network.clone());
    let raft = R::with_randomness(options.randomness.clone(), starting).await?;
    let (batcher, queue) = batching::Batcher::new();
    let (lines, new_lines) = forward::line::Lines::new();
    let inner = Arc::new(Inner {
        node_id: options.node_id,
        incarnation: loaded.incarnation,
        raft,
        network,
        address: options.address,
        feature_level: options.feature_level,
        installing: tokio::sync::Mutex::new(()),
        piece_arrived: tokio::sync::Notify::new(),
        log: loaded.log,
        machine: shared,
        time: ClusterTime::new(options.clock),
        batcher,
        lines,
        followed: Followed::default(),
        limits: options.limits,
        timing: options.timing,
        observer: options.observer,
        fatal: watch::Sender::new(None),
        stopping: watch::Sender::new(false),
        tasks: Mutex::new(JoinSet::new()),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(batching::run(inner.clone(), queue));
    tasks.spawn(forward::line::run(inner.clone(), new_lines));
    tasks.spawn(compaction::run(inner.clone()));
    tasks.spawn(watch_raft(inner.clone()));
    *inner.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = tasks;
    Ok(ControlPlane { inner })
}

fn load(options: &Options) -> Result<Loaded, OpenError> {
    let directory = options.data_dir.join("raft");
    let incarnation = match options.incarnation {
        Some(incarnation) => Incarnation::Of(incarnation),
        None => Incarnation::Fresh(options.randomness.next_u64()),
    };
    let storages = (options.log.clone(), options.snapshots.clone());
    if let (Some(log), Some(snapshots)) = storages {
        let (Incarnation::Of(incarnation) | Incarnation::Fresh(incarnation)) = incarnation;
        return finish_load(&directory, incarnation, log, snapshots);
    }
    create_directory(&directory, 0o700).map_err(|source| OpenError::Directory { path: directory.clone(), source })?;
    let incarnation = open_identity(&directory, options.node_id, incarnation)?;
    let snapshots: Arc<dyn SnapshotStorage> = match &options.snapshots {
        Some(snapshots) => snapshots.clone(),
        None => SnapshotStore::directory(directory.join("snapshots"))?,
    };
    let log: Arc<dyn LogStorage> = match &options.log {
        Some(log) => log.clone(),
        None => Arc::new(FileLog::open(log_options(&directory, incarnation, &options.limits))?),
    };
    finish_load(&directory, incarnation, log, snapshots)
}

fn finish_load(
    directory: &Path,
    incarnation: u64,
    log: Arc<dyn LogStorage>,
    snapshots: Arc<dyn SnapshotStorage>,
) -> Result<Loaded, OpenError> {
    let snapshots = SnapshotStore::new(snapshots, incarnation);
    let (machine, snapshot) = match snapshots.load_newest()? {
        Some((machine, snapshot)) => (machine, Some(snapshot)),
        None => (StateMachine::new(), None),
    };
    let held = snapshot.as_ref().map(|snapshot| snapshot.meta.place().0);
    match log.state().purged {
        Some(purged) if held.is_none_or(|held| held < purged.index) => Err(OpenError::SnapshotMissing {
            path: directory.join("snapshots"),
            snapshot: held.unwrap_or(0),
            purged: purged.index,
        }),
        Some(_) | None => Ok(Loaded { incarnation, log, snapshots, machine, snapshot }),
    }
}

fn log_options(directory: &Path, incarnation: u64, limits: &Limits) -> FileLogOptions {
    let max_record_bytes = MAX_TRANSACTION_BYTES as u64 + RECORD_MARGIN;
    FileLogOptions {
        segment_bytes: limits.segment_bytes.max(4 * max_record_bytes),
        max_record_bytes,
        min_free_bytes: limits.min_free_bytes,
        check_interval: limits.space_check_interval,
        ..FileLogOptions::new(directory.join("log"), incarnation)
    }
}

fn config(limits: &Limits, timing: &Timing) -> Config {
    let milliseconds = |duration: Duration| duration.as_millis() as u64;
    Config {
        cluster_name: "jaco".to_owned(),
        heartbeat_interval: milliseconds(timing.heartbeat),
        election_timeout_min: milliseconds(timing.election_min),
        election_timeout_max: milliseconds(timing.election_max),
        // Snapshots are made by the compaction loop, which sees to it that raft never meets a full disk in one.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: limits.kept_entries,
        // A returning node must not depose a healthy leader.
        enable_pre_vote: Some(true),
        // At least the lease plus the longest election: a leader without its quorum falls silent, and others may elect.
        quorum_loss_probe_interval: Some(2 * milliseconds(timing.election_max)),
        // The committed index on disk may lag behind: leadership is won again after a restart, never resumed.
        enable_leader_restore: Some(false),
        ..Config::default()
    }
}

async fn start<R: Runtime>(
    options: &Options,
    log: &Arc<dyn LogStorage>,
    machine: Machine<R>,
    network: PeerNetwork,
) -> Result<RaftHandle<R>, OpenError> {
    let failed = |reason: String| OpenError::Raft { reason };
    let config = config(&options.limits, &options.timing).validate().map_err(|error| failed(error.to_string()))?;
    let adapter = LogAdapter::new(log.clone());
    let raft = Raft::new(options.node_id.0, Arc::new(config), network, adapter, machine)
        .await
        .map_err(|error| failed(error.to_string()))?;
    // The only voter has nobody to wait for.
    let alone = raft.voter_ids().eq([options.node_id.0]);
    if alone {
        raft.trigger().elect(false).await.map_err(|error| failed(error.to_string()))?;
    }
    Ok(raft)
}

/// Says so when log or raft have ended by themselves.
async fn watch_raft<R: Runtime>(inner: Arc<Inner<R>>) {
    let mut metrics = inner.raft.server_metrics();
    let mut stopping = inner.stopping.subscribe();
    let log_changed = inner.log.space_changed();
    loop {
        let mut notified = std::pin::pin!(log_changed.notified());
        notified.as_mut().enable();
        if *stopping.borrow_and_update() {
            return;
        }
        if let Some(reason) = inner.log.failure() {
            return inner.fail(reason);
        }
        if let Err(fatal) = &inner.raft.metrics().borrow_watched().running_state {
            return inner.fail(fatal.to_string());
        }
        tokio::select! {
            biased;
            () = notified => {}
            changed = metrics.changed() => if changed.is_err() && !*stopping.borrow() {
                let state = inner.raft.metrics().borrow_watched().running_state.clone();
                let said = state.err().map_or_else(|| "raft ended without a word".to_owned(), |fatal| fatal.to_string());
                return inner.fail(inner.log.failure().unwrap_or(said));
            },
            _ = stopping.changed() => return,
        }
    }
}
