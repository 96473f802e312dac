//! Carries out one step on the engine. Every step ends in bounded time and leaves something the next plan can go on from.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bollard::models::{ContainerCreateBody, VolumeCreateRequest};
use jaco_types::{
    ClusterMeta, DeploymentSpec, ErrorCode, Mount, NetworkName, ReplicaDesired, ReplicaId, ReplicaState, ServiceName,
    ServiceSpec, label, volume_name,
};
use tokio::sync::Semaphore;

use crate::container::{self, CreateError, CreateInput, CreateRequest, joined_networks};
use crate::engine::{ApiVersion, Container, Engine, EngineError, Network};
use crate::lease::{StartDenied, StartRight};
use crate::network::{Asked, NetworkError, Networks};
use crate::plan::{Problem, Step};
use crate::soft::{SoftState, Stats, count};
use crate::traffic::Traffic;

/// Bound of a whole step beyond a container's grace: the sum of what its calls may take would be far longer than a user waits.
const STEP_LIMIT: Duration = Duration::from_secs(180);

/// What a step needs to know; a copy, since the world goes on while it runs.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: ReplicaId,
    pub(crate) step: Step,
    pub(crate) cluster: ClusterMeta,
    pub(crate) api: ApiVersion,
    /// What is wanted; `None` when the replica is to go.
    pub(crate) target: Option<Target>,
    /// Where the container of the step answers now.
    pub(crate) addresses: Vec<IpAddr>,
}

/// The wanted replica of a job.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) desired: ReplicaDesired,
    pub(crate) raft_index: u64,
    /// Epoch of its slot, for an exclusive replica.
    pub(crate) epoch: Option<u64>,
    pub(crate) spec: Arc<DeploymentSpec>,
    pub(crate) peers: BTreeMap<ServiceName, String>,
}

impl Job {
    fn service(&self) -> Option<&ServiceSpec> {
        let target = self.target.as_ref()?;
        target.spec.services.get(&target.desired.service)
    }
}

/// One look at a container, with the place of its beginning in the order of all looks.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) sequence: u64,
    pub(crate) id: String,
    pub(crate) found: Option<Container>,
}

/// How a step ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) id: ReplicaId,
    pub(crate) step: Step,
    pub(crate) generation: Option<u64>,
    pub(crate) result: Result<(), StepError>,
    pub(crate) looks: Vec<Look>,
    pub(crate) networks: Vec<Network>,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StepError {
    /// The engine is away: nobody's fault, tried again when it is back.
    EngineAway(String),
    /// The image went away between its pull and the creation.
    ImageGone,
    /// The cluster does not say now that this node may run it: no failure, and asked again.
    Denied(String),
    /// Something the user is to see.
    Problem(Problem),
}

pub(crate) struct Actor {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) networks: Networks,
    pub(crate) start_right: StartRight,
    pub(crate) traffic: Arc<dyn Traffic>,
    pub(crate) withdraw_limit: Duration,
    /// Creations and starts at a time: more would only fight for the disk.
    pub(crate) starts: Semaphore,
    pub(crate) soft: SoftState,
    pub(crate) stats: Arc<Stats>,
    pub(crate) sequence: AtomicU64,
}

impl Actor {
    pub(crate) async fn look(&self, container: &str) -> Result<Look, EngineError> {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let found = self.engine.inspect(container).await?;
        Ok(Look { sequence, id: container.to_owned(), found })
    }

    pub(crate) async fn perform(&self, job: Job) -> Outcome {
        let (mut networks, mut touched) = (Vec::new(), Vec::new());
        let limit = match &job.step {
            Step::Halt { grace, .. } | Step::Retire { grace, .. } | Step::Fence { grace, .. } => {
                STEP_LIMIT.saturating_add(*grace)
            }
            Step::Pull | Step::Create | Step::Rename { .. } | Step::Start { .. } | Step::Withdraw { .. } => STEP_LIMIT,
        };
        // Waiting for a turn is no part of the step: with a slow engine and many replicas it may take longer than any step may.
        let turn = match &job.step {
            Step::Create | Step::Start { .. } => self.starts.acquire().await.ok(),
            Step::Pull
            | Step::Rename { .. }
            | Step::Withdraw { .. }
            | Step::Halt { .. }
            | Step::Retire { .. }
            | Step::Fence { .. } => None,
        };
        let work = self.carry_out(&job, &mut networks, &mut touched);
        let mut result = tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            Err(docker_problem(format!("the step did not end within {} s; it is tried again", limit.as_secs())))
        });
        drop(turn);
        let mut looks = Vec::new();
        for container in touched {
            match self.look(&container).await {
                Ok(look) => looks.push(look),
                Err(error) if error.is_unreachable() => result = Err(StepError::EngineAway(error.to_string())),
                // The next event or safety tick looks again.
                Err(error) => tracing::debug!(%container, %error, "the container cannot be inspected"),
            }
        }
        if matches!(result, Err(StepError::Problem(_))) {
            count(&self.stats.step_failures);
        }
        let generation = job.target.as_ref().map(|target| target.desired.generation);
        Outcome { id: job.id, step: job.step, generation, result, looks, networks }
    }

    async fn carry_out(
        &self,
        job: &Job,
        networks: &mut Vec<Network>,
        touched: &mut Vec<String>,
    ) -> Result<(), StepError> {
        match &job.step {
            // The loop does these itself.
            Step::Pull | Step::Withdraw { .. } => Ok(()),
            Step::Create => self.create(job, networks, touched).await,
            Step::Rename { container, name } => {
                touched.push(container.clone());
                self.engine.rename(container, name).await.map_err(|error| step_error(job, &error))
            }
            Step::Start { container, .. } => {
                touched.push(container.clone());
                // Its networks may have been removed by hand while it was down.
                self.networks_of(job, networks).await?;
                self.confirm_right(job).await.map_err(|denied| denied_step(job, &denied))?;
                self.engine.start(container).await.map_err(|error| step_error(job, &error))?;
                count(&self.stats.container_starts);
                Ok(())
            }
            Step::Halt { container, grace } => {
                touched.push(container.clone());
                self.drain_traffic(job, container).await;
                self.engine.stop(container, *grace).await.map_err(|error| step_error(job, &error))?;
                count(&self.stats.container_stops);
                Ok(())
            }
            // There is no time for requests in flight.
            Step::Fence { container, grace } => {
                touched.push(container.clone());
                self.engine.stop(container, *grace).await.map_err(|error| step_error(job, &error))?;
                count(&self.stats.container_stops);
                Ok(())
            }
            Step::Retire { container, grace } => {
                touched.push(container.clone());
                self.drain_traffic(job, container).await;
                self.engine.stop(container, *grace).await.map_err(|error| step_error(job, &error))?;
                self.engine.remove(container).await.map_err(|error| step_error(job, &error))?;
                count(&self.stats.container_stops);
                Ok(())
            }
        }
    }

    /// Whether the replica may be started: any but an exclusive one may. Nothing that takes time comes between this and the start.
    async fn confirm_right(&self, job: &Job) -> Result<(), StartDenied> {
        let Some((target, service)) = job.target.as_ref().zip(job.service()) else { return Ok(()) };
        if !service.exclusive {
            return Ok(());
        }
        self.start_right.confirm(&target.desired.id, target.epoch, service.container.stop_grace_period).await
    }

    /// Requests in flight finish before the stop signal.
    async fn drain_traffic(&self, job: &Job, container: &str) {
        if job.addresses.is_empty() {
            return;
        }
        let drained = self.traffic.withdraw(container.to_owned(), self.withdraw_limit);
        if tokio::time::timeout(self.withdraw_limit, drained).await.is_err() {
            tracing::warn!(replica = %job.id, "requests were still in flight at the stop");
        }
    }

    async fn create(&self, job: &Job, networks: &mut Vec<Network>, touched: &mut Vec<String>) -> Result<(), StepError> {
        let Some(target) = &job.target else { return Ok(()) };
        let Some(service) = target.spec.services.get(&target.desired.service) else { return Ok(()) };
        let request = container::config(CreateInput {
            cluster_id: &job.cluster.cluster_id,
            desired: &target.desired,
            raft_index: target.raft_index,
            deployment: &target.spec,
            service,
            epoch: target.epoch,
            peers: &target.peers,
            api: job.api,
        })
        .map_err(|error| create_error(&error))?;
        if !request.left_out.is_empty() {
            tracing::warn!(replica = %job.id, fields = ?request.left_out, api = %job.api, "the engine does not know these fields");
        }
        self.networks_of(job, networks).await?;
        self.volumes_of(job, target).await?;
        let CreateRequest { name, platform, mut body, connect, .. } = request;
        self.clear_command(job, &mut body).await?;
        let id = match self.engine.create_container(&name, platform.as_deref(), body).await {
            Ok(id) => id,
            Err(error) => return Err(self.creation_failed(job, &name, error, touched).await),
        };
        count(&self.stats.container_creates);
        touched.push(id.clone());
        for (network, endpoint) in connect {
            if let Err(error) = self.engine.connect(&network, &id, endpoint).await {
                // Half connected it would look finished to the next plan.
                if let Err(left) = self.engine.remove(&id).await {
                    tracing::warn!(replica = %job.id, error = %left, "a half-made container is left behind");
                }
                return Err(step_error(job, &error));
            }
        }
        Ok(())
    }

    /// The engine takes an empty command as the image's own, except beside an entrypoint: so that it is really none, the image's
    /// entrypoint is named.
    async fn clear_command(&self, job: &Job, body: &mut ContainerCreateBody) -> Result<(), StepError> {
        if body.entrypoint.is_some() || !body.cmd.as_ref().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        let image = body.image.clone().unwrap_or_default();
        let found = self.engine.image(&image).await.map_err(|error| step_error(job, &error))?;
        body.entrypoint = Some(container::cleared_entrypoint(&found.ok_or(StepError::ImageGone)?.entrypoint));
        Ok(())
    }

    /// A name that is taken is ours (a step before a crash; the plan goes on from it) or somebody else's (never touched).
    async fn creation_failed(&self, job: &Job, name: &str, error: EngineError, touched: &mut Vec<String>) -> StepError {
        let message = error.to_string();
        match &error {
            EngineError::NotFound { .. } if message.to_ascii_lowercase().contains("image") => {
                return StepError::ImageGone;
            }
            EngineError::Conflict { .. } => match self.engine.inspect(name).await {
                Ok(Some(found)) if found.label(label::CLUSTER_ID) == job.cluster.cluster_id => touched.push(found.id),
                Ok(Some(found)) => {
                    return docker_problem(format!(
                        "a container named {name:?} ({}) exists that is not this cluster's; remove or rename it",
                        found.id.get(..12).unwrap_or(&found.id)
                    ));
                }
                Ok(None) | Err(_) => {}
            },
            EngineError::NotFound { .. }
            | EngineError::Refused { .. }
            | EngineError::Unreachable { .. }
            | EngineError::Timeout { .. }
            | EngineError::Invalid { .. } => {}
        }
        step_error(job, &error)
    }

    async fn networks_of(&self, job: &Job, ready: &mut Vec<Network>) -> Result<(), StepError> {
        let Some(target) = &job.target else { return Ok(()) };
        let Some(service) = target.spec.services.get(&target.desired.service) else { return Ok(()) };
        for key in joined_networks(&service.container).keys() {
            ready.push(self.network(&job.cluster, target, key).await.map_err(|error| network_error(&error))?);
        }
        Ok(())
    }

    async fn network(
        &self,
        cluster: &ClusterMeta,
        target: &Target,
        key: &NetworkName,
    ) -> Result<Network, NetworkError> {
        let spec = target.spec.networks.get(key).cloned().unwrap_or_default();
        self.networks.ensure(Asked { cluster, deployment: &target.desired.deployment, key, spec: &spec }).await
    }

    async fn volumes_of(&self, job: &Job, target: &Target) -> Result<(), StepError> {
        let Some(service) = target.spec.services.get(&target.desired.service) else { return Ok(()) };
        for mount in &service.container.mounts {
            let Mount::Volume { source, .. } = mount else { continue };
            let spec = target.spec.volumes.get(source).cloned().unwrap_or_default();
            let name = volume_name(&target.desired.deployment, source, &spec);
            let found = self.engine.volume(&name).await.map_err(|error| step_error(job, &error))?;
            match found {
                Some(_) if spec.external => {}
                Some(found) if found.labels.get(label::CLUSTER_ID) == Some(&job.cluster.cluster_id) => {}
                Some(_) => {
                    return Err(docker_problem(format!(
                        "a volume {name:?} exists that is not this cluster's; remove it, or declare it external"
                    )));
                }
                None if spec.external => {
                    return Err(docker_problem(format!("the external volume {name:?} does not exist on this node")));
                }
                None => {
                    let mut labels: std::collections::HashMap<_, _> = spec.labels.clone().into_iter().collect();
                    labels.insert(label::CLUSTER_ID.to_owned(), job.cluster.cluster_id.clone());
                    labels.insert(label::DEPLOYMENT.to_owned(), target.desired.deployment.to_string());
                    let request = VolumeCreateRequest { name: Some(name), labels: Some(labels), ..Default::default() };
                    self.engine.create_volume(request).await.map_err(|error| step_error(job, &error))?;
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn docker_problem(message: String) -> StepError {
    StepError::Problem(problem(ErrorCode::DockerError, message))
}

pub(crate) fn problem(code: ErrorCode, message: String) -> Problem {
    Problem { state: ReplicaState::Failed, code, message, details: BTreeMap::new() }
}

fn denied_step(job: &Job, denied: &StartDenied) -> StepError {
    tracing::debug!(replica = %job.id, error = denied as &dyn std::error::Error, "an exclusive replica is not started now");
    StepError::Denied(denied.to_string())
}

fn step_error(job: &Job, error: &EngineError) -> StepError {
    let message = error.to_string();
    match error {
        EngineError::Unreachable { .. } => StepError::EngineAway(message),
        EngineError::Refused { .. } | EngineError::NotFound { .. }
            if message.contains("bind source path does not exist") =>
        {
            let source = message.rsplit(": ").next().unwrap_or_default().trim().to_owned();
            let text = format!("the bind's source {source:?} does not exist on this node; create it there");
            let mut problem = problem(ErrorCode::BindSourceMissing, text);
            problem.details.insert("source".to_owned(), source);
            StepError::Problem(problem)
        }
        EngineError::Refused { .. }
        | EngineError::NotFound { .. }
        | EngineError::Conflict { .. }
        | EngineError::Timeout { .. }
        | EngineError::Invalid { .. } => {
            tracing::debug!(replica = %job.id, step = ?job.step, %error, "the engine refused a step");
            docker_problem(message)
        }
    }
}

fn network_error(error: &NetworkError) -> StepError {
    match error {
        NetworkError::Engine(EngineError::Unreachable { .. }) => StepError::EngineAway(error.to_string()),
        NetworkError::Store { .. } => {
            // The cluster cannot answer now: waiting is not failing.
            StepError::Problem(Problem { state: ReplicaState::Pending, ..problem(error.code(), error.to_string()) })
        }
        NetworkError::Engine(_)
        | NetworkError::PoolExhausted { .. }
        | NetworkError::Foreign { .. }
        | NetworkError::Rebuilding { .. } => StepError::Problem(problem(error.code(), error.to_string())),
    }
}

fn create_error(error: &CreateError) -> StepError {
    match error {
        CreateError::PeerMissing { service } => {
            let mut waiting =
                Problem { state: ReplicaState::Pending, ..problem(ErrorCode::DependsOnUnmet, error.to_string()) };
            waiting.details.insert("waiting_on".to_owned(), service.to_string());
            StepError::Problem(waiting)
        }
        CreateError::UnknownWord { .. } | CreateError::EngineTooOld { .. } => docker_problem(error.to_string()),
    }
}
