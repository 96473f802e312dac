//! A client's connection, as its requests see it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::HeaderValue;

use crate::activity::Activity;
use crate::admission::ClientGuard;
use crate::worker::Worker;

/// What each request, and a tunnel made from one, shares with the others of its connection.
pub(crate) struct ClientConnection {
    pub(crate) worker: Arc<Worker>,
    pub(crate) activity: Arc<Activity>,
    /// The client's address as `X-Forwarded-For` has it.
    pub(crate) address: HeaderValue,
    /// Held as long as the connection or a tunnel made from it lives.
    pub(crate) _guard: ClientGuard,
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        if let Some(stats) = self.worker.stats() {
            stats.closed.fetch_add(1, Relaxed);
        }
    }
}
