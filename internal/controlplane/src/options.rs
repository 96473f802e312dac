//! What a control plane is opened with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jaco_state::{Clock, HubLimits, SystemClock};
use jaco_types::NodeId;

use crate::log::LogStorage;
use crate::sessions::FEATURE_LEVEL;
use crate::snapshot::SnapshotStorage;
use crate::transport::{Alone, Transport};

/// A source of random numbers, so that a simulation decides them.
pub trait Randomness: Send + Sync + 'static {
    /// 64 random bits.
    fn next_u64(&self) -> u64;
}

/// The operating system's random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn next_u64(&self) -> u64 {
        rand::random()
    }
}

/// Is told of things that metrics count.
pub trait Observer: Send + Sync + 'static {
    /// A transaction was committed and applied this long after it was proposed.
    fn committed(&self, _took: Duration) {}
}

/// Observes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}

/// Bounds and thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A proposal or linearizable read that has no answer after this long gives up.
    pub deadline: Duration,
    /// A snapshot is made when this many entries follow the newest one.
    pub snapshot_after_entries: u64,
    /// A snapshot is made when commands of this many bytes follow the newest one.
    pub snapshot_after_bytes: u64,
    /// Entries before the newest snapshot that are kept, for followers that are a little behind.
    pub kept_entries: u64,
    /// Size of a log segment, bytes; the one in use and one ahead are kept ready. At least 4.25 MiB: less counts as that.
    pub segment_bytes: u64,
    /// Below this many free bytes the disk counts as full.
    pub min_free_bytes: u64,
    /// A disk that was full is seen to have room again within this time.
    pub space_check_interval: Duration,
    /// Bounds of watches.
    pub hub: HubLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            deadline: Duration::from_secs(10),
            snapshot_after_entries: 50_000,
            snapshot_after_bytes: 32 << 20,
            kept_entries: 1_000,
            segment_bytes: 8 << 20,
            min_free_bytes: 32 << 20,
            space_check_interval: Duration::from_millis(500),
            hub: HubLimits::default(),
        }
    }
}

/// Raft's own times. Losing a leader takes about `election_max` plus a draw between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats of a leader.
    pub heartbeat: Duration,
    /// Least silence before an election.
    pub election_min: Duration,
    /// Most silence before an election; also the leader's lease.
    pub election_max: Duration,
}

impl Default for Timing {
    /// Heartbeats each 150 ms, elections after 300 to 500 ms: a lost leader is replaced in about 0.8 s. openraft looks at its clock
    /// about five times a heartbeat, which is what an idle node's processor time goes into: at 100 ms it was 0.57 % of a core.
    fn default() -> Self {
        Timing {
            heartbeat: Duration::from_millis(150),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(500),
        }
    }
}

/// What a control plane is opened with.
#[derive(Clone)]
pub struct Options {
    /// The data directory, locked by the caller; everything goes into `raft/` in it.
    pub data_dir: PathBuf,
    /// This node.
    pub node_id: NodeId,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Random numbers.
    pub randomness: Arc<dyn Randomness>,
    /// Is told of commits.
    pub observer: Arc<dyn Observer>,
    /// Reaches the other members.
    pub transport: Arc<dyn Transport>,
    /// Where the other members reach this node's raft, `host:port`; goes into the raft membership of a cluster that is initialised here.
    pub address: String,
    /// The incarnation of the cluster that the node joins or belongs to: its data directory is made with it, and refused when it has
    /// another. Without it a directory is made with a random one.
    pub incarnation: Option<u64>,
    /// Newest feature level that this node is able to: a cluster above it is not served, as its records could not all be read.
    pub feature_level: u32,
    /// A log to use instead of files in the data directory.
    pub log: Option<Arc<dyn LogStorage>>,
    /// Storage of snapshots to use instead of files in the data directory. With both `log` and `snapshots` given the data directory is
    /// not touched at all; `incarnation` then has to be given at every opening but the first.
    pub snapshots: Option<Arc<dyn SnapshotStorage>>,
    /// Bounds.
    pub limits: Limits,
    /// Raft's times.
    pub timing: Timing,
}

impl Options {
    /// The real clock, random numbers and log, and default bounds.
    pub fn new(data_dir: impl Into<PathBuf>, node_id: NodeId) -> Self {
        Options {
            data_dir: data_dir.into(),
            node_id,
            clock: Arc::new(SystemClock::new()),
            randomness: Arc::new(SystemRandomness),
            observer: Arc::new(NoObserver),
            transport: Arc::new(Alone),
            address: String::new(),
            incarnation: None,
            feature_level: FEATURE_LEVEL,
            log: None,
            snapshots: None,
            limits: Limits::default(),
            timing: Timing::default(),
        }
    }
}
