//! Between openraft's values and the messages we store. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use openraft::impls::{EntryPayload, LogId as RaftLogId};
use openraft::{Entry, StoredMembership, Vote as RaftVote};

use super::types::{ElectedId, LeaderId, Peer, Proposal};
use crate::log::{LogEntry, LogId, Member, Membership, Payload, Vote, VoterSet};

pub(crate) type RaftEntryId = RaftLogId<ElectedId>;
pub(crate) type RaftMembership = openraft::Membership<u64, Peer>;
pub(crate) type RaftMembershipError = openraft::errors::ChangeMembershipError<ElectedId, u64>;
pub(crate) type RaftStoredMembership = StoredMembership<ElectedId, u64, Peer>;
pub(crate) type RaftPayload = EntryPayload<Proposal, u64, Peer>;
pub(crate) type RaftLogEntry = Entry<ElectedId, RaftPayload>;

pub(crate) fn log_id_from_raft(id: &RaftEntryId) -> LogId {
    LogId { term: id.leader_id.term, index: id.index }
}

pub(crate) fn log_id_to_raft(id: LogId) -> RaftEntryId {
    RaftLogId { leader_id: ElectedId::new(id.term), index: id.index }
}

pub(crate) fn vote_from_raft(vote: &RaftVote<LeaderId>) -> Vote {
    Vote { term: vote.leader_id.term, node_id: vote.leader_id.voted_for, committed: vote.committed }
}

pub(crate) fn vote_to_raft(vote: Vote) -> RaftVote<LeaderId> {
    RaftVote { leader_id: LeaderId { term: vote.term, voted_for: vote.node_id }, committed: vote.committed }
}

pub(crate) fn membership_from_raft(membership: &RaftMembership) -> Membership {
    let voter_sets = membership.get_joint_config().iter();
    Membership {
        voter_sets: voter_sets.map(|set| VoterSet { node_ids: set.iter().copied().collect() }).collect(),
        members: membership
            .nodes()
            .map(|(node_id, peer)| Member { node_id: *node_id, address: peer.address.clone() })
            .collect(),
    }
}

pub(crate) fn membership_to_raft(membership: Membership) -> io::Result<RaftMembership> {
    let voter_sets: Vec<BTreeSet<u64>> =
        membership.voter_sets.into_iter().map(|set| set.node_ids.into_iter().collect()).collect();
    let members: BTreeMap<u64, Peer> =
        membership.members.into_iter().map(|member| (member.node_id, Peer { address: member.address })).collect();
    if voter_sets.is_empty() && members.is_empty() {
        return Ok(RaftMembership::default());
    }
    RaftMembership::new(voter_sets, members).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("a stored membership makes no sense: {error}"))
    })
}

pub(crate) fn entry_from_raft(entry: RaftLogEntry) -> LogEntry {
    let payload = match entry.payload {
        EntryPayload::Blank => Payload::Blank(true),
        EntryPayload::Normal(Proposal(bytes)) => Payload::Command(bytes),
        EntryPayload::Membership(membership) => Payload::Membership(membership_from_raft(&membership)),
    };
    LogEntry { id: log_id_from_raft(&entry.log_id), payload: Some(payload) }
}

pub(crate) fn entry_to_raft(entry: LogEntry) -> io::Result<RaftLogEntry> {
    let payload = match entry.payload {
        Some(Payload::Blank(_)) => EntryPayload::Blank,
        Some(Payload::Command(bytes)) => EntryPayload::Normal(Proposal(bytes)),
        Some(Payload::Membership(membership)) => EntryPayload::Membership(membership_to_raft(membership)?),
        None => {
            let reason = format!("entry {} is of a kind that this version does not know", entry.id.index);
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
    };
    Ok(Entry { log_id: log_id_to_raft(entry.id), payload })
}
