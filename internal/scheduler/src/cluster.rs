//! The nodes as one planning pass sees them, with the load it puts on them.

use std::collections::BTreeMap;

use jaco_state::View;
use jaco_types::{Hostname, Node, NodeId, NodeSchedulability, NodeState, NodeStatus};

/// Whether a node may keep what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Residence {
    /// It is a member; short silences and conditions of its own move nothing.
    Kept,
    /// It gives its replicas away.
    Draining,
    /// It was silent for so long that its replicas are lost.
    Down,
    /// It is no member any more.
    Gone,
}

/// A member.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    pub(crate) id: NodeId,
    pub(crate) hostname: &'a Hostname,
    /// It may take new replicas: ready, and not closed for them.
    pub(crate) eligible: bool,
    residence: Residence,
    /// Desired replicas of all deployments, those of this pass included.
    pub(crate) load: usize,
}

/// All members, in the order of their host names.
#[derive(Debug)]
pub(crate) struct Cluster<'a> {
    members: Vec<Member<'a>>,
    positions: BTreeMap<NodeId, usize>,
}

impl<'a> Cluster<'a> {
    /// Reads the members out of a view; `load` has the number of desired replicas of each node that has any.
    pub(crate) fn new(view: &'a View, load: &BTreeMap<NodeId, usize>) -> Self {
        let mut members: Vec<Member<'a>> =
            view.list::<Node>().map(|node| member(view, node, load.get(&node.id).copied().unwrap_or(0))).collect();
        members.sort_by_key(|member| (member.hostname, member.id));
        let positions = members.iter().enumerate().map(|(position, member)| (member.id, position)).collect();
        Cluster { members, positions }
    }

    pub(crate) fn get(&self, id: NodeId) -> Option<&Member<'a>> {
        self.positions.get(&id).and_then(|position| self.members.get(*position))
    }

    /// Position in the order of host names: what decides between nodes that are otherwise equal.
    pub(crate) fn position(&self, id: NodeId) -> Option<usize> {
        self.positions.get(&id).copied()
    }

    pub(crate) fn at(&self, position: usize) -> Option<&Member<'a>> {
        self.members.get(position)
    }

    pub(crate) fn eligible(&self) -> impl Iterator<Item = &Member<'a>> {
        self.members.iter().filter(|member| member.eligible)
    }

    pub(crate) fn by_hostname(&self, hostname: &Hostname) -> Option<&Member<'a>> {
        let position = self.members.partition_point(|member| member.hostname < hostname);
        self.members.get(position).filter(|member| member.hostname == hostname)
    }

    pub(crate) fn residence(&self, id: NodeId) -> Residence {
        self.get(id).map_or(Residence::Gone, |member| member.residence)
    }

    /// Counts one replica more on a node.
    pub(crate) fn add_load(&mut self, id: NodeId) {
        if let Some(member) = self.member_mut(id) {
            member.load += 1;
        }
    }

    /// Counts one replica less on a node.
    pub(crate) fn remove_load(&mut self, id: NodeId) {
        if let Some(member) = self.member_mut(id) {
            member.load = member.load.saturating_sub(1);
        }
    }

    fn member_mut(&mut self, id: NodeId) -> Option<&mut Member<'a>> {
        self.positions.get(&id).and_then(|position| self.members.get_mut(*position))
    }
}

fn member<'a>(view: &'a View, node: &'a Node, load: usize) -> Member<'a> {
    let key = node.id.to_string();
    let state = view.get::<NodeStatus>(&key).map_or(NodeState::Joining, |status| status.state);
    let open = view.get::<NodeSchedulability>(&key).is_some_and(|record| record.schedulable);
    let residence = match state {
        NodeState::Draining => Residence::Draining,
        NodeState::Down => Residence::Down,
        NodeState::Joining
        | NodeState::Ready
        | NodeState::IsolationUnavailable
        | NodeState::DrainTimeout
        | NodeState::Unreachable => Residence::Kept,
    };
    let eligible = open && state == NodeState::Ready;
    Member { id: node.id, hostname: &node.hostname, eligible, residence, load }
}
