use jaco_state::Check;
use jaco_types::{Subnet, Tombstone};

use super::*;
use crate::intent;
use crate::tests::{World, host, hosts, node, node_id, service, spec, with_placement, with_volume};

const TERM: u64 = 1;
const SECOND: Duration = Duration::from_secs(1);

fn ask(world: &World, name: &str, kind: NodeOperationKind, force: bool) -> Result<(), UserError> {
    let transaction = intent::operate(&world.view(), &host(name), kind, force, 5, "local")?;
    world.commit(transaction).unwrap();
    Ok(())
}

fn operation(world: &World, name: &str) -> Option<NodeOperation> {
    world.view().get::<NodeOperation>(&node_id(name).to_string()).cloned()
}

fn state(world: &World, name: &str) -> Option<NodeState> {
    world.view().get::<NodeStatus>(&node_id(name).to_string()).map(|status| status.state)
}

/// Commits what is due; returns whether anything was.
fn pass(world: &World, departures: &mut Departures, now: Duration, in_raft: &[&str]) -> bool {
    let in_raft = in_raft.iter().map(|name| node_id(name)).collect();
    let plan = departures.pass(&world.view(), TERM, now, &in_raft);
    for transaction in &plan.transactions {
        assert!(transaction.checks.contains(&Check::Term(TERM)));
        world.commit(transaction.clone()).unwrap();
    }
    !plan.transactions.is_empty()
}

/// Plans, starts, and passes until nothing is left to do.
fn settle(world: &World, departures: &mut Departures, in_raft: &[&str]) {
    for _ in 0..100 {
        world.settle();
        if !pass(world, departures, Duration::ZERO, in_raft) {
            return;
        }
    }
    panic!("no fixpoint");
}

#[test]
fn who_asks_for_a_node_to_be_emptied_is_in_the_audit_log_once() {
    let world = World::new(&["a", "b", "c"]);
    let events = || {
        let told = |record: &jaco_state::AuditRecord| {
            let of = |key: &str| record.payload.get(key).map_or("", String::as_str);
            format!("{} by {}: {} {} {}", record.event, record.identity, of("hostname"), of("remove"), of("forced"))
        };
        let asked =
            |record: &&jaco_state::AuditRecord| ["node_drain", "node_uncordon"].contains(&record.event.as_str());
        world.view().audit().filter(asked).map(told).collect::<Vec<_>>()
    };
    ask(&world, "b", NodeOperationKind::Drain, false).unwrap();
    ask(&world, "b", NodeOperationKind::Drain, false).unwrap();
    assert_eq!(events(), ["node_drain by local: b false false"], "asking again goes on with it");
    world.commit(intent::uncordon(&world.view(), &host("b"), "anna").unwrap()).unwrap();
    assert_eq!(events()[1..], ["node_uncordon by anna: b  "]);
    assert!(intent::uncordon(&world.view(), &host("b"), "anna").unwrap().is_empty(), "there is nothing to undo");
    ask(&world, "b", NodeOperationKind::Remove, false).unwrap();
    ask(&world, "b", NodeOperationKind::Remove, true).unwrap();
    assert_eq!(events()[2..], ["node_drain by local: b true false", "node_drain by local: b true true"]);
}

#[test]
fn a_drain_notes_where_everything_went_and_then_writes_nothing() {
    let world = World::new(&["a", "b", "c"]);
    let global = with_placement(service(1), Placement::Global);
    world.apply(spec("web", [("app", service(6)), ("agent", global)]));
    world.settle();
    let here = held_replicas(&world.view(), node_id("b"));
    ask(&world, "b", NodeOperationKind::Drain, false).unwrap();
    assert_eq!(operation(&world, "b").unwrap().replicas, here.into_iter().collect::<Vec<_>>());
    let mut departures = Departures::new();
    settle(&world, &mut departures, &["a", "b", "c"]);
    let done = operation(&world, "b").unwrap();
    assert!(done.replicas.is_empty());
    assert_eq!(done.migrated.len(), 2);
    assert!(done.migrated.iter().all(|moved| moved.from == host("b") && moved.to != host("b")));
    assert_eq!(done.dropped.iter().map(ReplicaId::as_str).collect::<Vec<_>>(), ["web-agent-b"]);
    assert!(!has_vacated(&world.view(), &done), "a drained node stays in raft");
    assert!(!pass(&world, &mut departures, 3_600 * SECOND, &["a", "b", "c"]), "an empty node is late for nothing");
}

#[test]
fn a_removal_waits_for_raft_and_ends_with_the_tombstone_and_free_subnets() {
    let world = World::new(&["a", "b", "c"]);
    world.apply(spec("web", [("app", service(3))]));
    world.settle();
    let mut subnet = Transaction::new("test");
    subnet.put(Subnet {
        deployment: jaco_types::DeploymentName::new("web").unwrap(),
        network: jaco_types::NetworkName::new("default").unwrap(),
        node: node_id("b"),
        cidr: "10.244.7.0/24".parse().unwrap(),
    });
    subnet.put(Claim {
        kind: ClaimKind::Subnet,
        key: "10.244.7.0/24".to_owned(),
        owner: jaco_types::DeploymentName::new("web").unwrap(),
        detail: String::new(),
    });
    world.commit(subnet).unwrap();
    ask(&world, "b", NodeOperationKind::Remove, false).unwrap();
    let mut departures = Departures::new();
    settle(&world, &mut departures, &["a", "b", "c"]);
    assert!(has_vacated(&world.view(), &operation(&world, "b").unwrap()));
    assert!(world.view().get::<Node>(&node_id("b").to_string()).is_some(), "still in raft");
    settle(&world, &mut departures, &["a", "c"]);
    let view = world.view();
    let key = node_id("b").to_string();
    assert!(view.get::<Node>(&key).is_none() && operation(&world, "b").is_none() && state(&world, "b").is_none());
    assert!(view.get::<Tombstone>(&key).is_some());
    assert_eq!(view.list::<Subnet>().count(), 0);
    assert!(!view.list::<Claim>().any(|claim| claim.kind == ClaimKind::Subnet), "the range is still taken");
    let event = view.audit().find(|record| record.event == "node_remove").unwrap();
    assert_eq!(event.payload.get("hostname").map(String::as_str), Some("b"));
    assert_eq!(event.payload.get("migrated_count").map(String::as_str), Some("1"));
}

#[test]
fn what_would_be_stranded_is_named_and_nothing_is_changed() {
    let world = World::new(&["a", "b"]);
    let never = ServiceSpec { reschedule: Reschedule::Never, ..service(2) };
    let always = ServiceSpec { reschedule: Reschedule::Always, ..with_volume(service(2)) };
    let pinned = with_placement(service(2), hosts(&["a", "b"]));
    world.apply(spec(
        "web",
        [
            ("always", always),
            ("db", with_volume(service(2))),
            ("free", service(2)),
            ("never", never),
            ("pinned", pinned),
        ],
    ));
    world.settle();
    let before = world.view().index();
    let error = ask(&world, "b", NodeOperationKind::Remove, false).unwrap_err();
    assert_eq!(error.code, ErrorCode::DrainNoPlacement);
    assert_eq!(world.view().index(), before);
    let named: Vec<String> = error.details.get("replicas").unwrap().split(',').map(str::to_owned).collect();
    let services: BTreeSet<&str> = named.iter().filter_map(|id| id.split('-').nth(1)).collect();
    assert_eq!(services, BTreeSet::from(["db", "never", "pinned"]));
    ask(&world, "b", NodeOperationKind::Remove, true).unwrap();
    // Asked again without force it goes on, as it was accepted before.
    ask(&world, "b", NodeOperationKind::Remove, false).unwrap();
}

#[test]
fn force_moves_data_and_drops_what_has_nowhere_to_go() {
    let world = World::new(&["a", "b"]);
    let pinned = with_placement(service(2), hosts(&["a", "b"]));
    world.apply(spec("web", [("db", with_volume(service(2))), ("pinned", pinned)]));
    world.settle();
    ask(&world, "b", NodeOperationKind::Remove, true).unwrap();
    let mut departures = Departures::new();
    settle(&world, &mut departures, &["a", "b"]);
    settle(&world, &mut departures, &["a"]);
    let view = world.view();
    assert!(view.get::<Node>(&node_id("b").to_string()).is_none());
    let event = view.audit().find(|record| record.event == "node_remove").unwrap();
    assert!(event.payload["migrated"].contains("web-db-"), "{:?}", event.payload);
    assert!(event.payload["dropped"].contains("web-pinned-"), "{:?}", event.payload);
}

#[test]
fn a_dead_node_goes_with_force_alone() {
    let world = World::new(&["a", "b", "c"]);
    world.apply(spec("web", [("app", service(3))]));
    world.settle();
    world.set_node("b", NodeState::Down);
    ask(&world, "b", NodeOperationKind::Remove, true).unwrap();
    assert_eq!(state(&world, "b"), Some(NodeState::Down), "it gives nothing away itself");
    let mut departures = Departures::new();
    settle(&world, &mut departures, &["a", "b", "c"]);
    assert!(has_vacated(&world.view(), &operation(&world, "b").unwrap()));
    settle(&world, &mut departures, &["a", "c"]);
    assert!(world.view().get::<Tombstone>(&node_id("b").to_string()).is_some());
    assert_eq!(world.replicas("web").len(), 3);
    assert_eq!(world.view().list::<ReplicaObserved>().filter(|observed| observed.node == node_id("b")).count(), 0);
}

#[test]
fn five_minutes_without_a_replica_leaving_is_a_timeout_that_asking_again_ends() {
    let world = World::new(&["a", "b", "c"]);
    world.apply(spec("web", [("app", service(3))]));
    world.settle();
    ask(&world, "b", NodeOperationKind::Remove, false).unwrap();
    let mut departures = Departures::new();
    let all = ["a", "b", "c"];
    let in_raft: BTreeSet<NodeId> = all.iter().map(|name| node_id(name)).collect();
    // Nothing plans here: nothing moves.
    let begun = departures.pass(&world.view(), TERM, 10 * SECOND, &in_raft);
    assert_eq!(begun, DeparturesPlan { transactions: Vec::new(), again_at: Some(10 * SECOND + MOVE_LIMIT) });
    assert!(!pass(&world, &mut departures, 9 * SECOND + MOVE_LIMIT, &all));
    assert!(pass(&world, &mut departures, 10 * SECOND + MOVE_LIMIT, &all));
    assert!(operation(&world, "b").unwrap().timed_out);
    assert_eq!(state(&world, "b"), Some(NodeState::DrainTimeout));
    assert!(!pass(&world, &mut departures, 20 * MOVE_LIMIT, &all), "it rests until somebody asks");
    ask(&world, "b", NodeOperationKind::Remove, false).unwrap();
    assert_eq!(state(&world, "b"), Some(NodeState::Draining));
    settle(&world, &mut departures, &all);
    settle(&world, &mut departures, &["a", "c"]);
    assert!(operation(&world, "b").is_none());
}

#[test]
fn another_leader_goes_on_and_grants_the_whole_time_again() {
    let world = World::new(&["a", "b"]);
    world.apply(spec("web", [("app", service(2))]));
    world.settle();
    ask(&world, "b", NodeOperationKind::Drain, false).unwrap();
    let mut departures = Departures::new();
    assert!(!pass(&world, &mut departures, SECOND, &["a", "b"]));
    departures.forget();
    assert!(!pass(&world, &mut departures, 2 * MOVE_LIMIT, &["a", "b"]), "its clock began now");
    let mut other = Departures::new();
    settle(&world, &mut other, &["a", "b"]);
    assert_eq!(operation(&world, "b").unwrap().migrated.len(), 1);
}

#[test]
fn one_that_joined_and_was_never_heard_of_can_be_ended_and_one_that_was_cannot() {
    let world = World::new(&["a", "b"]);
    let mut joined = Transaction::new("test");
    joined.put(node("c"));
    joined.put(NodeStatus { id: node_id("c"), state: NodeState::Joining, details: BTreeMap::new() });
    world.commit(joined).unwrap();
    world.set_node("b", NodeState::Joining);
    assert_eq!(unheard(&world.view(), TERM, &node("b")), None);
    let transaction = unheard(&world.view(), TERM, &node("c")).unwrap();
    world.commit(transaction).unwrap();
    assert!(world.view().get::<Tombstone>(&node_id("c").to_string()).is_some());
}
