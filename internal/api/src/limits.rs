//! Bounds on what clients may ask for; each has a typed error.

use std::time::Duration;

/// The bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest text of one manifest, bytes.
    pub manifest_bytes: usize,
    /// Most replicas of one deployment.
    pub deployment_replicas: u64,
    /// Connections at once.
    pub sessions: usize,
    /// Log streams at once, over all clients.
    pub log_streams: usize,
    /// Longest a unary call may take.
    pub call_deadline: Duration,
    /// Longest that calls under way may take once the daemon stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            manifest_bytes: jaco_proto::MAX_MANIFEST_BYTES,
            deployment_replicas: 10_000,
            sessions: 2048,
            log_streams: 256,
            call_deadline: Duration::from_secs(60),
            drain: Duration::from_secs(2),
        }
    }
}
