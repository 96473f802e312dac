//! The consensus part of the control plane: the replicated store on openraft, its log and its snapshots on disk.
//!
//! [`ControlPlane`] is the store everybody else sees (it implements [`jaco_state::Store`]). Below it:
//! - [`FileLog`] keeps entries, vote and committed index in segment files; whatever it reports as written is on disk.
//! - Snapshots are files written from an immutable view, beside everything else.
//! - The state machine is in memory and comes back from the newest snapshot and the log behind it.
//!
//! Nothing of openraft is in this crate's public interface, and nothing it stores is a form derived from openraft's types.
//!
//! Invariants:
//! - An acknowledged transaction is on disk on a majority.
//! - Raft never meets a full disk: log space is made ahead, and without it proposals are refused before raft sees them.
//! - Any other I/O error ends the node: raft stops, and [`ControlPlane::fatal`] says why.

mod control_plane;
mod data_dir;
mod deployments;
mod identity;
mod log;
mod options;
mod raft;
mod scheduling;
mod snapshot;
mod time;

pub use control_plane::{ControlPlane, Fatal, InitialiseError, OpenError, Phase, Status};
pub use data_dir::{DataDirLock, LockError};
pub use deployments::{Applied, ApplyCommand, Deployments};
pub use identity::IdentityError;
pub use log::{
    Completion, Demand, FileLog, FileLogOptions, LogEntry, LogId, LogOpenError, LogState, LogStorage, LogUsage,
    LogWrite, Member, Membership, MemoryLog, Payload, Room, Vote, VoterSet,
};
pub use options::{Limits, NoObserver, Observer, Options, Randomness, SystemRandomness, Timing};
pub use scheduling::{Scheduling, SchedulingError, SchedulingStats};
pub use snapshot::SnapshotOpenError;
