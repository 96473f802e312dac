//! One run: a cluster, clients, and faults from one seed, checked after each step.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jaco_controlplane::PeerRequest;
use jaco_state::{Leadership, Store, Transaction};
use jaco_testkit::{Weather, cluster_meta};
use jaco_types::{ClusterMeta, Node, NodeId, NodeSchedulability, NodeState, NodeStatus, Tombstone};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::Client;
use crate::forged;
use crate::host::{End, Host, node_record};
use crate::linearizable::{self, Verdict};
use crate::membership;
use crate::model::Model;
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::watching::Watch;
use crate::world::World;

/// Between two looks at everything.
const STEP: Duration = Duration::from_millis(25);
/// For faults and clients.
const TROUBLE: Duration = Duration::from_secs(30);
/// For the cluster to come together before, and to recover after.
const PATIENCE: Duration = Duration::from_secs(90);
/// Most members at a time.
const MEMBERS: usize = 5;
const CLIENTS: u64 = 4;
const WATCHERS: usize = 3;
/// Steps of the search for an order of one register's history.
const SEARCH: u64 = 400_000;

/// A run without a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// A hash of everything that happened.
    pub trace_hash: u64,
    /// Events of the trace.
    pub events: u64,
    /// Entries of the committed history.
    pub entries: u64,
    /// Operations on registers.
    pub operations: u64,
    /// Registers whose history was too long to decide.
    pub undecided: u64,
    /// Changes that watchers were told of one by one.
    pub watched: u64,
    /// Starts of exclusive containers.
    pub exclusive_starts: u64,
    /// Nodes that joined in the time of trouble.
    pub joined: u64,
    /// Elections that were won.
    pub terms: u64,
}

/// A run with a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Runs it again.
    pub seed: u64,
    /// The first thing that was wrong.
    pub what: String,
    /// A hash of everything that happened.
    pub trace_hash: u64,
    /// The last events, oldest first.
    pub trace: Vec<String>,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for event in &self.trace {
            writeln!(f, "{event}")?;
        }
        writeln!(f, "seed {} failed: {}", self.seed, self.what)?;
        write!(f, "trace {:016x}; again: make sim SEEDS=1 SEED={}", self.trace_hash, self.seed)
    }
}

/// Runs a seed on a thread of its own, which nothing of an earlier run has touched.
///
/// # Errors
/// What was wrong, with the trace.
pub fn run(seed: u64) -> Result<Passed, Box<Failed>> {
    run_with(seed, None)
}

/// [`run`] with something broken.
///
/// # Errors
/// That it was noticed.
pub fn run_broken(seed: u64, sabotage: Sabotage) -> Result<Passed, Box<Failed>> {
    run_with(seed, Some(sabotage))
}

thread_local! {
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Simulated time since the run of this thread began; `None` where there is none.
pub fn elapsed() -> Option<Duration> {
    BEGUN.get().map(|begun| begun.elapsed())
}

fn run_with(seed: u64, sabotage: Option<Sabotage>) -> Result<Passed, Box<Failed>> {
    let ended = std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(8 << 20).name(format!("seed-{seed}"));
        builder.spawn_scoped(scope, move || on_this_thread(seed, sabotage)).map(std::thread::ScopedJoinHandle::join)
    });
    let broken = |what: String| Box::new(Failed { seed, what, trace_hash: 0, trace: Vec::new() });
    match ended {
        Ok(Ok(ended)) => ended,
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(broken(format!("a panic: {}", text.unwrap_or_default())))
        }
        Err(error) => Err(broken(format!("no thread: {error}"))),
    }
}

fn on_this_thread(seed: u64, sabotage: Option<Sabotage>) -> Result<Passed, Box<Failed>> {
    crate::entropy::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| {
        Box::new(Failed { seed, what: format!("no runtime: {error}"), trace_hash: 0, trace: Vec::new() })
    })?;
    runtime.block_on(async {
        BEGUN.set(Some(Instant::now()));
        let random = Random::new(seed);
        let world = Arc::new(World::new(&random, sabotage));
        let mut run = Run::new(world.clone(), random);
        let ended = run.all().await;
        let failed = |what| Failed { seed, what, trace_hash: world.trace.hash(), trace: world.trace.last() };
        let ended = ended.map_err(|what| Box::new(failed(world.failure().unwrap_or(what))));
        run.end().await;
        ended
    })
}

struct Run {
    world: Arc<World>,
    random: Random,
    hosts: BTreeMap<NodeId, Host>,
    model: Model,
    watches: Vec<Watch>,
    /// When a host that is down starts again.
    starts: BTreeMap<NodeId, Instant>,
    next_id: u64,
    joined: u64,
}

impl Run {
    fn new(world: Arc<World>, random: Random) -> Self {
        Run {
            world,
            random,
            hosts: BTreeMap::new(),
            model: Model::default(),
            watches: (0..WATCHERS).map(Watch::new).collect(),
            starts: BTreeMap::new(),
            next_id: 1,
            joined: 0,
        }
    }

    async fn all(&mut self) -> Result<Passed, String> {
        self.found().await?;
        self.trouble().await?;
        self.recover().await?;
        let (operations, undecided) = self.judge()?;
        let view = self.model.view();
        Ok(Passed {
            trace_hash: self.world.trace.hash(),
            events: self.world.trace.count(),
            entries: view.index(),
            operations,
            undecided,
            watched: self.watches.iter().map(Watch::batches).sum(),
            exclusive_starts: self.world.exclusive_starts(),
            joined: self.joined,
            terms: self.model.elections(),
        })
    }

    async fn end(&mut self) {
        for host in self.hosts.values_mut() {
            host.end(&self.world, End::PowerCut).await;
        }
    }

    /// A cluster of one, and others that join it while nothing goes wrong.
    async fn found(&mut self) -> Result<(), String> {
        let first = self.new_host().await?;
        let store = self.store(first).ok_or("the first node does not run")?;
        let mut transaction = Transaction::new("system");
        transaction
            .put(node_record(first).ok_or("a host has no name")?)
            .put(NodeStatus { id: first, state: NodeState::Joining, details: BTreeMap::new() })
            .put(NodeSchedulability { id: first, schedulable: true })
            .put(membership::first_data_key(first));
        let meta = ClusterMeta { node_down_after_ms: 5_000, ..cluster_meta() };
        store.initialise(meta, transaction).await.map_err(|error| error.to_string())?;
        let size = 3 + self.random.below(2);
        for _ in 1..size {
            let node = self.new_host().await?;
            let joining = membership::join(self.world.clone(), self.random.split(), vec![node]);
            self.meanwhile(joining).await?;
        }
        self.until("the cluster comes together", |run| run.is_together()).await
    }

    /// Steps while this goes on.
    async fn meanwhile(&mut self, what: impl Future<Output = ()> + Send + 'static) -> Result<(), String> {
        let mut tasks = JoinSet::new();
        tasks.spawn(what);
        while tasks.try_join_next().is_none() {
            self.step().await?;
        }
        Ok(())
    }

    async fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            if Instant::now() >= deadline {
                return Err(format!("in {} s this did not happen: {what}; {}", PATIENCE.as_secs(), self.describe()));
            }
            self.step().await?;
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let one = |(node, member): (NodeId, crate::world::Member)| {
            let status = member.store.status();
            let (voters, learners) = (status.voters.len(), status.learners.len());
            let leads = if status.is_leader { " leads" } else { "" };
            format!(
                "node {}: index {} of {}, term {}{leads}, {voters} voters, {learners} learners",
                node.0, status.applied_index, status.last_index, status.term
            )
        };
        let nodes: Vec<String> = self.world.members().into_iter().map(one).collect();
        let known: Vec<String> = self.model.view().list::<Node>().map(|node| node.id.0.to_string()).collect();
        let leaders = self.world.members().into_iter().map(|(node, member)| {
            let status = member.store.status();
            let one = |member: &jaco_controlplane::MemberStatus| {
                let suffrage = if member.voter { "votes" } else { "learns" };
                format!("{} {suffrage}, matched {:?}", member.node_id.0, member.matched)
            };
            let in_raft: Vec<String> = status.members.iter().map(one).collect();
            format!("{}: {:?}, changing {}, {in_raft:?}", node.0, member.store.leadership(), status.changing)
        });
        let leaders: Vec<String> = leaders.collect();
        format!("{}; history to {}; members {known:?}; {leaders:?}", nodes.join("; "), self.model.tip())
    }

    fn store(&self, node: NodeId) -> Option<jaco_testkit::SeededStore> {
        self.hosts.get(&node).and_then(Host::store).cloned()
    }

    async fn new_host(&mut self) -> Result<NodeId, String> {
        let id = NodeId(self.next_id);
        self.next_id += 1;
        self.hosts.insert(id, Host::new(id, self.random.split()));
        self.start(id).await?;
        Ok(id)
    }

    async fn start(&mut self, node: NodeId) -> Result<(), String> {
        let Some(host) = self.hosts.get_mut(&node) else { return Ok(()) };
        self.world.trace.note(format_args!("node {node} starts"));
        self.model.forget(node);
        host.start(&self.world).await.map_err(|error| format!("node {node} does not start: {error}"))
    }

    async fn stop(&mut self, node: NodeId, how: End) {
        self.world.trace.note(format_args!("node {node}: {how:?}"));
        for watch in self.watches.iter_mut().filter(|watch| watch.node() == Some(node)) {
            watch.detach();
        }
        if let Some(host) = self.hosts.get_mut(&node) {
            host.end(&self.world, how).await;
        }
    }

    /// Lets a little time pass, and looks at everything.
    async fn step(&mut self) -> Result<(), String> {
        tokio::time::sleep(STEP).await;
        self.world.end_containers(Instant::now());
        for host in self.hosts.values() {
            host.guard(&self.world);
        }
        self.check()?;
        for node in self.world.take_removed() {
            if self.hosts.contains_key(&node) {
                self.world.trace.note(format_args!("node {node} learns that it was removed"));
                self.stop(node, End::PowerCut).await;
                self.hosts.remove(&node);
                self.starts.remove(&node);
            }
        }
        let now = Instant::now();
        let due: Vec<NodeId> = self.starts.iter().filter(|(_, at)| **at <= now).map(|(node, _)| *node).collect();
        for node in due {
            self.starts.remove(&node);
            self.start(node).await?;
        }
        self.world.failure().map_or(Ok(()), Err)
    }

    fn check(&mut self) -> Result<(), String> {
        let before = self.model.tip();
        for vote in self.hosts.values().flat_map(|host| host.log.take_elected()) {
            self.model.elected(vote)?;
        }
        for _round in 0..2 {
            // Twice: what one node has dropped already may come from the next one.
            for (node, host) in &self.hosts {
                let Some(store) = host.store() else { continue };
                self.model.follow(*node, &*host.log, &store.view())?;
            }
        }
        if self.model.tip() > before {
            let view = self.model.view();
            self.world.trace.note(format_args!("committed: {} in term {}", view.index(), view.term()));
        }
        self.model.acknowledged(self.world.take_acknowledged())?;
        for watch in &mut self.watches {
            watch.follow(&self.world, &self.model, &self.random)?;
        }
        Ok(())
    }

    /// Clients work, operators operate, and everything else goes wrong.
    async fn trouble(&mut self) -> Result<(), String> {
        if self.world.is_broken(Sabotage::MinorityCommits) {
            self.forge(forged::all_written);
        }
        if self.world.is_broken(Sabotage::UncastVotes) {
            self.forge(forged::vote_granted);
        }
        let mut tasks = JoinSet::new();
        for number in 1..=CLIENTS {
            tasks.spawn(Client { number, world: self.world.clone(), random: self.random.split() }.run());
        }
        let end = Instant::now() + TROUBLE;
        let mut next = Instant::now() + self.random.millis(200, 1_500);
        while Instant::now() < end {
            self.step().await?;
            if Instant::now() >= next {
                self.fault(&mut tasks).await?;
                next = Instant::now() + self.random.millis(100, 2_500);
            }
        }
        Ok(())
    }

    /// What one node asks of others is answered by this.
    fn forge(&self, forger: impl Fn(NodeId, &PeerRequest) -> Option<Bytes> + Send + Sync + 'static) {
        let nodes: Vec<NodeId> = self.hosts.keys().copied().collect();
        if let Some(deceived) = self.random.pick(&nodes) {
            self.world.trace.note(format_args!("node {deceived} is deceived"));
            let links = nodes.into_iter().filter(|other| *other != deceived).map(|other| (deceived, other));
            self.world.network.forge(links, forger);
        }
    }

    fn up(&self) -> Vec<NodeId> {
        self.hosts.iter().filter(|(_, host)| host.store().is_some()).map(|(node, _)| *node).collect()
    }

    async fn fault(&mut self, tasks: &mut JoinSet<()>) -> Result<(), String> {
        let nodes: Vec<NodeId> = self.hosts.keys().copied().collect();
        let leader = self.world.members().into_iter().find(|(_, member)| member.store.status().is_leader);
        // Who leads is where most can go wrong.
        let chosen = leader.map(|(node, _)| node).filter(|_| self.random.percent(40));
        let Some(node) = chosen.or_else(|| self.random.pick(&self.up())) else { return Ok(()) };
        match self.random.below(100) {
            0..2 => {
                self.world.trace.note("everything loses power");
                for node in self.up() {
                    self.stop(node, End::PowerCut).await;
                    self.starts.insert(node, Instant::now() + self.random.millis(50, 3_000));
                }
            }
            2..25 => {
                let how = [End::PowerCut, End::PowerCut, End::Killed, End::Stopped];
                self.stop(node, self.random.pick(&how).unwrap_or(End::PowerCut)).await;
                self.starts.insert(node, Instant::now() + self.random.millis(50, 9_000));
            }
            25..40 => {
                self.world.trace.note(format_args!("node {node} is cut off"));
                self.world.network.isolate(node, nodes);
            }
            40..52 => {
                let other = self.random.pick(&nodes).unwrap_or(node);
                self.world.trace.note(format_args!("node {node} is not heard by node {other}"));
                self.world.network.cut(node, other);
            }
            52..57 => {
                self.world.trace.note(format_args!("nobody hears node {node}"));
                nodes.iter().filter(|other| **other != node).for_each(|other| self.world.network.cut(node, *other));
            }
            57..74 => {
                self.world.trace.note("all links work");
                self.world.network.heal();
            }
            74..84 => self.change_weather(),
            84..88 => {
                let by_ms = i64::try_from(self.random.below(120_000)).unwrap_or(0) - 60_000;
                self.world.trace.note(format_args!("the clock of node {node} jumps by {by_ms} ms"));
                if let Some(host) = self.hosts.get(&node) {
                    host.clock.jump(by_ms);
                }
            }
            88..91 => {
                let takes = Duration::ZERO..self.random.millis(1, 400);
                self.world.trace.note(format_args!("syncs of node {node} take up to {:?}", takes.end));
                if let Some(host) = self.hosts.get(&node) {
                    host.log.set_sync(takes);
                }
            }
            91..96 if self.hosts.len() < MEMBERS => self.join(tasks).await?,
            96.. if self.model.view().count::<Node>() > 2 => {
                tasks.spawn(membership::remove(self.world.clone(), self.random.split(), node));
            }
            _ => {
                let watch = usize::try_from(self.random.below(WATCHERS as u64)).unwrap_or(0);
                self.watches.iter_mut().skip(watch).take(1).for_each(Watch::detach);
            }
        }
        Ok(())
    }

    fn change_weather(&self) {
        let weather = match self.random.below(4) {
            0 => Weather::default(),
            1 => Weather { late_chance: 50, late: self.random.millis(50, 3_000), ..Weather::default() },
            2 => Weather { loss_chance: self.random.below(100), duplicate_chance: 200, ..Weather::default() },
            _ => Weather {
                delay: Duration::from_millis(1)..self.random.millis(5, 120),
                late_chance: 20,
                late: Duration::from_secs(1),
                loss_chance: self.random.below(20),
                duplicate_chance: self.random.below(300),
            },
        };
        self.world.trace.note(format_args!("{weather:?}"));
        self.world.network.set_weather(weather);
    }

    /// One host joins, or two want to with one token.
    async fn join(&mut self, tasks: &mut JoinSet<()>) -> Result<(), String> {
        let mut joiners = vec![self.new_host().await?];
        if self.random.percent(40) {
            joiners.push(self.new_host().await?);
        }
        tasks.spawn(membership::join(self.world.clone(), self.random.split(), joiners));
        Ok(())
    }

    /// Everything works again: what remains must come together and serve.
    async fn recover(&mut self) -> Result<(), String> {
        self.world.trace.note("the trouble is over");
        self.world.network.heal();
        self.world.network.set_weather(Weather::default());
        self.world.network.forge([], |_to, _request| None);
        for host in self.hosts.values() {
            host.log.set_sync(Duration::from_millis(1)..Duration::from_millis(3));
        }
        for node in std::mem::take(&mut self.starts).into_keys() {
            self.start(node).await?;
        }
        self.until("the cluster comes together again", Run::is_together).await?;
        for node in self.up() {
            let is_member = self.model.view().get::<Node>(&node.to_string()).is_some();
            let Some(store) = self.store(node).filter(|_| is_member) else { continue };
            let mut transaction = Transaction::new("local");
            transaction.audit("recovered", [("node", node.to_string())]);
            let deadline = Instant::now() + PATIENCE;
            while let Err(error) = store.propose(transaction.clone()).await {
                if Instant::now() >= deadline {
                    let told = format!("node {node} takes no write after all was well again: {error}");
                    return Err(format!("{told}; {}", self.describe()));
                }
                self.step().await?;
                // A removal that was asked for in time may end only now.
                if self.store(node).is_none() {
                    break;
                }
            }
        }
        self.until("all nodes have the same", Run::is_together).await?;
        self.joined = self.model.view().count::<Node>() as u64 + self.model.view().count::<Tombstone>() as u64;
        self.model.complete()
    }

    /// Whether somebody leads, and every member has all there is and belongs to raft's membership.
    fn is_together(&self) -> bool {
        let members = self.world.members();
        let leads = |store: &jaco_testkit::SeededStore| matches!(store.leadership(), Leadership::Leader { .. });
        let Some((_, leader)) = members.iter().find(|(_, member)| leads(&member.store)) else { return false };
        let (view, status) = (leader.store.view(), leader.store.status());
        let known: Vec<NodeId> = view.list::<Node>().map(|node| node.id).collect();
        let in_raft: Vec<NodeId> = status.members.iter().map(|member| member.node_id).collect();
        let caught_up = |node: &NodeId| {
            members.iter().any(|(other, member)| other == node && member.store.view().index() == view.index())
        };
        known.len() == in_raft.len()
            && known.iter().all(|node| in_raft.contains(node))
            && known.iter().all(caught_up)
            && view.index() == self.model.tip()
    }

    fn judge(&self) -> Result<(u64, u64), String> {
        let (mut operations, mut undecided) = (0, 0);
        for (register, history) in self.world.registers() {
            operations += history.len() as u64;
            match linearizable::check(&history, SEARCH) {
                Verdict::Linearizable => {}
                Verdict::Undecided => undecided += 1,
                Verdict::NotLinearizable { stuck, value } => {
                    let around = stuck.map_or(0, |stuck| stuck.called);
                    let near = |operation: &&linearizable::Operation| operation.called.abs_diff(around) < 80;
                    for operation in history.iter().filter(near) {
                        self.world.trace.note(format_args!("register {register}: {operation:?}"));
                    }
                    self.world.trace.note(format_args!("stuck at {stuck:?}, where it holds {value:?}"));
                    return Err(format!("the history of register {register} cannot have happened in any order"));
                }
            }
        }
        Ok((operations, undecided))
    }
}
