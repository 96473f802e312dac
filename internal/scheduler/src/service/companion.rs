//! Which nodes a replica is bound to by the containers it shares something with.

use std::collections::{BTreeMap, BTreeSet};

use jaco_types::{NodeId, ReplicaIndex};

use super::ServicePlan;

/// The bonds of a service, one for each of the services it shares something with.
pub(super) struct Bonds(Vec<Bond>);

enum Bond {
    /// Replica `i` goes with replica `i mod count` of the other service.
    Pairs { count: u32, nodes: BTreeMap<u32, NodeId> },
    /// Any node of a global service.
    Any(BTreeSet<NodeId>),
}

impl Bonds {
    pub(super) fn new(companions: &[&ServicePlan<'_>]) -> Self {
        let bond = |plan: &&ServicePlan<'_>| match plan.wanted {
            // It has no containers, so there is nothing to be near to.
            Some(0) => None,
            Some(count) => {
                let nodes = plan.replicas.iter().filter_map(|replica| match replica.record.index {
                    ReplicaIndex::Index(index) => Some((index, replica.record.node)),
                    ReplicaIndex::Host(_) => None,
                });
                Some(Bond::Pairs { count, nodes: nodes.collect() })
            }
            None => Some(Bond::Any(plan.replicas.iter().map(|replica| replica.record.node).collect())),
        };
        Bonds(companions.iter().filter_map(bond).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the replica of this number finds on this node what it is bound to.
    pub(super) fn allow(&self, number: u32, node: NodeId) -> bool {
        self.0.iter().all(|bond| match bond {
            Bond::Pairs { count, nodes } => {
                number.checked_rem(*count).and_then(|index| nodes.get(&index)) == Some(&node)
            }
            Bond::Any(nodes) => nodes.contains(&node),
        })
    }
}
