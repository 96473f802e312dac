//! Random clusters of one to nine nodes that come, fall silent, die, return, are drained and removed.

use proptest::prelude::*;

use super::*;
use crate::{LeaseTerms, Leases};

const ALL: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
const KINDS: usize = 8;

#[derive(Debug, Clone)]
enum Event {
    Apply { kinds: Vec<(usize, u32)> },
    Node { pick: usize, state: usize },
    Operate { pick: usize, force: bool },
    Uncordon { pick: usize },
    Remove { pick: usize },
    Join { pick: usize },
    Plan,
    StopAll,
    StartAll,
    Time(u64),
    Answer,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => prop::collection::vec((0..KINDS, 0..8_u32), 1..4).prop_map(|kinds| Event::Apply { kinds }),
        3 => (0..9_usize, 0..4_usize).prop_map(|(pick, state)| Event::Node { pick, state }),
        2 => (0..9_usize, any::<bool>()).prop_map(|(pick, force)| Event::Operate { pick, force }),
        1 => (0..9_usize).prop_map(|pick| Event::Uncordon { pick }),
        1 => (0..9_usize).prop_map(|pick| Event::Remove { pick }),
        2 => (0..9_usize).prop_map(|pick| Event::Join { pick }),
        6 => Just(Event::Plan),
        2 => Just(Event::StopAll),
        4 => Just(Event::StartAll),
        1 => (0..20_u64).prop_map(Event::Time),
        2 => Just(Event::Answer),
    ]
}

fn of_kind(kind: usize, replicas: u32) -> ServiceSpec {
    match kind {
        0 => service(replicas),
        1 => with_volume(service(replicas)),
        2 => ServiceSpec { reschedule: Reschedule::Always, ..with_volume(service(replicas)) },
        3 => ServiceSpec { reschedule: Reschedule::Never, ..service(replicas) },
        4 => with_placement(service(replicas), Placement::Pack),
        5 => with_placement(service(replicas.min(3)), hosts(&["a", "b", "c"])),
        6 => with_placement(service(1), Placement::Global),
        _ => ServiceSpec { exclusive: true, ..service(replicas) },
    }
}

/// A cluster with, for each exclusive replica, the nodes on which a container of it may be running in the worst case.
struct Field {
    world: World,
    now: u64,
    /// Node and time of its last answered heartbeat.
    answered: BTreeMap<NodeId, u64>,
    may_run: BTreeMap<ReplicaId, BTreeMap<NodeId, ()>>,
}

impl Field {
    fn new(nodes: usize) -> Self {
        let world = World::new(&ALL[..nodes]);
        Field { world, now: 100, answered: BTreeMap::new(), may_run: BTreeMap::new() }
    }

    fn is_member(&self, name: &str) -> bool {
        self.world.view().get::<Node>(&node_id(name).to_string()).is_some()
    }

    fn members(&self) -> Vec<&'static str> {
        ALL.into_iter().filter(|name| self.is_member(name)).collect()
    }

    fn answer_all(&mut self) {
        let view = self.world.view();
        for name in self.members().into_iter().filter(|name| World::is_alive(&view, node_id(name))) {
            self.answered.insert(node_id(name), self.now);
        }
    }

    fn plan(&mut self) {
        self.world.facts.borrow_mut().leases = Some(Leases {
            now: Duration::from_secs(self.now),
            elected: Duration::from_secs(100),
            answered: self.answered.iter().map(|(id, at)| (*id, Duration::from_secs(*at))).collect(),
            terms: LeaseTerms { lease: Duration::from_secs(5), grace: Duration::from_secs(5) },
        });
        let before = self.world.view();
        self.world.plan_once();
        self.check(&before);
    }

    /// What no pass may do, whatever happened before it.
    fn check(&mut self, before: &View) {
        let view = self.world.view();
        for replica in view.list::<ReplicaDesired>() {
            let id = replica.id.as_str();
            let was = before.get::<ReplicaDesired>(id);
            let arrived = was.is_none_or(|was| was.node != replica.node);
            if arrived && !id.ends_with(".old") {
                let key = replica.node.to_string();
                let status = before.get::<NodeStatus>(&key).unwrap();
                assert_eq!(status.state, NodeState::Ready, "{id} was placed on a node that is not ready");
                assert!(before.get::<NodeOperation>(&key).is_none(), "{id} was placed on a node that is to be emptied");
                let left = before.get::<ReplicaObserved>(id).filter(|observed| observed.node != replica.node);
                let runs_there = left.filter(|observed| World::is_alive(before, observed.node));
                if let (ReplaceOrder::StopFirst, Some(left)) = (replica.order, runs_there) {
                    let status = before.get::<NodeStatus>(&left.node.to_string()).map(|status| status.state);
                    panic!("{id} went to another node while it was still there: {status:?}");
                }
            }
            if let Some(slot) = view.get::<ExclusiveSlot>(id).filter(|slot| slot.owner == replica.node) {
                self.may_run.entry(slot.replica.clone()).or_default().insert(slot.owner, ());
            }
        }
        self.expire();
        for (id, nodes) in &self.may_run {
            assert!(nodes.len() <= 1, "{id} may run on {nodes:?}");
        }
    }

    /// Forgets what cannot run any more: said to be gone, or by the owner's own guard, L + G after its last answer.
    fn expire(&mut self) {
        let view = self.world.view();
        let (now, answered) = (self.now, &self.answered);
        for (id, nodes) in &mut self.may_run {
            let slot = view.get::<ExclusiveSlot>(id.as_str()).unwrap();
            nodes.retain(|node, ()| {
                let said = slot.owner == *node && slot.released;
                let guarded = answered.get(node).copied().unwrap_or(100) + 10 <= now;
                !(said || guarded && slot.owner != *node)
            });
        }
    }

    fn happen(&mut self, event: Event) {
        let world = &self.world;
        match event {
            Event::Apply { kinds } => {
                let mut built = spec("shop", []);
                for (kind, replicas) in kinds {
                    built.services.insert(service_name(&format!("kind{kind}")), of_kind(kind, replicas));
                }
                // Refused while a pinned host is no member.
                let _refused = world.try_apply(built);
            }
            Event::Node { pick, state } if self.is_member(ALL[pick]) => {
                let states = [NodeState::Ready, NodeState::Unreachable, NodeState::Down, NodeState::Joining];
                world.set_node(ALL[pick], states[state]);
            }
            Event::Operate { pick, force } if self.is_member(ALL[pick]) => {
                super::moves::operate(world, ALL[pick], NodeOperationKind::Drain, force);
            }
            Event::Uncordon { pick } => self.uncordon(ALL[pick]),
            Event::Remove { pick } if self.members().len() > 1 => world.remove_node(ALL[pick]),
            Event::Join { pick } if !self.is_member(ALL[pick]) => world.add_node(ALL[pick]),
            Event::Plan => self.plan(),
            Event::StopAll => {
                world.stop_all();
                self.expire();
            }
            Event::StartAll => {
                world.start_all();
                self.expire();
            }
            Event::Time(seconds) => self.now += seconds,
            Event::Answer => self.answer_all(),
            Event::Node { .. } | Event::Operate { .. } | Event::Remove { .. } | Event::Join { .. } => {}
        }
    }

    fn uncordon(&self, name: &str) {
        let mut transaction = Transaction::new("test");
        transaction.delete::<NodeOperation>(node_id(name).to_string());
        self.world.commit(transaction).unwrap();
    }

    fn settle(&mut self) {
        for _ in 0..300 {
            self.now += 20;
            let before = self.world.view().index();
            self.plan();
            self.world.start_all();
            self.expire();
            if self.world.view().index() == before && self.now > 400 {
                return;
            }
        }
        assert!(self.world.plan().transactions.is_empty(), "it does not come to rest");
    }

    /// Everything that is wanted runs, spread services are level, and nothing is left over.
    fn check_calm(&self) {
        let view = self.world.view();
        let Some(shop) = view.get::<Deployment>("shop") else { return };
        let key = DeploymentRevision::key_of(&shop.name, shop.active_revision);
        let members = self.members();
        let mut short = false;
        for (name, service) in &view.get::<DeploymentRevision>(&key).unwrap().spec.services {
            let mine: Vec<&ReplicaDesired> = view
                .list::<ReplicaDesired>()
                .filter(|it| it.service == *name && self.is_member(it.hostname.as_str()))
                .collect();
            let wanted = match &service.placement {
                Placement::Global => members.len(),
                Placement::Hosts(hosts) => {
                    let there = hosts.iter().filter(|host| members.contains(&host.as_str())).count();
                    short |= there < service.replicas as usize;
                    there.min(service.replicas as usize)
                }
                Placement::Spread | Placement::Pack => service.replicas as usize,
            };
            assert_eq!(mine.len(), wanted, "{name}: {mine:#?}");
            let mut counts: BTreeMap<NodeId, usize> = members.iter().map(|name| (node_id(name), 0)).collect();
            for replica in &mine {
                *counts.get_mut(&replica.node).expect("on a member") += 1;
                assert!(crate::service::observed(&view, replica).is_some_and(|it| it.state == ReplicaState::Running));
            }
            let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
            if name.as_str() == "kind0" {
                assert!(most - least <= 1, "not level: {counts:?}");
            }
        }
        let expected = if short { DeploymentStatus::Pending } else { DeploymentStatus::Active };
        assert_eq!(shop.status, expected, "{:?}", shop.status_details);
        assert!(view.list::<ReplicaDesired>().all(|replica| !replica.id.as_str().ends_with(".old")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_life_of_a_cluster_keeps_the_promises_and_comes_to_rest(
        nodes in 1..=9_usize,
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut field = Field::new(nodes);
        for event in events {
            field.happen(event);
        }
        for name in field.members() {
            field.world.set_node(name, NodeState::Ready);
            field.uncordon(name);
        }
        field.settle();
        field.check_calm();
    }

    #[test]
    fn a_drained_node_ends_up_empty_of_all_that_may_leave(
        nodes in 2..=9_usize,
        drained in 0..9_usize,
        kinds in prop::collection::vec((0..KINDS, 0..8_u32), 1..5),
        force in any::<bool>(),
    ) {
        let mut field = Field::new(nodes.max(3));
        field.happen(Event::Apply { kinds });
        field.settle();
        let name = ALL[drained % field.members().len()];
        super::moves::operate(&field.world, name, NodeOperationKind::Drain, force);
        field.now = 101;
        for _ in 0..60 {
            field.plan();
            field.world.start_all();
            field.expire();
        }
        let stays = |replica: &ReplicaDesired| match replica.service.as_str() {
            "kind1" | "kind3" => !force,
            // Its other hosts have one each.
            "kind5" => true,
            _ => false,
        };
        for replica in field.world.replicas("shop") {
            prop_assert!(replica.hostname != host(name) || stays(&replica), "{replica:?}");
        }
    }
}
