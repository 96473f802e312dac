//! Everything that speaks openraft's language: its type configuration, and adapters over our log, state machine and network.
//!
//! This module and those below it are the only ones in the workspace that name openraft.

mod convert;
mod log_adapter;
mod machine;
mod network;
mod types;

#[cfg(test)]
mod tests;

pub(crate) use log_adapter::LogAdapter;
pub(crate) use machine::{Machine, MachineShared, SnapshotAfter};
pub(crate) use network::SingleNode;
pub(crate) use types::{Peer, Proposal, Reply, Types};
