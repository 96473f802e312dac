//! An engine in memory, for tests of the loop: it keeps the rules of the real one that the loop depends on, and fails on demand.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::models::{ContainerCreateBody, EndpointSettings, MountType, NetworkCreateRequest, VolumeCreateRequest};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use jaco_state::Clock;
use tokio::sync::broadcast;

use super::{
    ApiVersion, Container, ContainerEvent, Engine, EngineError, EngineVersion, Health, Image, LogOptions, Network,
    OutputChunk, ProcessState, ProgressSink, PullProgress, Volume,
};

/// What a pull of an image does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullBehaviour {
    /// The image is there after it.
    Succeeds,
    /// The registry refuses with this text.
    Fails(String),
    /// It never ends.
    Hangs,
}

/// Everything the engine holds.
#[derive(Default)]
pub struct State {
    /// Containers by id.
    pub containers: BTreeMap<String, Container>,
    /// Networks by name.
    pub networks: BTreeMap<String, Network>,
    /// Volumes by name; anonymous ones are not kept.
    pub volumes: BTreeMap<String, Volume>,
    /// Local images.
    pub images: Vec<String>,
    /// What pulls do; unknown images are refused.
    pub pulls: BTreeMap<String, PullBehaviour>,
    /// Pulls asked for.
    pub pulled: Vec<String>,
    /// Health of containers with a health check when they start.
    pub health_at_start: Option<Health>,
    /// It answers to filters with everything it has.
    pub ignores_filters: bool,
    /// Names of containers whose description nobody can read.
    pub unreadable: Vec<String>,
    /// How long a start takes.
    pub start_takes: Duration,
    /// The engine does not answer.
    pub down: bool,
    /// Calls that changed something, in words.
    pub calls: Vec<String>,
    next: u64,
}

/// The engine.
pub struct FakeEngine {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    events: broadcast::Sender<Option<ContainerEvent>>,
}

impl FakeEngine {
    /// An empty engine.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(FakeEngine { clock, state: Mutex::new(State::default()), events: broadcast::channel(4096).0 })
    }

    /// What it holds, to look at or to change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a container and tells about it.
    pub fn change(&self, name: &str, action: &str, change: impl FnOnce(&mut Container, u64)) {
        let now = self.clock.now_ms();
        let mut state = self.state();
        if let Some(container) = state.containers.values_mut().find(|container| container.name == name) {
            change(container, now);
            let id = container.id.clone();
            drop(state);
            self.tell(&id, action);
        }
    }

    /// Its process ends.
    pub fn exit(&self, name: &str, code: i64) {
        self.change(name, "die", |container, now| {
            container.state = ProcessState::Exited;
            container.exit_code = code;
            container.finished_at_ms = Some(now);
        });
    }

    /// Its health check has this verdict.
    pub fn health(&self, name: &str, health: Health) {
        self.change(name, "health_status", |container, _| container.health = Some(health));
    }

    /// The engine goes away; with `stop_all` it stops its containers first.
    pub fn go_down(&self, stop_all: bool) {
        let names: Vec<String> =
            self.state().containers.values().filter(|c| c.is_up()).map(|container| container.name.clone()).collect();
        for name in names.iter().filter(|_| stop_all) {
            self.exit(name, 0);
        }
        self.state().down = true;
        let _nobody_listens = self.events.send(None);
    }

    /// The engine answers again.
    pub fn come_back(&self) {
        self.state().down = false;
    }

    fn tell(&self, id: &str, action: &str) {
        let _nobody_listens =
            self.events.send(Some(ContainerEvent { container: id.to_owned(), action: action.to_owned() }));
    }

    fn answer<T>(&self, work: impl FnOnce(&mut State, u64) -> Result<T, EngineError>) -> Result<T, EngineError> {
        let now = self.clock.now_ms();
        let mut state = self.state();
        if state.down {
            return Err(away());
        }
        work(&mut state, now)
    }
}

fn away() -> EngineError {
    EngineError::Unreachable { socket: "fake".to_owned(), reason: "it is down".to_owned() }
}

fn missing(what: &str, name: &str) -> EngineError {
    EngineError::NotFound { message: format!("No such {what}: {name}") }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    std::future::ready(value).boxed()
}

impl State {
    fn find(&mut self, container: &str) -> Result<&mut Container, EngineError> {
        let found = self.containers.values_mut().find(|c| c.id == container || c.name == container);
        found.ok_or_else(|| missing("container", container))
    }

    fn create(&mut self, name: &str, body: ContainerCreateBody, now: u64) -> Result<String, EngineError> {
        let image = body.image.clone().unwrap_or_default();
        if !self.images.contains(&image) {
            return Err(missing("image", &image));
        }
        if self.containers.values().any(|container| container.name == name) {
            return Err(EngineError::Conflict { message: format!("the name {name:?} is in use") });
        }
        let host = body.host_config.unwrap_or_default();
        for mount in host.mounts.unwrap_or_default() {
            let source = mount.source.unwrap_or_default();
            if mount.typ == Some(MountType::BIND) && source.contains("missing") {
                let message =
                    format!("invalid mount config for type \"bind\": bind source path does not exist: {source}");
                return Err(EngineError::Refused { status: 400, message });
            }
        }
        self.next += 1;
        let id = format!("{:064x}", self.next);
        let joined = body.networking_config.and_then(|config| config.endpoints_config).unwrap_or_default();
        let container = Container {
            id: id.clone(),
            name: name.to_owned(),
            labels: body.labels.unwrap_or_default().into_iter().collect(),
            image,
            created_at_ms: now,
            state: ProcessState::Created,
            health: body.healthcheck.map(|_| Health::Starting),
            last_health_at_ms: None,
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
            started_at_ms: None,
            finished_at_ms: None,
            stop_grace: body.stop_timeout.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs),
            networks: joined.into_keys().map(|name| (name, None)).collect(),
            shares: [host.network_mode, host.pid_mode, host.ipc_mode]
                .into_iter()
                .flatten()
                .filter_map(|mode| mode.strip_prefix("container:").map(str::to_owned))
                .collect(),
            tty: body.tty.unwrap_or_default(),
        };
        self.calls.push(format!("create {name}"));
        self.containers.insert(id.clone(), container);
        Ok(id)
    }
}

impl Engine for FakeEngine {
    fn version(&self) -> BoxFuture<'_, Result<EngineVersion, EngineError>> {
        ready(self.answer(|_, _| Ok(EngineVersion { engine: "fake".to_owned(), api: ApiVersion(1, 41) })))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), EngineError>> {
        ready(self.answer(|_, _| Ok(())))
    }

    fn pull<'a>(
        &'a self,
        reference: &'a str,
        _platform: Option<&'a str>,
        progress: ProgressSink,
    ) -> BoxFuture<'a, Result<(), EngineError>> {
        let plain = reference.strip_suffix(":latest").unwrap_or(reference).to_owned();
        let behaviour = self.answer(|state, _| {
            state.pulled.push(plain.clone());
            Ok(state.pulls.get(&plain).cloned())
        });
        async move {
            match behaviour? {
                Some(PullBehaviour::Succeeds) => {
                    progress(PullProgress { bytes_done: 1, bytes_total: 1, layers_done: 1, layers_total: 1 });
                    self.state().images.push(plain);
                    Ok(())
                }
                Some(PullBehaviour::Fails(message)) => Err(EngineError::Refused { status: 500, message }),
                Some(PullBehaviour::Hangs) => std::future::pending().await,
                None => Err(missing("image", &plain)),
            }
        }
        .boxed()
    }

    fn image<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Image>, EngineError>> {
        ready(self.answer(|state, _| {
            let found = state.images.iter().find(|image| *image == reference);
            Ok(found.map(|image| Image { id: image.clone(), entrypoint: Vec::new() }))
        }))
    }

    fn create_container<'a>(
        &'a self,
        name: &'a str,
        _platform: Option<&'a str>,
        body: ContainerCreateBody,
    ) -> BoxFuture<'a, Result<String, EngineError>> {
        let created = self.answer(|state, now| state.create(name, body, now));
        if let Ok(id) = &created {
            self.tell(id, "create");
        }
        ready(created)
    }

    fn start<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<(), EngineError>> {
        let started = self.answer(|state, now| {
            let health = state.health_at_start;
            let address = state.next;
            let found = state.find(container)?;
            found.state = ProcessState::Running;
            found.started_at_ms = Some(now.max(found.started_at_ms.unwrap_or_default() + 1));
            found.finished_at_ms = None;
            if found.health.is_some() {
                found.health = health.or(Some(Health::Starting));
            }
            let host = Ipv4Addr::from(0x0a00_0000 + u32::try_from(address).unwrap_or_default());
            found.networks.values_mut().for_each(|slot| *slot = Some(IpAddr::V4(host)));
            let name = found.name.clone();
            state.calls.push(format!("start {name}"));
            Ok(())
        });
        if started.is_ok() {
            self.tell(container, "start");
        }
        let takes = self.state().start_takes;
        async move {
            if !takes.is_zero() {
                tokio::time::sleep(takes).await;
            }
            started
        }
        .boxed()
    }

    fn stop<'a>(&'a self, container: &'a str, grace: Duration) -> BoxFuture<'a, Result<(), EngineError>> {
        let stopped = self.answer(|state, now| {
            let Ok(found) = state.find(container) else { return Ok(()) };
            if found.is_up() {
                found.state = ProcessState::Exited;
                found.exit_code = 143;
                found.finished_at_ms = Some(now);
            }
            let name = found.name.clone();
            state.calls.push(format!("stop {name} {}", grace.as_secs()));
            Ok(())
        });
        self.tell(container, "die");
        ready(stopped)
    }

    fn kill<'a>(&'a self, container: &'a str, signal: &'a str) -> BoxFuture<'a, Result<(), EngineError>> {
        let killed = self.answer(|state, now| {
            let found = state.find(container)?;
            if !found.is_up() {
                return Err(EngineError::Conflict { message: format!("{container} is not running") });
            }
            if signal == "SIGKILL" {
                found.state = ProcessState::Exited;
                found.exit_code = 137;
                found.finished_at_ms = Some(now);
            }
            Ok(())
        });
        self.tell(container, "die");
        ready(killed)
    }

    fn remove<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<(), EngineError>> {
        let removed = self.answer(|state, _| {
            let Ok(found) = state.find(container) else { return Ok(()) };
            let (id, name) = (found.id.clone(), found.name.clone());
            state.containers.remove(&id);
            state.calls.push(format!("remove {name}"));
            Ok(())
        });
        self.tell(container, "destroy");
        ready(removed)
    }

    fn rename<'a>(&'a self, container: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), EngineError>> {
        ready(self.answer(|state, _| {
            if state.containers.values().any(|other| other.name == name) {
                return Err(EngineError::Conflict { message: format!("the name {name:?} is in use") });
            }
            let found = state.find(container)?;
            let before = std::mem::replace(&mut found.name, name.to_owned());
            state.calls.push(format!("rename {before} {name}"));
            Ok(())
        }))
    }

    fn inspect<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<Option<Container>, EngineError>> {
        ready(self.answer(|state, _| match state.find(container).ok().cloned() {
            Some(found) if state.unreadable.contains(&found.name) => {
                Err(EngineError::Invalid { operation: "inspect".to_owned(), reason: "nonsense".to_owned() })
            }
            found => Ok(found),
        }))
    }

    fn list<'a>(&'a self, label: &'a str, value: &'a str) -> BoxFuture<'a, Result<Vec<String>, EngineError>> {
        ready(self.answer(|state, _| {
            let all = state.ignores_filters;
            let found = state.containers.values().filter(|container| all || container.label(label) == value);
            Ok(found.map(|container| container.id.clone()).collect())
        }))
    }

    fn create_network(&self, request: NetworkCreateRequest) -> BoxFuture<'_, Result<(), EngineError>> {
        ready(self.answer(|state, _| {
            state.calls.push(format!("network {}", request.name));
            let configs = request.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
            let network = Network {
                id: request.name.clone(),
                name: request.name.clone(),
                labels: request.labels.unwrap_or_default().into_iter().collect(),
                subnet: configs.into_iter().find_map(|config| config.subnet).unwrap_or_default(),
            };
            state.networks.insert(request.name, network);
            Ok(())
        }))
    }

    fn remove_network<'a>(&'a self, network: &'a str) -> BoxFuture<'a, Result<(), EngineError>> {
        ready(self.answer(|state, _| {
            if state.containers.values().any(|container| container.is_up() && container.networks.contains_key(network))
            {
                return Err(EngineError::Refused { status: 403, message: "it has active endpoints".to_owned() });
            }
            state.networks.remove(network);
            Ok(())
        }))
    }

    fn network<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Network>, EngineError>> {
        ready(self.answer(|state, _| Ok(state.networks.get(name).cloned())))
    }

    fn networks<'a>(&'a self, label: &'a str, value: &'a str) -> BoxFuture<'a, Result<Vec<Network>, EngineError>> {
        ready(self.answer(|state, _| {
            let ours = |network: &&Network| network.labels.get(label).is_some_and(|found| found == value);
            Ok(state.networks.values().filter(ours).cloned().collect())
        }))
    }

    fn connect<'a>(
        &'a self,
        network: &'a str,
        container: &'a str,
        _endpoint: EndpointSettings,
    ) -> BoxFuture<'a, Result<(), EngineError>> {
        ready(self.answer(|state, _| {
            if !state.networks.contains_key(network) {
                return Err(missing("network", network));
            }
            state.find(container)?.networks.insert(network.to_owned(), None);
            Ok(())
        }))
    }

    fn volume<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Volume>, EngineError>> {
        ready(self.answer(|state, _| Ok(state.volumes.get(name).cloned())))
    }

    fn create_volume(&self, request: VolumeCreateRequest) -> BoxFuture<'_, Result<(), EngineError>> {
        ready(self.answer(|state, _| {
            let name = request.name.unwrap_or_default();
            let labels = request.labels.unwrap_or_default().into_iter().collect();
            state.volumes.entry(name.clone()).or_insert(Volume { name, labels });
            Ok(())
        }))
    }

    fn events<'a>(
        &'a self,
        label: &'a str,
        value: &'a str,
        _since: u64,
    ) -> BoxStream<'a, Result<ContainerEvent, EngineError>> {
        let ours = move |event: &ContainerEvent| {
            // What was removed is told to everybody.
            self.state().containers.get(&event.container).is_none_or(|container| container.label(label) == value)
        };
        stream::unfold((self.events.subscribe(), false), move |(mut receiver, ended)| async move {
            loop {
                match (ended, receiver.recv().await) {
                    (true, _) | (_, Err(broadcast::error::RecvError::Closed)) => return None,
                    (false, Ok(Some(event))) if ours(&event) => return Some((Ok(event), (receiver, false))),
                    (false, Ok(Some(_)) | Err(broadcast::error::RecvError::Lagged(_))) => {}
                    (false, Ok(None)) => return Some((Err(away()), (receiver, true))),
                }
            }
        })
        .boxed()
    }

    fn logs<'a>(
        &'a self,
        _container: &'a str,
        _options: LogOptions,
    ) -> BoxStream<'static, Result<OutputChunk, EngineError>> {
        stream::empty().boxed()
    }
}
