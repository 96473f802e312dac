//! Who calls. The one place that turns a connection into an identity; handlers only read it.

use tonic::{Request, Status};

use jaco_proto::to_status;
use jaco_types::{ErrorCode, UserError};

/// The identity of everybody who may open the control socket.
pub(crate) const LOCAL: &str = "local";

/// What is known of a connection before any call.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Whether the kernel vouches for who is at the other end.
    pub(crate) has_credentials: bool,
    /// Set on a connection beyond the limit of sessions: its calls are answered with this limit.
    pub(crate) over_limit: Option<usize>,
}

/// The caller's identity: `local` for a peer of the control socket whose credentials the kernel vouches for.
pub(crate) fn identity<T>(request: &Request<T>) -> Result<&'static str, Status> {
    match request.extensions().get::<Peer>() {
        Some(Peer { over_limit: Some(limit), .. }) => Err(to_status(
            &UserError::new(
                ErrorCode::RequestTooLarge,
                format!("this node already serves {limit} sessions; end some of them first"),
            )
            .with("limit", limit)
            .with("unit", "sessions"),
        )),
        Some(Peer { has_credentials: true, over_limit: None }) => Ok(LOCAL),
        Some(Peer { has_credentials: false, over_limit: None }) | None => Err(to_status(&UserError::new(
            ErrorCode::PermissionDenied,
            "the caller cannot be identified: the API is served on the control socket only",
        ))),
    }
}
