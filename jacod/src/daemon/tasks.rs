//! The daemon's tasks: one function each, which names its parts and says what its end means.

use std::sync::Arc;

use jaco_api::{InternalApi, InternalParts, PortLimits, serve_members, serve_tls, serve_unix};
use jaco_controlplane::{BootClock, LeaderLoops, SessionClient};
use jaco_ingress::port_details;
use jaco_state::{ProposeError, Store};
use jaco_task::{Backoff, LoopSpec, OnExit, Wake};
use tokio::net::{TcpListener, UnixListener};

use super::{Built, Network, PORTS_TICK, SCHEDULER_TICK};

use crate::adapt::RuntimeLogs;
use crate::listeners::refuse;
use crate::members::{OwnLogs, Renewals};
use crate::names::{
    API, API_TLS, CERTIFICATE, DATA_KEY, MEMBERS, METRICS, PORTS, ROUTES, RUNTIME, SCHEDULER, SCHEDULER_WAKE, SESSION,
    STORE,
};
use crate::renewal::{self, Renewal};
use crate::sessions::{NodeFacts, SessionNews, TableHost};

/// A node that was removed has no use for what is sealed later than this.
const DATA_KEY_TICK: std::time::Duration = std::time::Duration::from_secs(5);

impl Built {
    /// Starts every part but the API.
    pub(super) fn spawn(&self) {
        self.spawn_store_watch();
        self.spawn_scheduler();
        self.spawn_runtime();
        self.spawn_routes();
        self.spawn_port_conditions();
        self.spawn_metrics();
        let Some(network) = &self.network else {
            self.spawn_refusal(MEMBERS, &self.listeners.members);
            self.spawn_refusal(API_TLS, &self.listeners.api);
            return;
        };
        self.spawn_members(network);
        self.spawn_renewal(network);
        self.spawn_data_key(network);
        self.spawn_session(network);
        let store: Arc<dyn Store> = Arc::new(self.control_plane.clone());
        let raft = Arc::new(self.control_plane.clone());
        LeaderLoops::new(store, network.sessions.clone(), raft).spawn(&self.supervisor);
    }

    /// A port of the cluster on a node that belongs to none.
    fn spawn_refusal(&self, name: &'static str, listener: &std::net::TcpListener) {
        let listener = listener.try_clone();
        self.supervisor.spawn_service(name, OnExit::Restart(Backoff::default()), move |context| {
            let listener = duplicate(&listener, std::net::TcpListener::try_clone, TcpListener::from_std);
            async move {
                refuse(listener?, context.shutdown).await;
                Ok::<(), String>(())
            }
        });
    }

    /// The members' port: consensus, sessions, certificates, logs.
    fn spawn_members(&self, network: &Network) {
        let logs = OwnLogs {
            source: Arc::new(RuntimeLogs(Arc::clone(&self.runtime))),
            node: self.control_plane.node_id(),
            host: self.config.hostname.to_string(),
        };
        let api = InternalApi::new(InternalParts {
            store: Arc::new(self.control_plane.clone()),
            peers: Arc::new(self.control_plane.clone()),
            sessions: Arc::new(TableHost(network.sessions.clone())),
            signer: Arc::new(Renewals(network.enrolment.clone())),
            logs: Arc::new(logs),
        })
        .with_daemon(self.api.clone());
        let acceptor = network.trust.members_acceptor().map_err(|error| error.to_string());
        let listener = self.listeners.members.try_clone();
        self.supervisor.spawn_service(MEMBERS, OnExit::StopNode, move |context| {
            let (api, acceptor) = (api.clone(), acceptor.clone());
            let listener = duplicate(&listener, std::net::TcpListener::try_clone, TcpListener::from_std);
            async move {
                Box::pin(serve_members(api, listener?, acceptor?, PortLimits::default(), context.shutdown))
                    .await
                    .map_err(|error| error.to_string())
            }
        });
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

    /// Starts at once, also without a leader: what ran here is started again, and nothing goes before the store has caught up.
    fn spawn_runtime(&self) {
        let runtime = Arc::clone(&self.runtime);
        self.supervisor.spawn_service(RUNTIME, OnExit::Restart(Backoff::default()), move |context| {
            let runtime = Arc::clone(&runtime);
            async move { runtime.run(context.shutdown).await.map_err(|error| error.to_string()) }
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
        let listener = self.listeners.metrics.try_clone();
        self.supervisor.spawn_service(METRICS, OnExit::Restart(Backoff::default()), move |context| {
            let metrics = Arc::clone(&metrics);
            let listener = duplicate(&listener, std::net::TcpListener::try_clone, TcpListener::from_std);
            async move { metrics.serve(listener?, context).await.map_err(|error| error.to_string()) }
        });
    }

    /// Keeps this node's session with whoever leads.
    fn spawn_session(&self, network: &Network) {
        let client = Arc::new(SessionClient::new(
            Arc::new(self.control_plane.clone()),
            network.sessions.clone(),
            Arc::new(BootClock),
            Arc::new(network.dialer.clone()),
            Arc::new(NodeFacts::new(self.control_plane.clone(), Arc::clone(&self.runtime), self.config.clone())),
            Arc::new(SessionNews {
                lease: network.lease.clone(),
                contact: network.contact.clone(),
                removed: network.removed.clone(),
            }),
        ));
        self.supervisor.spawn_service(SESSION, OnExit::Restart(Backoff::default()), move |context| {
            let client = Arc::clone(&client);
            async move { client.run(context).await }
        });
    }

    /// Renews the node's certificate.
    fn spawn_renewal(&self, network: &Network) {
        let renewal = Renewal {
            node: self.control_plane.node_id(),
            hostname: self.config.hostname.clone(),
            address: self.config.advertise,
            data_dir: self.config.data_dir.clone(),
            credential: Arc::clone(&network.trust.credential),
            enrolment: network.enrolment.clone(),
            signers: Arc::new(network.dialer.clone()),
            store: Arc::new(self.control_plane.clone()),
            clock: Arc::clone(&self.clock),
        };
        self.supervisor.spawn_loop(renewal::spec(CERTIFICATE), Wake::new(), move |_context| renewal.clone().pass());
    }

    /// Replaces the cluster's data key when a removed node has a copy of it, as long as this node leads.
    fn spawn_data_key(&self, network: &Network) {
        let enrolment = network.enrolment.clone();
        self.supervisor.spawn_loop(LoopSpec::new(DATA_KEY, DATA_KEY_TICK), Wake::new(), move |_context| {
            let enrolment = enrolment.clone();
            async move { enrolment.keep_key().await }
        });
    }

    /// The API over TLS, for operators and joiners.
    pub(super) fn spawn_api_tls(&self, network: &Network) {
        let api = self.api.clone();
        let acceptor = network.trust.api_acceptor().map_err(|error| error.to_string());
        let listener = self.listeners.api.try_clone();
        self.supervisor.spawn_service(API_TLS, OnExit::StopNode, move |context| {
            let (api, acceptor) = (api.clone(), acceptor.clone());
            let listener = duplicate(&listener, std::net::TcpListener::try_clone, TcpListener::from_std);
            async move {
                Box::pin(serve_tls(api, listener?, acceptor?, PortLimits::default(), context.shutdown))
                    .await
                    .map_err(|error| error.to_string())
            }
        });
    }

    pub(super) fn spawn_api(&self) {
        let api = self.api.clone();
        let listener = self.control.try_clone();
        self.supervisor.spawn_service(API, OnExit::StopNode, move |context| {
            let api = api.clone();
            let listener = duplicate(&listener, std::os::unix::net::UnixListener::try_clone, UnixListener::from_std);
            async move { serve_unix(api, listener?, context.shutdown).await.map_err(|error| error.to_string()) }
        });
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
