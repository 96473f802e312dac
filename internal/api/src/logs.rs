//! `Deploy.Logs`: the lines of a service's containers, and of those that replace them while following.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jaco_proto::{to_status, v1};
use jaco_state::{Event, SystemClock, View, WatchFrom, Watcher};
use jaco_types::{
    DeploymentName, ErrorCode, Node, NodeId, ReplicaId, ReplicaObserved, ReplicaState, ServiceName, UserError,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tonic::Status;

use crate::Api;
use crate::facilities::{LogOptions, LogSource, ReplicaLogLine};
use crate::read::{check_service, find_deployment};

/// How far back lines go when the client does not say.
const DEFAULT_SINCE: Duration = Duration::from_secs(300);

/// Lines on their way to one client; a client that does not read holds the engine's stream back, and nobody else's.
const LINES_IN_FLIGHT: usize = 256;

/// Pause before a stream that ended is opened again: a container that just ended is still observed as running for a moment.
const REOPEN: Duration = Duration::from_secs(1);

type Answer = Result<v1::LogsResponse, Status>;

impl Api {
    /// Starts the stream of one client.
    pub(crate) fn open_logs(&self, request: &v1::LogsRequest) -> Result<mpsc::Receiver<Answer>, Status> {
        let view = self.view()?;
        let deployment = find_deployment(&view, &request.deployment)?;
        check_service(&view, deployment, &request.service)?;
        let service = ServiceName::new(request.service.as_str()).map_err(|error| {
            to_status(&UserError::new(ErrorCode::UnknownService, error.to_string()).with("service", &request.service))
        })?;
        let permit = self.inner.log_streams.clone().try_acquire_owned().map_err(|_| {
            let limit = self.parts().limits.log_streams;
            to_status(
                &UserError::new(
                    ErrorCode::RequestTooLarge,
                    format!("this node already serves {limit} log streams; end some of them first"),
                )
                .with("limit", limit)
                .with("unit", "log_streams"),
            )
        })?;
        let since = request.since_ms.unwrap_or(DEFAULT_SINCE.as_millis() as u64);
        let now = jaco_state::Clock::now_ms(&SystemClock::default());
        let options =
            LogOptions { follow: request.follow, since_ms: Some(now.saturating_sub(since)), tail: request.tail };
        let watcher = if request.follow {
            let watcher = self.parts().store.watch_client(WatchFrom::Now);
            Some(watcher.map_err(|error| to_status(&error.user_error()))?)
        } else {
            None
        };
        let (answers, receiver) = mpsc::channel(LINES_IN_FLIGHT);
        let session = Session {
            api: self.clone(),
            deployment: deployment.name.clone(),
            service,
            options,
            answers,
            containers: BTreeMap::new(),
            streams: JoinSet::new(),
            _permit: permit,
        };
        // The session owns its streams and ends with its receiver; the task set lives as long as the API.
        self.inner.sessions.spawn(session.run(view, watcher));
        Ok(receiver)
    }
}

/// One client's log stream.
struct Session {
    api: Api,
    deployment: DeploymentName,
    service: ServiceName,
    options: LogOptions,
    answers: mpsc::Sender<Answer>,
    /// By container id: those whose lines are or were read.
    containers: BTreeMap<String, Reading>,
    streams: JoinSet<Ended>,
    _permit: OwnedSemaphorePermit,
}

/// What is known of the lines of one container.
#[derive(Debug, Clone, Copy, Default)]
struct Reading {
    /// Whether a stream is open, or waits to be opened again.
    open: bool,
    /// Restarts of the container that were known when the stream was opened.
    restarts: u32,
    /// When the stream was opened last.
    opened_ms: Option<u64>,
    /// Time of the last line that was passed on.
    last_ms: Option<u64>,
    /// Whether the client was told that the lines cannot be read, and nothing was read since.
    warned: bool,
}

/// A stream that ended.
struct Ended {
    container: String,
    last_ms: Option<u64>,
    failed: bool,
}

impl Session {
    async fn run(mut self, view: View, watcher: Option<Watcher>) {
        self.open(&view, self.options);
        let answers = self.answers.clone();
        match watcher {
            None => {
                let read = async { while self.streams.join_next().await.is_some() {} };
                tokio::select! {
                    () = answers.closed() => {}
                    () = read => {}
                }
            }
            Some(watcher) => self.follow(watcher).await,
        }
    }

    async fn follow(&mut self, mut watcher: Watcher) {
        let answers = self.answers.clone();
        // A container that appears while following is read from its first line.
        let options = LogOptions { since_ms: None, tail: None, ..self.options };
        loop {
            tokio::select! {
                () = answers.closed() => return,
                event = watcher.next() => match event {
                    None => return,
                    Some(Event::Snapshot(_) | Event::Batch(_)) => {}
                },
                Some(ended) = self.streams.join_next() => self.note_end(ended),
            }
            let view = self.api.parts().store.view();
            self.open(&view, options);
            if view.get::<jaco_types::Deployment>(self.deployment.as_str()).is_none() && self.streams.is_empty() {
                return;
            }
        }
    }

    fn note_end(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        // A task that panicked leaves its container as it is: its lines are not read any more.
        let Ok(Ended { container, last_ms, failed }) = ended else { return };
        if let Some(reading) = self.containers.get_mut(&container) {
            reading.open = false;
            reading.warned = failed || (reading.warned && last_ms.is_none());
            reading.last_ms = last_ms.or(reading.last_ms);
        }
    }

    /// Opens a stream for each container of the service that has none: a new one, one that was started again, and one that still
    /// runs although its stream ended, as after a restart of the engine.
    fn open(&mut self, view: &View, options: LogOptions) {
        let observed = view
            .list::<ReplicaObserved>()
            .filter(|replica| replica.deployment == self.deployment && replica.service == self.service);
        for replica in observed {
            let Some(container) = &replica.container_id else { continue };
            let known = self.containers.get(container).copied();
            let (mut reading, options, pause) = match known {
                None => (Reading::default(), options, Duration::ZERO),
                Some(reading) if reading.open => continue,
                Some(reading) => {
                    let runs = matches!(replica.state, ReplicaState::Running | ReplicaState::Degraded);
                    if !self.options.follow || !(runs || replica.restart_count != reading.restarts) {
                        continue;
                    }
                    // One that ended without a line had none that was wanted; one that failed is read as at first.
                    let options = match (reading.last_ms, reading.warned) {
                        (None, true) => self.options,
                        (last_ms, _) => {
                            LogOptions { since_ms: last_ms.or(reading.opened_ms), tail: None, ..self.options }
                        }
                    };
                    (reading, options, REOPEN)
                }
            };
            reading.open = true;
            reading.opened_ms = Some(jaco_state::Clock::now_ms(&SystemClock::default()));
            reading.restarts = replica.restart_count;
            let host = view.get::<Node>(&replica.node.to_string()).map(|node| node.hostname.to_string());
            let pump = Pump {
                replica: replica.id.clone(),
                node: replica.node,
                container: container.clone(),
                host: host.unwrap_or_else(|| replica.node.to_string()),
                source: self.api.parts().logs.clone(),
                options,
                pause,
                after_ms: reading.last_ms,
                warned: reading.warned,
                answers: self.answers.clone(),
            };
            self.containers.insert(container.clone(), reading);
            self.streams.spawn(pump.run());
        }
    }
}

/// Carries one container's lines to the client; a failure becomes a warning, and the other containers go on.
struct Pump {
    replica: ReplicaId,
    node: NodeId,
    container: String,
    host: String,
    source: Arc<dyn LogSource>,
    options: LogOptions,
    /// Time to wait before the stream is opened.
    pause: Duration,
    /// Lines up to this time were passed on before.
    after_ms: Option<u64>,
    /// Whether a failure was told already.
    warned: bool,
    answers: mpsc::Sender<Answer>,
}

impl Pump {
    async fn run(self) -> Ended {
        tokio::time::sleep(self.pause).await;
        let (lines, receiver) = mpsc::channel(16);
        let reading = self.source.read(self.node, self.container.clone(), self.options, lines);
        let (result, last_ms) = tokio::join!(reading, self.forward(receiver));
        if let Err(error) = &result
            && !(self.warned && last_ms.is_none())
        {
            let message = format!("the logs of {} cannot be read: {}", self.replica, error.message);
            let event = v1::logs_response::Event::Warning(v1::LogWarning { host: self.host, message });
            // A client that is gone needs no warning.
            let _ = self.answers.send(Ok(v1::LogsResponse { event: Some(event) })).await;
        }
        Ended { container: self.container, last_ms, failed: result.is_err() }
    }

    /// Owns the receiver, so that the reading ends when the client is gone.
    async fn forward(&self, mut lines: mpsc::Receiver<ReplicaLogLine>) -> Option<u64> {
        let mut last_ms = None;
        while let Some(line) = lines.recv().await {
            if self.after_ms.is_some_and(|after| line.ts_ms <= after) {
                continue;
            }
            last_ms = Some(line.ts_ms);
            let line = v1::LogLine {
                replica_id: self.replica.to_string(),
                host: self.host.clone(),
                stream: line.stream.to_owned(),
                ts_ms: line.ts_ms,
                line: line.line,
            };
            let event = v1::logs_response::Event::Line(line);
            if self.answers.send(Ok(v1::LogsResponse { event: Some(event) })).await.is_err() {
                break;
            }
        }
        last_ms
    }
}
