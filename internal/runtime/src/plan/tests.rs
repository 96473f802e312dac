use proptest::prelude::*;

use super::*;
use crate::testing::{self, NODE};
use jaco_types::{ErrorCode, ReplicaState, ServiceName};

const NETWORK: &str = "jaco_shop__default";

/// One replica on a simulated engine: steps are carried out at once, observations committed after every round.
struct Sim {
    now: Now,
    wanted: Option<(ReplicaDesired, ServiceSpec)>,
    containers: BTreeMap<String, Container>,
    memory: BTreeMap<ReplicaId, Memory>,
    committed: Option<ReplicaObserved>,
    caught_up: bool,
    watched: bool,
    pulls_fail: bool,
    health: bool,
    next: u64,
    log: Vec<String>,
    rights: Rights,
}

fn id() -> ReplicaId {
    ReplicaId::new("shop-web-0").unwrap()
}

impl Sim {
    fn new() -> Self {
        let service = testing::service("image:1");
        Sim {
            now: Now { wall_ms: 1_800_000_000_000, mono_ms: 0 },
            wanted: Some((testing::desired("shop", "web", &service), service)),
            containers: BTreeMap::new(),
            memory: BTreeMap::new(),
            committed: None,
            caught_up: true,
            watched: true,
            pulls_fail: false,
            health: false,
            next: 0,
            log: Vec::new(),
            rights: Rights::default(),
        }
    }

    fn advance(&mut self, ms: u64) {
        self.now.wall_ms += ms;
        self.now.mono_ms += ms;
    }

    fn memory(&mut self) -> &mut Memory {
        self.memory.entry(id()).or_default()
    }

    fn running(&self) -> Vec<&Container> {
        self.containers.values().filter(|container| container.is_up()).collect()
    }

    fn change_spec(&mut self, image: &str, order: ReplaceOrder) {
        let (desired, service) = self.wanted.as_mut().unwrap();
        service.container.image = image.to_owned();
        if desired.spec_hash != service.hash() {
            desired.generation += 1;
        }
        desired.spec_hash = service.hash();
        desired.order = order;
        desired.attempt += 1;
    }

    fn exit(&mut self, code: i64) {
        let now = self.now.wall_ms;
        for container in self.containers.values_mut().filter(|c| c.is_up() && !c.name.ends_with(OLD_SUFFIX)) {
            container.state = ProcessState::Exited;
            container.exit_code = code;
            container.finished_at_ms = Some(now);
        }
    }

    fn with_world<T>(&mut self, work: impl FnOnce(&World<'_>) -> T) -> T {
        let spec = testing::deployment("shop", []);
        let mut world = World {
            now: self.now,
            node: NODE,
            caught_up: self.caught_up,
            may_start: true,
            rights: &self.rights,
            reporting: false,
            wanted: BTreeMap::new(),
            by_replica: BTreeMap::new(),
            containers: &self.containers,
            memory: &BTreeMap::new(),
            committed: self.committed.iter().map(|observed| (id(), observed)).collect(),
            busy: &BTreeSet::new(),
            wrong_networks: &BTreeSet::new(),
        };
        if let Some((desired, service)) = &self.wanted {
            world.wanted.insert(id(), Wanted { desired, raft_index: 1, deployment: &spec, service });
            world.by_replica = by_replica(&world.wanted, &self.containers);
            let memory = self.memory.entry(id()).or_insert_with(|| Memory::seed(self.committed.as_ref()));
            memory.follow(desired);
            if let Some(current) = split(&world, &id()).current {
                memory.note(current, self.now, self.watched);
                if !must_restart(&world, memory, current) {
                    memory.withdrawing.remove(&current.id);
                }
            }
        }
        self.watched = true;
        world.by_replica = by_replica(&world.wanted, &self.containers);
        world.memory = &self.memory;
        work(&world)
    }

    /// One look, its observation and its step; `None` when there is nothing to do, else the time to go on at.
    fn round(&mut self) -> Option<u64> {
        let (plan, observed) = self.with_world(|world| (plan(world), observe(world, &id())));
        self.committed = observed;
        let now = self.now.mono_ms;
        match plan.steps.into_iter().next() {
            Some((_, step)) => {
                self.apply(step);
                self.check();
                Some(now)
            }
            None => plan.wake_at,
        }
    }

    fn settle(&mut self) {
        for _ in 0..500 {
            match self.round() {
                Some(at) => self.advance(at.saturating_sub(self.now.mono_ms)),
                None => return,
            }
        }
        panic!("it does not come to rest: {:#?}", self.log);
    }

    fn apply(&mut self, step: Step) {
        self.log.push(format!("{step:?}"));
        let now = self.now;
        match step {
            Step::Pull if self.pulls_fail => {
                let problem = Problem {
                    state: ReplicaState::Pending,
                    code: ErrorCode::ImagePullFailed,
                    message: "no".to_owned(),
                    details: BTreeMap::new(),
                };
                self.memory().image = ImageState::Failed;
                self.memory().failed_pulls += 1;
                self.memory().step_failed(problem, now);
            }
            Step::Pull => {
                self.memory().image = ImageState::Ready;
                self.memory().step_done();
            }
            Step::Create => self.create(),
            Step::Rename { container, name } => {
                assert!(self.containers.values().all(|other| other.name != name), "{name} is taken");
                self.containers.get_mut(&container).unwrap().name = name;
            }
            Step::Start { container, again } => {
                let address = "10.0.0.2".parse().ok();
                let health = self.health.then_some(Health::Healthy);
                let started = self.containers.get_mut(&container).unwrap();
                started.state = ProcessState::Running;
                started.started_at_ms = Some(now.wall_ms + 1);
                started.health = health;
                started.networks.insert(NETWORK.to_owned(), address);
                self.memory().halted.remove(&container);
                self.memory().withdrawing.remove(&container);
                self.memory().restart_count += u32::from(again);
                self.memory().step_done();
            }
            Step::Withdraw { container } => {
                self.memory().withdrawing.insert(container, now.mono_ms);
            }
            Step::Halt { container, .. } | Step::Fence { container, .. } => {
                self.memory().halted.insert(container.clone());
                let halted = self.containers.get_mut(&container).unwrap();
                halted.state = ProcessState::Exited;
                halted.finished_at_ms = Some(now.wall_ms);
            }
            Step::Retire { container, .. } => {
                let found = &self.containers[&container];
                assert!(!found.is_up() || !is_routed(self.committed.as_ref(), found), "stopped while it gets traffic");
                self.containers.remove(&container);
            }
        }
    }

    fn create(&mut self) {
        let (desired, service) = self.wanted.as_ref().unwrap();
        let name = container_name(desired, service);
        assert!(self.containers.values().all(|other| other.name != name), "{name} is taken");
        self.next += 1;
        let mut labels =
            vec![(label::REPLICA_ID, desired.id.to_string()), (label::SPEC_HASH, desired.spec_hash.to_string())];
        let epoch = self.rights.epochs.get(&desired.id).filter(|_| service.exclusive);
        labels.extend(epoch.map(|epoch| (label::EPOCH, epoch.to_string())));
        let container = Container {
            id: format!("c{}", self.next),
            name,
            labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            image: service.container.image.clone(),
            created_at_ms: self.now.wall_ms,
            state: ProcessState::Created,
            health: None,
            last_health_at_ms: None,
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
            started_at_ms: None,
            finished_at_ms: None,
            stop_grace: None,
            networks: BTreeMap::from([(NETWORK.to_owned(), None)]),
            shares: Vec::new(),
            tty: false,
        };
        self.containers.insert(container.id.clone(), container);
    }

    fn check(&self) {
        let plain = self.containers.values().filter(|container| !container.name.ends_with(OLD_SUFFIX)).count();
        assert!(plain <= 1, "two containers of one replica: {:#?}", self.log);
    }

    fn assert_done(&self) {
        match &self.wanted {
            None => assert!(self.containers.is_empty() && self.committed.is_none(), "{:#?}", self.log),
            Some((desired, _)) => {
                let running = self.running();
                assert_eq!(running.len(), 1, "{:#?}", self.log);
                assert_eq!(running[0].name, id().as_str());
                assert_eq!(running[0].label(label::SPEC_HASH), desired.spec_hash.as_str());
                assert_eq!(self.containers.len(), 1);
                let observed = self.committed.as_ref().unwrap();
                assert_eq!(observed.state, ReplicaState::Running, "{observed:#?} {:#?}", self.log);
                assert_eq!((observed.generation, observed.endpoints.len()), (desired.generation, 1));
                assert_eq!(observed.outgoing, None);
            }
        }
    }

    fn steps(&self) -> Vec<&str> {
        self.log.iter().map(|step| step.split([' ', '{']).next().unwrap()).collect()
    }

    fn state(&self) -> (ReplicaState, Option<ErrorCode>) {
        let observed = self.committed.as_ref().unwrap();
        (observed.state, observed.code)
    }
}

#[test]
fn a_new_replica_is_pulled_made_and_started() {
    let mut sim = Sim::new();
    sim.settle();
    assert_eq!(sim.steps(), ["Pull", "Create", "Start"]);
    sim.assert_done();
}

#[test]
fn start_first_keeps_the_old_one_until_the_new_one_runs() {
    let mut sim = Sim::new();
    sim.settle();
    sim.log.clear();
    sim.change_spec("image:2", ReplaceOrder::StartFirst);
    sim.settle();
    assert_eq!(sim.steps(), ["Pull", "Rename", "Create", "Start", "Withdraw", "Retire"]);
    sim.assert_done();
}

#[test]
fn stop_first_has_the_old_one_gone_before_the_start_and_the_image_before_that() {
    let mut sim = Sim::new();
    sim.settle();
    sim.log.clear();
    sim.change_spec("image:2", ReplaceOrder::StopFirst);
    sim.settle();
    assert_eq!(sim.steps(), ["Pull", "Rename", "Create", "Withdraw", "Retire", "Start"]);
    sim.assert_done();
}

#[test]
fn nothing_that_serves_is_touched_while_the_image_is_missing() {
    for order in [ReplaceOrder::StartFirst, ReplaceOrder::StopFirst] {
        let mut sim = Sim::new();
        sim.settle();
        sim.log.clear();
        sim.pulls_fail = true;
        sim.change_spec("image:2", order);
        for _ in 0..20 {
            if let Some(at) = sim.round() {
                sim.advance(at - sim.now.mono_ms);
            }
        }
        assert!(sim.steps().iter().all(|step| *step == "Pull"), "{:?}", sim.log);
        assert_eq!(sim.state(), (ReplicaState::Pending, Some(ErrorCode::ImagePullFailed)));
        assert_eq!(sim.committed.as_ref().unwrap().outgoing.as_ref().unwrap().endpoints.len(), 1, "the old one serves");
    }
}

#[test]
fn going_back_to_the_old_spec_in_the_middle_keeps_the_old_container() {
    let mut sim = Sim::new();
    sim.settle();
    let first = sim.running()[0].id.clone();
    sim.change_spec("image:2", ReplaceOrder::StartFirst);
    while sim.containers.len() < 2 {
        sim.round();
    }
    sim.change_spec("image:1", ReplaceOrder::StartFirst);
    sim.settle();
    assert_eq!(sim.running()[0].id, first);
    sim.assert_done();
}

#[test]
fn three_exits_in_a_row_exhaust_and_a_new_attempt_starts_again() {
    let mut sim = Sim::new();
    sim.settle();
    for (failures, wait) in [(1, 1_000), (2, 2_000)] {
        sim.exit(3);
        sim.round();
        assert_eq!(sim.state(), (ReplicaState::Failed, Some(ErrorCode::ContainerExited)));
        let observed = sim.committed.clone().unwrap();
        assert_eq!((observed.failures, observed.details["exit_code"].as_str()), (failures, "3"));
        assert_eq!(sim.round(), Some(sim.now.mono_ms + wait));
        // However often it is seen, it is one failure.
        sim.round();
        assert_eq!(sim.memory[&id()].failures, failures);
        sim.advance(wait);
        sim.round();
        sim.advance(1_500);
        sim.round();
        assert_eq!(sim.state().0, ReplicaState::Running);
    }
    sim.exit(3);
    sim.round();
    assert_eq!(sim.state(), (ReplicaState::Failed, Some(ErrorCode::RestartExhausted)));
    sim.advance(600_000);
    assert_eq!(sim.round(), None);
    assert_eq!(sim.committed.as_ref().unwrap().restart_count, 2);
    let (desired, _) = sim.wanted.as_mut().unwrap();
    desired.attempt += 1;
    sim.settle();
    sim.assert_done();
}

#[test]
fn ten_seconds_of_running_forgive() {
    let mut sim = Sim::new();
    sim.settle();
    for _ in 0..5 {
        sim.exit(1);
        sim.settle();
        assert_eq!(sim.committed.as_ref().unwrap().failures, 0, "it was left to run for 10 s");
    }
    sim.assert_done();
}

#[test]
fn an_unhealthy_container_leaves_routing_first_and_is_restarted() {
    let mut sim = Sim::new();
    sim.health = true;
    sim.settle();
    sim.log.clear();
    for container in sim.containers.values_mut() {
        container.health = Some(Health::Unhealthy);
    }
    sim.round();
    assert_eq!(sim.state(), (ReplicaState::Degraded, None));
    assert!(sim.committed.as_ref().unwrap().endpoints.is_empty());
    sim.settle();
    assert_eq!(sim.steps(), ["Withdraw", "Halt", "Start"]);
    assert_eq!(sim.committed.as_ref().unwrap().restart_count, 1);
    sim.assert_done();
}

#[test]
fn a_gate_holds_the_start_and_not_what_runs() {
    let mut sim = Sim::new();
    let db = ServiceName::new("db").unwrap();
    sim.wanted.as_mut().unwrap().0.waiting_on = vec![db.clone()];
    sim.settle();
    assert!(sim.log.is_empty());
    assert_eq!(sim.state(), (ReplicaState::Pending, Some(ErrorCode::DependsOnUnmet)));
    assert_eq!(sim.committed.as_ref().unwrap().details["waiting_on"], "db");
    sim.wanted.as_mut().unwrap().0.waiting_on.clear();
    sim.settle();
    sim.wanted.as_mut().unwrap().0.waiting_on = vec![db];
    sim.log.clear();
    sim.settle();
    assert!(sim.log.is_empty());
    sim.assert_done();
}

#[test]
fn a_restarted_daemon_adopts_and_holds_no_end_it_did_not_see_against_anyone() {
    let mut sim = Sim::new();
    sim.settle();
    sim.log.clear();
    sim.memory.clear();
    sim.watched = false;
    sim.settle();
    assert!(sim.log.is_empty(), "{:?}", sim.log);

    sim.memory.clear();
    sim.watched = false;
    sim.exit(255);
    sim.settle();
    assert_eq!(sim.steps(), ["Start"]);
    assert_eq!(sim.committed.as_ref().unwrap().failures, 0);
    sim.assert_done();
}

#[test]
fn a_restarted_daemon_remembers_exhaustion() {
    let mut sim = Sim::new();
    sim.settle();
    for _ in 0..3 {
        sim.advance(100);
        sim.exit(1);
        for _ in 0..3 {
            if let Some(at) = sim.round() {
                sim.advance(at - sim.now.mono_ms);
            }
        }
    }
    assert_eq!(sim.state().1, Some(ErrorCode::RestartExhausted));
    sim.memory.clear();
    sim.watched = false;
    sim.log.clear();
    sim.settle();
    assert!(sim.log.is_empty());
    assert_eq!(sim.state().1, Some(ErrorCode::RestartExhausted));
}

#[test]
fn ends_just_before_the_engine_went_away_are_taken_back() {
    let mut sim = Sim::new();
    sim.settle();
    sim.exit(0);
    sim.round();
    assert_eq!(sim.memory[&id()].failures, 1);
    let now = sim.now;
    sim.memory().engine_lost(now);
    assert_eq!(sim.memory[&id()].failures, 0);
    sim.settle();
    sim.assert_done();
}

#[test]
fn before_the_store_has_caught_up_only_what_ran_is_started_and_nothing_goes() {
    let mut sim = Sim::new();
    sim.settle();
    sim.log.clear();
    sim.caught_up = false;
    sim.exit(1);
    sim.watched = false;
    sim.settle();
    assert_eq!(sim.steps(), ["Start"]);
    sim.change_spec("image:2", ReplaceOrder::StartFirst);
    sim.settle();
    sim.wanted = None;
    sim.settle();
    assert_eq!(sim.steps(), ["Start"]);
    assert!(sim.committed.is_some());
    sim.caught_up = true;
    sim.settle();
    sim.assert_done();
}

#[test]
fn backoff_doubles_up_to_a_minute() {
    let waits: Vec<u64> = (1..=9).map(backoff).collect();
    assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    assert_eq!(backoff(u32::MAX), 60_000);
}

#[test]
fn a_container_without_all_its_networks_is_made_anew() {
    let mut sim = Sim::new();
    while sim.containers.is_empty() {
        sim.round();
    }
    let half = sim.containers.keys().next().unwrap().clone();
    sim.containers.get_mut(&half).unwrap().networks.clear();
    sim.log.clear();
    sim.settle();
    assert_eq!(sim.steps(), ["Retire", "Create", "Start"]);
    sim.assert_done();
    // One that serves is not taken away for it.
    sim.log.clear();
    sim.containers.values_mut().for_each(|container| container.networks.clear());
    sim.settle();
    assert!(sim.log.is_empty(), "{:?}", sim.log);
}

#[test]
fn a_paused_container_wakes_nobody() {
    let mut sim = Sim::new();
    sim.settle();
    sim.advance(5_000);
    sim.containers.values_mut().for_each(|container| container.state = ProcessState::Paused);
    sim.settle();
    assert_eq!(sim.state().0, ReplicaState::Degraded);
}

#[test]
fn an_exhausted_replica_that_gets_well_again_wakes_nobody_and_stays_exhausted() {
    let mut sim = Sim::new();
    sim.health = true;
    sim.settle();
    sim.memory().failures = MAX_FAILURES;
    sim.memory().exhausted = true;
    sim.advance(60_000);
    sim.settle();
    assert_eq!(sim.state(), (ReplicaState::Failed, Some(ErrorCode::RestartExhausted)));
}

#[test]
fn a_clock_that_is_set_back_takes_nothing_out_of_routing() {
    let mut sim = Sim::new();
    sim.settle();
    sim.now.wall_ms -= 3_600_000;
    sim.settle();
    sim.assert_done();
    // What starts after it counts by the new time.
    sim.exit(1);
    sim.settle();
    sim.assert_done();
}

#[test]
fn every_unhealthy_episode_of_a_run_is_a_failure() {
    let mut sim = Sim::new();
    sim.health = true;
    sim.settle();
    for failures in [1, 2] {
        for health in [Health::Unhealthy, Health::Healthy] {
            sim.containers.values_mut().for_each(|container| container.health = Some(health));
            sim.round();
            sim.round();
            assert_eq!(sim.memory[&id()].failures, failures);
        }
    }
}

#[test]
fn what_a_replica_leaves_behind_serves_on_and_is_never_made() {
    let mut sim = Sim::new();
    sim.settle();
    let (mut desired, service) = sim.wanted.take().unwrap();
    let left = ReplicaId::new("shop-web-0.old").unwrap();
    desired.id = left.clone();
    let spec = testing::deployment("shop", []);
    let plan_with = |desired: Option<&ReplicaDesired>, containers: &BTreeMap<String, Container>| {
        let wanted: BTreeMap<ReplicaId, Wanted<'_>> = desired
            .map(|desired| Wanted { desired, raft_index: 1, deployment: &spec, service: &service })
            .map(|wanted| (left.clone(), wanted))
            .into_iter()
            .collect();
        let memory = BTreeMap::from([(left.clone(), Memory { image: ImageState::Ready, ..Memory::default() })]);
        let world = World {
            now: sim.now,
            node: NODE,
            caught_up: true,
            may_start: true,
            rights: &Rights::default(),
            reporting: false,
            by_replica: by_replica(&wanted, containers),
            wanted,
            containers,
            memory: &memory,
            committed: BTreeMap::new(),
            busy: &BTreeSet::new(),
            wrong_networks: &BTreeSet::new(),
        };
        (plan(&world).steps, observe(&world, &left).map(|seen| (seen.state, seen.endpoints.len())))
    };
    let container = sim.containers.keys().next().unwrap().clone();
    let rename = Step::Rename { container: container.clone(), name: left.to_string() };
    let (steps, seen) = plan_with(Some(&desired), &sim.containers);
    assert_eq!((steps, seen), (vec![(left.clone(), rename)], Some((ReplicaState::Running, 1))));
    assert!(plan_with(Some(&desired), &BTreeMap::new()).0.is_empty(), "nothing is made for it");
    let (steps, _) = plan_with(None, &sim.containers);
    assert_eq!(steps, [(id(), Step::Withdraw { container })], "and it goes when nobody wants it any more");
}

#[derive(Debug, Clone)]
enum Happening {
    Spec(u8, bool),
    Delete,
    Want,
    Exit(i64),
    Unhealthy,
    RemovedByHand,
    DaemonRestart,
    PullsFail(bool),
    Time(u16),
    Rounds(u8),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0..3_u8, any::<bool>()).prop_map(|(image, first)| Happening::Spec(image, first)),
        Just(Happening::Delete),
        Just(Happening::Want),
        (0..3_i64).prop_map(Happening::Exit),
        Just(Happening::Unhealthy),
        Just(Happening::RemovedByHand),
        Just(Happening::DaemonRestart),
        any::<bool>().prop_map(Happening::PullsFail),
        (0..20_000_u16).prop_map(Happening::Time),
        (0..6_u8).prop_map(Happening::Rounds),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever happens, it comes to rest with exactly what is wanted, and never had two containers without the suffix.
    #[test]
    fn it_converges(happenings in proptest::collection::vec(happening(), 1..25)) {
        let mut sim = Sim::new();
        let original = sim.wanted.clone();
        for happening in happenings {
            match happening {
                Happening::Spec(image, start_first) if sim.wanted.is_some() => {
                    let order = if start_first { ReplaceOrder::StartFirst } else { ReplaceOrder::StopFirst };
                    sim.change_spec(&format!("image:{image}"), order);
                }
                Happening::Want if sim.wanted.is_none() => sim.wanted.clone_from(&original),
                Happening::Delete => sim.wanted = None,
                Happening::Exit(code) => sim.exit(code),
                Happening::Unhealthy => {
                    for container in sim.containers.values_mut().filter(|container| container.is_up()) {
                        container.health = Some(Health::Unhealthy);
                    }
                }
                Happening::RemovedByHand => sim.containers.clear(),
                Happening::DaemonRestart => {
                    sim.memory.clear();
                    sim.watched = false;
                }
                Happening::PullsFail(fail) => sim.pulls_fail = fail,
                Happening::Time(ms) => sim.advance(u64::from(ms)),
                Happening::Rounds(rounds) => (0..rounds).for_each(|_| { sim.round(); }),
                Happening::Spec(..) | Happening::Want => {}
            }
            sim.check();
        }
        sim.pulls_fail = false;
        if let Some((desired, _)) = &mut sim.wanted {
            desired.attempt += 100;
        }
        sim.settle();
        sim.assert_done();
    }
}

/// An exclusive replica whose slot is here, under a lease of this many milliseconds and 10 s to stop.
fn exclusive(lease_ms: u64) -> Sim {
    let mut sim = Sim::new();
    sim.wanted.as_mut().unwrap().1.exclusive = true;
    sim.wanted.as_mut().unwrap().0.order = ReplaceOrder::StopFirst;
    lend(&mut sim, lease_ms);
    sim.rights.epochs.insert(id(), 3);
    sim.rights.guarded = true;
    sim
}

fn lend(sim: &mut Sim, lease_ms: u64) {
    sim.rights.lease_until = Some(sim.now.mono_ms + lease_ms);
    sim.rights.stop_within = Duration::from_secs(10);
}

#[test]
fn an_exclusive_replica_starts_only_with_lease_slot_and_guard() {
    let without: [fn(&mut Sim); 5] = [
        |sim| sim.rights.lease_until = None,
        |sim| sim.rights.lease_until = Some(sim.now.mono_ms + 500),
        |sim| sim.rights.epochs.clear(),
        |sim| sim.rights.guarded = false,
        |sim| sim.rights = Rights::default(),
    ];
    for (number, take) in without.into_iter().enumerate() {
        let mut sim = exclusive(3_600_000);
        take(&mut sim);
        sim.settle();
        assert!(sim.containers.is_empty(), "{number}: {:?}", sim.log);
    }
    let mut sim = exclusive(3_600_000);
    sim.settle();
    assert_eq!(sim.running().len(), 1);
    assert_eq!(sim.running()[0].labels[label::EPOCH], "3");
}

#[test]
fn the_end_of_a_lease_stops_it_at_once_also_without_a_leader_and_a_new_one_starts_it_again() {
    let mut sim = exclusive(3_600_000);
    sim.settle();
    let container = sim.running()[0].id.clone();
    sim.containers.get_mut(&container).unwrap().stop_grace = Some(Duration::from_secs(30));
    sim.caught_up = false;
    sim.advance(sim.rights.lease_until.unwrap() - sim.now.mono_ms + 1_500);
    sim.log.clear();
    sim.settle();
    assert_eq!(sim.log, [format!("Fence {{ container: {container:?}, grace: 7s }}")], "its grace cut to what is left");
    assert!(sim.running().is_empty());
    assert_eq!(sim.memory().failures, 0, "that is no failure of the replica");
    lend(&mut sim, 3_600_000);
    sim.settle();
    assert_eq!(sim.running().len(), 1);
    assert_eq!(sim.running()[0].id, container, "nobody else had the slot: it is the same container");
}

#[test]
fn what_is_late_is_killed_without_any_grace() {
    let mut sim = exclusive(3_600_000);
    sim.settle();
    sim.advance(sim.rights.lease_until.unwrap() + 10_000 - sim.now.mono_ms);
    sim.log.clear();
    sim.settle();
    assert!(sim.log[0].ends_with("grace: 0ns }"), "{:?}", sim.log);
}

#[test]
fn a_slot_that_went_elsewhere_or_to_a_new_epoch_ends_the_old_container() {
    let mut sim = exclusive(3_600_000);
    sim.settle();
    let old = sim.running()[0].id.clone();
    sim.rights.epochs.clear();
    sim.settle();
    assert!(sim.running().is_empty());
    sim.rights.epochs.insert(id(), 9);
    sim.settle();
    assert_eq!(sim.running().len(), 1);
    assert_ne!(sim.running()[0].id, old);
    assert_eq!(sim.running()[0].labels[label::EPOCH], "9");
}

#[test]
fn a_container_left_by_an_exclusive_replica_is_fenced_though_nothing_is_known_to_be_wanted() {
    let mut sim = exclusive(3_600_000);
    sim.settle();
    sim.wanted = None;
    sim.caught_up = false;
    sim.rights.lease_until = None;
    sim.settle();
    assert!(sim.running().is_empty());
}
