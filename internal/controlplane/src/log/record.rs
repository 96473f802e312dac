//! The messages that are kept in the log and in snapshots. Field numbers are stored: never reuse or change one.

use bytes::Bytes;

/// The identity of an entry: the term it was proposed in, which has one leader at most, and its place. Field 2 was the leader's node.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct LogId {
    /// Term of the leader that proposed it.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Place in the log, from 0.
    #[prost(uint64, tag = "3")]
    pub index: u64,
}

/// The vote of this node.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Vote {
    /// Term voted in.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Node voted for.
    #[prost(uint64, tag = "2")]
    pub node_id: u64,
    /// A majority voted the same: this node is the leader of the term.
    #[prost(bool, tag = "3")]
    pub committed: bool,
}

/// A set of voters; two of them while a change is under way.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct VoterSet {
    /// Their node ids, sorted.
    #[prost(uint64, repeated, tag = "1")]
    pub node_ids: Vec<u64>,
}

/// A member, voter or not.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Member {
    /// Node id.
    #[prost(uint64, tag = "1")]
    pub node_id: u64,
    /// Where its peers reach it, `host:port`; empty while it is alone.
    #[prost(string, tag = "2")]
    pub address: String,
}

/// The membership of the raft group.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Membership {
    /// One voter set, or two while a change is under way.
    #[prost(message, repeated, tag = "1")]
    pub voter_sets: Vec<VoterSet>,
    /// Every member, sorted by node id.
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<Member>,
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Payload {
    /// Nothing: a new leader's first entry.
    #[prost(bool, tag = "2")]
    Blank(bool),
    /// A command of the state machine, opaque here.
    #[prost(bytes = "bytes", tag = "3")]
    Command(Bytes),
    /// A membership.
    #[prost(message, tag = "4")]
    Membership(Membership),
}

/// One entry of the log.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LogEntry {
    /// Its identity.
    #[prost(message, required, tag = "1")]
    pub id: LogId,
    /// What it says.
    #[prost(oneof = "Payload", tags = "2, 3, 4")]
    pub payload: Option<Payload>,
}

impl LogEntry {
    /// About how many bytes the entry takes in the log, in memory and on disk.
    pub(crate) fn weight(&self) -> u64 {
        let body = match &self.payload {
            Some(Payload::Command(command)) => command.len(),
            Some(Payload::Membership(membership)) => prost::Message::encoded_len(membership),
            Some(Payload::Blank(_)) | None => 0,
        };
        body as u64 + RECORD_OVERHEAD
    }
}

/// Upper bound of what frame, identity and padding add to a command.
pub(crate) const RECORD_OVERHEAD: u64 = 96;

/// Everything that older segments said and that must outlive them; the first record of every segment.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Heading {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    #[prost(message, optional, tag = "2")]
    pub committed: Option<LogId>,
    #[prost(message, optional, tag = "3")]
    pub purged: Option<LogId>,
    /// The newest entry when the segment was begun.
    #[prost(message, optional, tag = "4")]
    pub last: Option<LogId>,
}

/// Drops entries after a point.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Truncate {
    #[prost(message, optional, tag = "1")]
    pub after: Option<LogId>,
}

/// A committed index.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Committed {
    #[prost(message, optional, tag = "1")]
    pub id: Option<LogId>,
}

/// A record of the file log.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub(crate) enum RecordKind {
    #[prost(message, tag = "1")]
    Entry(LogEntry),
    #[prost(message, tag = "2")]
    Vote(Vote),
    #[prost(message, tag = "3")]
    Committed(Committed),
    #[prost(message, tag = "4")]
    Truncate(Truncate),
    #[prost(message, tag = "5")]
    Purge(LogId),
    #[prost(message, tag = "6")]
    Heading(Heading),
    /// The segment ends here, and the next one goes on.
    #[prost(bool, tag = "7")]
    Seal(bool),
    /// Says nothing but how far the segment is known to be on disk, which every frame says.
    #[prost(bool, tag = "8")]
    Marker(bool),
}

/// A record of the file log, as stored.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Record {
    #[prost(oneof = "RecordKind", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub kind: Option<RecordKind>,
}

impl From<RecordKind> for Record {
    fn from(kind: RecordKind) -> Self {
        Record { kind: Some(kind) }
    }
}
