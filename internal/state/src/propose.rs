//! Why a transaction did not commit, and what the user is told.

use jaco_types::{ErrorCode, Kind, UserError};

use crate::transaction::Check;

/// Why [`Store::propose`](crate::Store::propose) has no commit to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// A check did not hold; nothing was written. Wait until the own view has reached `index`, compute the transaction anew.
    #[error("a check did not hold at index {index}: {failed}")]
    Refused {
        /// The first check that did not hold.
        failed: Check,
        /// Log index at which it was judged.
        index: u64,
    },
    /// The request id is so old that nobody remembers whether it was committed; this attempt wrote nothing.
    #[error("the request id is older than the store remembers")]
    RequestTooOld,
    /// The transaction is over a limit; it was not proposed.
    #[error("the transaction has {size} {unit}; the limit is {limit}")]
    TooLarge {
        /// What it has too many of: `bytes` or `writes`.
        unit: &'static str,
        /// How many it has.
        size: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// A record could not be turned into bytes; the transaction was not proposed.
    #[error("{kind:?} {key:?} cannot be stored: {reason}")]
    Unencodable {
        /// Kind of the record.
        kind: Kind,
        /// Its key.
        key: String,
        /// What the encoder said.
        reason: String,
    },
    /// An election is running; the transaction was not written.
    #[error("the cluster has no leader at the moment")]
    NoLeader,
    /// This side of the cluster has no majority; the transaction was not written.
    #[error("this side of the cluster has no majority")]
    QuorumLost,
    /// The reserve of log space is used up; the transaction was not written.
    #[error("the leader's disk has no room for the log")]
    DiskFull,
    /// The leader did not let it through: whoever it is of may not write this (any more). It was not written.
    #[error("the leader refused the change: {reason}")]
    NotPermitted {
        /// What was not allowed to whom.
        reason: String,
    },
    /// This node is no member of the cluster any more; the transaction was not written.
    #[error("this node was removed from the cluster")]
    NodeRemoved,
    /// The deadline passed, or the connection broke, before the outcome was known. It may commit yet.
    #[error("the outcome is not known")]
    OutcomeUnknown,
    /// The node is stopping, or its store has stopped.
    #[error("the store of this node has stopped")]
    Stopped,
}

impl ProposeError {
    /// What the user is told: code, what to do, facts.
    pub fn user_error(&self) -> UserError {
        match self {
            ProposeError::Refused { failed, index } => UserError::new(
                ErrorCode::Conflict,
                "the cluster's state kept changing under the request; nothing was written, try again",
            )
            .with("check", failed)
            .with("index", index),
            ProposeError::RequestTooOld => UserError::new(
                ErrorCode::Conflict,
                "the request was first sent too long ago to tell whether it was carried out; nothing was written now: look at the \
                 state, and send it as a new request if it is still wanted",
            )
            .with("reason", "request_too_old"),
            ProposeError::TooLarge { unit, size, limit } => UserError::new(
                ErrorCode::RequestTooLarge,
                format!("the change needs {size} {unit} in one step and the limit is {limit}; split it into smaller ones"),
            )
            .with("limit", limit)
            .with("size", size)
            .with("unit", unit),
            ProposeError::Unencodable { kind, key, reason } => {
                UserError::internal(format!("{} {key:?} could not be stored", kind.as_str()), reason)
            }
            ProposeError::NoLeader => UserError::new(
                ErrorCode::NoLeader,
                "the cluster is electing a leader; nothing was written, try again in a moment",
            ),
            ProposeError::QuorumLost => UserError::new(
                ErrorCode::QuorumLost,
                "too few nodes can be reached to change anything; nothing was written: bring nodes back and try again",
            ),
            ProposeError::DiskFull => UserError::new(
                ErrorCode::DiskFull,
                "the leader's disk has no room for the log; nothing was written: free space in its data directory and try again",
            ),
            ProposeError::NotPermitted { reason } => UserError::new(
                ErrorCode::PermissionDenied,
                "the leader refused the change: the identity was revoked, or lacks the role it needs",
            )
            .with("reason", reason),
            ProposeError::NodeRemoved => UserError::new(
                ErrorCode::NodeRemoved,
                "this node was removed from the cluster, so it can change nothing there; ask another one",
            ),
            ProposeError::OutcomeUnknown => UserError::new(
                ErrorCode::OutcomeUnknown,
                "no answer came in time, so the change may or may not have been made; look at the state, or send the same request again",
            ),
            ProposeError::Stopped => {
                UserError::new(ErrorCode::Unreachable, "this node is stopping; try again, or another node")
            }
        }
    }
}

#[cfg(test)]
mod tests;
