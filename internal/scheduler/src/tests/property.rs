//! Random histories: whatever happens, every plan keeps the promises, and when things calm down everything converges.

use proptest::prelude::*;

use super::*;

/// One thing that happens to a cluster.
#[derive(Debug, Clone)]
enum Event {
    /// A deployment is applied.
    Apply { deployment: usize, services: Vec<ServiceChoice> },
    /// The leader plans.
    Plan,
    /// A replica, picked by number, reports a state.
    Observe { pick: usize, state: usize },
    /// Everything that may start comes up.
    StartAll,
    /// A node, picked by number, changes its state.
    Node { pick: usize, state: usize },
    /// The deployment is deleted.
    Delete { deployment: usize },
}

#[derive(Debug, Clone)]
struct ServiceChoice {
    replicas: u32,
    image: u8,
    placement: u8,
    stateful: bool,
    depends_on_previous: bool,
}

const NODES: [&str; 4] = ["a", "b", "c", "d"];
const NAMES: [&str; 2] = ["one", "two"];
const SERVICES: [&str; 3] = ["api", "db", "web"];
const NODE_STATES: [NodeState; 4] = [NodeState::Ready, NodeState::Unreachable, NodeState::Down, NodeState::Joining];
const REPLICA_STATES: [ReplicaState; 4] =
    [ReplicaState::Running, ReplicaState::Failed, ReplicaState::Degraded, ReplicaState::Pending];

fn service_choice() -> impl Strategy<Value = ServiceChoice> {
    (0..6_u32, 0..3_u8, 0..6_u8, any::<bool>(), any::<bool>()).prop_map(
        |(replicas, image, placement, stateful, depends_on_previous)| ServiceChoice {
            replicas,
            image,
            placement,
            stateful,
            depends_on_previous,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..2_usize, prop::collection::vec(service_choice(), 1..=3))
            .prop_map(|(deployment, services)| Event::Apply { deployment, services }),
        5 => Just(Event::Plan),
        4 => (any::<usize>(), 0..4_usize).prop_map(|(pick, state)| Event::Observe { pick, state }),
        3 => Just(Event::StartAll),
        1 => (0..4_usize, 0..4_usize).prop_map(|(pick, state)| Event::Node { pick, state }),
        1 => (0..2_usize).prop_map(|deployment| Event::Delete { deployment }),
    ]
}

fn build(name: &str, choices: &[ServiceChoice]) -> DeploymentSpec {
    let mut built = spec(name, []);
    for (number, choice) in choices.iter().enumerate() {
        let mut service = with_image(service(choice.replicas), &format!("image:{}", choice.image));
        service.placement = match choice.placement {
            0..=2 => Placement::Spread,
            3 => Placement::Pack,
            4 => {
                service.replicas = service.replicas.min(3);
                hosts(&["b", "c", "d"])
            }
            _ => Placement::Global,
        };
        if choice.stateful {
            service = with_volume(service);
        }
        if choice.depends_on_previous && number > 0 {
            service = with_dependency(service, SERVICES[number - 1], DependencyCondition::Healthy, true);
        }
        built.services.insert(service_name(SERVICES[number]), service);
    }
    built
}

fn serves(view: &View, replica: &ReplicaDesired) -> bool {
    let node = view.get::<NodeStatus>(&replica.node.to_string());
    crate::service::observed(view, replica).is_some_and(|observed| observed.state == ReplicaState::Running)
        && node.is_some_and(|node| node.state != NodeState::Down)
}

/// Plans, commits, and checks what one pass may and may not do.
fn checked_plan(world: &World) {
    let before = world.view();
    let plan = world.plan();
    assert_eq!(plan, world.plan(), "the same view gives the same plan");
    for transaction in plan.transactions {
        assert!(!transaction.writes.is_empty());
        world.commit(transaction).unwrap();
    }
    let after = world.view();
    let mut disturbed: BTreeMap<(DeploymentName, ServiceName), usize> = BTreeMap::new();
    for old in before.list::<ReplicaDesired>() {
        let Some(new) = after.get::<ReplicaDesired>(old.id.as_str()) else { continue };
        let same = new.spec_hash == old.spec_hash && new.node == old.node;
        assert_eq!(same, new.generation == old.generation, "a new generation for another spec or node, and only then");
        assert!(new.generation >= old.generation);
        // What goes elsewhere start-first serves where it was.
        let serves_on = after
            .get::<ReplicaDesired>(&format!("{}.old", old.id))
            .is_some_and(|left| left.node == old.node && serves(&after, left));
        if !same && serves(&before, old) && !serves_on {
            *disturbed.entry((old.deployment.clone(), old.service.clone())).or_insert(0) += 1;
            let siblings = before
                .list::<ReplicaDesired>()
                .filter(|other| {
                    other.deployment == old.deployment && other.service == old.service && other.id != old.id
                })
                .filter(|other| after.get::<ReplicaDesired>(other.id.as_str()).is_some())
                .filter(|other| !other.id.as_str().ends_with(".old"))
                .filter(|other| std::mem::discriminant(&other.index) == std::mem::discriminant(&old.index));
            for sibling in siblings {
                assert!(serves(&before, sibling), "{} was taken while {} was down", old.id, sibling.id);
            }
        }
    }
    assert!(disturbed.values().all(|count| *count <= 1), "{disturbed:?}");
    check_indexes(&after);
}

/// A service that counts its replicas never has an index beyond what it wants.
fn check_indexes(view: &View) {
    for deployment in view.list::<Deployment>() {
        let key = DeploymentRevision::key_of(&deployment.name, deployment.active_revision);
        let revision = view.get::<DeploymentRevision>(&key).unwrap();
        for replica in view.list::<ReplicaDesired>().filter(|replica| replica.deployment == deployment.name) {
            let service = revision.spec.services.get(&replica.service).unwrap();
            match (&replica.index, &service.placement) {
                (ReplicaIndex::Index(index), Placement::Spread | Placement::Pack | Placement::Hosts(_)) => {
                    assert!(*index < service.replicas);
                }
                // Left over from the mode before, until the new replicas run.
                (ReplicaIndex::Index(_), Placement::Global)
                | (
                    ReplicaIndex::Host(_),
                    Placement::Spread | Placement::Pack | Placement::Hosts(_) | Placement::Global,
                ) => {}
            }
        }
    }
}

fn happen(world: &World, event: Event) {
    match event {
        Event::Apply { deployment, services } => {
            world.apply(build(NAMES[deployment], &services));
        }
        Event::Plan => checked_plan(world),
        Event::Observe { pick, state } => {
            let ids: Vec<ReplicaId> = world.view().list::<ReplicaDesired>().map(|replica| replica.id.clone()).collect();
            if !ids.is_empty() {
                world.observe(ids[pick % ids.len()].as_str(), REPLICA_STATES[state], None);
            }
        }
        Event::StartAll => {
            world.start_all();
        }
        Event::Node { pick, state } => world.set_node(NODES[pick], NODE_STATES[state]),
        Event::Delete { deployment } => {
            let deleted = intent::delete(&world.view(), &super::deployment(NAMES[deployment]), "local");
            if let Ok(deleted) = deleted {
                world.commit(deleted.transaction).unwrap();
            }
        }
    }
}

/// Everything that is wanted runs, once each, and nothing else.
fn check_converged(world: &World) {
    let view = world.view();
    assert!(world.plan().transactions.is_empty());
    for deployment in view.list::<Deployment>() {
        assert_eq!(deployment.status, DeploymentStatus::Active, "{deployment:?}");
        let key = DeploymentRevision::key_of(&deployment.name, deployment.active_revision);
        for (name, service) in &view.get::<DeploymentRevision>(&key).unwrap().spec.services {
            let replicas: Vec<&ReplicaDesired> = view
                .list::<ReplicaDesired>()
                .filter(|replica| replica.deployment == deployment.name && replica.service == *name)
                .collect();
            let wanted = match service.placement {
                Placement::Global => NODES.len(),
                Placement::Spread | Placement::Pack | Placement::Hosts(_) => service.replicas as usize,
            };
            assert_eq!(replicas.len(), wanted);
            assert!(replicas.iter().all(|replica| replica.revision == deployment.active_revision
                && replica.spec_hash == service.hash()
                && replica.attempt == deployment.attempt));
        }
    }
    let wanted = view.list::<ReplicaDesired>();
    assert!(wanted.into_iter().all(|replica| view.get::<Deployment>(replica.deployment.as_str()).is_some()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_the_promises_and_converges(events in prop::collection::vec(event(), 1..60)) {
        let world = World::new(&NODES);
        for event in events {
            happen(&world, event);
        }
        for node in NODES {
            world.set_node(node, NodeState::Ready);
        }
        for _ in 0..100 {
            checked_plan(&world);
            world.start_all();
        }
        check_converged(&world);
    }

    #[test]
    fn on_a_fixed_set_of_nodes_spread_stays_balanced_and_sticky(
        sizes in prop::collection::vec((0..3_usize, 0..14_u32), 1..20),
    ) {
        let world = World::new(&NODES);
        let mut current = BTreeMap::from(SERVICES.map(|name| (name, 0)));
        for (which, replicas) in sizes {
            current.insert(SERVICES[which], replicas);
            let before = world.replicas("one");
            world.apply(spec("one", SERVICES.map(|name| (name, service(current[name])))));
            world.settle();
            for old in before {
                if let Some(new) = world.view().get::<ReplicaDesired>(old.id.as_str()) {
                    prop_assert_eq!(new.node, old.node);
                }
            }
            for name in SERVICES {
                let mut counts = BTreeMap::from(NODES.map(|node| (host(node), 0_u32)));
                for replica in world.replicas("one").into_iter().filter(|replica| replica.service.as_str() == name) {
                    *counts.get_mut(&replica.hostname).unwrap() += 1;
                }
                let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
                prop_assert!(most - least <= 1, "{}: {:?}", name, counts);
                prop_assert_eq!(counts.values().sum::<u32>(), current[name]);
            }
        }
    }
}
