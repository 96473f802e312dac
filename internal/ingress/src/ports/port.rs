//! One published port.

use std::sync::Arc;

use jaco_types::Protocol;
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;

/// Protocol and number.
pub(super) type PortKey = (Protocol, u16);

/// What every listener of a port needs.
#[derive(Clone)]
pub(super) struct Port {
    pub(super) shared: Arc<Shared>,
    pub(super) key: PortKey,
    /// Cancelled when the port left the table, or the ingress stops.
    pub(super) closed: CancellationToken,
}
