//! The choice of a node for a replica.

use std::collections::{BTreeMap, BTreeSet};

use jaco_types::{Hostname, NodeId, Placement, ServiceSpec};

use crate::cluster::Cluster;
use crate::facts::Need;

/// Nodes were missing for replicas of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shortage {
    /// What was asked for: host names, or a number of replicas.
    pub(crate) requested: String,
    /// Host names among them (or among all nodes) that can take replicas.
    pub(crate) eligible: String,
    /// Host names that cannot, or the number of replicas without a node.
    pub(crate) missing: String,
}

/// What would level a service out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Levelling {
    /// Nothing: its nodes differ by one replica at most.
    Even,
    /// No node with fewer replicas can take one.
    Full,
    /// A replica from one node to another.
    Move { from: NodeId, to: NodeId },
}

/// Places the replicas of one service in one planning pass.
pub(crate) struct Placer<'a> {
    mode: &'a Placement,
    need: Need,
    /// Replicas of this service by node.
    counts: BTreeMap<NodeId, usize>,
    /// Eligible nodes by (replicas of this service, load, position), kept in step with `counts` for `spread`.
    spread: BTreeSet<(usize, usize, usize)>,
}

impl<'a> Placer<'a> {
    /// A placer for a service whose kept replicas are on the nodes of `seated`.
    pub(crate) fn new(service: &'a ServiceSpec, cluster: &Cluster<'_>, seated: impl Iterator<Item = NodeId>) -> Self {
        let mut counts = BTreeMap::new();
        for node in seated {
            *counts.entry(node).or_insert(0) += 1;
        }
        let spread = match service.placement {
            Placement::Spread => cluster
                .eligible()
                .filter_map(|member| {
                    let position = cluster.position(member.id)?;
                    Some((counts.get(&member.id).copied().unwrap_or(0), member.load.replicas, position))
                })
                .collect(),
            Placement::Pack | Placement::Hosts(_) | Placement::Global => BTreeSet::new(),
        };
        Placer { mode: &service.placement, need: Need::of(service), counts, spread }
    }

    /// Chooses a node for the replica of this number, among those that `is_allowed`, and counts it there.
    pub(crate) fn place(
        &mut self,
        cluster: &mut Cluster<'_>,
        number: u32,
        is_allowed: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        let need = self.need;
        let can_take = |node: NodeId| is_allowed(node) && cluster.get(node).is_some_and(|member| member.can_take(need));
        let node = match self.mode {
            Placement::Spread => self.least_of_service(cluster, can_take)?,
            Placement::Pack => self.fullest(cluster, can_take)?,
            Placement::Hosts(hosts) => self.listed(cluster, hosts, number, can_take)?,
            // A global replica is bound to its node by its id and never placed.
            Placement::Global => return None,
        };
        *self.counts.entry(node).or_insert(0) += 1;
        cluster.add_load(node, need);
        Some(node)
    }

    /// The move that brings the eligible nodes closer together, when two of them differ by two replicas or more: from the fullest
    /// (the more loaded, then the last by host name) to the emptiest that can take.
    pub(crate) fn levelling(&self, cluster: &Cluster<'_>) -> Levelling {
        let count = |node: NodeId| self.counts.get(&node).copied().unwrap_or(0);
        let fullest = cluster
            .eligible()
            .max_by_key(|member| (count(member.id), member.load.replicas, cluster.position(member.id)));
        let Some(from) = fullest.map(|member| member.id) else { return Levelling::Even };
        let emptier = || cluster.eligible().filter(|member| count(member.id) + 2 <= count(from));
        let to = emptier()
            .filter(|member| member.can_take(self.need))
            .min_by_key(|member| (count(member.id), member.load.replicas));
        match to {
            Some(to) => Levelling::Move { from, to: to.id },
            None if emptier().next().is_some() => Levelling::Full,
            None => Levelling::Even,
        }
    }

    /// The node with the fewest replicas of the service; then the least loaded; then by host name.
    fn least_of_service(&mut self, cluster: &Cluster<'_>, is_allowed: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let (place, node) = self.spread.iter().find_map(|place| {
            let node = cluster.at(place.2)?.id;
            is_allowed(node).then_some((*place, node))
        })?;
        self.spread.remove(&place);
        self.spread.insert((place.0 + 1, place.1 + 1, place.2));
        Some(node)
    }

    /// The node with the most replicas of the service; when none has one, the least loaded; then by host name.
    fn fullest(&self, cluster: &Cluster<'_>, is_allowed: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let candidates = cluster.eligible().filter(|member| is_allowed(member.id));
        // `min_by_key` keeps the first of equals, and members come in the order of their host names.
        let best = candidates.min_by_key(|member| match self.counts.get(&member.id) {
            Some(count) if *count > 0 => (0, usize::MAX - count),
            Some(_) | None => (1, member.load.replicas),
        });
        best.map(|member| member.id)
    }

    /// The host of the same number in the list when it is free, else the first free one.
    fn listed(
        &self,
        cluster: &Cluster<'_>,
        hosts: &[Hostname],
        number: u32,
        is_allowed: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        let free = |hostname: &Hostname| {
            let member = cluster.by_hostname(hostname).filter(|member| member.eligible)?;
            let taken = self.counts.get(&member.id).is_some_and(|count| *count > 0);
            (!taken && is_allowed(member.id)).then_some(member.id)
        };
        let own = usize::try_from(number).ok().and_then(|number| hosts.get(number));
        own.and_then(free).or_else(|| hosts.iter().find_map(free))
    }
}

/// Describes what is missing when `unplaced` replicas of a service found no node.
pub(crate) fn shortage(service: &ServiceSpec, cluster: &Cluster<'_>, unplaced: usize) -> Shortage {
    let can_take = |hostname: &Hostname| cluster.by_hostname(hostname).is_some_and(|member| member.eligible);
    match &service.placement {
        Placement::Hosts(hosts) => {
            let (eligible, missing): (Vec<&Hostname>, Vec<&Hostname>) = hosts.iter().partition(|host| can_take(host));
            Shortage { requested: join(hosts), eligible: join(eligible), missing: join(missing) }
        }
        Placement::Spread | Placement::Pack => Shortage {
            requested: service.replicas.to_string(),
            eligible: join(cluster.eligible().map(|member| member.hostname)),
            missing: unplaced.to_string(),
        },
        Placement::Global => Shortage {
            requested: "every ready node".to_owned(),
            eligible: join(cluster.eligible().map(|member| member.hostname)),
            missing: unplaced.to_string(),
        },
    }
}

/// Host names with commas between them, at most twenty.
fn join<'h>(hosts: impl IntoIterator<Item = &'h Hostname>) -> String {
    const SHOWN: usize = 20;
    let names: Vec<&str> = hosts.into_iter().map(Hostname::as_str).collect();
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(",");
    if names.len() > SHOWN { format!("{shown},… ({} in all)", names.len()) } else { shown }
}
