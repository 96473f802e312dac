//! Messages between members as the first version sent them. They must be read for ever, and today's code must send the same bytes.
//! `JACO_BLESS=1 cargo test` writes the fixtures anew; doing so breaks talking to what is out there, unless the format version grew.

use std::fs;
use std::path::PathBuf;

use super::append_answer::Outcome;
use super::*;
use crate::log::{LogEntry, LogId, Member, Membership, Payload, Vote, VoterSet};

const INCARNATION: u64 = 0x0123_4567_89ab_cdef;

fn id(index: u64) -> LogId {
    LogId { term: 3, index }
}

const VOTE: Vote = Vote { term: 3, node_id: 7, committed: true };

fn membership() -> Membership {
    Membership {
        voter_sets: vec![VoterSet { node_ids: vec![7] }, VoterSet { node_ids: vec![7, 9] }],
        members: vec![
            Member { node_id: 7, address: "10.0.0.7:7001".to_owned() },
            Member { node_id: 9, address: "10.0.0.9:7001".to_owned() },
        ],
    }
}

fn requests() -> Vec<PeerRequest> {
    let vote = VoteRequest { vote: Vote { committed: false, ..VOTE }, last: Some(id(41)), transfer: true };
    let entries = vec![
        LogEntry { id: id(42), payload: Some(Payload::Blank(true)) },
        LogEntry { id: id(43), payload: Some(Payload::Command(Bytes::from_static(b"\x00command\xff"))) },
        LogEntry { id: id(44), payload: Some(Payload::Membership(membership())) },
    ];
    let calls = [
        PeerCall::Append(AppendRequest { vote: VOTE, previous: Some(id(41)), entries, committed: Some(id(40)) }),
        PeerCall::Append(AppendRequest { vote: VOTE, previous: None, entries: Vec::new(), committed: None }),
        PeerCall::Vote(vote),
        PeerCall::PreVote(VoteRequest { transfer: false, last: None, ..vote }),
        PeerCall::Transfer(TransferRequest { from: VOTE, to: 9, last: Some(id(44)) }),
        PeerCall::Snapshot(SnapshotChunk {
            vote: VOTE,
            id: SnapshotId { index: 40, term: 3, total: 2_000_000, crc: 0xdead_beef },
            last: Some(id(40)),
            membership_id: Some(id(2)),
            membership: Some(membership()),
            offset: 1 << 20,
            bytes: Bytes::from_static(b"piece"),
            crc: 0x0102_0304,
        }),
        PeerCall::Propose(ProposalRequest { entry: Bytes::from_static(b"entry"), hops: 1 }),
        PeerCall::ReadIndex(ReadIndex {}),
        PeerCall::Proposals(ProposalsRequest {
            proposals: vec![
                ProposalRequest { entry: Bytes::from_static(b"first"), hops: 1 },
                ProposalRequest { entry: Bytes::from_static(b"second"), hops: 2 },
            ],
        }),
    ];
    calls.map(|call| PeerRequest { incarnation: INCARNATION, from: NodeId(7), to: NodeId(9), call }).into()
}

fn responses() -> Vec<PeerResponse> {
    let append = |outcome| PeerAnswer::Append(AppendAnswer { outcome: Some(outcome) });
    let transfer = |outcome| PeerAnswer::Transfer(TransferAnswer { outcome: Some(outcome) });
    let propose = |outcome| PeerAnswer::Propose(ProposalAnswer { outcome: Some(outcome) });
    let committed = Committed { index: 50, time_ms: 1_000, reply: Bytes::from_static(b"reply"), repeated: true };
    let several = [
        Ok(ProposalAnswer { outcome: Some(ProposalOutcome::OutcomeUnknown(true)) }),
        Err(Refusal::new(RefusalCode::PermissionDenied, "not yours")),
    ];
    let answers = [
        PeerAnswer::Refused(Refusal { leader: Some(7), ..Refusal::new(RefusalCode::NotLeader, "not me") }),
        append(Outcome::Flushed(Flushed { upto: Some(id(44)) })),
        append(Outcome::Flushed(Flushed { upto: None })),
        append(Outcome::Conflict(id(41))),
        append(Outcome::HigherVote(VOTE)),
        PeerAnswer::Vote(VoteAnswer { vote: VOTE, granted: true, last: Some(id(44)) }),
        transfer(TransferOutcome::Accepted(true)),
        transfer(TransferOutcome::OtherVote(OtherVote { actual: VOTE })),
        transfer(TransferOutcome::MissingLog(MissingLog { actual: Some(id(43)) })),
        PeerAnswer::Snapshot(ChunkAnswer { have: 1 << 20, installed: None }),
        PeerAnswer::Snapshot(ChunkAnswer { have: 2_000_000, installed: Some(VOTE) }),
        propose(ProposalOutcome::Committed(committed)),
        propose(ProposalOutcome::Refused(FailedPosition { position: 2, index: 51 })),
        propose(ProposalOutcome::RequestTooOld(true)),
        propose(ProposalOutcome::OutcomeUnknown(true)),
        PeerAnswer::ReadIndex(ReadIndexAnswer { index: 60 }),
        PeerAnswer::Proposals(several.into_iter().collect()),
    ];
    answers.map(|answer| PeerResponse { incarnation: INCARNATION, from: NodeId(9), answer }).into()
}

/// Messages one after the other, each behind its length (u32, little-endian).
fn framed(messages: impl Iterator<Item = Bytes>) -> Vec<u8> {
    messages.flat_map(|message| [&(message.len() as u32).to_le_bytes()[..], &message].concat()).collect()
}

fn unframed(mut content: &[u8]) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = content.split_first_chunk::<4>() {
        let (message, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        messages.push(Bytes::copy_from_slice(message));
        content = rest;
    }
    messages
}

fn golden(name: &str, sent: &[u8]) -> Vec<Bytes> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("JACO_BLESS").is_some() {
        fs::write(&path, sent).unwrap();
    }
    let content = fs::read(path).unwrap();
    assert_eq!(sent, content, "{name}: today's code sends other bytes");
    unframed(&content)
}

#[test]
fn requests_of_this_format_are_read_and_sent() {
    let messages = golden("peer-requests-v2.bin", &framed(requests().iter().map(PeerRequest::encode)));
    let read: Vec<_> = messages.into_iter().map(|message| PeerRequest::decode(message).unwrap()).collect();
    assert_eq!(read, requests());
}

#[test]
fn answers_of_this_format_are_read_and_sent() {
    let messages = golden("peer-responses-v2.bin", &framed(responses().iter().map(PeerResponse::encode)));
    let read: Vec<_> = messages.into_iter().map(|message| PeerResponse::decode(message).unwrap()).collect();
    assert_eq!(read, responses());
    assert_eq!(read[0].refusal().map(Refusal::code), Some(RefusalCode::NotLeader));
}

#[test]
fn what_is_no_message_or_one_of_another_format_is_told_apart() {
    let request = requests().remove(0).encode();
    assert_eq!(PeerResponse::decode(request.clone()), Err(MessageError::NotAMessage));
    assert_eq!(PeerRequest::decode(request.slice(..10)), Err(MessageError::NotAMessage));
    for found in [1, 3] {
        let mut other = request.to_vec();
        other[4] = found;
        assert_eq!(PeerRequest::decode(other.into()), Err(MessageError::OtherFormat { found: found.into() }));
    }
    // A call of a kind that does not exist yet.
    let mut unknown = request[..14].to_vec();
    unknown.extend([8, 7, 16, 9, 0xfa, 1, 0]);
    assert!(matches!(PeerRequest::decode(unknown.into()), Err(MessageError::Malformed { .. })));
    for length in 14..request.len() {
        // Cut off anywhere: an error or a shorter message, never a panic.
        let _ = PeerRequest::decode(request.slice(..length));
    }
}
