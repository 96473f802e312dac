//! The protobuf messages of what is kept: entries of the log, and the parts of a snapshot.
//!
//! These are formats. A tag is never reused or given another type, and a new field or variant needs a new feature level, because a
//! version that does not know it refuses to read the entry or snapshot: leaving out a check that it cannot read would let its state
//! drift from the others'. Golden files under `tests/golden` hold them still.

// The derives write `pub` methods into this private module.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use bytes::Bytes;

/// A transaction.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredTransaction {
    #[prost(message, optional, tag = "1")]
    pub(crate) request_id: Option<StoredRequestId>,
    #[prost(string, tag = "2")]
    pub(crate) actor: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) checks: Vec<StoredCheck>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) writes: Vec<StoredWrite>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) audit: Vec<StoredAuditEvent>,
    #[prost(bytes = "bytes", tag = "6")]
    pub(crate) reply: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredRequestId {
    #[prost(uint64, tag = "1")]
    pub(crate) base_index: u64,
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) token: Bytes,
}

/// The place of a record.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredPlace {
    #[prost(uint32, tag = "1")]
    pub(crate) kind: u32,
    #[prost(string, tag = "2")]
    pub(crate) key: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredCheck {
    #[prost(oneof = "CheckVariant", tags = "1, 2, 3")]
    pub(crate) variant: Option<CheckVariant>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum CheckVariant {
    #[prost(message, tag = "1")]
    Absent(StoredPlace),
    #[prost(message, tag = "2")]
    Version(StoredVersion),
    #[prost(uint64, tag = "3")]
    Term(u64),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredVersion {
    #[prost(uint32, tag = "1")]
    pub(crate) kind: u32,
    #[prost(string, tag = "2")]
    pub(crate) key: String,
    #[prost(uint64, tag = "3")]
    pub(crate) version: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredWrite {
    #[prost(oneof = "WriteVariant", tags = "1, 2")]
    pub(crate) variant: Option<WriteVariant>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum WriteVariant {
    #[prost(message, tag = "1")]
    Put(StoredPut),
    #[prost(message, tag = "2")]
    Delete(StoredPlace),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredPut {
    #[prost(uint32, tag = "1")]
    pub(crate) kind: u32,
    #[prost(string, tag = "2")]
    pub(crate) key: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) body: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredAuditEvent {
    #[prost(string, tag = "1")]
    pub(crate) event: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(crate) payload: BTreeMap<String, String>,
}

/// The first frame of a snapshot.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredHeader {
    #[prost(uint64, tag = "1")]
    pub(crate) index: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) term: u64,
    /// Cluster time, milliseconds since the Unix epoch.
    #[prost(uint64, tag = "3")]
    pub(crate) now_ms: u64,
    /// Number of frames of each section, in the order of the sections.
    #[prost(uint64, tag = "4")]
    pub(crate) records: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) requests: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) audit: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredRecord {
    #[prost(uint32, tag = "1")]
    pub(crate) kind: u32,
    #[prost(string, tag = "2")]
    pub(crate) key: String,
    #[prost(uint64, tag = "3")]
    pub(crate) version: u64,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) body: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredRequest {
    #[prost(uint64, tag = "1")]
    pub(crate) index: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) time_ms: u64,
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) token: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) reply: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredAudit {
    #[prost(uint64, tag = "1")]
    pub(crate) time_ms: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) raft_index: u64,
    #[prost(uint32, tag = "3")]
    pub(crate) sequence: u32,
    #[prost(string, tag = "4")]
    pub(crate) identity: String,
    #[prost(string, tag = "5")]
    pub(crate) event: String,
    #[prost(btree_map = "string, string", tag = "6")]
    pub(crate) payload: BTreeMap<String, String>,
}

/// A token of 16 bytes out of its stored form.
pub(crate) fn token(bytes: &[u8]) -> Option<[u8; 16]> {
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests;
