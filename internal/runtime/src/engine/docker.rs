//! The engine driver over a Docker socket.

mod convert;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, NetworkConnectRequest, NetworkCreateRequest, VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, EventsOptionsBuilder, InspectContainerOptions,
    InspectNetworkOptions, KillContainerOptionsBuilder, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, stream};

use super::{
    ApiVersion, Container, ContainerEvent, Engine, EngineError, EngineVersion, Image, LogOptions, Network, OutputChunk,
    ProgressSink, Volume,
};
use convert::Layers;

/// Bound of calls that only read or note something down.
const SHORT: Duration = Duration::from_secs(20);
/// Bound of calls that make or remove something: a busy disk makes these slow.
const LONG: Duration = Duration::from_secs(120);
/// A pull that says nothing for this long is given up.
const PULL_SILENCE: Duration = Duration::from_secs(120);
/// Events we act on. Leaving out the `exec_*` ones keeps health checks from waking us at every interval.
const EVENTS: &[&str] = &[
    "create",
    "start",
    "restart",
    "die",
    "oom",
    "destroy",
    "rename",
    "health_status",
    "pause",
    "unpause",
    "kill",
    "stop",
];

/// A Docker engine behind its unix socket.
pub struct DockerEngine {
    socket: String,
    /// Replaced by every [`Engine::version`]: an engine that was upgraded underneath is negotiated with anew.
    client: RwLock<Option<Docker>>,
}

impl DockerEngine {
    /// A driver for the engine at this socket path; connects on first use.
    pub fn new(socket: impl Into<String>) -> Self {
        DockerEngine { socket: socket.into(), client: RwLock::new(None) }
    }

    fn known_client(&self) -> Option<Docker> {
        self.client.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    async fn client(&self) -> Result<Docker, EngineError> {
        match self.known_client() {
            Some(client) => Ok(client),
            None => self.negotiate().await.map(|(client, _)| client),
        }
    }

    async fn negotiate(&self) -> Result<(Docker, EngineVersion), EngineError> {
        // The client's own timeout must be longer than ours, which differ per call.
        let docker = Docker::connect_with_unix(&self.socket, 24 * 3600, API_DEFAULT_VERSION)
            .map_err(|error| convert::error(&self.socket, "connect", &error))?;
        let docker = self.bounded("version", SHORT, docker.negotiate_version()).await?;
        let version = self.bounded("version", SHORT, docker.version()).await?;
        let client_version = docker.client_version();
        let api = ApiVersion(
            u32::try_from(client_version.major_version).unwrap_or_default(),
            u32::try_from(client_version.minor_version).unwrap_or_default(),
        );
        *self.client.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(docker.clone());
        Ok((docker, EngineVersion { engine: version.version.unwrap_or_default(), api }))
    }

    async fn bounded<T>(
        &self,
        operation: &str,
        bound: Duration,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        match tokio::time::timeout(bound, call).await {
            Ok(result) => result.map_err(|error| convert::error(&self.socket, operation, &error)),
            Err(_) => Err(EngineError::Timeout { operation: operation.to_owned(), seconds: bound.as_secs() }),
        }
    }

    async fn pull_image(
        &self,
        reference: &str,
        platform: Option<&str>,
        progress: &ProgressSink,
    ) -> Result<(), EngineError> {
        let docker = self.client().await?;
        let mut options = CreateImageOptionsBuilder::new().from_image(reference);
        if let Some(platform) = platform {
            options = options.platform(platform);
        }
        let mut messages = docker.create_image(Some(options.build()), None, None);
        let mut layers = Layers::default();
        // An error arrives as one item of the stream, and more may follow it: the first one is the reason.
        let mut failure = None;
        loop {
            let next = tokio::time::timeout(PULL_SILENCE, messages.next()).await.map_err(|_| EngineError::Timeout {
                operation: format!("pull {reference}"),
                seconds: PULL_SILENCE.as_secs(),
            })?;
            match next {
                None => break,
                Some(Ok(message)) => progress(layers.note(&message)),
                Some(Err(error)) => {
                    failure.get_or_insert(convert::error(&self.socket, &format!("pull {reference}"), &error));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

impl Engine for DockerEngine {
    fn version(&self) -> BoxFuture<'_, Result<EngineVersion, EngineError>> {
        async move { self.negotiate().await.map(|(_, version)| version) }.boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), EngineError>> {
        async move {
            let docker = self.client().await?;
            self.bounded("ping", SHORT, docker.ping()).await.map(|_| ())
        }
        .boxed()
    }

    fn pull<'a>(
        &'a self,
        reference: &'a str,
        platform: Option<&'a str>,
        progress: ProgressSink,
    ) -> BoxFuture<'a, Result<(), EngineError>> {
        async move { self.pull_image(reference, platform, &progress).await }.boxed()
    }

    fn image<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Image>, EngineError>> {
        async move {
            let docker = self.client().await?;
            let found = self.bounded("inspect image", SHORT, docker.inspect_image(reference)).await;
            present(found.map(|image| Image {
                id: image.id.unwrap_or_default(),
                entrypoint: image.config.and_then(|config| config.entrypoint).unwrap_or_default(),
            }))
        }
        .boxed()
    }

    fn create_container<'a>(
        &'a self,
        name: &'a str,
        platform: Option<&'a str>,
        body: ContainerCreateBody,
    ) -> BoxFuture<'a, Result<String, EngineError>> {
        async move {
            let docker = self.client().await?;
            let mut options = CreateContainerOptionsBuilder::new().name(name);
            if let Some(platform) = platform {
                options = options.platform(platform);
            }
            let call = docker.create_container(Some(options.build()), body);
            self.bounded("create container", LONG, call).await.map(|created| created.id)
        }
        .boxed()
    }

    fn start<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<(), EngineError>> {
        async move {
            let docker = self.client().await?;
            self.bounded("start", LONG, docker.start_container(container, None::<StartContainerOptions>)).await
        }
        .boxed()
    }

    fn stop<'a>(&'a self, container: &'a str, grace: Duration) -> BoxFuture<'a, Result<(), EngineError>> {
        async move {
            let docker = self.client().await?;
            let options = StopContainerOptionsBuilder::new().t(convert::whole_seconds(grace)).build();
            let bound = grace.saturating_add(LONG);
            gone_is_fine(self.bounded("stop", bound, docker.stop_container(container, Some(options))).await)
        }
        .boxed()
    }

    fn kill<'a>(&'a self, container: &'a str, signal: &'a str) -> BoxFuture<'a, Result<(), EngineError>> {
        async move {
            let docker = self.client().await?;
            let options = KillContainerOptionsBuilder::new().signal(signal).build();
            self.bounded("kill", LONG, docker.kill_container(container, Some(options))).await
        }
        .boxed()
    }

    fn remove<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<(), EngineError>> {
        async move {
            let docker = self.client().await?;
            let options = RemoveContainerOptionsBuilder::new().v(true).force(true).build();
            gone_is_fine(self.bounded("remove", LONG, docker.remove_container(container, Some(options))).await)
        }
        .boxed()
    }

    fn rename<'a>(&'a self, container: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), EngineError>> {
        async move {
            let docker = self.client().await?;
            let options = RenameContainerOptionsBuilder::new().name(name).build();
            self.bounded("rename", SHORT, docker.rename_container(container, options)).await
        }
        .boxed()
    }

    fn inspect<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<Option<Container>, EngineError>> {
        async move {
            let docker = self.client().await?;
            let call = docker.inspect_container(container, None::<InspectContainerOptions>);
            match present(self.bounded("inspect", SHORT, call).await)? {
                Some(answer) => convert::container(answer).map(Some),
                None => Ok(None),
            }
        }
        .boxed()
    }

    fn list<'a>(&'a self, label: &'a str, value: &'a str) -> BoxFuture<'a, Result<Vec<String>, EngineError>> {
        async move {
            let docker = self.client().await?;
            let options = ListContainersOptionsBuilder::new().all(true).filters(&by_label(label, value)).build();
            let found = self.bounded("list containers", SHORT, docker.list_containers(Some(options))).await?;
            Ok(found.into_iter().filter_map(|container| container.id).collect())
        }
        .boxed()
    }

    fn create_network(&self, request: NetworkCreateRequest) -> BoxFuture<'_, Result<(), EngineError>> {
        async move {
            let docker = self.client().await?;
            self.bounded("create network", LONG, docker.create_network(request)).await.map(|_| ())
        }
        .boxed()
    }

    fn remove_network<'a>(&'a self, network: &'a str) -> BoxFuture<'a, Result<(), EngineError>> {
        async move {
            let docker = self.client().await?;
            gone_is_fine(self.bounded("remove network", LONG, docker.remove_network(network)).await)
        }
        .boxed()
    }

    fn network<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Network>, EngineError>> {
        async move {
            let docker = self.client().await?;
            let call = docker.inspect_network(name, None::<InspectNetworkOptions>);
            let found = present(self.bounded("inspect network", SHORT, call).await)?;
            // The engine also finds networks by a prefix of their id.
            Ok(found.map(convert::inspected_network).filter(|network| network.name == name))
        }
        .boxed()
    }

    fn networks<'a>(&'a self, label: &'a str, value: &'a str) -> BoxFuture<'a, Result<Vec<Network>, EngineError>> {
        async move {
            let docker = self.client().await?;
            let options = ListNetworksOptionsBuilder::new().filters(&by_label(label, value)).build();
            let found = self.bounded("list networks", SHORT, docker.list_networks(Some(options))).await?;
            Ok(found.into_iter().map(convert::network).collect())
        }
        .boxed()
    }

    fn connect<'a>(
        &'a self,
        network: &'a str,
        container: &'a str,
        endpoint: EndpointSettings,
    ) -> BoxFuture<'a, Result<(), EngineError>> {
        async move {
            let docker = self.client().await?;
            let request = NetworkConnectRequest { container: container.to_owned(), endpoint_config: Some(endpoint) };
            self.bounded("connect", LONG, docker.connect_network(network, request)).await
        }
        .boxed()
    }

    fn volume<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Volume>, EngineError>> {
        async move {
            let docker = self.client().await?;
            let found = self.bounded("inspect volume", SHORT, docker.inspect_volume(name)).await;
            present(found.map(|volume| Volume {
                name: volume.name,
                labels: volume.labels.into_iter().collect::<BTreeMap<_, _>>(),
            }))
        }
        .boxed()
    }

    fn create_volume(&self, request: VolumeCreateRequest) -> BoxFuture<'_, Result<(), EngineError>> {
        async move {
            let docker = self.client().await?;
            self.bounded("create volume", LONG, docker.create_volume(request)).await.map(|_| ())
        }
        .boxed()
    }

    fn events<'a>(
        &'a self,
        label: &'a str,
        value: &'a str,
        since: u64,
    ) -> BoxStream<'a, Result<ContainerEvent, EngineError>> {
        let connected = async move {
            let docker = match self.client().await {
                Ok(docker) => docker,
                Err(error) => return stream::iter([Err(error)]).boxed(),
            };
            let mut filters = by_label(label, value);
            filters.insert("type".to_owned(), vec!["container".to_owned()]);
            filters.insert("event".to_owned(), EVENTS.iter().map(|&event| event.to_owned()).collect());
            let options = EventsOptionsBuilder::new().since(&since.to_string()).filters(&filters).build();
            let socket = self.socket.clone();
            docker
                .events(Some(options))
                .map(move |event| match event {
                    Ok(event) => convert::event(event),
                    Err(error) => Err(convert::error(&socket, "events", &error)),
                })
                .boxed()
        };
        stream::once(connected).flatten().boxed()
    }

    fn logs<'a>(
        &'a self,
        container: &'a str,
        options: LogOptions,
    ) -> BoxStream<'static, Result<OutputChunk, EngineError>> {
        let mut builder = LogsOptionsBuilder::new().stdout(true).stderr(true).timestamps(true).follow(options.follow);
        if let Some(since) = options.since {
            builder = builder.since(i32::try_from(since).unwrap_or(i32::MAX));
        }
        if let Some(tail) = options.tail {
            builder = builder.tail(&tail.to_string());
        }
        let Some(docker) = self.known_client() else {
            let error =
                EngineError::Unreachable { socket: self.socket.clone(), reason: "not connected yet".to_owned() };
            return stream::iter([Err(error)]).boxed();
        };
        let socket = self.socket.clone();
        // The client borrows nothing beyond this call once the stream is boxed with its own copy.
        let docker = Arc::new(docker);
        docker
            .logs(container, Some(builder.build()))
            .map(move |item| match item {
                Ok(output) => Ok(convert::output(output)),
                Err(error) => Err(convert::error(&socket, "logs", &error)),
            })
            .boxed()
    }
}

fn by_label(label: &str, value: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("{label}={value}")])])
}

fn present<T>(result: Result<T, EngineError>) -> Result<Option<T>, EngineError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn gone_is_fine(result: Result<(), EngineError>) -> Result<(), EngineError> {
    present(result).map(|_| ())
}
