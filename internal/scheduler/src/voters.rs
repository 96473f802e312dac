//! The next step that brings raft's membership in line with the cluster's.
//!
//! Node records are the truth; raft follows them one step at a time, and whoever leads asks again after each. The policy: an odd
//! number of voters, at most seven; a member begins as a learner and is promoted when its log has caught up, first by host name; the
//! last by host name is demoted, one that is down before one that is not, never the leader.

use jaco_types::{Hostname, NodeId};

#[cfg(test)]
mod tests;

/// A member as its record and raft's membership show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub hostname: Hostname,
    /// Its heartbeats arrive, or were missed for less than `node_down_after`.
    pub live: bool,
    /// It is to leave, and everything it ran has moved.
    pub leaving: bool,
    /// What it is in raft.
    pub suffrage: Suffrage,
    /// Its log is near the leader's end.
    pub caught_up: bool,
}

/// What a node is in raft's membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suffrage {
    /// Nothing.
    None,
    /// It gets the log and has no vote.
    Learner,
    /// It votes.
    Voter,
}

/// One change of raft's membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MembershipStep {
    /// The node begins to get the log.
    AddLearner(NodeId),
    /// A learner gets a vote.
    Promote(NodeId),
    /// A voter becomes a learner.
    Demote(NodeId),
    /// A learner leaves raft's membership.
    Remove(NodeId),
    /// The leader hands over to a voter, as it is to leave itself.
    TransferLeadership(NodeId),
}

/// Voters for a number of members, from 1.
pub fn voters_for(members: usize) -> usize {
    match members {
        0..=2 => 1,
        3..=4 => 3,
        5..=6 => 5,
        _ => 7,
    }
}

/// The next step, or `None` when nothing is left to do or it has to wait for a learner to catch up.
///
/// `strangers` are in raft's membership and have no record: members that were removed.
pub fn membership_step(members: &[Member], strangers: &[(NodeId, Suffrage)], leader: NodeId) -> Option<MembershipStep> {
    let mut members: Vec<&Member> = members.iter().collect();
    members.sort_by(|a, b| (&a.hostname, a.id).cmp(&(&b.hostname, b.id)));
    let joining = members.iter().find(|member| !member.leaving && member.suffrage == Suffrage::None);
    if let Some(member) = joining {
        return Some(MembershipStep::AddLearner(member.id));
    }
    let staying: Vec<&Member> = members.iter().copied().filter(|member| !member.leaving).collect();
    depart(&members, &staying, strangers, leader).or_else(|| balance(&staying, leader))
}

/// The step that lets go of one that left or is to leave.
fn depart(
    members: &[&Member],
    staying: &[&Member],
    strangers: &[(NodeId, Suffrage)],
    leader: NodeId,
) -> Option<MembershipStep> {
    let leaving = members.iter().filter(|member| member.leaving).map(|member| (member.id, member.suffrage));
    let mut departing: Vec<(NodeId, Suffrage)> = leaving.chain(strangers.iter().copied()).collect();
    departing.sort_unstable();
    let learner = departing.iter().find(|(_, suffrage)| *suffrage == Suffrage::Learner);
    if let Some((id, _)) = learner {
        return Some(MembershipStep::Remove(*id));
    }
    let voters: Vec<NodeId> =
        departing.into_iter().filter(|(_, suffrage)| *suffrage == Suffrage::Voter).map(|(id, _)| id).collect();
    let first = voters.first()?;
    // Somebody has to vote when they are gone: of two members with one voter, the other is promoted first.
    if !staying.iter().any(|member| member.suffrage == Suffrage::Voter && member.live) {
        return promotion(staying);
    }
    // The leader is the last to be let go; it cannot demote itself.
    match voters.iter().find(|id| **id != leader) {
        Some(other) => Some(MembershipStep::Demote(*other)),
        None => staying
            .iter()
            .find(|member| member.suffrage == Suffrage::Voter && member.live && member.id != *first)
            .map(|member| MembershipStep::TransferLeadership(member.id)),
    }
}

/// The step towards the right number of live voters.
fn balance(staying: &[&Member], leader: NodeId) -> Option<MembershipStep> {
    let voters: Vec<&&Member> = staying.iter().filter(|member| member.suffrage == Suffrage::Voter).collect();
    let wanted = voters_for(staying.len());
    if voters.len() > wanted {
        let candidates = || voters.iter().rev().filter(|member| member.id != leader);
        let last = candidates().find(|member| !member.live).or_else(|| candidates().next());
        return last.map(|member| MembershipStep::Demote(member.id));
    }
    let dead = voters.iter().any(|member| !member.live);
    // One more for a moment: the dead one is demoted next.
    if voters.len() < wanted || dead { promotion(staying) } else { None }
}

/// The first by host name that can vote.
fn promotion(staying: &[&Member]) -> Option<MembershipStep> {
    staying
        .iter()
        .find(|member| member.suffrage == Suffrage::Learner && member.live && member.caught_up)
        .map(|member| MembershipStep::Promote(member.id))
}
