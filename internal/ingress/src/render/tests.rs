use std::collections::BTreeMap;
use std::sync::Arc;

use jaco_state::{LocalStore, Store, SystemClock, Transaction};
use jaco_types::{
    ContainerSpec, Deployment, DeploymentName, DeploymentRevision, DeploymentSpec, DeploymentStatus, Domain, Endpoint,
    Hostname, NetworkName, NodeId, Outgoing, Placement, PortRoute, Protocol, PullPolicy, ReplaceOrder, ReplicaDesired,
    ReplicaId, ReplicaIndex, ReplicaObserved, ReplicaState, Reschedule, RestartMode, RevisionKind, Route, RouteTls,
    ServiceName, ServiceSpec, SpecHash,
};

use super::{Reach, render};
use crate::table::{Table, UpstreamProtocol};

fn deployment() -> DeploymentName {
    DeploymentName::new("shop").unwrap()
}

fn service() -> ServiceName {
    ServiceName::new("web").unwrap()
}

fn id(index: u32) -> ReplicaId {
    ReplicaId::indexed(&deployment(), &service(), index).unwrap()
}

fn endpoint(network: &str, address: &str) -> Endpoint {
    Endpoint { network: NetworkName::new(network).unwrap(), address: address.parse().unwrap() }
}

fn desired(index: u32, generation: u64) -> ReplicaDesired {
    ReplicaDesired {
        id: id(index),
        deployment: deployment(),
        service: service(),
        index: ReplicaIndex::Index(index),
        node: NodeId(1),
        hostname: Hostname::new("one").unwrap(),
        revision: 1,
        spec_hash: SpecHash::from_text("x"),
        generation,
        attempt: 1,
        order: ReplaceOrder::StartFirst,
        waiting_on: Vec::new(),
    }
}

fn observed(index: u32, generation: u64, state: ReplicaState) -> ReplicaObserved {
    ReplicaObserved {
        id: id(index),
        deployment: deployment(),
        service: service(),
        node: NodeId(1),
        generation,
        attempt: 1,
        state,
        code: None,
        message: None,
        details: BTreeMap::new(),
        container_id: Some(format!("c{index}g{generation}")),
        image: String::new(),
        endpoints: vec![endpoint("back", &format!("10.9.0.{index}")), endpoint("aaa", &format!("10.1.0.{index}"))],
        outgoing: None,
        started_at_ms: None,
        restart_count: 0,
        failures: 0,
        history: Vec::new(),
    }
}

fn route(path: &str) -> Route {
    Route {
        domain: Domain::new("Shop.Example").unwrap(),
        path: path.to_owned(),
        deployment: deployment(),
        service: service(),
        port: 8080,
        tls: RouteTls::Off,
        strip_path: !path.is_empty(),
    }
}

fn table_of(fill: impl FnOnce(&mut Transaction)) -> Table {
    let store = LocalStore::new(Arc::new(SystemClock::new()));
    let mut transaction = Transaction::new("test");
    transaction.put(route(""));
    fill(&mut transaction);
    store.commit(transaction).unwrap();
    render(&store.view(), Reach::Cluster)
}

fn containers(table: &Table) -> Vec<&str> {
    table.backends[0].endpoints.iter().map(|endpoint| endpoint.container.as_str()).collect()
}

#[test]
fn running_replicas_of_the_current_generation_are_upstreams_by_their_first_network() {
    let table = table_of(|transaction| {
        for (index, state) in [
            ReplicaState::Running,
            ReplicaState::Degraded,
            ReplicaState::Pending,
            ReplicaState::Failed,
            ReplicaState::Stopped,
            ReplicaState::Running,
        ]
        .into_iter()
        .enumerate()
        {
            let index = u32::try_from(index).unwrap();
            transaction.put(desired(index, 1)).put(observed(index, 1, state));
        }
        // Observed, but no longer desired.
        transaction.put(observed(9, 1, ReplicaState::Running));
    });
    assert_eq!(containers(&table), ["c0g1", "c5g1"]);
    assert_eq!(table.backends[0].endpoints[1].address, "10.1.0.5:8080".parse().unwrap());
    assert_eq!(table.routes[0].domain, "shop.example");
}

#[test]
fn a_route_without_replicas_stays_and_has_no_upstream() {
    let table = table_of(|_| {});
    assert_eq!(table.routes.len(), 1);
    assert!(table.backends[0].endpoints.is_empty());
}

#[test]
fn the_outgoing_container_serves_until_its_replacement_runs() {
    let outgoing = |state| {
        table_of(|transaction| {
            let mut observed = observed(0, 2, state);
            observed.outgoing = Some(Outgoing {
                generation: 1,
                container_id: "old".to_owned(),
                endpoints: vec![endpoint("aaa", "10.1.0.99")],
            });
            transaction.put(desired(0, 2)).put(observed);
        })
    };
    assert_eq!(containers(&outgoing(ReplicaState::Pending)), ["old"]);
    assert_eq!(containers(&outgoing(ReplicaState::Running)), ["c0g2"]);
}

#[test]
fn until_the_node_has_seen_the_new_generation_the_old_container_serves_unless_the_replica_moved() {
    let kept = table_of(|transaction| {
        transaction.put(desired(0, 2)).put(observed(0, 1, ReplicaState::Running));
    });
    assert_eq!(containers(&kept), ["c0g1"]);
    let moved = table_of(|transaction| {
        let mut desired = desired(0, 2);
        desired.node = NodeId(2);
        transaction.put(desired).put(observed(0, 1, ReplicaState::Running));
    });
    assert!(containers(&moved).is_empty());
}

#[test]
fn ports_and_routes_to_one_container_port_share_a_backend() {
    let table = table_of(|transaction| {
        transaction.put(route("/api"));
        for (host_port, target) in [(9000, 8080), (9001, 53)] {
            transaction.put(PortRoute {
                protocol: Protocol::Tcp,
                host_port,
                deployment: deployment(),
                service: service(),
                target,
            });
        }
    });
    assert_eq!(table.routes.iter().map(|route| route.backend).collect::<Vec<_>>(), [0, 0]);
    assert_eq!(table.ports.iter().map(|port| port.backend).collect::<Vec<_>>(), [0, 1]);
    assert!(table.routes[1].strip_path);
}

#[test]
fn the_label_asks_for_h2c() {
    for (value, expected) in
        [("true", UpstreamProtocol::H2c), ("false", UpstreamProtocol::Http1), ("yes", UpstreamProtocol::Http1)]
    {
        let table = table_of(|transaction| {
            let container = ContainerSpec {
                labels: [("jaco.io/h2c".to_owned(), value.to_owned())].into(),
                ..ContainerSpec::default()
            };
            let web = ServiceSpec {
                replicas: 1,
                placement: Placement::default(),
                exclusive: false,
                reschedule: Reschedule::default(),
                restart: RestartMode::default(),
                pull_policy: PullPolicy::default(),
                depends_on: BTreeMap::new(),
                ports: Vec::new(),
                hidden_environment: Vec::new(),
                container,
            };
            let spec = DeploymentSpec {
                name: deployment(),
                services: [(service(), web)].into(),
                networks: BTreeMap::new(),
                volumes: BTreeMap::new(),
                routes: Vec::new(),
                acme_email: None,
            };
            transaction.put(Deployment {
                name: deployment(),
                active_revision: 3,
                previous_revision: None,
                attempt: 1,
                status: DeploymentStatus::Pending,
                status_details: BTreeMap::new(),
            });
            transaction.put(DeploymentRevision {
                deployment: deployment(),
                revision: 3,
                spec: Arc::new(spec),
                jaco_yaml: String::new(),
                compose_yaml: String::new(),
                identity: String::new(),
                applied_at_ms: 0,
                kind: RevisionKind::Apply,
            });
        });
        assert_eq!(table.backends[0].protocol, expected, "{value}");
    }
}

#[test]
fn without_a_mesh_only_this_nodes_containers_are_upstreams() {
    let store = LocalStore::new(Arc::new(SystemClock::new()));
    let mut transaction = Transaction::new("test");
    transaction.put(route(""));
    for index in 0..2 {
        let mut desired = desired(index, 1);
        desired.node = NodeId(u64::from(index) + 1);
        let mut observed = observed(index, 1, ReplicaState::Running);
        observed.node = desired.node;
        transaction.put(desired).put(observed);
    }
    store.commit(transaction).unwrap();
    let of = |reach| render(&store.view(), reach).backends[0].endpoints.len();
    assert_eq!([of(Reach::Cluster), of(Reach::Node(NodeId(1))), of(Reach::Node(NodeId(9)))], [2, 1, 0]);
}
