//! The loop: hears, looks, plans, acts, reports. One task owns all of its state; whatever takes time runs beside it and comes back
//! as a [`Done`].

mod finish;
mod rights;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jaco_state::{ProposeError, Transaction, View, WatchFrom};
use jaco_task::{CancellationToken, FailureLog};
use jaco_types::{ClusterMeta, ReplicaDesired, ReplicaId, label};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::link::{self, News};
use super::{RuntimeError, Shared, report, sight};
use crate::act::{Job, Look, Outcome, Target};
use crate::container::peer_services;
use crate::engine::{ApiVersion, Container, EngineError, EngineVersion, Network};
use crate::labels::replica_of;
use crate::lease::Charge;
use crate::network::NetworkError;
use crate::now::Now;
use crate::plan::{ImageState, Memory, Step, World, by_replica, must_restart, plan, split};
use crate::pull::{PullError, PullRequest};
use crate::soft::count;

/// Inspections at a time during a full look.
const LOOKS_AT_ONCE: usize = 8;
/// Wait before something that failed outside any replica is tried again, milliseconds.
const RETRY_MS: u64 = 1_000;
/// Wait before a network that is still in use is looked at again, milliseconds.
const NETWORK_RETRY_MS: u64 = 10_000;

/// Everything on the engine that is ours.
pub(super) struct Listing {
    sequence: u64,
    looks: Vec<Look>,
    /// Containers that could not be described.
    unread: Vec<(String, EngineError)>,
    networks: Vec<Network>,
}

/// The end of something that ran beside the loop.
pub(super) enum Done {
    Link,
    CaughtUp(bool),
    Listed(Result<Listing, EngineError>),
    Looked { id: String, result: Result<Look, EngineError> },
    Step(Box<Outcome>),
    Pulled { id: ReplicaId, generation: u64, result: Result<(), PullError> },
    Reported(Result<(), ProposeError>),
    NodeReported(Result<(), ProposeError>),
    Cleaned { name: String, result: Result<(), NetworkError> },
}

pub(super) enum EngineState {
    Unknown,
    Down(String),
    Up(EngineVersion),
}

pub(super) struct Keeper {
    shared: Arc<Shared>,
    tasks: JoinSet<Done>,
    news: mpsc::Receiver<News>,
    /// Taken by the link once there is a cluster.
    news_sender: Option<mpsc::Sender<News>>,
    engine: EngineState,
    containers: BTreeMap<String, Container>,
    /// Sequence of the look each container's state comes from.
    looked: BTreeMap<String, u64>,
    /// Containers being looked at, and whether to look again after that.
    looking: BTreeMap<String, bool>,
    networks: BTreeMap<String, Network>,
    memory: BTreeMap<ReplicaId, Memory>,
    busy: BTreeSet<ReplicaId>,
    /// Networks being removed, or not to be tried before a monotonic time.
    cleaning: BTreeMap<String, Option<u64>>,
    /// The last full look could not describe every container: which replica those belong to is not known.
    unread: bool,
    /// A full look at the engine as it is now has been made.
    listed: bool,
    listing: bool,
    /// Ends seen from now on happened before our eyes.
    watched: bool,
    look_at: u64,
    caught_up: bool,
    catching_up: bool,
    catch_up_at: u64,
    reporting: bool,
    report_at: u64,
    node_reporting: bool,
    node_report_at: u64,
    failures: FailureLog,
    engine_failures: FailureLog,
    list_failures: FailureLog,
    /// Why the last full look failed.
    list_failure: Option<String>,
    /// What the guard was last charged with.
    charged: Charge,
    guarded: bool,
    /// The guard is asked again then.
    guard_at: u64,
    guard_misses: u32,
    guard_failures: FailureLog,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (sender, news) = mpsc::channel(256);
        let charged = rights::take_over(&shared);
        Keeper {
            shared,
            tasks: JoinSet::new(),
            news,
            news_sender: Some(sender),
            engine: EngineState::Unknown,
            containers: BTreeMap::new(),
            looked: BTreeMap::new(),
            looking: BTreeMap::new(),
            networks: BTreeMap::new(),
            memory: BTreeMap::new(),
            busy: BTreeSet::new(),
            cleaning: BTreeMap::new(),
            unread: false,
            listed: false,
            listing: false,
            watched: false,
            look_at: 0,
            caught_up: false,
            catching_up: false,
            catch_up_at: 0,
            reporting: false,
            report_at: 0,
            node_reporting: false,
            node_report_at: 0,
            failures: FailureLog::default(),
            engine_failures: FailureLog::default(),
            list_failures: FailureLog::default(),
            list_failure: None,
            charged,
            guarded: false,
            guard_at: 0,
            guard_misses: 0,
            guard_failures: FailureLog::default(),
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), RuntimeError> {
        let mut watcher = self.shared.store.watch(WatchFrom::Now);
        let mut lease = self.shared.exclusive.as_ref().map(|exclusive| exclusive.lease.subscribe());
        loop {
            let wake_at = self.pass();
            let renewals = self.follows_lease().then_some(lease.as_mut()).flatten();
            let wait = Duration::from_millis(wake_at.saturating_sub(self.now().mono_ms));
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                event = watcher.next() => {
                    if event.is_none() {
                        return if stop.is_cancelled() { Ok(()) } else { Err(RuntimeError::StoreStopped) };
                    }
                }
                Some(news) = self.news.recv() => self.hear(news),
                Some(done) = self.tasks.join_next() => self.finish(done)?,
                () = rights::renewed(renewals) => {}
                () = tokio::time::sleep(wait) => {}
            }
            // Whatever else is there already is worth one pass together.
            while watcher.try_next().is_some() {}
            while let Ok(news) = self.news.try_recv() {
                self.hear(news);
            }
            while let Some(done) = self.tasks.try_join_next() {
                self.finish(done)?;
            }
        }
    }

    fn now(&self) -> Now {
        let mono_ms = u64::try_from(self.shared.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        Now { wall_ms: self.shared.clock.now_ms(), mono_ms }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Up(version) => {
                if let Some(report) = self.engine_failures.recovered(Instant::now()) {
                    tracing::info!(away = ?report.lasting, "the container engine answers again");
                }
                self.engine = EngineState::Up(version);
                self.listed = false;
                self.watched = false;
                self.look_at = 0;
                self.node_report_at = 0;
            }
            News::Event(event) => {
                let busy = self
                    .containers
                    .get(&event.container)
                    .and_then(replica_of)
                    .is_some_and(|id| self.busy.contains(&id));
                // The step that is under way looks for itself when it is done.
                let own = matches!(event.action.as_str(), "create" | "start" | "rename");
                if !(busy && own) {
                    self.look(event.container);
                }
            }
            News::Down(reason) => {
                if matches!(self.engine, EngineState::Up(_)) {
                    count(&self.shared.actor.stats.engine_losses);
                    let now = self.now();
                    self.memory.values_mut().for_each(|memory| memory.engine_lost(now));
                }
                if let Some(report) = self.engine_failures.failed(&reason, Instant::now()) {
                    tracing::warn!(%reason, away = ?report.lasting, "the container engine is away");
                }
                self.engine = EngineState::Down(reason);
                self.listed = false;
                self.watched = false;
                self.node_report_at = 0;
            }
        }
    }

    /// Looks at one container; one look at a time for each.
    fn look(&mut self, id: String) {
        if let Some(again) = self.looking.get_mut(&id) {
            *again = true;
            return;
        }
        self.looking.insert(id.clone(), false);
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            let result = shared.actor.look(&id).await;
            Done::Looked { id, result }
        });
    }

    /// Everything that can be decided now; returns the monotonic time of the next deadline.
    fn pass(&mut self) -> u64 {
        let view = self.shared.store.view();
        let now = self.now();
        let mut wake_at =
            now.mono_ms.saturating_add(u64::try_from(self.shared.safety_tick.as_millis()).unwrap_or(u64::MAX));
        let Some(cluster) = view.cluster() else { return wake_at };
        self.start_link(cluster);
        self.catch_up(now);
        self.look_at_all(cluster, now);
        self.report_node(&view, now);
        if self.listed {
            let planned = self.replicas(&view, cluster, now);
            wake_at = wake_at.min(planned.unwrap_or(wake_at));
            self.clean_networks(&view, cluster, now);
        } else if self.follows_lease() {
            // The engine is away; what it runs may go on as long as the lease does.
            self.charge(self.charged.containers.clone());
        }
        for (pending, at) in [
            (self.listed && !self.listing, self.look_at),
            (!self.caught_up && !self.catching_up, self.catch_up_at),
            (self.report_at > now.mono_ms, self.report_at),
            (self.guard_at > now.mono_ms, self.guard_at),
            (self.node_report_at > now.mono_ms, self.node_report_at),
            (matches!(self.engine, EngineState::Up(_)) && !self.listing, self.look_at),
        ] {
            if pending {
                wake_at = wake_at.min(at);
            }
        }
        wake_at
    }

    fn start_link(&mut self, cluster: &ClusterMeta) {
        if let Some(sender) = self.news_sender.take() {
            let (shared, cluster_id) = (Arc::clone(&self.shared), cluster.cluster_id.clone());
            self.tasks.spawn(async move {
                link::follow(shared, cluster_id, sender).await;
                Done::Link
            });
        }
    }

    /// What the leader had decided before this process started must be known before anything is removed.
    fn catch_up(&mut self, now: Now) {
        if self.caught_up || self.catching_up || now.mono_ms < self.catch_up_at {
            return;
        }
        self.catching_up = true;
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            let view = tokio::time::timeout(Duration::from_secs(10), shared.store.linearizable_view()).await;
            Done::CaughtUp(matches!(view, Ok(Ok(_))))
        });
    }

    fn look_at_all(&mut self, cluster: &ClusterMeta, now: Now) {
        let up = matches!(self.engine, EngineState::Up(_));
        if !up || self.listing || now.mono_ms < self.look_at {
            return;
        }
        self.listing = true;
        let (shared, cluster_id) = (Arc::clone(&self.shared), cluster.cluster_id.clone());
        self.tasks.spawn(async move { Done::Listed(list(&shared, &cluster_id).await) });
    }

    fn report_node(&mut self, view: &View, now: Now) {
        let engine = match (&self.engine, &self.list_failure) {
            (EngineState::Unknown, _) => return,
            (EngineState::Down(reason), _) => Err(reason.as_str()),
            // It answers, but not with what is needed.
            (EngineState::Up(_), Some(reason)) => Err(reason.as_str()),
            (EngineState::Up(_), None) if self.listed => Ok(()),
            (EngineState::Up(_), None) => return,
        };
        let clean = self.caught_up && !self.unread && !self.runs_unwanted(view);
        self.shared.reconciled.store(clean && engine.is_ok(), std::sync::atomic::Ordering::Relaxed);
        if self.node_reporting || now.mono_ms < self.node_report_at {
            return;
        }
        if let Some(transaction) = report::node_status(view, self.shared.node, engine, clean) {
            self.node_reporting = true;
            self.propose(transaction, Done::NodeReported);
        }
    }

    /// Whether a container of ours is up that is not wanted here: a node that was away stops those before it is ready.
    fn runs_unwanted(&self, view: &View) -> bool {
        let (wanted, blocked) = sight::wanted(view, self.shared.node);
        by_replica(&wanted, &self.containers).iter().any(|(id, containers)| {
            !wanted.contains_key(id) && !blocked.contains(id) && containers.iter().any(|container| container.is_up())
        })
    }

    fn propose(&mut self, transaction: Transaction, done: fn(Result<(), ProposeError>) -> Done) {
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move { done(shared.store.propose(transaction).await.map(|_| ())) });
    }

    /// Notes, plans, acts and reports; returns the plan's next deadline.
    fn replicas(&mut self, view: &View, cluster: &ClusterMeta, now: Now) -> Option<u64> {
        let node = self.shared.node;
        let (wanted, blocked) = sight::wanted(view, node);
        let recorded = sight::subnets(view, node);
        let wrong_networks = sight::wrong_networks(&self.networks, &recorded);
        let skip: BTreeSet<ReplicaId> = self.busy.union(&blocked).cloned().collect();
        let committed = sight::committed(view, node);
        self.forget(|id| wanted.contains_key(id) || committed.contains_key(id));

        let rights = self.rights(view, now);
        let nothing = BTreeMap::new();
        let mut world = World {
            now,
            node,
            caught_up: self.caught_up,
            may_start: true,
            rights: &rights,
            reporting: self.reporting,
            by_replica: by_replica(&wanted, &self.containers),
            wanted,
            containers: &self.containers,
            memory: &nothing,
            committed,
            busy: &skip,
            wrong_networks: &wrong_networks,
        };
        for (id, wanted) in &world.wanted {
            let memory =
                self.memory.entry(id.clone()).or_insert_with(|| Memory::seed(world.committed.get(id).copied()));
            memory.follow(wanted.desired);
            if let Some(current) = split(&world, id).current {
                // Its guard may have been faster than this loop: an end without the right to run is no failure.
                if !rights.allow(current, now) {
                    memory.halted.insert(current.id.clone());
                }
                memory.note(current, now, self.watched);
                // Wanted again after all.
                if !must_restart(&world, memory, current) {
                    memory.withdrawing.remove(&current.id);
                }
            }
        }
        self.watched = true;

        world.memory = &self.memory;
        let plan = plan(&world);
        let guarded = rights::guarded(&world, &plan);
        let jobs: Vec<Job> =
            plan.steps.into_iter().map(|(id, step)| job(&world, cluster, api(&self.engine), id, step)).collect();
        let mut observed = report::observe_all(&world, &blocked);
        for (id, now_seen) in &mut observed {
            if let (Some(observed), Some(memory)) = (now_seen.as_mut(), self.memory.get_mut(id)) {
                report::keep_history(&mut memory.history, observed, now.wall_ms);
            }
        }
        self.report(view, &observed, now);
        let may_start = self.charge(guarded);
        let mut wake_at = rights::next_end(&rights, now).into_iter().chain(plan.wake_at).min();
        for job in jobs {
            if !may_start && rights::is_exclusive_start(&job) {
                continue;
            }
            // A withdrawal shows in the next observation at once.
            if matches!(job.step, Step::Withdraw { .. }) {
                wake_at = Some(now.mono_ms);
            }
            self.act(job, now);
        }
        wake_at
    }

    fn forget(&mut self, known: impl Fn(&ReplicaId) -> bool) {
        let here: BTreeSet<ReplicaId> = self.containers.values().filter_map(replica_of).collect();
        let keep = |id: &ReplicaId| known(id) || here.contains(id);
        self.memory.retain(|id, _| keep(id));
        self.shared.actor.soft.retain(keep);
    }

    fn report(&mut self, view: &View, observed: &BTreeMap<ReplicaId, Option<jaco_types::ReplicaObserved>>, now: Now) {
        if self.reporting {
            return;
        }
        let mut transaction = report::difference(view, observed);
        if self.caught_up && !self.unread {
            let wanted = |id: &ReplicaId| {
                view.get::<ReplicaDesired>(id.as_str()).is_some_and(|desired| desired.node == self.shared.node)
            };
            let here: BTreeSet<ReplicaId> = self.containers.values().filter_map(replica_of).collect();
            report::release_slots(&mut transaction, view, self.shared.node, |id| {
                wanted(id) || here.contains(id) || self.busy.contains(id)
            });
        }
        if transaction.is_empty() {
            return;
        }
        let interval = u64::try_from(self.shared.report_interval.as_millis()).unwrap_or(u64::MAX);
        if now.mono_ms < self.report_at {
            return;
        }
        self.reporting = true;
        self.report_at = now.mono_ms.saturating_add(interval);
        self.propose(transaction, Done::Reported);
    }

    fn act(&mut self, job: Job, now: Now) {
        let id = job.id.clone();
        let memory = self.memory.entry(id.clone()).or_default();
        let soft = &self.shared.actor.soft;
        match &job.step {
            Step::Withdraw { container } => {
                memory.withdrawing.insert(container.clone(), now.mono_ms);
                return;
            }
            Step::Pull => {
                memory.image = ImageState::Pulling;
                soft.update(&id, |soft| soft.last_attempt_at_ms = Some(now.wall_ms));
                self.pull(job);
                return;
            }
            Step::Halt { container, .. } | Step::Fence { container, .. } => {
                memory.halted.insert(container.clone());
            }
            Step::Start { container, .. } => {
                memory.halted.remove(container);
                soft.update(&id, |soft| soft.last_attempt_at_ms = Some(now.wall_ms));
            }
            Step::Create | Step::Rename { .. } | Step::Retire { .. } => {}
        }
        self.busy.insert(id);
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move { Done::Step(Box::new(shared.actor.perform(job).await)) });
    }

    fn pull(&mut self, job: Job) {
        let Some(target) = job.target else { return };
        let Some(service) = target.spec.services.get(&target.desired.service) else { return };
        let request = PullRequest {
            image: service.container.image.clone(),
            platform: service.container.platform.clone(),
            policy: service.pull_policy.into(),
        };
        let (shared, id, generation) = (Arc::clone(&self.shared), job.id, target.desired.generation);
        self.tasks.spawn(async move {
            let soft = &shared.actor.soft;
            let show = |progress| soft.update(&id, |soft| soft.pull = Some(progress));
            let result = shared.pulls.ensure(request, show, || count(&shared.actor.stats.pulls)).await;
            soft.update(&id, |soft| soft.pull = None);
            Done::Pulled { id, generation, result }
        });
    }

    fn clean_networks(&mut self, view: &View, cluster: &ClusterMeta, now: Now) {
        let node = self.shared.node;
        let (_, blocked) = sight::wanted(view, node);
        if !self.caught_up || !blocked.is_empty() {
            return;
        }
        let needed = sight::needed_networks(view, node);
        let mut recorded = sight::subnets(view, node);
        for name in sight::unneeded(&needed, &self.networks, &recorded, &self.containers) {
            if self.cleaning.get(&name).is_some_and(|at| at.is_none_or(|at| at > now.mono_ms)) {
                continue;
            }
            self.cleaning.insert(name.clone(), None);
            let record = recorded.remove(&name);
            let (shared, cluster_id) = (Arc::clone(&self.shared), cluster.cluster_id.clone());
            self.tasks.spawn(async move {
                let needed = || sight::is_needed(&shared.store.view(), node, &name);
                let result = shared.actor.networks.remove(&name, &cluster_id, record, needed).await;
                Done::Cleaned { name, result }
            });
        }
    }
}

fn api(engine: &EngineState) -> ApiVersion {
    match engine {
        EngineState::Up(version) => version.api,
        // Not reached: nothing is planned before the engine is up.
        EngineState::Unknown | EngineState::Down(_) => ApiVersion(1, 41),
    }
}

fn job(world: &World<'_>, cluster: &ClusterMeta, api: ApiVersion, id: ReplicaId, step: Step) -> Job {
    let target = world.wanted.get(&id).map(|wanted| Target {
        desired: wanted.desired.clone(),
        raft_index: wanted.raft_index,
        epoch: world.rights.epochs.get(&wanted.desired.id).copied().filter(|_| wanted.service.exclusive),
        spec: Arc::new(wanted.deployment.clone()),
        peers: peer_services(&wanted.service.container)
            .into_iter()
            .filter_map(|service| {
                let found = sight::peer(world.containers, wanted, &service)?.id.clone();
                Some((service, found))
            })
            .collect(),
    });
    let addresses = match &step {
        Step::Halt { container, .. } | Step::Retire { container, .. } => world
            .containers
            .get(container)
            .filter(|container| container.is_up())
            .map(|container| container.networks.values().filter_map(|address| *address).collect())
            .unwrap_or_default(),
        Step::Pull
        | Step::Create
        | Step::Rename { .. }
        | Step::Start { .. }
        | Step::Withdraw { .. }
        | Step::Fence { .. } => Vec::new(),
    };
    Job { id, step, cluster: cluster.clone(), api, target, addresses }
}

async fn list(shared: &Shared, cluster_id: &str) -> Result<Listing, EngineError> {
    let actor = &shared.actor;
    let sequence = actor.sequence.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let ids = actor.engine.list(label::CLUSTER_ID, cluster_id).await?;
    let networks = actor.engine.networks(label::CLUSTER_ID, cluster_id).await?;
    let looks: Vec<(String, Result<Look, EngineError>)> = futures_util::stream::iter(ids)
        .map(|id| async move {
            let look = actor.look(&id).await;
            (id, look)
        })
        .buffer_unordered(LOOKS_AT_ONCE)
        .collect()
        .await;
    let mut listing = Listing { sequence, looks: Vec::new(), unread: Vec::new(), networks };
    for (id, look) in looks {
        match look {
            Ok(look) => listing.looks.push(look),
            Err(error) if error.is_unreachable() => return Err(error),
            // One container that the engine cannot describe keeps nothing else from being looked after.
            Err(error) => listing.unread.push((id, error)),
        }
    }
    Ok(listing)
}
