//! Who calls. The one place that turns a connection into an identity; handlers only read it.

use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Status};

use jaco_proto::to_status;
use jaco_types::{ErrorCode, UserError};

/// The identity of everybody who may open the control socket.
pub(crate) const LOCAL: &str = "local";

/// The caller's identity: `local` for a peer of the control socket whose credentials the kernel vouches for.
pub(crate) fn identity<T>(request: &Request<T>) -> Result<&'static str, Status> {
    match request.extensions().get::<UdsConnectInfo>() {
        Some(info) if info.peer_cred.is_some() => Ok(LOCAL),
        Some(_) | None => Err(to_status(&UserError::new(
            ErrorCode::PermissionDenied,
            "the caller cannot be identified: the API is served on the control socket only",
        ))),
    }
}
