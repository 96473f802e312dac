//! Why a member does not serve a request of another one.

use prost::Message;

/// Why a node does not serve a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum RefusalCode {
    /// A code that this version does not know.
    Unknown = 0,
    /// The two belong to different lives of the cluster, or to different clusters.
    OtherIncarnation = 1,
    /// Another node was meant.
    OtherNode = 2,
    /// The connection belongs to another node than the request claims.
    OtherSender = 3,
    /// The request cannot be read, or makes no sense.
    Malformed = 4,
    /// The request is of a newer version.
    NewerFormat = 5,
    /// The store of the node has stopped, or is stopping.
    Stopped = 6,
    /// Only the leader serves this, and the node is not it.
    NotLeader = 7,
    /// The node leads but has lost its majority.
    QuorumLost = 8,
    /// The node's disk has no room.
    DiskFull = 9,
    /// The bytes of a snapshot do not have the checksum that was announced.
    SnapshotDamaged = 10,
    /// The node could not read or write its disk.
    Storage = 11,
    /// The sender was removed from the cluster.
    NodeRemoved = 12,
    /// Whoever a proposal is of may not write what it writes.
    PermissionDenied = 13,
}

/// A request was not served; it had no effect.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Refusal {
    /// Why.
    #[prost(enumeration = "RefusalCode", tag = "1")]
    pub code: i32,
    /// The same for people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// The leader, where the refusing node knows one.
    #[prost(uint64, optional, tag = "3")]
    pub leader: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(code: RefusalCode, message: impl Into<String>) -> Refusal {
        Refusal { code: code as i32, message: message.into(), leader: None }
    }
}
