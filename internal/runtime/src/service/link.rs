//! The link to the engine: connect, follow its events, notice the break, come back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jaco_task::Backoff;
use jaco_types::label;
use tokio::sync::mpsc;

use super::Shared;
use crate::engine::{ContainerEvent, EngineVersion};

/// Waits between attempts to reach an engine that is away.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));

/// What is heard of the engine.
#[derive(Debug)]
pub(super) enum News {
    /// It answers and its events are being followed from now on: time for a full look.
    Up(EngineVersion),
    /// Something happened to one of our containers.
    Event(ContainerEvent),
    /// It does not answer, with the reason.
    Down(String),
}

/// Follows the engine until the receiver is gone.
pub(super) async fn follow(shared: Arc<Shared>, cluster_id: String, news: mpsc::Sender<News>) {
    let mut failures = 0_u32;
    loop {
        let engine = &shared.actor.engine;
        let reason = match engine.version().await {
            Ok(version) => {
                // From a little before, so that nothing falls between the connect and the first look.
                let since = (shared.clock.now_ms() / 1000).saturating_sub(1);
                let mut events = engine.events(label::CLUSTER_ID, &cluster_id, since);
                if news.send(News::Up(version)).await.is_err() {
                    return;
                }
                let reason = loop {
                    match events.next().await {
                        Some(Ok(event)) => {
                            failures = 0;
                            if news.send(News::Event(event)).await.is_err() {
                                return;
                            }
                        }
                        Some(Err(error)) => break error.to_string(),
                        None => break "the engine closed its event stream".to_owned(),
                    }
                };
                // A broken stream alone is no outage; the next round looks at everything again.
                match engine.ping().await {
                    Ok(()) if failures == 0 => None,
                    Ok(()) => Some(reason),
                    Err(error) => Some(error.to_string()),
                }
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = reason
            && news.send(News::Down(reason)).await.is_err()
        {
            return;
        }
        failures = failures.saturating_add(1);
        let wait = BACKOFF.delay(failures, rand::random::<f64>());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = news.closed() => return,
        }
    }
}
