//! What a node does with its containers when it is no member any more: stop and remove all of them, and the networks.

use std::time::Duration;

use jaco_types::label;

use crate::engine::{Engine, EngineError};

/// Containers get this long to stop by themselves. A node that was removed has to be clean within 30 s.
const GRACE: Duration = Duration::from_secs(10);

/// Removes every container and network of a cluster from the engine. Volumes stay. Objects of others are not touched.
///
/// What is gone already is no failure. Goes on after a failure and reports the first; calling it again carries on.
///
/// # Errors
/// The engine could not be asked, or would not remove something.
pub async fn leave(engine: &dyn Engine, cluster_id: &str) -> Result<(), EngineError> {
    let containers = engine.list(label::CLUSTER_ID, cluster_id).await?;
    let removals = containers.iter().map(|container| async move {
        // A failed stop shows in the removal, which does not wait for the process.
        let _ = engine.stop(container, GRACE).await;
        engine.remove(container).await
    });
    let mut first = Ok(());
    for removed in futures_util::future::join_all(removals).await {
        note(&mut first, removed);
    }
    for network in engine.networks(label::CLUSTER_ID, cluster_id).await? {
        note(&mut first, engine.remove_network(&network.id).await);
    }
    first
}

fn note(first: &mut Result<(), EngineError>, result: Result<(), EngineError>) {
    match result {
        Err(error) if !error.is_not_found() && first.is_ok() => *first = Err(error),
        Ok(()) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests;
