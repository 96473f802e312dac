//! A host: a disk, a clock, containers with their guard, and a daemon that runs or does not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use jaco_controlplane::{
    DialError, LeaderLoops, Lease, Limits, MemorySnapshots, NodeSample, OpenError, Options, Scheduling, SessionClient,
    SessionDialer, SessionEvents, SessionIdentity, SessionSource, SessionStream, SessionTable, SessionTableOptions,
};
use jaco_proto::v1;
use jaco_scheduler::LeaseTerms;
use jaco_state::{BoxFuture, Clock, Store};
use jaco_task::{LoopSpec, OnExit, Supervisor, Wake};
use jaco_testkit::{INCARNATION, JumpingClock, SeededRandomness, SeededStore, VolatileLog, target};
use jaco_types::{Hostname, Node, NodeId};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::agent::Agent;
use crate::forged::WithoutTerms;
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::world::{Member, World};

/// The cluster's values of fencing, shorter than in earnest: a run is short.
pub(crate) const TERMS: LeaseTerms = LeaseTerms { lease: Duration::from_secs(4), grace: Duration::from_secs(2) };
/// A disk that lies takes its time.
const LYING_SYNC: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_millis(400);
/// What a machine's clock gains or loses at most, parts of a million. Two of them differ by less than the hundredth that leases allow for.
const DRIFT_PPM: u64 = 4_500;
/// Between the looks of the scheduler at what nothing told it of.
const SCHEDULING_TICK: Duration = Duration::from_secs(2);

/// How a daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// In order: leadership is handed over, all is written.
    Stopped,
    /// Killed: what was written reaches the disk, containers and their guard live on.
    Killed,
    /// The host loses power, and with it what was not synced, and its containers.
    PowerCut,
}

/// What of a host outlives its daemon: the guard of its exclusive containers.
#[derive(Default)]
pub(crate) struct Guard(Mutex<Guarded>);

#[derive(Default, Clone, Copy)]
struct Guarded {
    lease: Option<Lease>,
    /// A session of the daemon that runs now has answered.
    is_current: bool,
}

impl Guard {
    fn with<T>(&self, act: impl FnOnce(&mut Guarded) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether exclusive containers may run now, and for how long they may be stopped after that.
    fn holds(&self, now: Duration) -> Result<(), Duration> {
        self.with(|guarded| match guarded.lease {
            Some(lease) if now < lease.until => Ok(()),
            Some(lease) => Err(lease.stop_within),
            None => Err(TERMS.grace),
        })
    }

    /// Whether an exclusive container may be started: the lease is of a session of this daemon.
    pub(crate) fn may_start(&self, now: Duration) -> bool {
        self.with(|guarded| guarded.is_current && guarded.lease.is_some_and(|lease| now < lease.until))
    }
}

/// A host that is, was or will be a member.
pub(crate) struct Host {
    /// The id it has, or will join with.
    pub(crate) id: NodeId,
    /// Its wall clock and boot-time clock.
    pub(crate) clock: Arc<JumpingClock>,
    /// Its log.
    pub(crate) log: Arc<VolatileLog>,
    snapshots: Arc<MemorySnapshots>,
    guard: Arc<Guard>,
    random: Random,
    running: Option<Running>,
}

struct Running {
    store: SeededStore,
    _supervisor: Supervisor,
    _tasks: JoinSet<()>,
}

/// The name of a host.
pub(crate) fn hostname(id: NodeId) -> Option<Hostname> {
    Hostname::new(format!("host-{}", id.0)).ok()
}

/// The record of a node as it joins.
pub(crate) fn node_record(id: NodeId) -> Option<Node> {
    Some(Node {
        id,
        hostname: hostname(id)?,
        address: format!("192.0.2.{}", id.0),
        grpc_address: format!("192.0.2.{}:7000", id.0),
        cluster_address: target(id).address,
        version: "0".to_owned(),
        joined_at_ms: 1,
        public_keys: vec![format!("key of {}", id.0)],
        seal_key: String::new(),
        labels: Default::default(),
    })
}

impl Host {
    /// A host with an empty disk.
    pub(crate) fn new(id: NodeId, random: Random) -> Self {
        let sync = Duration::from_micros(500)..Duration::from_millis(4);
        let gains_ppm = i32::try_from(random.below(2 * DRIFT_PPM + 1)).unwrap_or(0) - DRIFT_PPM as i32;
        Host {
            id,
            clock: Arc::new(JumpingClock::new(1_700_000_000_000, gains_ppm)),
            log: Arc::new(VolatileLog::new(random.next(), sync)),
            snapshots: Arc::default(),
            guard: Arc::default(),
            random,
            running: None,
        }
    }

    /// Its store, while its daemon runs.
    pub(crate) fn store(&self) -> Option<&SeededStore> {
        self.running.as_ref().map(|running| &running.store)
    }

    fn options(&self, world: &World) -> Options {
        let limits = Limits {
            deadline: Duration::from_secs(3),
            snapshot_after_entries: 60 + self.random.below(120),
            kept_entries: 40,
            ..Limits::default()
        };
        Options {
            clock: self.clock.clone(),
            randomness: Arc::new(SeededRandomness::new(self.random.next())),
            transport: world.network.transport(self.id),
            address: target(self.id).address,
            incarnation: Some(INCARNATION),
            log: Some(self.log.clone()),
            snapshots: Some(self.snapshots.clone()),
            limits,
            ..Options::new("never-touched", self.id)
        }
    }

    /// Starts the daemon on what is on the disk.
    ///
    /// # Errors
    /// The disk cannot be read: never right.
    pub(crate) async fn start(&mut self, world: &Arc<World>) -> Result<(), OpenError> {
        if let Err(error) = self.log.power_on() {
            world.fail(format!("node {}: {error}", self.id));
        }
        if world.is_broken(Sabotage::EarlySync) {
            self.log.lie();
            self.log.set_sync(LYING_SYNC);
        }
        let mut tasks = JoinSet::new();
        let log = self.log.clone();
        tasks.spawn(async move { log.sync().await });
        let store = SeededStore::open_on(self.options(world)).await?;
        world.network.attach(self.id, Arc::new(store.clone()));
        let shared: Arc<dyn Store> = match world.is_broken(Sabotage::NoTerms) {
            true => Arc::new(WithoutTerms(store.clone())),
            false => Arc::new(store.clone()),
        };
        let table = SessionTable::new(SessionTableOptions {
            store: shared.clone(),
            predecessor: Arc::new(store.clone()),
            own: self.id,
            clock: self.clock.clone(),
            terms: TERMS,
        });
        world.enter(self.id, Member { store: store.clone(), sessions: table.clone() });
        let jitter = self.random.split();
        let supervisor = Supervisor::with_jitter(move || jitter.fraction());
        LeaderLoops::new(shared.clone(), table.clone(), Arc::new(store.clone())).spawn(&supervisor);
        let scheduling = Scheduling::new(shared.clone()).with_sessions(table.clone());
        let wake = Wake::new();
        supervisor.spawn_loop(LoopSpec::new("scheduler", SCHEDULING_TICK), wake.clone(), scheduling.pass());
        supervisor.spawn_service("scheduler-wake", OnExit::StopNode, move |context| {
            let (scheduling, wake) = (scheduling.clone(), wake.clone());
            async move { scheduling.wake_on_changes(wake, context).await }
        });
        self.guard.with(|guarded| guarded.is_current = false);
        let session = Arc::new(self.session(world, shared, table));
        supervisor.spawn_service("session", OnExit::StopNode, move |context| {
            let session = session.clone();
            async move { session.run(context).await }
        });
        let agent = Agent {
            world: world.clone(),
            node: self.id,
            store: store.clone(),
            clock: self.clock.clone(),
            guard: self.guard.clone(),
            random: self.random.split(),
        };
        tasks.spawn(agent.run());
        self.running = Some(Running { store, _supervisor: supervisor, _tasks: tasks });
        Ok(())
    }

    fn session(&self, world: &Arc<World>, store: Arc<dyn Store>, table: SessionTable) -> SessionClient {
        let jitter = self.random.split();
        let dialer = Dialer { world: world.clone(), node: self.id };
        let source = Source { world: world.clone(), node: self.id };
        let events = Events { world: world.clone(), node: self.id, guard: self.guard.clone() };
        let client =
            SessionClient::new(store, table, self.clock.clone(), Arc::new(dialer), Arc::new(source), Arc::new(events));
        client.with_jitter(move || jitter.fraction())
    }

    /// Ends the daemon, if it runs.
    pub(crate) async fn end(&mut self, world: &World, how: End) {
        let Some(running) = self.running.take() else { return };
        match how {
            End::Stopped => {
                running.store.shutdown().await;
                world.network.detach(self.id);
                world.leave(self.id);
                // What is queued reaches the disk.
                self.log.cut_power(1000);
            }
            End::Killed | End::PowerCut => {
                world.network.detach(self.id);
                world.leave(self.id);
                let share = if how == End::Killed { 1000 } else { self.random.below(1001) };
                self.log.cut_power(share);
                running.store.halt().await;
            }
        }
        if how == End::PowerCut {
            self.snapshots.crash();
            world.kill_containers(self.id);
            self.guard.with(|guarded| *guarded = Guarded::default());
        }
    }

    /// What the guard does, also while no daemon runs: without a lease it stops what is exclusive.
    pub(crate) fn guard(&self, world: &World) {
        if world.is_broken(Sabotage::NoGuard) {
            return;
        }
        let Err(within) = self.guard.holds(self.clock.monotonic()) else { return };
        for (replica, container) in world.containers(self.id) {
            if container.exclusive && container.gone_at.is_none() {
                let takes = within.mul_f64(self.random.fraction());
                world.trace.note(format_args!("the guard of node {} stops {replica}", self.id));
                world.stop_container(self.id, &replica, Instant::now() + takes);
            }
        }
    }
}

struct Source {
    world: Arc<World>,
    node: NodeId,
}

impl SessionSource for Source {
    fn identity(&self) -> SessionIdentity {
        let node = node_record(self.node);
        let text = |of: fn(&Node) -> &String| node.as_ref().map(of).cloned().unwrap_or_default();
        SessionIdentity {
            incarnation: INCARNATION,
            version: text(|node| &node.version),
            feature_level: jaco_controlplane::FEATURE_LEVEL,
            address: text(|node| &node.address),
            grpc_address: text(|node| &node.grpc_address),
            cluster_address: text(|node| &node.cluster_address),
            nano_cpus: 0,
            memory_bytes: 0,
        }
    }

    fn sample(&self) -> NodeSample {
        let reconciled = self.world.containers(self.node).values().all(|container| container.gone_at.is_none());
        NodeSample { reconciled, ..NodeSample::default() }
    }
}

struct Events {
    world: Arc<World>,
    node: NodeId,
    guard: Arc<Guard>,
}

impl SessionEvents for Events {
    fn lease(&self, lease: Lease) {
        self.guard.with(|guarded| *guarded = Guarded { lease: Some(lease), is_current: true });
    }

    fn removed(&self) {
        self.world.note_removed(self.node);
    }
}

struct Dialer {
    world: Arc<World>,
    node: NodeId,
}

/// The messages of a stream as they arrive; nothing more after one that is lost.
fn arriving<T: Send + 'static>(
    world: Arc<World>,
    from: NodeId,
    to: NodeId,
    messages: SessionStream<T>,
) -> SessionStream<T> {
    Box::pin(messages.then(move |message| {
        let world = world.clone();
        async move {
            if !world.network.pass(from, to).await {
                std::future::pending::<()>().await;
            }
            message
        }
    }))
}

impl SessionDialer for Dialer {
    fn open<'a>(
        &'a self,
        node: NodeId,
        _address: &'a str,
        messages: SessionStream<v1::SessionRequest>,
    ) -> BoxFuture<'a, Result<SessionStream<Result<v1::SessionResponse, DialError>>, DialError>> {
        Box::pin(async move {
            let gone = || DialError::Failed(format!("node {node} is not there"));
            let there = self.world.member(node).ok_or_else(gone)?;
            let sent = arriving(self.world.clone(), self.node, node, messages);
            let answers = there.sessions.serve(self.node, sent);
            let answers = arriving(self.world.clone(), node, self.node, answers).map(Ok);
            let answers: SessionStream<Result<v1::SessionResponse, DialError>> = Box::pin(answers);
            Ok(answers)
        })
    }
}
