//! Everything that speaks openraft's language: its type configuration, and adapters over our log, state machine and network.
//!
//! This module and those below it are the only ones in the workspace that name openraft.

mod convert;
mod lent;
mod log_adapter;
mod machine;
mod network;
mod silence;
mod types;
mod wire;

#[cfg(test)]
mod tests;

pub(crate) use convert::{RaftMembershipError, vote_from_raft, vote_to_raft};
pub(crate) use log_adapter::LogAdapter;
pub(crate) use machine::{Machine, MachineShared, SnapshotAfter, raft_snapshot};
pub(crate) use network::PeerNetwork;
pub(crate) use types::{Peer, Proposal, Reply, Types};
pub(crate) use wire::{
    AppendShape, append_response_from_raft, append_to_raft, appended_from_raft, transfer_to_raft,
    transferred_from_raft, vote_answer_from_raft, vote_request_to_raft,
};
