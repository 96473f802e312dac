//! Who calls, as the guard found it before the handler ran. Handlers only read it.

use std::sync::Arc;

use jaco_proto::to_status;
use jaco_types::{ErrorCode, NodeId, Role, UserError};
use tonic::{Request, Status};

/// The identity of everybody who may open the control socket.
pub(crate) const LOCAL: &str = "local";

/// What is known of a connection to the control socket before any call.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Whether the kernel vouches for who is at the other end.
    pub(crate) has_credentials: bool,
    /// Set on a connection beyond the limit of sessions: its calls are answered with this limit.
    pub(crate) over_limit: Option<usize>,
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The token's name, or [`LOCAL`]; what the audit log says.
    pub(crate) name: Arc<str>,
    /// What it may do.
    pub(crate) role: Role,
    /// May apply privileged services.
    pub(crate) allows_privileged: bool,
    /// Came by the control socket.
    pub(crate) local: bool,
}

/// Who makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// An operator.
    Known(Identity),
    /// A node.
    Node(NodeId),
    /// Somebody who showed nothing.
    Stranger,
}

/// Who makes this call; a stranger when nobody looked, which permits nothing.
pub(crate) fn caller<T>(request: &Request<T>) -> Caller {
    request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Stranger)
}

/// The operator who makes this call.
///
/// Errors: `permission_denied` for anybody else; the guard lets none of them come this far.
pub(crate) fn operator<T>(request: &Request<T>) -> Result<Identity, Status> {
    match caller(request) {
        Caller::Known(identity) => Ok(identity),
        Caller::Node(_) | Caller::Stranger => {
            Err(to_status(&UserError::new(ErrorCode::PermissionDenied, "the caller cannot be identified")))
        }
    }
}

/// The operator's name, for the audit log.
///
/// Errors: as [`operator`].
pub(crate) fn identity<T>(request: &Request<T>) -> Result<Arc<str>, Status> {
    operator(request).map(|identity| identity.name)
}
