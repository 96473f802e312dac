//! `Watch`: changes of the replicated state, as a stream that begins with everything.

use std::collections::BTreeSet;
use std::pin::Pin;

use futures_util::Stream;
use jaco_proto::v1::watch_server::Watch;
use jaco_proto::{to_status, v1};
use jaco_state::{Cursor, Event, Record, View, WatchFrom, Watcher};
use jaco_types::{Entity, ErrorCode, Kind, UserError};
use tonic::{Request, Response, Status};

use crate::Api;
use crate::caller::operator;

/// Entities in one message of a resync; a message stays far below the size limit.
const RESYNC_CHUNK: usize = 256;

#[tonic::async_trait]
impl Watch for Api {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<v1::SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let caller = operator(&request)?;
        let request = request.into_inner();
        self.view()?;
        let filter = Filter::new(&request, caller.local).map_err(|error| to_status(&error))?;
        let from = match request.since {
            Some(cursor) => WatchFrom::After(Cursor { incarnation: cursor.incarnation, index: cursor.index }),
            None => WatchFrom::Now,
        };
        let watcher = self.parts().store.watch_client(from).map_err(|error| to_status(&error.user_error()))?;
        Ok(Response::new(Box::pin(stream(watcher, filter))))
    }
}

/// What a subscriber wants to see.
struct Filter {
    kinds: BTreeSet<u32>,
    deployment: Option<String>,
    /// By the control socket.
    local: bool,
}

impl Filter {
    fn new(request: &v1::SubscribeRequest, local: bool) -> Result<Self, UserError> {
        let mut kinds = BTreeSet::new();
        for name in &request.kinds {
            let kind = Kind::ALL.iter().find(|kind| kind.as_str() == name).ok_or_else(|| {
                UserError::new(ErrorCode::ValidationFailed, format!("{name} is no kind of entity"))
                    .with("field", "kinds")
            })?;
            kinds.insert(*kind as u32);
        }
        let deployment = (!request.deployment.is_empty()).then(|| request.deployment.clone());
        Ok(Filter { kinds, deployment, local })
    }

    fn accepts(&self, kind: u32, record: &Record) -> bool {
        is_shown(kind)
            && (self.local || !holds_manifests(kind))
            && (self.kinds.is_empty() || self.kinds.contains(&kind))
            && self.deployment.as_ref().is_none_or(|wanted| {
                record.entity.as_ref().and_then(deployment_of).is_some_and(|name| name == wanted.as_str())
            })
    }
}

/// The deployment an entity belongs to.
fn deployment_of(entity: &Entity) -> Option<&str> {
    match entity {
        Entity::Deployment(record) => Some(record.name.as_str()),
        Entity::DeploymentRevision(record) => Some(record.deployment.as_str()),
        Entity::RevisionCounter(record) => Some(record.deployment.as_str()),
        Entity::Route(record) => Some(record.deployment.as_str()),
        Entity::PortRoute(record) => Some(record.deployment.as_str()),
        Entity::ReplicaDesired(record) => Some(record.deployment.as_str()),
        Entity::ReplicaObserved(record) => Some(record.deployment.as_str()),
        Entity::Subnet(record) => Some(record.deployment.as_str()),
        Entity::Claim(record) => Some(record.owner.as_str()),
        Entity::ClusterMeta(_)
        | Entity::Node(_)
        | Entity::NodeStatus(_)
        | Entity::NodeSchedulability(_)
        | Entity::Token(_)
        | Entity::JoinToken(_)
        | Entity::Tombstone(_)
        | Entity::Authority(_)
        | Entity::DataKey(_)
        | Entity::RecoveryRecipient(_)
        | Entity::NodeOperation(_)
        | Entity::ExclusiveSlot(_) => None,
    }
}

/// Whether records of this kind hold whole manifests, secrets in them included: only for callers on the node itself. Others read them with
/// `GetDeployment`, which hides what may be secret.
fn holds_manifests(kind: u32) -> bool {
    kind == Kind::DeploymentRevision as u32
}

/// Whether clients may see records of this kind at all: keys and hashes, sealed or not, leave the daemon in backups only. A kind that a
/// newer version wrote may be one of them.
fn is_shown(kind: u32) -> bool {
    match Kind::from_number(kind) {
        Some(
            Kind::Token | Kind::JoinToken | Kind::Tombstone | Kind::Authority | Kind::DataKey | Kind::RecoveryRecipient,
        )
        | None => false,
        Some(
            Kind::ClusterMeta
            | Kind::Node
            | Kind::NodeStatus
            | Kind::NodeSchedulability
            | Kind::Deployment
            | Kind::DeploymentRevision
            | Kind::RevisionCounter
            | Kind::Route
            | Kind::PortRoute
            | Kind::ReplicaDesired
            | Kind::ReplicaObserved
            | Kind::Subnet
            | Kind::Claim
            | Kind::NodeOperation
            | Kind::ExclusiveSlot,
        ) => true,
    }
}

fn stream(watcher: Watcher, filter: Filter) -> impl Stream<Item = Result<v1::SubscribeResponse, Status>> + Send {
    let first = (watcher, filter, Vec::new().into_iter());
    futures_util::stream::unfold(first, |(mut watcher, filter, mut ready)| async move {
        loop {
            if let Some(message) = ready.next() {
                return Some((Ok(message), (watcher, filter, ready)));
            }
            let event = watcher.next().await?;
            let cursor = watcher.cursor();
            let cursor = v1::Cursor { incarnation: cursor.incarnation, index: cursor.index };
            ready = match event {
                Event::Snapshot(view) => resync(&view, &filter, cursor).into_iter(),
                Event::Batch(batch) => {
                    let changes: Vec<v1::Change> = batch
                        .changes
                        .iter()
                        .filter(|change| {
                            [&change.before, &change.after]
                                .into_iter()
                                .flatten()
                                .any(|record| filter.accepts(change.kind, record))
                        })
                        .map(|change| wire_change(change.kind, &change.key, batch.index, change.after.as_deref()))
                        .collect();
                    let message = v1::SubscribeResponse {
                        cursor: Some(cursor),
                        event: Some(v1::subscribe_response::Event::Changes(v1::Changes { changes: changes.clone() })),
                    };
                    if changes.is_empty() { Vec::new() } else { vec![message] }.into_iter()
                }
            };
        }
    })
}

fn resync(view: &View, filter: &Filter, cursor: v1::Cursor) -> Vec<v1::SubscribeResponse> {
    let entities: Vec<v1::Change> = view
        .records()
        .filter(|record| filter.accepts(record.kind, record))
        .map(|record| wire_change(record.kind, &record.key, record.version, Some(record)))
        .collect();
    let mut chunks: Vec<Vec<v1::Change>> = entities.chunks(RESYNC_CHUNK).map(<[v1::Change]>::to_vec).collect();
    if chunks.is_empty() {
        chunks.push(Vec::new());
    }
    let last = chunks.len() - 1;
    chunks
        .into_iter()
        .enumerate()
        .map(|(number, entities)| v1::SubscribeResponse {
            cursor: Some(cursor),
            event: Some(v1::subscribe_response::Event::Resync(v1::Resync { entities, more: number < last })),
        })
        .collect()
}

fn wire_change(kind: u32, key: &str, version: u64, after: Option<&Record>) -> v1::Change {
    let kind = Kind::from_number(kind).map_or_else(|| format!("kind {kind}"), |kind| kind.as_str().to_owned());
    v1::Change { kind, key: key.to_owned(), body: after.map(|record| record.body.to_vec()), version }
}
