//! The messages between members. Field numbers are on the wire between versions: never reuse or change one.
//!
//! Layout of both directions: magic (`JPRQ` or `JPRS`), format version (u16), incarnation (u64), then the protobuf message; integers
//! are little-endian. The connection below guards the bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use jaco_state::{Command, Stamp};
use jaco_types::NodeId;
use prost::Message;

use super::proposal::{ProposalAnswer, ProposalOutcome, ProposalRequest, ProposalsAnswer, ProposalsRequest};
use super::refusal::Refusal;
use crate::log::{LogEntry, LogId, Membership, Vote};

const REQUEST_MAGIC: &[u8; 4] = b"JPRQ";
const RESPONSE_MAGIC: &[u8; 4] = b"JPRS";
/// Version of the messages that this code sends, and the only one it reads. In version 1 an entry's identity named the leader's node.
pub const PEER_FORMAT: u16 = 2;
const PREFIX: usize = 4 + 2 + 8;

/// Why bytes are not a message between members that this version can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The bytes do not begin as such a message does.
    #[error("these bytes are not a message between members")]
    NotAMessage,
    /// Another version sent it.
    #[error(
        "the message has format {found}, and this version reads {PEER_FORMAT}: run one version of jacod on all members"
    )]
    OtherFormat {
        /// Its format.
        found: u16,
    },
    /// The bytes are damaged, or say something that this version does not know.
    #[error("the message cannot be read: {reason}")]
    Malformed {
        /// What is wrong with them.
        reason: String,
    },
}

/// Entries for a follower; without any it is a heartbeat.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AppendRequest {
    #[prost(message, required, tag = "1")]
    pub vote: Vote,
    /// The entry before the first one.
    #[prost(message, optional, tag = "2")]
    pub previous: Option<LogId>,
    #[prost(message, repeated, tag = "3")]
    pub entries: Vec<LogEntry>,
    /// The leader's committed entry.
    #[prost(message, optional, tag = "4")]
    pub committed: Option<LogId>,
}

impl AppendRequest {
    /// The last entry that the follower holds when it took all.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.entries.last().map(|entry| entry.id).or(self.previous)
    }
}

/// A candidate, or a node that asks whether it would win (pre-vote).
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct VoteRequest {
    #[prost(message, required, tag = "1")]
    pub vote: Vote,
    #[prost(message, optional, tag = "2")]
    pub last: Option<LogId>,
    /// The leader asked for this election: its lease does not stand in the way.
    #[prost(bool, tag = "3")]
    pub transfer: bool,
}

/// A leader hands over.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct TransferRequest {
    #[prost(message, required, tag = "1")]
    pub from: Vote,
    #[prost(uint64, tag = "2")]
    pub to: u64,
    /// What the next leader must hold.
    #[prost(message, optional, tag = "3")]
    pub last: Option<LogId>,
}

/// Which snapshot, byte for byte.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct SnapshotId {
    #[prost(uint64, tag = "1")]
    pub index: u64,
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Its size, bytes.
    #[prost(uint64, tag = "3")]
    pub total: u64,
    /// CRC-32 of all its bytes.
    #[prost(uint32, tag = "4")]
    pub crc: u32,
}

/// A piece of a snapshot, at most 1 MiB; without bytes it asks how much the receiver has.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotChunk {
    #[prost(message, required, tag = "1")]
    pub vote: Vote,
    #[prost(message, required, tag = "2")]
    pub id: SnapshotId,
    #[prost(message, optional, tag = "3")]
    pub last: Option<LogId>,
    #[prost(message, optional, tag = "4")]
    pub membership_id: Option<LogId>,
    #[prost(message, optional, tag = "5")]
    pub membership: Option<Membership>,
    /// Place of the first byte.
    #[prost(uint64, tag = "6")]
    pub offset: u64,
    #[prost(bytes = "bytes", tag = "7")]
    pub bytes: Bytes,
    /// CRC-32 of these bytes.
    #[prost(uint32, tag = "8")]
    pub crc: u32,
}

/// Asks the leader up to where a view must have got to hold all that was acknowledged.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct ReadIndex {}

/// What a request is about.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum PeerCall {
    #[prost(message, tag = "4")]
    Append(AppendRequest),
    #[prost(message, tag = "5")]
    Vote(VoteRequest),
    #[prost(message, tag = "6")]
    PreVote(VoteRequest),
    #[prost(message, tag = "7")]
    Transfer(TransferRequest),
    #[prost(message, tag = "8")]
    Snapshot(SnapshotChunk),
    #[prost(message, tag = "9")]
    Propose(ProposalRequest),
    #[prost(message, tag = "10")]
    ReadIndex(ReadIndex),
    #[prost(message, tag = "11")]
    Proposals(ProposalsRequest),
}

#[derive(Clone, PartialEq, Message)]
struct RequestBody {
    #[prost(uint64, tag = "1")]
    from: u64,
    #[prost(uint64, tag = "2")]
    to: u64,
    #[prost(oneof = "PeerCall", tags = "4, 5, 6, 7, 8, 9, 10, 11")]
    call: Option<PeerCall>,
}

/// A request of one member to another.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerRequest {
    /// The sender's incarnation.
    pub incarnation: u64,
    /// Who sends it.
    pub from: NodeId,
    /// Who is meant.
    pub to: NodeId,
    pub(crate) call: PeerCall,
}

impl PeerRequest {
    /// A transaction for `to` to carry out if it leads, or else to send on: what a member that does not lead sends.
    pub fn propose(incarnation: u64, from: NodeId, to: NodeId, command: &Command) -> PeerRequest {
        let entry = command.encode_entry(Stamp { incarnation, time_ms: 0 });
        PeerRequest { incarnation, from, to, call: PeerCall::Propose(ProposalRequest { entry, hops: 1 }) }
    }

    /// What it asks for, in a word; for metrics and tests.
    pub fn kind(&self) -> &'static str {
        match self.call {
            PeerCall::Append(_) => "append",
            PeerCall::Vote(_) => "vote",
            PeerCall::PreVote(_) => "pre_vote",
            PeerCall::Transfer(_) => "transfer",
            PeerCall::Snapshot(_) => "snapshot",
            PeerCall::Propose(_) => "propose",
            PeerCall::ReadIndex(_) => "read_index",
            PeerCall::Proposals(_) => "proposals",
        }
    }

    /// The bytes on the wire. At most some 1.2 MiB.
    pub fn encode(&self) -> Bytes {
        let body = RequestBody { from: self.from.0, to: self.to.0, call: Some(self.call.clone()) };
        encode(REQUEST_MAGIC, self.incarnation, &body)
    }

    /// Reads bytes from the wire.
    ///
    /// # Errors
    /// The bytes are something else, damaged, or of a newer version.
    pub fn decode(bytes: Bytes) -> Result<PeerRequest, MessageError> {
        let (incarnation, body) = decode::<RequestBody>(REQUEST_MAGIC, bytes)?;
        let call = body.call.ok_or_else(|| unknown("request"))?;
        Ok(PeerRequest { incarnation, from: NodeId(body.from), to: NodeId(body.to), call })
    }
}

/// The follower has everything up to here on disk.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Flushed {
    #[prost(message, optional, tag = "1")]
    pub upto: Option<LogId>,
}

pub(crate) mod append_answer {
    //! The variants of [`AppendAnswer`](super::AppendAnswer).
    use super::{Flushed, LogId, Vote};

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub(crate) enum Outcome {
        #[prost(message, tag = "1")]
        Flushed(Flushed),
        /// The follower does not hold the entry before the first one.
        #[prost(message, tag = "2")]
        Conflict(LogId),
        /// The follower knows a later vote.
        #[prost(message, tag = "3")]
        HigherVote(Vote),
    }
}

/// The answer to entries.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct AppendAnswer {
    #[prost(oneof = "append_answer::Outcome", tags = "1, 2, 3")]
    pub outcome: Option<append_answer::Outcome>,
}

/// The answer to a candidate.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct VoteAnswer {
    #[prost(message, required, tag = "1")]
    pub vote: Vote,
    #[prost(bool, tag = "2")]
    pub granted: bool,
    #[prost(message, optional, tag = "3")]
    pub last: Option<LogId>,
}

/// The follower has voted anew.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct OtherVote {
    #[prost(message, required, tag = "1")]
    pub actual: Vote,
}

/// The follower does not hold all of the leader's log yet.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct MissingLog {
    #[prost(message, optional, tag = "1")]
    pub actual: Option<LogId>,
}

/// What became of a transfer.
#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub(crate) enum TransferOutcome {
    #[prost(bool, tag = "1")]
    Accepted(bool),
    #[prost(message, tag = "2")]
    OtherVote(OtherVote),
    #[prost(message, tag = "3")]
    MissingLog(MissingLog),
}

/// The answer to a leader that hands over.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct TransferAnswer {
    #[prost(oneof = "TransferOutcome", tags = "1, 2, 3")]
    pub outcome: Option<TransferOutcome>,
}

/// The answer to a piece of a snapshot.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct ChunkAnswer {
    /// So many bytes of this snapshot have arrived; the sender goes on from there.
    #[prost(uint64, tag = "1")]
    pub have: u64,
    /// Set once the whole snapshot has been handed to raft: the receiver's vote.
    #[prost(message, optional, tag = "2")]
    pub installed: Option<Vote>,
}

/// A view that has got here holds all that was acknowledged before the question.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct ReadIndexAnswer {
    #[prost(uint64, tag = "1")]
    pub index: u64,
}

/// What an answer says.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum PeerAnswer {
    #[prost(message, tag = "3")]
    Refused(Refusal),
    #[prost(message, tag = "4")]
    Append(AppendAnswer),
    #[prost(message, tag = "5")]
    Vote(VoteAnswer),
    #[prost(message, tag = "6")]
    Transfer(TransferAnswer),
    #[prost(message, tag = "7")]
    Snapshot(ChunkAnswer),
    #[prost(message, tag = "8")]
    Propose(ProposalAnswer),
    #[prost(message, tag = "9")]
    ReadIndex(ReadIndexAnswer),
    #[prost(message, tag = "10")]
    Proposals(ProposalsAnswer),
}

#[derive(Clone, PartialEq, Message)]
struct ResponseBody {
    #[prost(uint64, tag = "1")]
    from: u64,
    #[prost(oneof = "PeerAnswer", tags = "3, 4, 5, 6, 7, 8, 9, 10")]
    answer: Option<PeerAnswer>,
}

/// An answer of one member to another.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerResponse {
    /// The answering node's incarnation.
    pub incarnation: u64,
    /// Who answers.
    pub from: NodeId,
    pub(crate) answer: PeerAnswer,
}

impl PeerResponse {
    /// The bytes on the wire.
    pub fn encode(&self) -> Bytes {
        let body = ResponseBody { from: self.from.0, answer: Some(self.answer.clone()) };
        encode(RESPONSE_MAGIC, self.incarnation, &body)
    }

    /// Reads bytes from the wire.
    ///
    /// # Errors
    /// The bytes are something else, damaged, or of a newer version.
    pub fn decode(bytes: Bytes) -> Result<PeerResponse, MessageError> {
        let (incarnation, body) = decode::<ResponseBody>(RESPONSE_MAGIC, bytes)?;
        let answer = body.answer.ok_or_else(|| unknown("answer"))?;
        Ok(PeerResponse { incarnation, from: NodeId(body.from), answer })
    }

    /// Log index of the transaction that was proposed; `None` when it was not committed, or nobody knows, or the answer is to
    /// something else.
    pub fn committed(&self) -> Option<u64> {
        match &self.answer {
            PeerAnswer::Propose(ProposalAnswer { outcome: Some(ProposalOutcome::Committed(committed)) }) => {
                Some(committed.index)
            }
            PeerAnswer::Propose(_)
            | PeerAnswer::Refused(_)
            | PeerAnswer::Append(_)
            | PeerAnswer::Vote(_)
            | PeerAnswer::Transfer(_)
            | PeerAnswer::Snapshot(_)
            | PeerAnswer::ReadIndex(_)
            | PeerAnswer::Proposals(_) => None,
        }
    }

    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.answer {
            PeerAnswer::Refused(refusal) => Some(refusal),
            PeerAnswer::Append(_)
            | PeerAnswer::Vote(_)
            | PeerAnswer::Transfer(_)
            | PeerAnswer::Snapshot(_)
            | PeerAnswer::Propose(_)
            | PeerAnswer::ReadIndex(_)
            | PeerAnswer::Proposals(_) => None,
        }
    }
}

fn unknown(what: &str) -> MessageError {
    MessageError::Malformed { reason: format!("this version does not know the kind of its {what}") }
}

fn encode(magic: &[u8; 4], incarnation: u64, body: &impl Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(PREFIX + body.encoded_len());
    bytes.put_slice(magic);
    bytes.put_u16_le(PEER_FORMAT);
    bytes.put_u64_le(incarnation);
    // The buffer grows as needed, so the only error of `encode` cannot happen; `encode_raw` has none.
    body.encode_raw(&mut bytes);
    bytes.freeze()
}

fn decode<M: Message + Default>(magic: &[u8; 4], mut bytes: Bytes) -> Result<(u64, M), MessageError> {
    if bytes.len() < PREFIX || !bytes.starts_with(magic) {
        return Err(MessageError::NotAMessage);
    }
    bytes.advance(magic.len());
    match bytes.get_u16_le() {
        PEER_FORMAT => {}
        0 => return Err(MessageError::Malformed { reason: "format 0 does not exist".to_owned() }),
        found => return Err(MessageError::OtherFormat { found }),
    }
    let incarnation = bytes.get_u64_le();
    let body = M::decode(bytes).map_err(|error| MessageError::Malformed { reason: error.to_string() })?;
    Ok((incarnation, body))
}
