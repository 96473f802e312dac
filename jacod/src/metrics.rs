//! `/metrics` in the Prometheus text format and `/ready`, on a loopback address.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use jaco_api::Timings;
use jaco_controlplane::{ControlPlane, Observer, Scheduling};
use jaco_ingress::{DURATION_BUCKETS_MICROS, Ingress, Stats};
use jaco_runtime::Runtime;
use jaco_state::Store;
use jaco_task::{Supervisor, TaskContext};
use jaco_types::{ReplicaObserved, ReplicaState};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

#[cfg(test)]
mod tests;

/// Connections at once: a scraper or two, and whoever looks by hand.
const CONNECTIONS: usize = 32;

/// Times a commit takes, from the proposal to the own view having it.
#[derive(Clone)]
pub(crate) struct CommitLatency(Histogram);

impl CommitLatency {
    pub(crate) fn new() -> Self {
        // 100 µs doubling to about 1.6 s.
        CommitLatency(Histogram::new(exponential_buckets(0.000_1, 2.0, 15)))
    }
}

impl Observer for CommitLatency {
    fn committed(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}

/// Times an apply takes, from its arrival to its answer.
#[derive(Clone)]
pub(crate) struct ApplyDuration(Histogram);

impl ApplyDuration {
    pub(crate) fn new() -> Self {
        // 1 ms doubling to about 16 s.
        ApplyDuration(Histogram::new(exponential_buckets(0.001, 2.0, 15)))
    }
}

impl Timings for ApplyDuration {
    fn apply_took(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}

/// What the figures are read from.
pub(crate) struct Sources {
    pub(crate) control_plane: ControlPlane,
    pub(crate) scheduling: Scheduling,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) supervisor: Supervisor,
    pub(crate) commits: CommitLatency,
    pub(crate) applies: ApplyDuration,
    /// Set once the API answers.
    pub(crate) ready: Arc<AtomicBool>,
}

/// Serves until the context's shutdown.
pub(crate) struct Metrics {
    registry: Registry,
    ready: Arc<AtomicBool>,
}

impl Metrics {
    pub(crate) fn new(sources: Sources) -> Self {
        let mut registry = Registry::with_prefix("jaco");
        registry.register(
            "raft_commit_latency_seconds",
            "Time from a proposal to this node having applied it",
            sources.commits.0.clone(),
        );
        registry.register(
            "apply_duration_seconds",
            "Time from the arrival of an apply to its answer",
            sources.applies.0.clone(),
        );
        let ready = Arc::clone(&sources.ready);
        registry.register_collector(Box::new(Figures(sources)));
        Metrics { registry, ready }
    }

    /// Answers on the listener until the task is to stop.
    pub(crate) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        context: TaskContext,
    ) -> Result<(), std::io::Error> {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = context.shutdown.cancelled() => return Ok(()),
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept(), if connections.len() < CONNECTIONS => accepted,
            };
            let (stream, _) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection for metrics could not be taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let metrics = Arc::clone(&self);
            connections.spawn(async move {
                let service = service_fn(|request| {
                    let answer = metrics.answer(&request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                // A client that breaks off in the middle concerns nobody.
                let _ = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(10))
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    /// All figures now, in the Prometheus text format.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry).map(|()| text)
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/metrics") => match self.text() {
                Ok(text) => reply(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
                Err(error) => reply(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
            },
            (&Method::GET, "/ready") if self.ready.load(Ordering::Acquire) => {
                reply(StatusCode::OK, "text/plain", "ready\n".to_owned())
            }
            (&Method::GET, "/ready") => reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "starting\n".to_owned()),
            (_, _) => reply(StatusCode::NOT_FOUND, "text/plain", "there are /metrics and /ready\n".to_owned()),
        }
    }
}

fn reply(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

/// Figures that their owners count anyway; read when somebody asks.
struct Figures(Sources);

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Figures")
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.consensus(&mut encoder)?;
        self.replicas(&mut encoder)?;
        self.containers(&mut encoder)?;
        self.ingress(&mut encoder)?;
        self.loops(&mut encoder)
    }
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), std::fmt::Error> {
    let metric = ConstCounter::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), std::fmt::Error> {
    let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

/// Durations of HTTP requests as the ingress counts them: per bucket, the last one without a bound.
fn durations(encoder: &mut DescriptorEncoder<'_>, stats: &Stats) -> Result<(), std::fmt::Error> {
    let bounds = DURATION_BUCKETS_MICROS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(stats.durations.iter().copied()).collect();
    let requests = stats.durations.iter().sum();
    encoder
        .encode_descriptor("ingress_duration_seconds", "Time of a request", None, MetricType::Histogram)?
        .encode_histogram::<NoLabelSet>(stats.duration_micros as f64 / 1e6, requests, &buckets, None)
}

impl Figures {
    fn consensus(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let status = self.0.control_plane.status();
        gauge(encoder, "raft_applied_index", "Last log index applied here", status.applied_index)?;
        gauge(encoder, "raft_term", "Term of the raft group", status.term)?;
        gauge(encoder, "raft_is_leader", "1 while this node leads", u64::from(status.is_leader))?;
        let stats = self.0.scheduling.stats();
        counter(encoder, "scheduler_passes", "Planning passes", stats.passes)?;
        counter(encoder, "scheduler_commits", "Plans committed", stats.commits)?;
        counter(encoder, "scheduler_refusals", "Plans overtaken by a newer state", stats.refusals)
    }

    fn replicas(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let view = self.0.control_plane.view();
        let mut family = encoder.encode_descriptor("replica_state", "Replicas by state", None, MetricType::Gauge)?;
        for state in ReplicaState::ALL {
            let count = view.list::<ReplicaObserved>().filter(|observed| observed.state == *state).count();
            let metric = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            metric.encode(family.encode_family(&[("state", state.as_str())])?)?;
        }
        Ok(())
    }

    fn containers(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let stats = self.0.runtime.stats().snapshot();
        counter(encoder, "runtime_container_starts", "Containers started", stats.container_starts)?;
        counter(encoder, "runtime_container_creates", "Containers made", stats.container_creates)
    }

    fn ingress(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let stats = self.0.ingress.stats();
        let mut family =
            encoder.encode_descriptor("ingress_requests", "Finished requests by class", None, MetricType::Counter)?;
        for (class, count) in stats.requests.iter().enumerate() {
            let label = format!("{}xx", class + 1);
            ConstCounter::new(*count).encode(family.encode_family(&[("class", label.as_str())])?)?;
        }
        durations(encoder, &stats)?;
        gauge(encoder, "ingress_connections", "Open client connections", stats.active_connections)?;
        counter(encoder, "ingress_refused_connections", "Connections over a limit", stats.refused_connections)?;
        counter(encoder, "ingress_retries", "Requests sent again", stats.retries)?;
        counter(encoder, "ingress_upstream_failures", "Failures of upstreams", stats.upstream_failures)
    }

    fn loops(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let tasks = self.0.supervisor.status();
        let lag =
            tasks.iter().find(|task| task.name == crate::names::SCHEDULER).map(|task| task.lag).unwrap_or_default();
        let metric = ConstGauge::new(lag.as_secs_f64());
        let name = "scheduler_reconcile_lag_seconds";
        metric.encode(encoder.encode_descriptor(
            name,
            "Delay of the last planning pass",
            None,
            metric.metric_type(),
        )?)?;
        let mut family = encoder.encode_descriptor(
            "task_errors",
            "Failures of a task since its start",
            None,
            MetricType::Counter,
        )?;
        for task in &tasks {
            ConstCounter::new(task.errors_total).encode(family.encode_family(&[("task", task.name.as_str())])?)?;
        }
        Ok(())
    }
}
