//! The composition root: load, build, spawn, drain. It knows all parts and decides nothing.

mod tasks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use jaco_api::{Api, Limits, Parts};
use jaco_client::Members;
use jaco_controlplane::{
    BootClock, ControlPlane, DataDirLock, Deployments, Enrolment, LEADER_LOOPS, OpenError,
    Options as ControlPlaneOptions, PeerTransport, Scheduling, Sealing, SessionTable, SessionTableOptions,
};
use jaco_ingress::{HttpListener, Ingress, Options as IngressOptions, Reach};
use jaco_runtime::{DockerEngine, LeaseHandle, Options as RuntimeOptions, Runtime};
use jaco_scheduler::LeaseTerms;
use jaco_state::{Clock, Store, SystemClock};
use jaco_task::Supervisor;
use jaco_types::NodeId;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::adapt::{IngressTraffic, RuntimeLogs, RuntimeSoft, SupervisedLoops};
use crate::config::Config;
use crate::contact::Contact;
use crate::departure;
use crate::diagnostics::NodeDiagnostics;
use crate::fencing;
use crate::founding::ClusterConsensus;
use crate::listeners::Listeners;
use crate::logging::Logging;
use crate::members::{ClusterLogs, OtherDaemons};
use crate::metrics::{ApplyDuration, CommitLatency, Metrics, Sources};
use crate::names::STOP_ORDER;
use crate::record::own_record;
use crate::sockets::{self, Inherited, ManagerKeeper};
use crate::trust::Trust;
use crate::{VERSION, node_id};

/// The API waits this long for the node to catch up with what it acknowledged before it started.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Time for tasks to stop in, and for requests in flight through the ingress.
const DRAIN: Duration = Duration::from_secs(8);
const INGRESS_DRAIN: Duration = Duration::from_secs(5);

/// The scheduler looks at everything this often, whatever it was told.
const SCHEDULER_TICK: Duration = Duration::from_secs(30);

/// A published port that cannot be opened is told within this time; the ingress tries it each second.
const PORTS_TICK: Duration = Duration::from_secs(2);

/// What was found before anything was started.
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) logging: Logging,
}

/// What one life of the daemon leaves to the next: a node that was initialised, joined or removed builds everything anew, in the same
/// process and on the same control socket.
struct Process {
    config: Config,
    logging: Arc<Logging>,
    inherited: Inherited,
    control: std::os::unix::net::UnixListener,
    listeners: Listeners,
    /// Those of the ingress, once it has run: no request is refused between two lives.
    http: Vec<std::net::TcpListener>,
    /// For all lives: a signal between two of them must not be lost.
    signals: StopSignals,
    _lock: DataDirLock,
}

/// The signals that end the daemon.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

/// Why a life ended.
enum End {
    /// A signal.
    Stop,
    /// The node's place in the world has changed.
    Rebuild,
    /// The node is no member any more of this cluster.
    Leave {
        /// UUID of the cluster.
        cluster_id: String,
    },
}

/// Everything built, sockets bound, nothing running yet but the ingress with its last known routes.
struct Built {
    config: Config,
    control_plane: ControlPlane,
    clock: Arc<dyn Clock>,
    scheduling: Scheduling,
    runtime: Arc<Runtime>,
    ingress: Arc<Ingress>,
    api: Api,
    control: std::os::unix::net::UnixListener,
    metrics: Arc<Metrics>,
    listeners: Listeners,
    supervisor: Supervisor,
    ready: Arc<AtomicBool>,
    rebuild: CancellationToken,
    network: Option<Network>,
}

/// What a member serves to the network.
struct Network {
    trust: Trust,
    enrolment: Enrolment,
    /// The way to other members.
    dialer: Members,
    /// Sessions of all nodes, while this one leads.
    sessions: SessionTable,
    /// This node's right to run exclusive replicas.
    lease: LeaseHandle,
    /// When it last heard of a majority.
    contact: Contact,
    /// Cancelled when a member says that this node was removed.
    removed: CancellationToken,
}

/// Runs the daemon until a signal or a failure that it cannot live with.
pub(crate) async fn run(loaded: Loaded) -> anyhow::Result<()> {
    let mut process = load(loaded)?;
    loop {
        let built = build(&mut process).await?;
        built.spawn();
        let outcome = built.serve(&mut process.signals).await;
        let last = !matches!(outcome, Ok(End::Rebuild | End::Leave { .. }));
        built.drain(last).await;
        match outcome? {
            End::Stop => return Ok(()),
            End::Rebuild => tracing::info!("the node's place in the cluster has changed: every part starts anew"),
            End::Leave { cluster_id } => {
                tracing::warn!(cluster_id, "this node was removed from its cluster: its containers and data of it go");
                departure::clean_up(&process.config, &cluster_id).await?;
            }
        }
    }
}

fn load(loaded: Loaded) -> anyhow::Result<Process> {
    let Loaded { config, logging } = loaded;
    // The lock comes first: a second daemon must not touch the sockets of the one that runs.
    let lock = DataDirLock::acquire(&config.data_dir)?;
    jaco_controlplane::Staging::finish(&lock).context("a restore or recovery that was decided cannot be finished")?;
    let mut inherited = Inherited::take().context("the service manager's sockets cannot be taken over")?;
    let control = inherited.control(&config.unix_socket)?;
    control.set_nonblocking(true)?;
    let listeners = Listeners::bind(&config)?;
    let http = inherited.http(config.http_addr);
    let signals =
        StopSignals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
    Ok(Process { config, logging: Arc::new(logging), inherited, control, listeners, http, signals, _lock: lock })
}

async fn build(process: &mut Process) -> anyhow::Result<Built> {
    let config = process.config.clone();
    let node = node_id::load_or_create(&config.data_dir, rand::random())?;
    let trust = Trust::load(&config.data_dir)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let ingress = Arc::new(build_ingress(node, process)?);
    let commits = CommitLatency::new();
    let applies = ApplyDuration::new();
    let mut options = ControlPlaneOptions::new(&config.data_dir, node);
    options.clock = Arc::clone(&clock);
    options.observer = Arc::new(commits.clone());
    options.feature_level = config.feature_level;
    options.address = own_record(&config, node, 0).cluster_address;
    let members = trust.as_ref().map(|trust| trust.connector().map(Members::new)).transpose()?;
    let control_plane = open_store(options, trust.as_ref(), members.as_ref()).await?;
    let store: Arc<dyn Store> = Arc::new(control_plane.clone());
    let rebuild = CancellationToken::new();
    let sealing = trust.as_ref().map(|trust| Sealing::new(node, trust.seal_key.clone()));
    let enrolment = sealing.map(|sealing| Enrolment::new(Arc::clone(&store), Arc::clone(&clock), sealing));
    let lease = LeaseHandle::default();
    let runtime = Arc::new(build_runtime(&config, &store, node, &ingress, lease.clone()));
    let sessions = SessionTable::new(SessionTableOptions {
        store: Arc::clone(&store),
        predecessor: Arc::new(control_plane.clone()),
        own: node,
        clock: Arc::new(BootClock),
        terms: LeaseTerms::default(),
    });
    let scheduling = Scheduling::new(Arc::clone(&store)).with_sessions(sessions.clone());
    let contact = Contact::new();
    let supervisor = Supervisor::new();
    let ready = Arc::new(AtomicBool::new(false));
    let metrics = Arc::new(Metrics::new(Sources {
        control_plane: control_plane.clone(),
        scheduling: scheduling.clone(),
        runtime: Arc::clone(&runtime),
        ingress: Arc::clone(&ingress),
        supervisor: supervisor.clone(),
        commits,
        applies: applies.clone(),
        ready: Arc::clone(&ready),
    }));
    let api = Api::new(Parts {
        deployments: Deployments::new(Arc::clone(&store), Arc::clone(&clock)),
        store,
        consensus: Arc::new(ClusterConsensus {
            control_plane: control_plane.clone(),
            config: config.clone(),
            clock: Arc::clone(&clock),
            contact: contact.clone(),
            rebuild: rebuild.clone(),
        }),
        enrolment: enrolment.clone(),
        loops: Arc::new(SupervisedLoops { supervisor: supervisor.clone(), clock: Arc::clone(&clock) }),
        timings: Arc::new(applies),
        log_levels: Arc::clone(&process.logging) as Arc<dyn jaco_api::LogLevels>,
        diagnostics: Arc::new(NodeDiagnostics {
            config: config.clone(),
            control_plane: control_plane.clone(),
            metrics: Arc::clone(&metrics),
            recent: process.logging.recent().clone(),
        }),
        other_nodes: Arc::new(OtherDaemons(members.clone())),
        soft: Arc::new(RuntimeSoft(runtime.soft())),
        logs: Arc::new(ClusterLogs {
            own: node,
            local: Arc::new(RuntimeLogs(Arc::clone(&runtime))),
            members: members.clone(),
            store: Arc::new(control_plane.clone()),
        }),
        limits: Limits::default(),
        reserved_ports: reserved_ports(&config),
        node,
        hostname: config.hostname.clone(),
        version: VERSION,
    });
    let network = match (trust, enrolment, members) {
        (Some(trust), Some(enrolment), Some(dialer)) => {
            Some(Network { trust, enrolment, dialer, sessions, lease, contact, removed: CancellationToken::new() })
        }
        _ => None,
    };
    Ok(Built {
        config,
        control_plane,
        clock,
        scheduling,
        runtime,
        ingress,
        api,
        control: process.control.try_clone()?,
        metrics,
        listeners: process.listeners.try_clone()?,
        supervisor,
        ready,
        rebuild,
        network,
    })
}

/// Opens the store: of the cluster that the node belongs to, or one of its own as long as it belongs to none.
async fn open_store(
    mut options: ControlPlaneOptions,
    trust: Option<&Trust>,
    members: Option<&Members>,
) -> Result<ControlPlane, OpenError> {
    let (Some(trust), Some(members)) = (trust, members) else { return ControlPlane::open(options).await };
    options.transport = Arc::new(PeerTransport(members.clone()));
    ControlPlane::open_member(options, &trust.record).await
}

/// Ports of the daemon itself: no deployment may publish them.
fn reserved_ports(config: &Config) -> Vec<u16> {
    [config.listen_addr, config.cluster_addr, config.http_addr, config.https_addr, config.metrics_addr]
        .iter()
        .map(std::net::SocketAddr::port)
        .chain([config.wg_port])
        .collect()
}

fn build_ingress(node: NodeId, process: &mut Process) -> anyhow::Result<Ingress> {
    let config = &process.config;
    let kept = std::mem::take(&mut process.http);
    let http = if kept.is_empty() {
        vec![HttpListener::Bind(config.http_addr)]
    } else {
        kept.into_iter().map(HttpListener::Inherited).collect()
    };
    let mut options = IngressOptions::new(http);
    // As long as there is no mesh, containers of other nodes cannot be reached.
    options.reach = Reach::Node(node);
    options.cache_file = Some(config.data_dir.join("ingress/cache/routes.json"));
    options.ports = process.inherited.ports();
    options.port_keeper = Arc::new(ManagerKeeper);
    let ingress = Ingress::start(options).with_context(|| format!("http_addr {}", config.http_addr))?;
    let listeners = ingress.listeners()?;
    sockets::keep_http(&listeners);
    process.http = listeners.into_iter().map(std::net::TcpListener::from).collect();
    Ok(ingress)
}

fn build_runtime(
    config: &Config,
    store: &Arc<dyn Store>,
    node: NodeId,
    ingress: &Arc<Ingress>,
    lease: LeaseHandle,
) -> Runtime {
    let engine = Arc::new(DockerEngine::new(config.docker_socket.display().to_string()));
    let mut options = RuntimeOptions::new(engine, Arc::clone(store), node);
    options.traffic = Arc::new(IngressTraffic(Arc::clone(ingress)));
    options.exclusive = Some(fencing::exclusive(config, lease));
    Runtime::new(options)
}

impl Built {
    /// Opens the API and waits for the reason to stop.
    async fn serve(&self, signals: &mut StopSignals) -> anyhow::Result<End> {
        let opened = async {
            self.open().await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            outcome = self.wait(signals) => outcome,
            () = opened => Ok(End::Stop),
        }
    }

    /// Starts the API, as its answering is what "ready" means, once this node knows everything it acknowledged before it started: no
    /// answer may be older than one given before a restart. A node that finds no majority opens nevertheless, and tells.
    async fn open(&self) {
        match tokio::time::timeout(CATCH_UP, self.control_plane.ready()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "serving before this node has caught up"),
            Err(_elapsed) => tracing::warn!(after = ?CATCH_UP, "serving before this node has caught up"),
        }
        self.spawn_api();
        if let Some(network) = &self.network {
            self.spawn_api_tls(network);
        }
        self.ready.store(true, Ordering::Release);
        sockets::notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
        tracing::info!(
            version = VERSION,
            hostname = %self.config.hostname,
            socket = %self.config.unix_socket.display(),
            data_dir = %self.config.data_dir.display(),
            "jacod is ready"
        );
    }

    /// Resolves with the cluster's id when a member has told this node that it was removed.
    async fn removed(&self) -> String {
        match &self.network {
            Some(network) => {
                network.removed.cancelled().await;
                network.trust.record.cluster_id.clone()
            }
            None => std::future::pending().await,
        }
    }

    /// Waits for the reason to stop: a signal, which is a clean end, or a part that the node cannot do without.
    async fn wait(&self, signals: &mut StopSignals) -> anyhow::Result<End> {
        tokio::select! {
            _ = signals.terminate.recv() => tracing::info!("stopping: SIGTERM"),
            _ = signals.interrupt.recv() => tracing::info!("stopping: SIGINT"),
            () = self.rebuild.cancelled() => return Ok(End::Rebuild),
            cluster_id = self.removed() => return Ok(End::Leave { cluster_id }),
            fatal = self.supervisor.fatal() => anyhow::bail!("{fatal}"),
        }
        Ok(End::Stop)
    }

    /// Stops everything in order. Containers go on; the ingress's sockets stay open at the service manager.
    async fn drain(self, last: bool) {
        if last {
            sockets::notify(&[NotifyState::Stopping]);
        }
        self.ready.store(false, Ordering::Release);
        // The leader's loops write, so they end before the store is left alone.
        let order: Vec<&str> = LEADER_LOOPS.iter().chain(STOP_ORDER).copied().collect();
        let report = self.supervisor.drain(&order, DRAIN).await;
        if !report.aborted.is_empty() {
            tracing::warn!(tasks = ?report.aborted, "tasks did not stop in time");
        }
        self.ingress.stop(INGRESS_DRAIN).await;
        self.control_plane.shutdown().await;
        tracing::info!(tasks = report.joined.len(), "jacod has stopped");
    }
}
