//! The runtime as the daemon sees it: options in, a loop to run, and handles on logs, soft state and counters.

mod keep;
mod link;
mod report;
mod sight;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::BoxStream;
use jaco_state::{Clock, Store, SystemClock};
use jaco_task::CancellationToken;
use jaco_types::NodeId;
use tokio::sync::Semaphore;

use crate::act::Actor;
use crate::engine::{Engine, EngineError, LogOptions};
use crate::lease::{Exclusive, StartRight};
use crate::logs::{self, LogLine};
use crate::network::Networks;
use crate::pull::Pulls;
use crate::soft::{SoftState, Stats};
use crate::traffic::{NoTraffic, Traffic};

/// What a runtime is made from.
pub struct Options {
    /// The container engine.
    pub engine: Arc<dyn Engine>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// This node.
    pub node: NodeId,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who is asked to let go of a container before it stops.
    pub traffic: Arc<dyn Traffic>,
    /// The longest wait for that.
    pub withdraw_limit: Duration,
    /// Creations and starts at a time.
    pub starts_at_once: usize,
    /// Time between two full looks when nothing happens.
    pub safety_tick: Duration,
    /// Shortest time between two transactions of observations.
    pub report_interval: Duration,
    /// MTU of the bridges: the mesh takes 80 bytes of 1500.
    pub bridge_mtu: u32,
    /// What exclusive replicas need; `None`: none is ever started here.
    pub exclusive: Option<Exclusive>,
}

impl Options {
    /// The product's values: 8 starts at once, a look every 30 s, five reports a second, bridges of 1420 bytes, 10 s for requests in
    /// flight.
    pub fn new(engine: Arc<dyn Engine>, store: Arc<dyn Store>, node: NodeId) -> Self {
        Options {
            engine,
            store,
            node,
            clock: Arc::new(SystemClock::new()),
            traffic: Arc::new(NoTraffic),
            withdraw_limit: Duration::from_secs(10),
            starts_at_once: 8,
            safety_tick: Duration::from_secs(30),
            report_interval: Duration::from_millis(200),
            bridge_mtu: 1420,
            exclusive: None,
        }
    }
}

/// Why the loop ended by itself; the supervisor starts it anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// One of its tasks panicked.
    #[error("a task of the container runtime failed: {0}")]
    TaskFailed(String),
    /// The store stopped while the runtime was not asked to.
    #[error("the store stopped")]
    StoreStopped,
}

/// Parts that the loop and its tasks share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) node: NodeId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) actor: Actor,
    pub(crate) pulls: Pulls,
    pub(crate) safety_tick: Duration,
    pub(crate) report_interval: Duration,
    pub(crate) exclusive: Option<Exclusive>,
    pub(crate) reconciled: AtomicBool,
}

/// The containers of this node.
pub struct Runtime {
    shared: Arc<Shared>,
}

impl Runtime {
    /// Puts the parts together; nothing is done before [`Runtime::run`].
    pub fn new(options: Options) -> Self {
        let networks =
            Networks::new(Arc::clone(&options.engine), Arc::clone(&options.store), options.node, options.bridge_mtu);
        let actor = Actor {
            engine: Arc::clone(&options.engine),
            networks,
            start_right: StartRight::new(Arc::clone(&options.store), options.node, options.exclusive.clone()),
            traffic: options.traffic,
            withdraw_limit: options.withdraw_limit,
            starts: Semaphore::new(options.starts_at_once.max(1)),
            soft: SoftState::default(),
            stats: Arc::new(Stats::default()),
            sequence: AtomicU64::new(1),
        };
        let pulls = Pulls::new(options.engine);
        Runtime {
            shared: Arc::new(Shared {
                store: options.store,
                node: options.node,
                clock: options.clock,
                actor,
                pulls,
                safety_tick: options.safety_tick,
                report_interval: options.report_interval,
                exclusive: options.exclusive,
                reconciled: AtomicBool::new(false),
            }),
        }
    }

    /// Keeps this node's containers as desired until `stop`, or until something that should not happen. Containers go on running
    /// after it, and the next run adopts them. Not to be run twice at a time.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), RuntimeError> {
        keep::Keeper::new(Arc::clone(&self.shared)).run(stop).await
    }

    /// Whether the engine answers and nothing runs here that is not wanted here, as of the last look: what heartbeats say.
    pub fn is_reconciled(&self) -> bool {
        self.shared.reconciled.load(Ordering::Relaxed)
    }

    /// Soft state of the replicas here.
    pub fn soft(&self) -> SoftState {
        self.shared.actor.soft.clone()
    }

    /// Counters for metrics.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.shared.actor.stats)
    }

    /// Output of a container by its engine id. With `follow` the stream ends with the container.
    pub fn logs(&self, container: &str, options: LogOptions) -> BoxStream<'static, Result<LogLine, EngineError>> {
        logs::lines(self.shared.actor.engine.logs(container, options))
    }
}
