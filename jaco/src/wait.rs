//! Waiting for what a change asked for: pure judgement of a snapshot, and the loop around it.

use std::time::Duration;

use jaco_client::{Client, Deadline};
use jaco_proto::v1::{Replica, StatusRequest, StatusResponse};
use jaco_types::{DeploymentStatus, ErrorCode, ReplicaState, UserError};

use crate::progress::{Progress, Step};
use crate::snapshots::Snapshots;
use crate::text::duration;
use crate::view::change::Outcome;
use crate::view::{deployment_status, replica, replica_state};

/// How often the progress of a pull is asked for: it is not part of the replicated state, so no event tells of it.
const PULL_TICK: Duration = Duration::from_millis(500);

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Deployment.
    pub deployment: String,
    /// The revision that is to run.
    pub revision: u64,
    /// The attempt that the change began.
    pub attempt: u64,
    /// Log index of the change; an older snapshot says nothing about it.
    pub index: u64,
}

/// What a snapshot says about a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every replica runs.
    Reached,
    /// Not yet.
    Waiting,
    /// It will not get there by itself.
    Aborted(UserError),
}

/// Judges one snapshot. Error: a state that this client does not know.
pub fn judge(status: &StatusResponse, target: &Target) -> Result<(Verdict, Vec<Step>), UserError> {
    let replicas: Vec<&Replica> = status.replicas.iter().filter(|r| r.deployment == target.deployment).collect();
    let steps = replicas.iter().map(|replica| step(replica, target)).collect::<Result<Vec<_>, _>>()?;
    if status.index < target.index {
        return Ok((Verdict::Waiting, steps));
    }
    let Some(deployment) = status.deployments.iter().find(|d| d.name == target.deployment) else {
        return Ok((Verdict::Aborted(aborted(target, "the deployment was deleted meanwhile")), steps));
    };
    if deployment.attempt < target.attempt {
        return Ok((Verdict::Waiting, steps));
    }
    if deployment.applied_revision != target.revision {
        let message = format!("revision {} took its place", deployment.applied_revision);
        return Ok((Verdict::Aborted(aborted(target, &message)), steps));
    }
    if let Some(error) = failure(&replicas, target)? {
        return Ok((Verdict::Aborted(error), steps));
    }
    if deployment.status_details.values().any(|value| value == ErrorCode::RolloutAborted.as_str()) {
        let reason = deployment.status_details.get("reason").map_or("the rollout was aborted", String::as_str);
        return Ok((Verdict::Aborted(aborted(target, reason)), steps));
    }
    let active = deployment_status(deployment.status)? == DeploymentStatus::Active;
    // The status is the scheduler's word about all replicas; the replicas themselves guard against one that is not up to date.
    let running = active && all_run(&replicas)?;
    Ok((if running { Verdict::Reached } else { Verdict::Waiting }, steps))
}

fn all_run(replicas: &[&Replica]) -> Result<bool, UserError> {
    for replica in replicas {
        match replica_state(replica.state)? {
            ReplicaState::Running if replica.spec_current => {}
            ReplicaState::Stopped => {}
            ReplicaState::Running
            | ReplicaState::Pending
            | ReplicaState::Pulling
            | ReplicaState::Degraded
            | ReplicaState::Updating
            | ReplicaState::Failed => return Ok(false),
        }
    }
    Ok(true)
}

/// A replica of this attempt that has given up.
fn failure(replicas: &[&Replica], target: &Target) -> Result<Option<UserError>, UserError> {
    for replica in replicas {
        let exhausted = replica.code.as_deref() == Some(ErrorCode::RestartExhausted.as_str());
        if exhausted && replica.attempt >= target.attempt && replica_state(replica.state)? == ReplicaState::Failed {
            let why = format!("{} failed: {}", replica.id, reason_of(replica));
            return Ok(Some(aborted(target, &why).with("replica", &replica.id)));
        }
    }
    Ok(None)
}

fn aborted(target: &Target, why: &str) -> UserError {
    UserError::new(
        ErrorCode::RolloutAborted,
        format!("revision {} of deployment {} did not become healthy: {why}", target.revision, target.deployment),
    )
    .with("deployment", &target.deployment)
    .with("revision", target.revision)
}

fn reason_of(replica: &Replica) -> String {
    replica::reason(replica.code.as_deref(), replica.message.as_deref(), &replica.details)
}

fn step(wire: &Replica, target: &Target) -> Result<Step, UserError> {
    let state = replica_state(wire.state)?;
    let of_this = wire.attempt >= target.attempt && wire.spec_current;
    let reason = reason_of(wire);
    let with_reason = |word: &str| if reason.is_empty() { word.to_owned() } else { format!("{word}: {reason}") };
    let pull = wire.pull.map(|pull| replica::Pull::from(pull).text()).filter(|text| !text.is_empty());
    let doing = match state {
        ReplicaState::Running if of_this => "running".to_owned(),
        ReplicaState::Running => "waiting to be replaced".to_owned(),
        ReplicaState::Pulling => match pull {
            Some(pull) => format!("pulling {} ({pull})", wire.image),
            None => format!("pulling {}", wire.image),
        },
        ReplicaState::Pending => match waiting_for(wire) {
            Some(services) => format!("waiting for {services}"),
            None => with_reason("starting"),
        },
        ReplicaState::Degraded => with_reason("unhealthy"),
        ReplicaState::Updating => with_reason("being replaced"),
        ReplicaState::Failed => with_reason("failed"),
        ReplicaState::Stopped => "stopped".to_owned(),
    };
    let done = matches!(state, ReplicaState::Running) && of_this || matches!(state, ReplicaState::Stopped);
    Ok(Step { id: wire.id.clone(), doing, done, pulls: state == ReplicaState::Pulling })
}

/// The dependencies that hold a replica back.
fn waiting_for(replica: &Replica) -> Option<String> {
    if let Some(names) = replica.details.get("waiting_on") {
        return Some(names.clone());
    }
    let names: Vec<&str> = replica.depends_on.iter().filter(|d| !d.satisfied).map(|d| d.service.as_str()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Waits until the target is reached. Errors: `rollout_aborted`, `wait_timeout`, or whatever keeps the daemon from answering.
pub async fn until_running(
    client: &Client,
    target: &Target,
    deadline: Deadline,
    progress: &mut Progress,
) -> Result<(), UserError> {
    let request = StatusRequest { deployment: target.deployment.clone(), service: String::new() };
    let mut snapshots = Snapshots::new(client, request, &target.deployment);
    let mut steps: Vec<Step> = Vec::new();
    loop {
        let tick = (progress.is_shown() && steps.iter().any(|step| step.pulls)).then_some(PULL_TICK);
        let Some(snapshot) = deadline.limit(snapshots.next(tick)).await else {
            return Err(timed_out(target, deadline, &steps));
        };
        let (verdict, now) = judge(&snapshot?, target)?;
        steps = now;
        progress.update(&steps);
        match verdict {
            Verdict::Reached => return Ok(()),
            Verdict::Aborted(error) => return Err(error),
            Verdict::Waiting => {}
        }
    }
}

/// The deadline's error: what each replica is still waiting for.
fn timed_out(target: &Target, deadline: Deadline, steps: &[Step]) -> UserError {
    let missing: Vec<&Step> = steps.iter().filter(|step| !step.done).collect();
    let list = missing.iter().map(|step| format!("{} {}", step.id, step.doing)).collect::<Vec<_>>().join("; ");
    let list = if list.is_empty() { "its replicas have not been scheduled".to_owned() } else { list };
    let error = UserError::new(
        ErrorCode::WaitTimeout,
        format!(
            "revision {} of deployment {} is not running after {} and goes on in the cluster: {list}",
            target.revision,
            target.deployment,
            duration(deadline.length())
        ),
    )
    .with("deployment", &target.deployment)
    .with("revision", target.revision);
    missing.iter().fold(error, |error, step| error.with(&step.id, &step.doing))
}

/// Waits until nothing of a deployment is left, or its deletion is overtaken by a new apply.
pub async fn until_gone(client: &Client, deployment: &str, index: u64, deadline: Deadline) -> Result<(), UserError> {
    // Not by name: a deployment that is gone has no status of its own, while its last containers still stop.
    let mut snapshots = Snapshots::new(client, StatusRequest::default(), deployment);
    let mut left: Vec<String> = Vec::new();
    loop {
        let Some(snapshot) = deadline.limit(snapshots.next(None)).await else {
            return Err(UserError::new(
                ErrorCode::WaitTimeout,
                format!(
                    "deployment {deployment} is deleted, but after {} these are not gone: {}",
                    duration(deadline.length()),
                    left.join(", ")
                ),
            )
            .with("deployment", deployment));
        };
        let snapshot = snapshot?;
        left = remains(&snapshot, deployment);
        if snapshot.index >= index && left.is_empty() {
            return Ok(());
        }
    }
}

/// What of a deployment is still there.
fn remains(status: &StatusResponse, deployment: &str) -> Vec<String> {
    let records = status.deployments.iter().filter(|d| d.name == deployment).map(|d| format!("deployment/{}", d.name));
    let replicas = status.replicas.iter().filter(|r| r.deployment == deployment).map(|r| format!("replica/{}", r.id));
    records.chain(replicas).collect()
}

/// How a wait ended, for the result: the error goes on only when it says nothing about the change itself.
pub fn outcome(result: &Result<(), UserError>) -> Option<Outcome> {
    match result {
        Ok(()) => Some(Outcome::Active),
        Err(error) if error.code == ErrorCode::RolloutAborted => Some(Outcome::Aborted),
        Err(error) if error.code == ErrorCode::WaitTimeout => Some(Outcome::Timeout),
        Err(_) => None,
    }
}

#[cfg(test)]
#[path = "wait/tests.rs"]
mod tests;
