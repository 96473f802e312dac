//! Who sends requests to containers of this node.

use std::time::Duration;

use jaco_state::BoxFuture;

/// Whoever sends requests to containers on this node.
pub trait Traffic: Send + Sync + 'static {
    /// Sends nothing new to this container, and resolves when what was under way is done or the time is up. Called after the
    /// observation without its addresses is committed and before the stop signal.
    fn withdraw(&self, container_id: String, limit: Duration) -> BoxFuture<'_, ()>;
}

/// No traffic to wait for.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTraffic;

impl Traffic for NoTraffic {
    fn withdraw(&self, _container_id: String, _limit: Duration) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
