//! `Deploy.Logs`: the lines of a service's containers, and of those that replace them while following.

use std::collections::BTreeSet;
use std::time::Duration;

use jaco_proto::{to_status, v1};
use jaco_state::{Event, SystemClock, View, WatchFrom, Watcher};
use jaco_types::{DeploymentName, ErrorCode, ReplicaId, ReplicaObserved, ServiceName, UserError};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tonic::Status;

use crate::Api;
use crate::facilities::{LogOptions, ReplicaLogLine};
use crate::read::{check_service, find_deployment};

/// How far back lines go when the client does not say.
const DEFAULT_SINCE: Duration = Duration::from_secs(300);

/// Lines on their way to one client; a client that does not read holds the engine's stream back, and nobody else's.
const LINES_IN_FLIGHT: usize = 256;

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
            opened: BTreeSet::new(),
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
    /// Containers whose stream was opened, so that a change of state opens none twice.
    opened: BTreeSet<String>,
    streams: JoinSet<()>,
    _permit: OwnedSemaphorePermit,
}

impl Session {
    async fn run(mut self, view: View, watcher: Option<Watcher>) {
        self.open_new(&view, self.options);
        match watcher {
            None => while self.streams.join_next().await.is_some() {},
            Some(watcher) => self.follow(watcher).await,
        }
    }

    async fn follow(&mut self, mut watcher: Watcher) {
        let answers = self.answers.clone();
        loop {
            let event = tokio::select! {
                () = answers.closed() => return,
                event = watcher.next() => event,
                Some(_) = self.streams.join_next() => continue,
            };
            match event {
                None => return,
                Some(Event::Snapshot(_) | Event::Batch(_)) => {
                    let view = self.api.parts().store.view();
                    // A container that appears while following is read from its first line.
                    let options = LogOptions { since_ms: None, tail: None, ..self.options };
                    self.open_new(&view, options);
                    if view.get::<jaco_types::Deployment>(self.deployment.as_str()).is_none() && self.streams.is_empty()
                    {
                        return;
                    }
                }
            }
        }
    }

    /// Opens a stream for each container of the service that has none yet.
    fn open_new(&mut self, view: &View, options: LogOptions) {
        let observed: Vec<(ReplicaId, String)> = view
            .list::<ReplicaObserved>()
            .filter(|replica| replica.deployment == self.deployment && replica.service == self.service)
            .filter_map(|replica| Some((replica.id.clone(), replica.container_id.clone()?)))
            .collect();
        for (replica, container) in observed {
            if self.opened.insert(container.clone()) {
                let host = self.api.parts().hostname.to_string();
                let source = self.api.parts().logs.clone();
                let (lines, receiver) = mpsc::channel(16);
                let reading = source.read(container, options, lines);
                self.streams.spawn(pump(replica, host, reading, receiver, self.answers.clone()));
            }
        }
    }
}

/// Carries one container's lines to the client; a failure becomes a warning, and the other containers go on.
async fn pump(
    replica: ReplicaId,
    host: String,
    reading: jaco_state::BoxFuture<'static, Result<(), UserError>>,
    mut lines: mpsc::Receiver<ReplicaLogLine>,
    answers: mpsc::Sender<Answer>,
) {
    let forward = async {
        while let Some(line) = lines.recv().await {
            let line = v1::LogLine {
                replica_id: replica.to_string(),
                host: host.clone(),
                stream: line.stream.to_owned(),
                ts_ms: line.ts_ms,
                line: line.line,
            };
            let event = v1::logs_response::Event::Line(line);
            if answers.send(Ok(v1::LogsResponse { event: Some(event) })).await.is_err() {
                return;
            }
        }
    };
    let (result, ()) = tokio::join!(reading, forward);
    if let Err(error) = result {
        let message = format!("the logs of {replica} cannot be read: {}", error.message);
        let event = v1::logs_response::Event::Warning(v1::LogWarning { host, message });
        // A client that is gone needs no warning.
        let _ = answers.send(Ok(v1::LogsResponse { event: Some(event) })).await;
    }
}
