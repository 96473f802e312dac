//! Why the store could not be opened, initialised or kept.

use std::io;
use std::path::PathBuf;

use jaco_state::{ProposeError, View};
use jaco_types::{ErrorCode, UserError};

use crate::identity::IdentityError;
use crate::log::LogOpenError;
use crate::snapshot::SnapshotOpenError;

/// Why the store of a data directory could not be opened. Nothing on disk was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory could not be made or read.
    #[error("cannot open the data directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is another node's, or the file that says whose it is cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogOpenError),
    /// A snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotOpenError),
    /// The log begins after the newest snapshot ends.
    #[error(
        "the newest snapshot in {} ends at index {snapshot}, but the log was dropped up to {purged}: a snapshot file is missing. \
         Nothing was changed: put the file back, or restore this node from a backup", path.display()
    )]
    SnapshotMissing {
        /// Directory of the snapshots.
        path: PathBuf,
        /// Where the newest snapshot ends.
        snapshot: u64,
        /// What the log was dropped up to.
        purged: u64,
    },
    /// The directory has the state of a cluster whose life is not the one that this node belongs to.
    #[error(
        "{} belongs to another life of the cluster than this node's certificate: move the data directory away and join anew",
        path.display()
    )]
    OtherLife {
        /// The directory.
        path: PathBuf,
    },
    /// The cluster uses what this version does not know.
    #[error(transparent)]
    TooOld(#[from] TooOld),
    /// Raft could not start on what was read.
    #[error("raft cannot start: {reason}")]
    Raft {
        /// What it said.
        reason: String,
    },
}

/// The cluster is above what this node is able to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cluster is at feature level {cluster}, and this jacod reaches {own}: install a newer jacod on this node; nothing was changed"
)]
pub struct TooOld {
    /// Level of the cluster.
    pub cluster: u32,
    /// Newest level of this node.
    pub own: u32,
}

impl TooOld {
    /// Compares the cluster in a view with what this node is able to.
    pub(crate) fn check(view: &View, own: u32) -> Result<(), TooOld> {
        match view.cluster() {
            Some(cluster) if cluster.feature_level > own => Err(TooOld { cluster: cluster.feature_level, own }),
            Some(_) | None => Ok(()),
        }
    }
}

/// Why a cluster could not be initialised.
#[derive(Debug, thiserror::Error)]
pub enum InitialiseError {
    /// A `ClusterMeta` is committed already.
    #[error("this node already belongs to a cluster")]
    AlreadyInitialised,
    /// Raft refused to begin.
    #[error("raft cannot begin: {reason}")]
    Raft {
        /// What it said.
        reason: String,
    },
    /// The first transaction did not commit. Initialising may be tried again.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

impl InitialiseError {
    /// What the user is told.
    pub fn user_error(&self) -> UserError {
        match self {
            InitialiseError::AlreadyInitialised => UserError::new(
                ErrorCode::ClusterAlreadyInitialized,
                "this node already belongs to a cluster; `jaco cluster status` shows it",
            ),
            InitialiseError::Raft { reason } => UserError::internal("the cluster could not be started", reason),
            InitialiseError::Propose(error) => error.user_error(),
        }
    }
}

/// Why the store cannot go on. The process should end with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store of this node has failed: {reason}")]
pub struct Fatal {
    /// What happened, where.
    pub reason: String,
}
