//! The sessions between nodes and their leader: heartbeats and soft state up, leases down.
//!
//! On the leader a [`SessionTable`] serves the sessions and remembers, for the term it leads in, whom it heard and whom it answered. On
//! every node a [`SessionClient`] keeps one session to whoever leads, also when that is the node itself. Nothing here goes through raft.
//!
//! Invariants:
//! - a heartbeat is answered only after a quorum has confirmed this leader by a read that began after the heartbeat had arrived, in
//!   the same term;
//! - a lease counts from the moment before the heartbeat was sent, on the node's boot-time clock, and only the way back being open is
//!   rewarded with one: a node that the leader hears and that hears nothing itself gets none, and counts as silent;
//! - nobody gets a lease while a slot is being taken from it;
//! - what is known of sessions ends with the term.

mod clock;
mod confirm;
mod dial;
#[cfg(test)]
mod golden;
mod host;
mod node;
mod publish;
mod table;
#[cfg(test)]
mod tests;
mod withheld;

pub use clock::BootClock;
pub use dial::{DialError, SessionDialer, SessionStream};
pub use host::{HostSampler, SyncMeter};
pub use node::{Lease, NodeSample, SessionClient, SessionEvents, SessionIdentity, SessionSource};
pub(crate) use publish::{is_heard, publish};
pub use table::{Peer, Predecessor, SessionTable, SessionTableOptions};
pub(crate) use withheld::{Handover, handovers};

use std::time::Duration;

use jaco_proto::v1;
use jaco_proto::v1::session_request::Message as Request;
use jaco_proto::v1::session_response::Message as Response;

/// Between two heartbeats.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// Newest feature level of this version.
pub const FEATURE_LEVEL: u32 = 1;
/// A clock that differs by more is the condition `clock_skew`.
pub const CLOCK_SKEW: Duration = Duration::from_secs(2);

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn request(message: Request) -> v1::SessionRequest {
    v1::SessionRequest { message: Some(message) }
}

fn response(message: Response) -> v1::SessionResponse {
    v1::SessionResponse { message: Some(message) }
}
