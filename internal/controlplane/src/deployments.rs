//! Apply, rollback and delete: the pure decisions of the scheduler's [`intent`], carried through the one write path.
//!
//! Each call computes its transaction from a view, proposes it, and begins again when the state moved in between. A request id makes
//! a repeat return what the first try committed, also when that commit itself made the repeat impossible (a deployment that is
//! deleted cannot be deleted again).

use std::sync::Arc;

use jaco_scheduler::intent::{self, ApplyRequest};
use jaco_state::{Clock, Commit, RequestId, Retry, Store, Transaction, UpdateError, View, Write, update};
use jaco_types::{DeploymentName, DeploymentRevision, DeploymentSpec, Entity, ErrorCode, UserError};
use serde::{Deserialize, Serialize};

/// The deployments of the cluster, as commands. Cheap to clone.
#[derive(Clone)]
pub struct Deployments {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

/// A checked manifest to be applied.
#[derive(Debug, Clone)]
pub struct ApplyCommand {
    /// The resolved spec.
    pub spec: DeploymentSpec,
    /// `jaco.yaml` as sent.
    pub jaco_yaml: String,
    /// The compose text as sent.
    pub compose_yaml: String,
    /// Who applies.
    pub identity: String,
    /// The client's request id.
    pub request_id: Option<RequestId>,
}

/// What an apply or rollback did, or in a preview would do.
#[derive(Debug, Clone)]
pub struct Applied {
    /// What was active before.
    pub before: Option<Arc<DeploymentSpec>>,
    /// What is active now.
    pub after: Arc<DeploymentSpec>,
    /// Its revision.
    pub revision: u64,
    /// The revision that was active before.
    pub previous_revision: Option<u64>,
    /// The deployment's attempt.
    pub attempt: u64,
    /// Log index of the commit; 0 for a preview.
    pub index: u64,
}

/// The answer that travels with the commit, so that a repeat gets the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Reply {
    revision: u64,
    previous_revision: Option<u64>,
    attempt: u64,
}

/// A transaction with the answer it will give.
struct Prepared {
    transaction: Transaction,
    reply: Reply,
}

impl Deployments {
    /// Commands on this store. The clock stamps revisions.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Deployments { store, clock }
    }

    /// What an apply would do, judged on this view; nothing is written.
    pub fn preview_apply(&self, view: &View, command: &ApplyCommand) -> Result<Applied, UserError> {
        let prepared = prepare_apply(view, &self.request(command))?;
        let before = spec_of(view, &command.spec.name, prepared.reply.previous_revision);
        Ok(applied(prepared.reply, before, Arc::new(command.spec.clone()), 0))
    }

    /// Makes the spec the next revision of its deployment.
    ///
    /// Errors: those of [`intent::apply`], and of the write path. Dropping the future does not take a commit back.
    pub async fn apply(&self, command: ApplyCommand) -> Result<Applied, UserError> {
        let request = self.request(&command);
        let name = request.spec.name.clone();
        let (commit, reply) = self.commit(command.request_id, |view| prepare_apply(view, &request)).await?;
        let view = self.store.view();
        let before = spec_of(&view, &name, reply.previous_revision);
        Ok(applied(reply, before, request.spec, commit.index))
    }

    /// What a rollback would do, judged on this view; nothing is written.
    pub fn preview_rollback(&self, view: &View, deployment: &str, to: Option<u64>) -> Result<Applied, UserError> {
        let name = deployment_name(deployment)?;
        let prepared = prepare_rollback(view, &name, to, "preview")?;
        rolled_back(view, &name, prepared.reply, 0)
    }

    /// Makes a stored revision the active one again: `to`, or the one active before.
    ///
    /// Errors: those of [`intent::rollback`], and of the write path.
    pub async fn rollback(
        &self,
        deployment: &str,
        to: Option<u64>,
        identity: &str,
        request_id: Option<RequestId>,
    ) -> Result<Applied, UserError> {
        let name = deployment_name(deployment)?;
        let (commit, reply) = self.commit(request_id, |view| prepare_rollback(view, &name, to, identity)).await?;
        rolled_back(&self.store.view(), &name, reply, commit.index)
    }

    /// Removes a deployment with its revisions, routes, ports and replicas; gives the log index of the commit.
    ///
    /// Errors: `deployment_not_found`, and those of the write path.
    pub async fn delete(
        &self,
        deployment: &str,
        identity: &str,
        request_id: Option<RequestId>,
    ) -> Result<u64, UserError> {
        let name = deployment_name(deployment)?;
        let prepare = |view: &View| {
            let deleted = intent::delete(view, &name, identity)?;
            let reply = Reply { revision: deleted.revision, previous_revision: None, attempt: 0 };
            Ok(Prepared { transaction: deleted.transaction, reply })
        };
        self.commit(request_id, prepare).await.map(|(commit, _)| commit.index)
    }

    fn request(&self, command: &ApplyCommand) -> ApplyRequest {
        ApplyRequest {
            spec: Arc::new(command.spec.clone()),
            jaco_yaml: command.jaco_yaml.clone(),
            compose_yaml: command.compose_yaml.clone(),
            identity: command.identity.clone(),
            now_ms: self.clock.now_ms(),
        }
    }

    /// Proposes what `prepare` computes until it commits or is refused for good.
    async fn commit(
        &self,
        request_id: Option<RequestId>,
        prepare: impl Fn(&View) -> Result<Prepared, UserError>,
    ) -> Result<(Commit, Reply), UserError> {
        let plan = |view: &View| {
            let Prepared { mut transaction, reply } = prepare(view)?;
            let bytes = serde_json::to_vec(&reply)
                .map_err(|error| UserError::internal("the answer could not be encoded; nothing was written", error))?;
            transaction.reply(bytes);
            if let Some(id) = request_id {
                transaction.request_id(id);
            }
            Ok(Some(transaction))
        };
        let commit = match update(&self.store, Retry::default(), plan).await {
            Ok(Some(commit)) => commit,
            Ok(None) => return Err(UserError::internal("nothing was proposed", "the decision was empty")),
            // The first try's own commit may be what makes the repeat impossible.
            Err(UpdateError::Plan(refusal)) => {
                request_id.and_then(|id| self.store.view().commit_of(&id)).ok_or(refusal)?
            }
            Err(error) => return Err(error.into_user_error()),
        };
        let reply = serde_json::from_slice(&commit.reply)
            .map_err(|error| UserError::internal("the change was made, but its answer cannot be read", error))?;
        Ok((commit, reply))
    }
}

fn deployment_name(text: &str) -> Result<DeploymentName, UserError> {
    DeploymentName::new(text).map_err(|error| {
        UserError::new(ErrorCode::DeploymentNotFound, format!("no deployment can have that name: {error}"))
            .with("deployment", text)
    })
}

fn prepare_apply(view: &View, request: &ApplyRequest) -> Result<Prepared, UserError> {
    let planned = intent::apply(view, request)?;
    let attempt = attempt_of(&planned.transaction);
    let reply = Reply { revision: planned.revision, previous_revision: planned.previous_revision, attempt };
    Ok(Prepared { transaction: planned.transaction, reply })
}

fn prepare_rollback(
    view: &View,
    name: &DeploymentName,
    to: Option<u64>,
    identity: &str,
) -> Result<Prepared, UserError> {
    let planned = intent::rollback(view, name, to, identity)?;
    let attempt = attempt_of(&planned.transaction);
    let reply = Reply { revision: planned.revision, previous_revision: Some(planned.previous_revision), attempt };
    Ok(Prepared { transaction: planned.transaction, reply })
}

/// The attempt that a transaction gives its deployment.
fn attempt_of(transaction: &Transaction) -> u64 {
    transaction
        .writes
        .iter()
        .find_map(|write| match write {
            Write::Put(Entity::Deployment(deployment)) => Some(deployment.attempt),
            Write::Put(_) | Write::Delete { .. } => None,
        })
        .unwrap_or_default()
}

fn spec_of(view: &View, name: &DeploymentName, revision: Option<u64>) -> Option<Arc<DeploymentSpec>> {
    view.get::<DeploymentRevision>(&DeploymentRevision::key_of(name, revision?)).map(|record| record.spec.clone())
}

fn rolled_back(view: &View, name: &DeploymentName, reply: Reply, index: u64) -> Result<Applied, UserError> {
    let before = spec_of(view, name, reply.previous_revision);
    let after = spec_of(view, name, Some(reply.revision)).ok_or_else(|| {
        UserError::internal(
            format!("revision {} of {name} is not in the store", reply.revision),
            "missing revision record",
        )
    })?;
    Ok(applied(reply, before, after, index))
}

fn applied(reply: Reply, before: Option<Arc<DeploymentSpec>>, after: Arc<DeploymentSpec>, index: u64) -> Applied {
    Applied {
        before,
        after,
        revision: reply.revision,
        previous_revision: reply.previous_revision,
        attempt: reply.attempt,
        index,
    }
}

#[cfg(test)]
mod tests;
