//! From the engine's words to ours; whatever an engine leaves out or makes up ends as an error or a plain default, never a panic.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, CreateImageInfo, EventMessage, HealthStatusEnum, HostConfig,
    Ipam, NetworkInspect, NetworkSettings,
};

use crate::engine::{
    Container, ContainerEvent, EngineError, Health, Network, OutputChunk, OutputStream, ProcessState, PullProgress,
};

/// The seconds to give to the engine: it takes whole ones, and a process must not get less than it asked for.
pub(super) fn whole_seconds(grace: Duration) -> i32 {
    let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

pub(super) fn error(socket: &str, operation: &str, error: &Error) -> EngineError {
    match error {
        Error::DockerResponseServerError { status_code: 404, message } => {
            EngineError::NotFound { message: message.clone() }
        }
        Error::DockerResponseServerError { status_code: 409, message } => {
            EngineError::Conflict { message: message.clone() }
        }
        Error::DockerResponseServerError { status_code, message } => {
            EngineError::Refused { status: *status_code, message: message.clone() }
        }
        Error::DockerStreamError { error } => EngineError::Refused { status: 0, message: error.clone() },
        Error::DockerContainerWaitError { error, .. } => EngineError::Refused { status: 0, message: error.clone() },
        Error::JsonDataError { message, .. } => {
            EngineError::Invalid { operation: operation.to_owned(), reason: message.clone() }
        }
        Error::APIVersionParseError {} => {
            EngineError::Invalid { operation: operation.to_owned(), reason: "no API version in it".to_owned() }
        }
        Error::JsonSerdeError { err } => {
            EngineError::Invalid { operation: operation.to_owned(), reason: err.to_string() }
        }
        other => EngineError::Unreachable { socket: socket.to_owned(), reason: deepest(other) },
    }
}

/// The innermost cause: the outer ones only say "error trying to connect".
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Milliseconds since the Unix epoch; the engine's zero time (year 1) and unreadable texts are `None`.
pub(super) fn time_ms(text: Option<&str>) -> Option<u64> {
    let time = humantime::parse_rfc3339(text?).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok().filter(|&ms| ms > 0)
}

pub(super) fn container(answer: ContainerInspectResponse) -> Result<Container, EngineError> {
    let state = answer.state.unwrap_or_default();
    let config = answer.config.unwrap_or_default();
    let id = answer.id.filter(|id| !id.is_empty()).ok_or_else(|| EngineError::Invalid {
        operation: "inspect".to_owned(),
        reason: "the container has no id".to_owned(),
    })?;
    let health = state.health.unwrap_or_default();
    Ok(Container {
        id,
        name: answer.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        image: config.image.unwrap_or_default(),
        created_at_ms: time_ms(answer.created.as_deref()).unwrap_or_default(),
        state: process_state(state.status),
        health: health_verdict(health.status),
        last_health_at_ms: health.log.unwrap_or_default().last().and_then(|check| time_ms(check.end.as_deref())),
        exit_code: state.exit_code.unwrap_or_default(),
        oom_killed: state.oom_killed.unwrap_or_default(),
        error: state.error.unwrap_or_default(),
        started_at_ms: time_ms(state.started_at.as_deref()),
        finished_at_ms: time_ms(state.finished_at.as_deref()),
        stop_grace: config.stop_timeout.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs),
        networks: addresses(answer.network_settings),
        shares: shares(answer.host_config.as_ref()),
        tty: config.tty.unwrap_or_default(),
    })
}

fn process_state(status: Option<ContainerStateStatusEnum>) -> ProcessState {
    match status {
        Some(ContainerStateStatusEnum::CREATED) => ProcessState::Created,
        Some(ContainerStateStatusEnum::RUNNING) => ProcessState::Running,
        Some(ContainerStateStatusEnum::PAUSED) => ProcessState::Paused,
        Some(ContainerStateStatusEnum::EXITED) => ProcessState::Exited,
        Some(ContainerStateStatusEnum::DEAD) => ProcessState::Dead,
        Some(
            ContainerStateStatusEnum::RESTARTING
            | ContainerStateStatusEnum::REMOVING
            | ContainerStateStatusEnum::STOPPING
            | ContainerStateStatusEnum::EMPTY,
        )
        | None => ProcessState::Changing,
    }
}

fn health_verdict(status: Option<HealthStatusEnum>) -> Option<Health> {
    match status? {
        HealthStatusEnum::STARTING => Some(Health::Starting),
        HealthStatusEnum::HEALTHY => Some(Health::Healthy),
        HealthStatusEnum::UNHEALTHY => Some(Health::Unhealthy),
        HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => None,
    }
}

fn addresses(settings: Option<NetworkSettings>) -> BTreeMap<String, Option<IpAddr>> {
    let networks = settings.and_then(|settings| settings.networks).unwrap_or_default();
    networks
        .into_iter()
        .map(|(name, endpoint)| (name, endpoint.ip_address.and_then(|address| address.parse().ok())))
        .collect()
}

fn shares(host: Option<&HostConfig>) -> Vec<String> {
    let Some(host) = host else { return Vec::new() };
    let mut ids: Vec<String> = [&host.network_mode, &host.pid_mode, &host.ipc_mode]
        .into_iter()
        .filter_map(|mode| mode.as_deref()?.strip_prefix("container:"))
        .map(str::to_owned)
        .collect();
    ids.sort();
    ids.dedup();
    ids
}

fn first_subnet(ipam: Option<Ipam>) -> String {
    let configs = ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    configs.into_iter().filter_map(|config| config.subnet).find(|subnet| subnet.contains('.')).unwrap_or_default()
}

pub(super) fn inspected_network(network: NetworkInspect) -> Network {
    Network {
        id: network.id.unwrap_or_default(),
        name: network.name.unwrap_or_default(),
        labels: network.labels.unwrap_or_default().into_iter().collect(),
        subnet: first_subnet(network.ipam),
    }
}

pub(super) fn network(network: bollard::models::Network) -> Network {
    Network {
        id: network.id.unwrap_or_default(),
        name: network.name.unwrap_or_default(),
        labels: network.labels.unwrap_or_default().into_iter().collect(),
        subnet: first_subnet(network.ipam),
    }
}

/// An event of nobody is no event: taken for one, it would make an engine that answers nonsense look alive.
pub(super) fn event(event: EventMessage) -> Result<ContainerEvent, EngineError> {
    let container = event.actor.and_then(|actor| actor.id).filter(|id| !id.is_empty());
    let container = container.ok_or_else(|| EngineError::Invalid {
        operation: "events".to_owned(),
        reason: "an event names no container".to_owned(),
    })?;
    Ok(ContainerEvent { container, action: event.action.unwrap_or_default() })
}

pub(super) fn output(output: LogOutput) -> OutputChunk {
    match output {
        LogOutput::StdErr { message } => OutputChunk { stream: OutputStream::Stderr, terminal: false, bytes: message },
        LogOutput::StdOut { message } | LogOutput::StdIn { message } => {
            OutputChunk { stream: OutputStream::Stdout, terminal: false, bytes: message }
        }
        LogOutput::Console { message } => OutputChunk { stream: OutputStream::Stdout, terminal: true, bytes: message },
    }
}

/// Adds up the messages of a pull, each of which is about one layer.
#[derive(Default)]
pub(super) struct Layers {
    layers: BTreeMap<String, Layer>,
}

#[derive(Default)]
struct Layer {
    done: u64,
    total: u64,
    complete: bool,
}

impl Layers {
    pub(super) fn note(&mut self, message: &CreateImageInfo) -> PullProgress {
        let status = message.status.as_deref().unwrap_or_default();
        // "Pulling from …" carries the tag where others carry the layer.
        if let Some(id) = message.id.as_deref().filter(|_| !status.starts_with("Pulling from")) {
            let layer = self.layers.entry(id.to_owned()).or_default();
            if let (true, Some(detail)) = (status == "Downloading", &message.progress_detail) {
                layer.done = detail.current.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(layer.done);
                layer.total = detail.total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(layer.total);
            }
            if status == "Download complete" {
                layer.done = layer.total;
            }
            layer.complete |= matches!(status, "Pull complete" | "Already exists");
        }
        PullProgress {
            bytes_done: self.layers.values().map(|layer| layer.done).sum(),
            bytes_total: self.layers.values().map(|layer| layer.total).sum(),
            layers_done: self.layers.values().filter(|layer| layer.complete).count().try_into().unwrap_or(u32::MAX),
            layers_total: self.layers.len().try_into().unwrap_or(u32::MAX),
        }
    }
}
