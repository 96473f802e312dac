//! The consensus part of the control plane: the replicated store on openraft, its log and its snapshots on disk.
//!
//! [`ControlPlane`] is the store everybody else sees (it implements [`jaco_state::Store`]). Below it:
//! - [`FileLog`] keeps entries, vote and committed index in segment files; whatever it reports as written is on disk.
//! - Snapshots are files written from an immutable view, beside everything else.
//! - The state machine is in memory and comes back from the newest snapshot and the log behind it.
//!
//! Nothing of openraft is in this crate's public interface but the bound of [`Runtime`], and nothing it stores or sends is a form
//! derived from openraft's types. Other members are reached by a [`Transport`]; what comes from them is handed to [`PeerService`].
//!
//! Invariants:
//! - An acknowledged transaction is on disk on a majority.
//! - Raft never meets a full disk: log space is made ahead, and without it proposals are refused before raft sees them.
//! - Any other I/O error ends the node: raft stops, and [`ControlPlane::fatal`] says why.

mod backup;
mod control_plane;
mod data_dir;
mod deployments;
mod enrolment;
#[cfg(test)]
mod founded;
mod identity;
mod log;
mod membership_loop;
mod options;
mod raft;
mod restore;
mod rotation;
mod runtime;
mod scheduling;
mod sealing;
mod sessions;
mod snapshot;
mod time;
mod transport;

pub use backup::{
    BACKUP_SCHEMA, Backup, BackupMeta, BackupOrigin, BackupSummary, ReadBackupError, Reader, read_backup, write_backup,
};
pub use control_plane::{
    ControlPlane, Fatal, InitialiseError, MemberStatus, MembershipError, OpenError, Phase, Status, TooOld,
};
pub use data_dir::{DataDirLock, LockError};
pub use deployments::{Applied, ApplyCommand, Deployments};
pub use enrolment::{
    Enrolment, JoinRequest, Joined, NODE_CERTIFICATE_LIFE, OPERATOR_CERTIFICATE_LIFE, authority_certificate,
    confirm_key, sign_node, sign_operator,
};
pub use identity::IdentityError;
pub use jaco_scheduler::intent::NewToken;
pub use log::{
    Completion, Demand, FileLog, FileLogOptions, LogEntry, LogId, LogOpenError, LogState, LogStorage, LogUsage,
    LogWrite, Member, Membership, MemoryLog, Payload, Room, Vote, VoterSet,
};
pub use membership_loop::{
    CommitError, LEADER_LOOPS, LeaderLoops, LivenessPass, MembersError, MembersPass, OperationsPass, RaftMembers,
};
pub use options::{Limits, NoObserver, Observer, Options, Randomness, SystemRandomness, Timing};
pub use restore::{
    INDEX_GAP, LifeEvent, NewLife, OfflineState, Replaced, Staging, WriteStateError, begin_life,
    open_with_recovery_key, read_state, write_state,
};
pub use rotation::{plan_rotation, rotate, rotation_due};
pub use runtime::{Runtime, SeededRuntime, TaskRandomness, TokioRuntime};
pub use scheduling::{Scheduling, SchedulingError, SchedulingStats};
pub use sealing::{AUTHORITY_PLACE, Sealing, first_data_key};
pub use sessions::{
    BootClock, CLOCK_SKEW, DialError, FEATURE_LEVEL, HEARTBEAT, HostSampler, Lease, NodeSample, Peer, Predecessor,
    SessionClient, SessionDialer, SessionEvents, SessionIdentity, SessionSource, SessionStream, SessionTable,
    SessionTableOptions, SyncMeter,
};
pub use snapshot::{MemorySnapshots, SnapshotOpenError, SnapshotStorage};
pub use transport::{
    Alone, BoxStream, MessageError, PEER_FORMAT, PeerRequest, PeerResponse, PeerService, PeerTransport, RaftTarget,
    Refusal, RefusalCode, Transport, TransportError,
};
