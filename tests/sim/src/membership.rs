//! Operators: they let hosts join and have members removed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jaco_scheduler::intent::{self, Admission, Joining};
use jaco_state::{Retry, UpdateError, View, update};
use jaco_types::{DataKey, ErrorCode, NodeId, NodeOperationKind, UserError};

use crate::host::{hostname, node_record};
use crate::random::Random;
use crate::world::World;

/// How often an operator tries.
const TRIES: u64 = 12;

/// The first data key, with a copy for the first node.
pub(crate) fn first_data_key(node: NodeId) -> DataKey {
    let copies = BTreeMap::from([(node.to_string(), format!("for {node}"))]);
    DataKey { epoch: 1, copies, recovery: "recovery".to_owned() }
}

/// Issues a join token and has these hosts join with it, all at once: one of them gets in.
pub(crate) async fn join(world: Arc<World>, random: Random, joiners: Vec<NodeId>) {
    let hash = format!("{:016x}", random.next());
    let issue = |view: &View| {
        if view.get::<jaco_types::JoinToken>(&hash).is_some() {
            return Ok(None);
        }
        let life = Duration::from_secs(3600);
        intent::issue_join_token(view, hash.clone(), life, view.now_ms(), "local").map(|(issued, _)| Some(issued))
    };
    if !persist(&world, &random, "issues a join token", issue).await {
        return;
    }
    let uses = joiners.into_iter().map(|node| use_token(world.clone(), random.split(), hash.clone(), node));
    futures_util::future::join_all(uses).await;
}

async fn use_token(world: Arc<World>, random: Random, hash: String, id: NodeId) {
    let Some(node) = node_record(id) else { return };
    let joining = Joining { token_hash: hash, node };
    let plan = |view: &View| match intent::admit(view, &joining, view.now_ms())? {
        Admission::Again(_) => Ok(None),
        Admission::New => {
            let copies = view.list::<DataKey>().cloned().map(|mut key| {
                key.copies.insert(id.to_string(), format!("for {id}"));
                key
            });
            Ok(Some(intent::join(view, &joining, format!("certificate of {id}"), copies.collect())))
        }
    };
    persist(&world, &random, &format!("lets node {id} join"), plan).await;
}

/// Has a member removed.
pub(crate) async fn remove(world: Arc<World>, random: Random, node: NodeId) {
    let Some(name) = hostname(node) else { return };
    let force = random.percent(50);
    let plan =
        |view: &View| intent::operate(view, &name, NodeOperationKind::Remove, force, view.now_ms(), "local").map(Some);
    persist(&world, &random, &format!("removes node {node} (force: {force})"), plan).await;
}

/// Tries on one node after the other until it is done or refused; whether it is done.
async fn persist<F>(world: &World, random: &Random, what: &str, plan: F) -> bool
where
    F: Fn(&View) -> Result<Option<jaco_state::Transaction>, UserError>,
{
    for _ in 0..TRIES {
        let Some(store) = world.any_store(random) else {
            tokio::time::sleep(Duration::from_millis(500)).await;
            continue;
        };
        match update(&store, Retry::seeded(random.next()), &plan).await {
            Ok(_) => {
                world.trace.note(format_args!("an operator {what}"));
                return true;
            }
            Err(UpdateError::Plan(refused)) => {
                world.trace.note(format_args!("an operator {what}: {}", refused.code));
                if refused.code == ErrorCode::Internal {
                    world.fail(refused.message);
                }
                return false;
            }
            Err(UpdateError::Propose(error)) => {
                world.trace.note(format_args!("an operator {what}: {error}"));
                if matches!(error, jaco_state::ProposeError::NotPermitted { .. }) {
                    world.fail(format!("an operator {what}: {error}"));
                }
                tokio::time::sleep(random.millis(100, 800)).await;
            }
        }
    }
    false
}
