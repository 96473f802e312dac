//! The composition root: load, build, spawn, drain. It knows all parts and decides nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use jaco_api::{Api, Limits, Parts, serve_unix};
use jaco_controlplane::{ControlPlane, DataDirLock, Deployments, Options as ControlPlaneOptions, Scheduling};
use jaco_ingress::{HttpListener, Ingress, Options as IngressOptions, port_details};
use jaco_runtime::{DockerEngine, Options as RuntimeOptions, Runtime};
use jaco_state::{Clock, ProposeError, Store, SystemClock};
use jaco_task::{Backoff, LoopSpec, OnExit, Supervisor, Wake};
use jaco_types::NodeId;
use sd_notify::NotifyState;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};

use crate::adapt::{ClusterConsensus, IngressTraffic, RuntimeLogs, RuntimeSoft, SupervisedLoops};
use crate::config::Config;
use crate::logging::Logging;
use crate::metrics::{ApplyDuration, CommitLatency, Metrics, Sources};
use crate::sockets::{self, Inherited, ManagerKeeper};
use crate::{VERSION, node_id};

/// Task that keeps desired replicas in line with deployments.
pub(crate) const SCHEDULER: &str = "scheduler";
const SCHEDULER_WAKE: &str = "scheduler-wake";
const RUNTIME: &str = "runtime";
const ROUTES: &str = "ingress-routes";
const PORTS: &str = "ingress-ports";
const API: &str = "api";
const METRICS: &str = "metrics";
const STORE: &str = "store";

/// The order in which tasks stop: first what takes requests, then what acts on them.
const STOP_ORDER: &[&str] = &[API, SCHEDULER_WAKE, SCHEDULER, RUNTIME, ROUTES, PORTS, METRICS, STORE];

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

/// Everything built, sockets bound, nothing running yet but the ingress with its last known routes.
struct Built {
    config: Config,
    lock: DataDirLock,
    control_plane: ControlPlane,
    scheduling: Scheduling,
    runtime: Arc<Runtime>,
    ingress: Arc<Ingress>,
    api: Api,
    control: std::os::unix::net::UnixListener,
    metrics: Arc<Metrics>,
    metrics_listener: std::net::TcpListener,
    supervisor: Supervisor,
    ready: Arc<AtomicBool>,
}

/// Runs the daemon until a signal or a failure that it cannot live with.
pub(crate) async fn run(loaded: Loaded) -> anyhow::Result<()> {
    let built = build(loaded).await?;
    built.spawn();
    let outcome = built.serve().await;
    built.drain().await;
    outcome
}

async fn build(loaded: Loaded) -> anyhow::Result<Built> {
    let Loaded { config, logging } = loaded;
    // The lock comes first: a second daemon must not touch the sockets of the one that runs.
    let lock = DataDirLock::acquire(&config.data_dir)?;
    let mut inherited = Inherited::take().context("the service manager's sockets cannot be taken over")?;
    let control = inherited.control(&config.unix_socket)?;
    control.set_nonblocking(true)?;
    let node = node_id::load_or_create(&config.data_dir, rand::random())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let ingress = Arc::new(build_ingress(&config, &mut inherited)?);
    let commits = CommitLatency::new();
    let applies = ApplyDuration::new();
    let mut options = ControlPlaneOptions::new(&config.data_dir, node);
    options.clock = Arc::clone(&clock);
    options.observer = Arc::new(commits.clone());
    let control_plane = ControlPlane::open(options).await?;
    let store: Arc<dyn Store> = Arc::new(control_plane.clone());
    let runtime = Arc::new(build_runtime(&config, &store, node, &ingress));
    let scheduling = Scheduling::new(Arc::clone(&store));
    let supervisor = Supervisor::new();
    let ready = Arc::new(AtomicBool::new(false));
    let metrics = Metrics::new(Sources {
        control_plane: control_plane.clone(),
        scheduling: scheduling.clone(),
        runtime: Arc::clone(&runtime),
        ingress: Arc::clone(&ingress),
        supervisor: supervisor.clone(),
        commits,
        applies: applies.clone(),
        ready: Arc::clone(&ready),
    });
    let metrics_listener = std::net::TcpListener::bind(config.metrics_addr)
        .with_context(|| format!("metrics_addr {} cannot be bound", config.metrics_addr))?;
    metrics_listener.set_nonblocking(true)?;
    let api = Api::new(Parts {
        deployments: Deployments::new(Arc::clone(&store), Arc::clone(&clock)),
        store,
        consensus: Arc::new(ClusterConsensus {
            control_plane: control_plane.clone(),
            config: config.clone(),
            clock: Arc::clone(&clock),
        }),
        loops: Arc::new(SupervisedLoops { supervisor: supervisor.clone(), clock }),
        timings: Arc::new(applies),
        log_levels: Arc::new(logging),
        soft: Arc::new(RuntimeSoft(runtime.soft())),
        logs: Arc::new(RuntimeLogs(Arc::clone(&runtime))),
        limits: Limits::default(),
        reserved_ports: reserved_ports(&config),
        node,
        hostname: config.hostname.clone(),
        version: VERSION,
    });
    Ok(Built {
        config,
        lock,
        control_plane,
        scheduling,
        runtime,
        ingress,
        api,
        control,
        metrics: Arc::new(metrics),
        metrics_listener,
        supervisor,
        ready,
    })
}

/// Ports of the daemon itself: no deployment may publish them.
fn reserved_ports(config: &Config) -> Vec<u16> {
    [config.listen_addr, config.cluster_addr, config.http_addr, config.https_addr, config.metrics_addr]
        .iter()
        .map(std::net::SocketAddr::port)
        .chain([config.wg_port])
        .collect()
}

fn build_ingress(config: &Config, inherited: &mut Inherited) -> anyhow::Result<Ingress> {
    let kept = inherited.http(config.http_addr);
    let http = if kept.is_empty() {
        vec![HttpListener::Bind(config.http_addr)]
    } else {
        kept.into_iter().map(HttpListener::Inherited).collect()
    };
    let mut options = IngressOptions::new(http);
    options.cache_file = Some(config.data_dir.join("ingress/cache/routes.json"));
    options.ports = inherited.ports();
    options.port_keeper = Arc::new(ManagerKeeper);
    let ingress = Ingress::start(options).with_context(|| format!("http_addr {}", config.http_addr))?;
    sockets::keep_http(&ingress.listeners()?);
    Ok(ingress)
}

fn build_runtime(config: &Config, store: &Arc<dyn Store>, node: NodeId, ingress: &Arc<Ingress>) -> Runtime {
    let engine = Arc::new(DockerEngine::new(config.docker_socket.display().to_string()));
    let mut options = RuntimeOptions::new(engine, Arc::clone(store), node);
    options.traffic = Arc::new(IngressTraffic(Arc::clone(ingress)));
    Runtime::new(options)
}

impl Built {
    /// Starts every part but the API.
    fn spawn(&self) {
        self.spawn_store_watch();
        self.spawn_scheduler();
        self.spawn_runtime();
        self.spawn_routes();
        self.spawn_port_conditions();
        self.spawn_metrics();
    }

    /// Opens the API and waits for the reason to stop.
    async fn serve(&self) -> anyhow::Result<()> {
        let opened = async {
            self.open().await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            outcome = self.wait() => outcome,
            () = opened => Ok(()),
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
        self.ready.store(true, Ordering::Release);
        sockets::notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
        tracing::info!(
            version = VERSION,
            hostname = %self.config.hostname,
            socket = %self.config.unix_socket.display(),
            data_dir = %self.lock.path().display(),
            "jacod is ready"
        );
    }

    /// An I/O error of the log or a snapshot ends the node: what it acknowledged could not be kept otherwise.
    fn spawn_store_watch(&self) {
        let (control_plane, config) = (self.control_plane.clone(), self.config.clone());
        self.supervisor.spawn_service(STORE, OnExit::StopNode, move |context| {
            let (control_plane, config) = (control_plane.clone(), config.clone());
            async move {
                let told = async {
                    // A store that does not catch up says so elsewhere.
                    let view = control_plane.ready().await.unwrap_or_else(|_| control_plane.view());
                    for disagreement in view.cluster().map(|cluster| config.disagreements(cluster)).unwrap_or_default() {
                        tracing::warn!(%disagreement, "jacod.yaml is not followed: the cluster fixed this value at its init");
                    }
                    std::future::pending().await
                };
                tokio::select! {
                    () = told => Ok(()),
                    () = context.shutdown.cancelled() => Ok(()),
                    fatal = control_plane.fatal() => Err(fatal.reason),
                }
            }
        });
    }

    fn spawn_scheduler(&self) {
        let wake = Wake::new();
        self.supervisor.spawn_loop(LoopSpec::new(SCHEDULER, SCHEDULER_TICK), wake.clone(), self.scheduling.pass());
        let scheduling = self.scheduling.clone();
        self.supervisor.spawn_service(SCHEDULER_WAKE, OnExit::Restart(Backoff::default()), move |context| {
            let (scheduling, wake) = (scheduling.clone(), wake.clone());
            async move { scheduling.wake_on_changes(wake, context).await }
        });
    }

    /// Nothing is removed from the engine before this node knows everything that was acknowledged.
    fn spawn_runtime(&self) {
        let (runtime, control_plane) = (Arc::clone(&self.runtime), self.control_plane.clone());
        self.supervisor.spawn_service(RUNTIME, OnExit::Restart(Backoff::default()), move |context| {
            let (runtime, control_plane) = (Arc::clone(&runtime), control_plane.clone());
            async move {
                tokio::select! {
                    () = context.shutdown.cancelled() => return Ok(()),
                    caught_up = control_plane.ready() => caught_up.map_err(|error| error.to_string())?,
                };
                runtime.run(context.shutdown).await.map_err(|error| error.to_string())
            }
        });
    }

    /// Until the store has caught up, the cached routes serve.
    fn spawn_routes(&self) {
        let (ingress, control_plane) = (Arc::clone(&self.ingress), self.control_plane.clone());
        self.supervisor.spawn_service(ROUTES, OnExit::Restart(Backoff::default()), move |context| {
            let (ingress, control_plane) = (Arc::clone(&ingress), control_plane.clone());
            async move {
                tokio::select! {
                    () = context.shutdown.cancelled() => return Ok(()),
                    caught_up = control_plane.ready() => caught_up.map_err(|error| error.to_string())?,
                };
                let store: Arc<dyn Store> = Arc::new(control_plane);
                ingress
                    .route_loop(store, context.shutdown, |report| {
                        if let Some(error) = report.cache_error {
                            tracing::warn!(%error, "the last known routes could not be kept for the next start");
                        }
                    })
                    .await;
                Ok::<(), String>(())
            }
        });
    }

    fn spawn_port_conditions(&self) {
        let (ingress, control_plane) = (Arc::clone(&self.ingress), self.control_plane.clone());
        self.supervisor.spawn_loop(LoopSpec::new(PORTS, PORTS_TICK), Wake::new(), move |_context| {
            let (ingress, control_plane) = (Arc::clone(&ingress), control_plane.clone());
            async move {
                let view = control_plane.view();
                let Some(transaction) = port_details(&view, control_plane.node_id(), &ingress.port_conditions()) else {
                    return Ok(());
                };
                match control_plane.propose(transaction).await {
                    // A refusal means that the status was written meanwhile: the next look finds what is left to say.
                    Ok(_) | Err(ProposeError::Refused { .. }) => Ok(()),
                    Err(error) => Err(error),
                }
            }
        });
    }

    fn spawn_metrics(&self) {
        let metrics = Arc::clone(&self.metrics);
        let listener = self.metrics_listener.try_clone();
        self.supervisor.spawn_service(METRICS, OnExit::Restart(Backoff::default()), move |context| {
            let metrics = Arc::clone(&metrics);
            let listener = duplicate(&listener, std::net::TcpListener::try_clone, TcpListener::from_std);
            async move { metrics.serve(listener?, context).await.map_err(|error| error.to_string()) }
        });
    }

    fn spawn_api(&self) {
        let api = self.api.clone();
        let listener = self.control.try_clone();
        self.supervisor.spawn_service(API, OnExit::StopNode, move |context| {
            let api = api.clone();
            let listener = duplicate(&listener, std::os::unix::net::UnixListener::try_clone, UnixListener::from_std);
            async move { serve_unix(api, listener?, context.shutdown).await.map_err(|error| error.to_string()) }
        });
    }

    /// Waits for the reason to stop: a signal, which is a clean end, or a part that the node cannot do without.
    async fn wait(&self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => tracing::info!("stopping: SIGTERM"),
            _ = interrupt.recv() => tracing::info!("stopping: SIGINT"),
            fatal = self.supervisor.fatal() => anyhow::bail!("{fatal}"),
        }
        Ok(())
    }

    /// Stops everything in order. Containers go on; the ingress's sockets stay open at the service manager.
    async fn drain(self) {
        sockets::notify(&[NotifyState::Stopping]);
        self.ready.store(false, Ordering::Release);
        let report = self.supervisor.drain(STOP_ORDER, DRAIN).await;
        if !report.aborted.is_empty() {
            tracing::warn!(tasks = ?report.aborted, "tasks did not stop in time");
        }
        self.ingress.stop(INGRESS_DRAIN).await;
        self.control_plane.shutdown().await;
        tracing::info!(tasks = report.joined.len(), "jacod has stopped");
    }
}

/// A listener for one life of a task, from the one kept for all of them: connections wait in its queue between two lives.
fn duplicate<S, T>(
    kept: &std::io::Result<S>,
    clone: impl FnOnce(&S) -> std::io::Result<S>,
    register: impl FnOnce(S) -> std::io::Result<T>,
) -> Result<T, String> {
    kept.as_ref()
        .map_err(ToString::to_string)
        .and_then(|listener| clone(listener).and_then(register).map_err(|error| error.to_string()))
}
