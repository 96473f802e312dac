//! The container engine behind few verbs: [`DockerEngine`] talks to a real one, `FakeEngine` stands in for it in tests of the loop.
//!
//! Invariants: every call ends within a bound of its own; no answer of an engine can panic us; an error says whether the engine
//! was not reached, refused, or did not know the object, since the loop treats the three differently.

mod docker;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, EndpointSettings, NetworkCreateRequest, VolumeCreateRequest};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

pub use docker::DockerEngine;

/// Why a call to the engine failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nobody answered on the socket, or the connection broke.
    #[error("the container engine at {socket} cannot be reached: {reason}")]
    Unreachable {
        /// Path of the socket.
        socket: String,
        /// Cause in the system's words.
        reason: String,
    },
    /// It did not answer in time.
    #[error("the container engine did not finish \"{operation}\" within {seconds} s")]
    Timeout {
        /// What was asked.
        operation: String,
        /// Bound in seconds.
        seconds: u64,
    },
    /// The object does not exist.
    #[error("{message}")]
    NotFound {
        /// The engine's words.
        message: String,
    },
    /// The object's state or name is in the way.
    #[error("{message}")]
    Conflict {
        /// The engine's words.
        message: String,
    },
    /// It refused or failed.
    #[error("{message}")]
    Refused {
        /// HTTP status, 0 when the error came inside a stream.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// Its answer could not be understood.
    #[error("the container engine's answer to \"{operation}\" cannot be understood: {reason}")]
    Invalid {
        /// What was asked.
        operation: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl EngineError {
    /// Whether the engine itself is away, as opposed to this one request being refused.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, EngineError::Unreachable { .. })
    }

    /// Whether the object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, EngineError::NotFound { .. })
    }
}

/// A version of the engine API, compared by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion(
    /// Major number.
    pub u32,
    /// Minor number.
    pub u32,
);

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// What the engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineVersion {
    /// Version of the engine, such as `20.10.24`.
    pub engine: String,
    /// The API version in use with it: the newest both sides speak.
    pub api: ApiVersion,
}

/// A local image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Content id.
    pub id: String,
    /// What it starts by itself.
    pub entrypoint: Vec<String>,
}

/// What the process of a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// Never started.
    Created,
    /// Up.
    Running,
    /// Frozen by somebody.
    Paused,
    /// Between two runs, or on its way out.
    Changing,
    /// Ended.
    Exited,
    /// The engine could not remove it.
    Dead,
}

/// The engine's verdict by the container's health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// No verdict yet.
    Starting,
    /// Last check passed.
    Healthy,
    /// Too many checks in a row failed.
    Unhealthy,
}

/// A container as the engine describes it. Times are the engine's clock, milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Engine id.
    pub id: String,
    /// Name without the leading slash.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Image reference it was made from.
    pub image: String,
    /// When it was made.
    pub created_at_ms: u64,
    /// What its process is doing.
    pub state: ProcessState,
    /// Verdict of its health check; `None` without one.
    pub health: Option<Health>,
    /// When the last health check ended.
    pub last_health_at_ms: Option<u64>,
    /// Exit code of the last run that ended.
    pub exit_code: i64,
    /// The last run ended because it was out of memory.
    pub oom_killed: bool,
    /// The engine's error of the last start.
    pub error: String,
    /// Start of the last run; `None` before the first.
    pub started_at_ms: Option<u64>,
    /// End of the last run.
    pub finished_at_ms: Option<u64>,
    /// Time it wants between its stop signal and SIGKILL.
    pub stop_grace: Option<Duration>,
    /// Addresses by engine network name; `None` while it has none there.
    pub networks: BTreeMap<String, Option<IpAddr>>,
    /// Ids of containers whose namespaces it shares.
    pub shares: Vec<String>,
    /// Its output goes through a terminal.
    pub tty: bool,
}

impl Container {
    /// A label's value, or the empty text.
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map(String::as_str).unwrap_or_default()
    }

    /// Whether its process is there, frozen or not.
    pub fn is_up(&self) -> bool {
        match self.state {
            ProcessState::Running | ProcessState::Paused => true,
            ProcessState::Created | ProcessState::Changing | ProcessState::Exited | ProcessState::Dead => false,
        }
    }
}

/// A network of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Engine id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its IPv4 range as text, empty without one.
    pub subnet: String,
}

/// A volume of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// Where a pull stands. Soft: never committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PullProgress {
    /// Bytes downloaded of the layers seen so far.
    pub bytes_done: u64,
    /// Bytes of the layers seen so far.
    pub bytes_total: u64,
    /// Layers that are complete.
    pub layers_done: u32,
    /// Layers seen so far.
    pub layers_total: u32,
}

/// Takes each new progress of a pull; must not block.
pub type ProgressSink = Arc<dyn Fn(PullProgress) + Send + Sync>;

/// Something happened to one of our containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEvent {
    /// Engine id.
    pub container: String,
    /// The engine's word: `start`, `die`, `health_status: healthy`, …
    pub action: String,
}

/// Which of a container's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutputStream {
    /// Standard output; also everything of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl OutputStream {
    /// `stdout` or `stderr`.
    pub fn as_str(self) -> &'static str {
        match self {
            OutputStream::Stdout => "stdout",
            OutputStream::Stderr => "stderr",
        }
    }
}

/// One piece of output as the engine sends it: it begins with an RFC 3339 time and a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    /// Which output.
    pub stream: OutputStream,
    /// Whether it comes through a terminal: chunks end at newlines and not at messages.
    pub terminal: bool,
    /// Time and text.
    pub bytes: Bytes,
}

/// Which part of a container's output is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogOptions {
    /// Go on with new output until the container ends.
    pub follow: bool,
    /// Only output from this moment on, seconds since the Unix epoch.
    pub since: Option<u64>,
    /// Only this many of the last lines.
    pub tail: Option<u64>,
}

/// The verbs the runtime needs of a container engine. Dropping a future abandons the call; the engine may still carry it out.
pub trait Engine: Send + Sync + 'static {
    /// Connects anew and agrees on the API version.
    fn version(&self) -> BoxFuture<'_, Result<EngineVersion, EngineError>>;
    /// Whether it answers at all.
    fn ping(&self) -> BoxFuture<'_, Result<(), EngineError>>;
    /// Fetches an image; ends when it is there. `reference` has a tag or digest.
    fn pull<'a>(
        &'a self,
        reference: &'a str,
        platform: Option<&'a str>,
        progress: ProgressSink,
    ) -> BoxFuture<'a, Result<(), EngineError>>;
    /// The local image with this reference.
    fn image<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Image>, EngineError>>;
    /// Makes a container and returns its id.
    fn create_container<'a>(
        &'a self,
        name: &'a str,
        platform: Option<&'a str>,
        body: ContainerCreateBody,
    ) -> BoxFuture<'a, Result<String, EngineError>>;
    /// Starts it; no error when it runs.
    fn start<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<(), EngineError>>;
    /// Sends its stop signal, and SIGKILL after the grace (whole seconds, rounded up). No error when it does not run or is gone.
    fn stop<'a>(&'a self, container: &'a str, grace: Duration) -> BoxFuture<'a, Result<(), EngineError>>;
    /// Sends a signal.
    fn kill<'a>(&'a self, container: &'a str, signal: &'a str) -> BoxFuture<'a, Result<(), EngineError>>;
    /// Removes it with its anonymous volumes, by force. No error when it is gone.
    fn remove<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<(), EngineError>>;
    /// Gives it another name.
    fn rename<'a>(&'a self, container: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), EngineError>>;
    /// The container with this id or name.
    fn inspect<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<Option<Container>, EngineError>>;
    /// Ids of all containers with this label value, running or not.
    fn list<'a>(&'a self, label: &'a str, value: &'a str) -> BoxFuture<'a, Result<Vec<String>, EngineError>>;
    /// Makes a network.
    fn create_network(&self, request: NetworkCreateRequest) -> BoxFuture<'_, Result<(), EngineError>>;
    /// Removes a network. No error when it is gone.
    fn remove_network<'a>(&'a self, network: &'a str) -> BoxFuture<'a, Result<(), EngineError>>;
    /// The network with exactly this name.
    fn network<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Network>, EngineError>>;
    /// All networks with this label value.
    fn networks<'a>(&'a self, label: &'a str, value: &'a str) -> BoxFuture<'a, Result<Vec<Network>, EngineError>>;
    /// Connects a container to a network.
    fn connect<'a>(
        &'a self,
        network: &'a str,
        container: &'a str,
        endpoint: EndpointSettings,
    ) -> BoxFuture<'a, Result<(), EngineError>>;
    /// The volume with this name.
    fn volume<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Volume>, EngineError>>;
    /// Makes a volume; one of that name that exists is left as it is.
    fn create_volume(&self, request: VolumeCreateRequest) -> BoxFuture<'_, Result<(), EngineError>>;
    /// Events of containers with this label value from `since` (seconds since the Unix epoch) on; events of health check
    /// processes are left out. The stream ends, or gives an error and ends, when the connection breaks.
    fn events<'a>(
        &'a self,
        label: &'a str,
        value: &'a str,
        since: u64,
    ) -> BoxStream<'a, Result<ContainerEvent, EngineError>>;
    /// A container's output.
    fn logs<'a>(
        &'a self,
        container: &'a str,
        options: LogOptions,
    ) -> BoxStream<'static, Result<OutputChunk, EngineError>>;
}
