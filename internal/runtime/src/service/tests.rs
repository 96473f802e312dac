//! The loop on the fake engine under paused time, and on a real engine.

mod docker;
mod exclusive;

use std::time::Duration;

use futures_util::future::BoxFuture;
use jaco_state::LocalStore;
use jaco_types::{ErrorCode, ExclusiveSlot, NodeState, NodeStatus, ReplicaState, Subnet};

use super::*;
use crate::engine::Health;
use crate::engine::fake::{FakeEngine, PullBehaviour};
use crate::testing::{self, Bench, NODE, TokioClock};

const SOON: Duration = Duration::from_secs(30);

struct Fixture {
    bench: Bench,
    engine: Arc<FakeEngine>,
    runtime: Arc<Runtime>,
    stop: CancellationToken,
    tasks: tokio::task::JoinSet<Result<(), RuntimeError>>,
}

impl Fixture {
    fn new() -> Self {
        let clock = TokioClock::start();
        let bench = Bench::new(clock.clone(), "c1", "10.244.0.0/16");
        let engine = FakeEngine::new(clock.clone());
        engine.state().images.push("image".to_owned());
        let store: Arc<dyn Store> = bench.store.clone();
        let runtime = Arc::new(Runtime::new(Options { clock, ..Options::new(engine.clone(), store, NODE) }));
        let mut fixture = Fixture { bench, engine, runtime, stop: CancellationToken::new(), tasks: Default::default() };
        fixture.run();
        fixture
    }

    fn run(&mut self) {
        let (runtime, stop) = (Arc::clone(&self.runtime), self.stop.clone());
        self.tasks.spawn(async move { runtime.run(stop).await });
    }

    fn want(&self, image: &str, revision: u64) {
        let service = testing::service(image);
        let desired = jaco_types::ReplicaDesired {
            generation: revision,
            attempt: revision,
            ..testing::desired("shop", "web", &service)
        };
        self.bench.want(testing::deployment("shop", [("web", service)]), revision, vec![desired]);
    }

    async fn until(&self, what: impl Fn(&jaco_types::ReplicaObserved) -> bool) {
        self.bench.until("shop-web-0", SOON, |observed| observed.is_some_and(&what)).await;
    }

    async fn running(&self) {
        self.until(|observed| observed.state == ReplicaState::Running && observed.outgoing.is_none()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_becomes_a_container_and_goes_with_its_network() {
    let fixture = Fixture::new();
    fixture.want("image", 1);
    fixture.running().await;
    let observed = fixture.bench.observed("shop-web-0").unwrap();
    assert_eq!(observed.endpoints.len(), 1);
    assert_eq!(fixture.bench.store.view().count::<Subnet>(), 1);
    let network = fixture.engine.state().networks["jaco_shop__default"].clone();
    assert_eq!(network.subnet, "10.244.0.0/26");

    fixture.bench.drop_replica("shop-web-0");
    fixture.bench.until("shop-web-0", SOON, |observed| observed.is_none()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(fixture.engine.state().containers.is_empty());
    assert!(fixture.engine.state().networks.is_empty());
    assert_eq!(fixture.bench.store.view().count::<Subnet>(), 0);
    assert_eq!(fixture.bench.store.view().count::<jaco_types::Claim>(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_node_writes_nothing() {
    let fixture = Fixture::new();
    fixture.want("image", 1);
    fixture.running().await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let before = fixture.bench.store.view().index();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(fixture.bench.store.view().index(), before);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_pull_keeps_nobody_waiting_and_a_new_spec_gets_past_it() {
    let fixture = Fixture::new();
    fixture.engine.state().pulls.insert("stuck".to_owned(), PullBehaviour::Hangs);
    fixture.want("stuck", 1);
    fixture.until(|observed| observed.state == ReplicaState::Pulling).await;
    fixture.want("image", 2);
    fixture.running().await;
}

#[tokio::test(start_paused = true)]
async fn replicas_share_a_pull_and_a_failing_one_is_retried() {
    let fixture = Fixture::new();
    fixture.engine.state().pulls.insert("other".to_owned(), PullBehaviour::Fails("denied".to_owned()));
    let service = testing::service("other");
    let replicas = (0..5)
        .map(|index| jaco_types::ReplicaDesired {
            id: jaco_types::ReplicaId::new(format!("shop-web-{index}")).unwrap(),
            ..testing::desired("shop", "web", &service)
        })
        .collect();
    fixture.bench.want(testing::deployment("shop", [("web", service)]), 1, replicas);
    fixture.until(|observed| observed.code == Some(ErrorCode::ImagePullFailed)).await;
    let observed = fixture.bench.observed("shop-web-0").unwrap();
    assert_eq!((observed.state, observed.details["image"].as_str()), (ReplicaState::Pending, "other"));
    let asked = fixture.engine.state().pulled.len();
    assert_eq!(asked, 1, "pulls for one image");
    fixture.engine.state().pulls.insert("other".to_owned(), PullBehaviour::Succeeds);
    fixture.running().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_bind_source_and_a_foreign_container_are_named() {
    let fixture = Fixture::new();
    let mut service = testing::service("image");
    service.container.mounts.push(jaco_types::Mount::Bind {
        source: "/missing/x".to_owned(),
        target: "/x".to_owned(),
        read_only: true,
        create_host_path: false,
        propagation: None,
    });
    let desired = testing::desired("shop", "web", &service);
    fixture.bench.want(testing::deployment("shop", [("web", service)]), 1, vec![desired]);
    fixture.until(|observed| observed.code == Some(ErrorCode::BindSourceMissing)).await;
    let observed = fixture.bench.observed("shop-web-0").unwrap();
    assert_eq!((observed.state, observed.details["source"].as_str()), (ReplicaState::Failed, "/missing/x"));

    let foreign = bollard::models::ContainerCreateBody { image: Some("image".to_owned()), ..Default::default() };
    fixture.engine.create_container("shop-web-0", None, foreign).await.unwrap();
    fixture.want("image", 2);
    fixture.until(|observed| observed.code == Some(ErrorCode::DockerError)).await;
    assert!(fixture.bench.observed("shop-web-0").unwrap().message.unwrap().contains("not this cluster's"));
    assert_eq!(fixture.engine.state().containers.len(), 1, "the foreign one is untouched");
}

#[tokio::test(start_paused = true)]
async fn an_absent_engine_is_visible_and_recovered_from_alone() {
    let fixture = Fixture::new();
    fixture.want("image", 1);
    fixture.running().await;
    let status = || fixture.bench.store.view().get::<NodeStatus>(&NODE.to_string()).cloned().unwrap();
    assert_eq!(status().state, NodeState::Ready);
    for stop_all in [true, false] {
        fixture.engine.go_down(stop_all);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(status().state, NodeState::Joining);
        assert!(status().details["docker"].contains("cannot be reached"), "{:?}", status());
        fixture.engine.come_back();
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!((status().state, status().details.len()), (NodeState::Ready, 0));
        fixture.running().await;
        assert_eq!(fixture.bench.observed("shop-web-0").unwrap().failures, 0);
    }
    assert_eq!(fixture.engine.state().containers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_degraded_replica_leaves_routing_and_comes_back() {
    let fixture = Fixture::new();
    let mut service = testing::service("image");
    service.container.healthcheck = Some(Default::default());
    fixture.engine.state().health_at_start = Some(Health::Healthy);
    let desired = testing::desired("shop", "web", &service);
    fixture.bench.want(testing::deployment("shop", [("web", service)]), 1, vec![desired]);
    fixture.running().await;
    fixture.engine.health("shop-web-0", Health::Unhealthy);
    fixture.until(|observed| observed.state == ReplicaState::Degraded && observed.endpoints.is_empty()).await;
    fixture.running().await;
    let observed = fixture.bench.observed("shop-web-0").unwrap();
    assert_eq!(observed.restart_count, 1);
    let states: Vec<_> = observed.history.iter().map(|change| change.state).collect();
    assert!(states.contains(&ReplicaState::Degraded) && states.len() <= 10, "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn a_network_with_another_range_is_rebuilt_with_its_containers() {
    let fixture = Fixture::new();
    fixture.want("image", 1);
    fixture.running().await;
    let before = fixture.bench.observed("shop-web-0").unwrap().container_id;
    fixture.engine.state().networks.values_mut().for_each(|network| network.subnet = "10.9.9.0/24".to_owned());
    // The safety tick sees it.
    tokio::time::sleep(Duration::from_secs(31)).await;
    fixture.until(|observed| observed.container_id != before && observed.state == ReplicaState::Running).await;
    assert_eq!(fixture.engine.state().networks["jaco_shop__default"].subnet, "10.244.0.0/26");
    assert_eq!(fixture.engine.state().containers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_shares_a_network_follows_its_target() {
    let fixture = Fixture::new();
    let (web, mut side) = (testing::service("image"), testing::service("image"));
    let target = jaco_types::ServiceName::new("web").unwrap();
    side.container.network_mode = jaco_types::NetworkMode::Service(target);
    let replicas = vec![testing::desired("shop", "web", &web), testing::desired("shop", "side", &side)];
    fixture.bench.want(testing::deployment("shop", [("web", web), ("side", side)]), 1, replicas);
    let running = |observed: Option<&jaco_types::ReplicaObserved>| {
        observed.is_some_and(|observed| observed.state == ReplicaState::Running)
    };
    fixture.bench.until("shop-side-0", SOON, running).await;
    let side = || {
        let state = fixture.engine.state();
        state.containers.values().find(|container| container.name == "shop-side-0").cloned()
    };
    let before = side().unwrap();
    let web = fixture.bench.observed("shop-web-0").unwrap().container_id.unwrap();
    assert_eq!(before.shares, [web]);

    // The target restarts: the follower's network is gone, so it restarts as well, and that is no failure of it.
    fixture.engine.exit("shop-web-0", 1);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let after = side().unwrap();
    assert_eq!(after.id, before.id);
    assert!(after.started_at_ms > before.started_at_ms);
    let observed = fixture.bench.observed("shop-side-0").unwrap();
    assert_eq!((observed.state, observed.failures), (ReplicaState::Running, 0));

    // The target is removed and made anew: the follower is as well.
    let name = "shop-web-0".to_owned();
    fixture.engine.remove(&name).await.unwrap();
    fixture.engine.exit("shop-side-0", 0);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let web = fixture.bench.observed("shop-web-0").unwrap().container_id.unwrap();
    assert_eq!(side().unwrap().shares, [web]);
}

/// Notes what was committed when it was asked to let go.
struct Watching(Arc<LocalStore>, std::sync::Mutex<Vec<(String, usize)>>);

impl Traffic for Watching {
    fn withdraw(&self, container_id: String, _limit: Duration) -> BoxFuture<'_, ()> {
        let view = self.0.view();
        let routed = view
            .list::<jaco_types::ReplicaObserved>()
            .filter(|now| {
                let current = now.container_id.as_ref() == Some(&container_id) && !now.endpoints.is_empty();
                current || now.outgoing.as_ref().is_some_and(|old| old.container_id == container_id)
            })
            .count();
        self.1.lock().unwrap().push((container_id, routed));
        // Requests take their time.
        Box::pin(tokio::time::sleep(Duration::from_secs(3)))
    }
}

#[tokio::test(start_paused = true)]
async fn traffic_leaves_before_the_stop() {
    let mut fixture = Fixture::new();
    fixture.stop.cancel();
    while fixture.tasks.join_next().await.is_some() {}
    let traffic = Arc::new(Watching(fixture.bench.store.clone(), std::sync::Mutex::default()));
    let store: Arc<dyn Store> = fixture.bench.store.clone();
    let options = Options {
        clock: TokioClock::start(),
        traffic: traffic.clone(),
        ..Options::new(fixture.engine.clone(), store, NODE)
    };
    fixture.runtime = Arc::new(Runtime::new(options));
    fixture.stop = CancellationToken::new();
    fixture.run();

    fixture.want("image", 1);
    fixture.running().await;
    fixture.engine.state().images.push("next".to_owned());
    fixture.want("next", 2);
    fixture.until(|observed| observed.generation == 2 && observed.outgoing.is_some()).await;
    fixture.running().await;
    // The old one is asked to be let go of, and still runs while requests are under way.
    assert_eq!(fixture.engine.state().containers.values().filter(|container| container.is_up()).count(), 2);
    tokio::time::sleep(Duration::from_secs(5)).await;
    fixture.bench.drop_replica("shop-web-0");
    fixture.bench.until("shop-web-0", SOON, |observed| observed.is_none()).await;
    let asked = traffic.1.lock().unwrap().clone();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|(_, routed)| *routed == 0), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_second_run_adopts_without_touching() {
    let mut fixture = Fixture::new();
    fixture.want("image", 1);
    fixture.running().await;
    fixture.stop.cancel();
    while fixture.tasks.join_next().await.is_some() {}
    let calls = fixture.engine.state().calls.len();
    fixture.stop = CancellationToken::new();
    fixture.run();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fixture.engine.state().calls.len(), calls, "{:?}", fixture.engine.state().calls);
    fixture.running().await;
}

#[tokio::test(start_paused = true)]
async fn only_the_label_makes_a_container_ours_whatever_the_engine_answers() {
    let fixture = Fixture::new();
    fixture.engine.state().ignores_filters = true;
    let labels = [("jaco.cluster_id", "c2"), ("jaco.replica_id", "shop-other-0")];
    let foreign = bollard::models::ContainerCreateBody {
        image: Some("image".to_owned()),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        ..Default::default()
    };
    fixture.engine.create_container("other", None, foreign).await.unwrap();
    fixture.want("image", 1);
    fixture.running().await;
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert!(fixture.engine.state().containers.values().any(|container| container.name == "other"));
}

#[tokio::test(start_paused = true)]
async fn a_foreign_network_under_a_name_of_ours_is_left_alone() {
    let fixture = Fixture::new();
    fixture.want("image", 1);
    fixture.running().await;
    let foreign = crate::engine::Network {
        id: "jaco_shop_extra".to_owned(),
        name: "jaco_shop_extra".to_owned(),
        labels: Default::default(),
        subnet: "10.1.0.0/24".to_owned(),
    };
    fixture.engine.state().networks.insert(foreign.name.clone(), foreign);
    let deployment = jaco_types::DeploymentName::new("shop").unwrap();
    let network = jaco_types::NetworkName::new("extra").unwrap();
    let record = crate::subnet::record(&deployment, &network, NODE, "10.244.9.0/26".parse().unwrap());
    fixture.bench.store.commit(crate::subnet::take(record)).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(fixture.engine.state().networks.contains_key("jaco_shop_extra"));
    assert_eq!(fixture.bench.store.view().count::<Subnet>(), 1, "the record that nobody needs is given back");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_turn_is_no_failure() {
    let fixture = Fixture::new();
    fixture.engine.state().start_takes = Duration::from_secs(100);
    let service = testing::service("image");
    let replicas = (0..32)
        .map(|index| jaco_types::ReplicaDesired {
            id: jaco_types::ReplicaId::new(format!("shop-web-{index}")).unwrap(),
            ..testing::desired("shop", "web", &service)
        })
        .collect();
    fixture.bench.want(testing::deployment("shop", [("web", service)]), 1, replicas);
    tokio::time::sleep(Duration::from_secs(900)).await;
    let view = fixture.bench.store.view();
    let running = view.list::<jaco_types::ReplicaObserved>().filter(|seen| seen.state == ReplicaState::Running);
    assert_eq!((running.count(), fixture.runtime.stats().snapshot().step_failures), (32, 0));
}

#[tokio::test(start_paused = true)]
async fn a_container_nobody_can_describe_keeps_nothing_else_from_being_looked_after() {
    let fixture = Fixture::new();
    let (web, other) = (testing::service("image"), testing::service("image"));
    let replicas = vec![testing::desired("shop", "web", &web), testing::desired("shop", "other", &other)];
    fixture.bench.want(testing::deployment("shop", [("web", web), ("other", other)]), 1, replicas);
    fixture.running().await;
    fixture
        .bench
        .until("shop-other-0", SOON, |seen| seen.is_some_and(|seen| seen.state == ReplicaState::Running))
        .await;
    fixture.engine.state().unreadable.push("shop-other-0".to_owned());
    fixture.engine.go_down(true);
    fixture.engine.come_back();
    tokio::time::sleep(Duration::from_secs(20)).await;
    fixture.running().await;
    let state = fixture.engine.state();
    assert!(state.containers.values().any(|container| container.name == "shop-web-0" && container.is_up()));
}

#[tokio::test(start_paused = true)]
async fn replicas_that_share_go_in_pairs() {
    let fixture = Fixture::new();
    let (mut web, mut side) = (testing::service("image"), testing::service("image"));
    (web.replicas, side.replicas) = (2, 2);
    side.container.network_mode = jaco_types::NetworkMode::Service(jaco_types::ServiceName::new("web").unwrap());
    let mut replicas = Vec::new();
    for (name, service) in [("side", &side), ("web", &web)] {
        replicas.extend((0..2).map(|number| jaco_types::ReplicaDesired {
            id: jaco_types::ReplicaId::new(format!("shop-{name}-{number}")).unwrap(),
            index: jaco_types::ReplicaIndex::Index(number),
            ..testing::desired("shop", name, service)
        }));
    }
    fixture.bench.want(testing::deployment("shop", [("web", web), ("side", side)]), 1, replicas);
    tokio::time::sleep(Duration::from_secs(60)).await;
    for number in 0..2 {
        let web = fixture.bench.observed(&format!("shop-web-{number}")).unwrap().container_id.unwrap();
        let state = fixture.engine.state();
        let side = state.containers.values().find(|found| found.name == format!("shop-side-{number}")).unwrap();
        assert_eq!(side.shares, [web]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_slot_of_an_exclusive_replica_is_given_back_when_its_container_is_gone() {
    let fixture = Fixture::new();
    fixture.want("image", 1);
    fixture.running().await;
    let mut transaction = jaco_state::Transaction::new("test");
    let replica = jaco_types::ReplicaId::new("shop-web-0").unwrap();
    transaction.put(ExclusiveSlot { replica, owner: NODE, epoch: 3, stop_within: None, released: false });
    fixture.bench.store.commit(transaction).unwrap();
    tokio::time::sleep(Duration::from_secs(35)).await;
    let slot = || fixture.bench.store.view().get::<ExclusiveSlot>("shop-web-0").cloned().unwrap();
    assert!(!slot().released);
    fixture.bench.drop_replica("shop-web-0");
    let end = tokio::time::Instant::now() + SOON;
    while !slot().released {
        assert!(tokio::time::Instant::now() < end, "not given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(fixture.engine.state().containers.is_empty());
}

fn status_after(state: NodeState, engine: Result<(), &str>, clean: bool) -> Option<NodeState> {
    let store = LocalStore::new(TokioClock::start());
    let mut transaction = jaco_state::Transaction::new("test");
    transaction.put(NodeStatus { id: NODE, state, details: Default::default() });
    store.commit(transaction).unwrap();
    let change = report::node_status(&store.view(), NODE, engine, clean)?;
    store.commit(change).unwrap();
    store.view().get::<NodeStatus>(&NODE.to_string()).map(|status| status.state)
}

#[tokio::test]
async fn a_node_is_ready_by_its_own_word_only_after_the_leader_heard_it_and_with_nothing_unwanted() {
    use NodeState::{Down, Draining, IsolationUnavailable, Joining, Ready, Unreachable};
    for state in [Down, Unreachable, Draining, IsolationUnavailable] {
        assert!(status_after(state, Ok(()), true).is_none_or(|now| now == state), "{state}");
    }
    assert_eq!(status_after(Joining, Ok(()), false), Some(Joining));
    assert_eq!(status_after(Joining, Ok(()), true), Some(Ready));
    assert_eq!(status_after(Ready, Ok(()), false), Some(Ready), "a scale-in is no reason to leave");
    assert_eq!(status_after(Ready, Err("away"), true), Some(Joining));
}

#[tokio::test]
async fn a_report_from_an_older_view_undoes_nothing() {
    let bench = Bench::new(TokioClock::start(), "c1", "10.244.0.0/16");
    let desired = testing::desired("shop", "web", &testing::service("image"));
    let seen = |node, state| jaco_types::ReplicaObserved {
        id: desired.id.clone(),
        deployment: desired.deployment.clone(),
        service: desired.service.clone(),
        node,
        generation: 1,
        attempt: 1,
        state,
        code: None,
        message: None,
        details: Default::default(),
        container_id: None,
        image: String::new(),
        endpoints: Vec::new(),
        outgoing: None,
        started_at_ms: None,
        restart_count: 0,
        failures: 0,
        history: Vec::new(),
    };
    let put = |record: jaco_types::ReplicaObserved| {
        let mut transaction = jaco_state::Transaction::new("test");
        transaction.put(record);
        bench.store.commit(transaction).unwrap();
    };
    put(seen(NODE, ReplicaState::Running));
    let old = bench.store.view();
    put(seen(NodeId(8), ReplicaState::Running));
    for stale in [None, Some(seen(NODE, ReplicaState::Stopped))] {
        let report = report::difference(&old, &std::collections::BTreeMap::from([(desired.id.clone(), stale)]));
        bench.store.commit(report).unwrap_err();
    }
    assert_eq!(bench.observed("shop-web-0").unwrap().node, NodeId(8));
}
