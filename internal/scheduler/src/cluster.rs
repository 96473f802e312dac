//! The nodes as one planning pass sees them, with the load it puts on them.

use std::collections::BTreeMap;

use jaco_state::View;
use jaco_types::{Hostname, Node, NodeId, NodeOperation, NodeSchedulability, NodeState, NodeStatus};

use crate::facts::{Capacity, Facts, Load, Need};

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

impl Residence {
    /// Whether it is believed to be there: what it runs goes on running, and it can say when something has stopped.
    pub(crate) fn is_alive(self) -> bool {
        match self {
            Residence::Kept | Residence::Draining => true,
            Residence::Down | Residence::Gone => false,
        }
    }
}

/// A member.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    pub(crate) id: NodeId,
    pub(crate) hostname: &'a Hostname,
    /// It may take new replicas: ready, and not closed for them.
    pub(crate) eligible: bool,
    residence: Residence,
    /// What has data of its own leaves it, too.
    forced: bool,
    capacity: Option<Capacity>,
    /// Desired replicas of all deployments, those of this pass included.
    pub(crate) load: Load,
}

impl Member<'_> {
    /// Whether it may take one replica more of this size.
    pub(crate) fn can_take(&self, need: Need) -> bool {
        self.eligible && self.load.fits(need, self.capacity.as_ref())
    }
}

/// All members, in the order of their host names.
#[derive(Debug)]
pub(crate) struct Cluster<'a> {
    members: Vec<Member<'a>>,
    positions: BTreeMap<NodeId, usize>,
}

impl<'a> Cluster<'a> {
    /// Reads the members out of a view; `load` has the desired replicas of each node that has any.
    pub(crate) fn new(view: &'a View, load: &BTreeMap<NodeId, Load>, facts: &Facts) -> Self {
        let mut members: Vec<Member<'a>> = view
            .list::<Node>()
            .map(|node| Member {
                load: load.get(&node.id).copied().unwrap_or_default(),
                capacity: facts.capacity.get(&node.id).copied(),
                ..member(view, node)
            })
            .collect();
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

    /// Whether an operator accepts that data is left behind on this node.
    pub(crate) fn is_forced(&self, id: NodeId) -> bool {
        self.get(id).is_some_and(|member| member.forced)
    }

    /// Counts one replica more on a node.
    pub(crate) fn add_load(&mut self, id: NodeId, need: Need) {
        if let Some(member) = self.member_mut(id) {
            member.load.add(need);
        }
    }

    /// Counts one replica less on a node.
    pub(crate) fn remove_load(&mut self, id: NodeId, need: Need) {
        if let Some(member) = self.member_mut(id) {
            member.load.remove(need);
        }
    }

    fn member_mut(&mut self, id: NodeId) -> Option<&mut Member<'a>> {
        self.positions.get(&id).and_then(|position| self.members.get_mut(*position))
    }
}

fn member<'a>(view: &'a View, node: &'a Node) -> Member<'a> {
    let key = node.id.to_string();
    let state = view.get::<NodeStatus>(&key).map_or(NodeState::Joining, |status| status.state);
    let open = view.get::<NodeSchedulability>(&key).is_some_and(|record| record.schedulable);
    let operation = view.get::<NodeOperation>(&key);
    // One that took too long moves nothing more until an operator asks again.
    let leaves = operation.is_some_and(|operation| !operation.timed_out);
    let residence = match state {
        NodeState::Down => Residence::Down,
        NodeState::Draining => Residence::Draining,
        NodeState::Joining
        | NodeState::Ready
        | NodeState::IsolationUnavailable
        | NodeState::DrainTimeout
        | NodeState::Unreachable => {
            if leaves {
                Residence::Draining
            } else {
                Residence::Kept
            }
        }
    };
    Member {
        id: node.id,
        hostname: &node.hostname,
        eligible: open && state == NodeState::Ready && operation.is_none(),
        residence,
        forced: leaves && operation.is_some_and(|operation| operation.force),
        capacity: None,
        load: Load::default(),
    }
}
