//! Waiting until a daemon that has just got its place in a cluster is back: it builds itself anew, and its socket may be away for a
//! moment.

use std::time::Duration;

use jaco_client::Deadline;
use jaco_proto::v1::{ClusterStatusRequest, ClusterStatusResponse};
use jaco_types::{ErrorCode, UserError};

use crate::session::Session;
use crate::text::duration;

/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(200);
/// How long one of them may take.
const ONE: Duration = Duration::from_secs(5);

/// The status of a daemon that belongs to a cluster.
///
/// Errors: `wait_timeout` at the deadline.
pub async fn until_initialized(session: &Session<'_>, deadline: Deadline) -> Result<ClusterStatusResponse, UserError> {
    let ask = async {
        loop {
            if let Ok(client) = session.connect_locally().await
                && let Ok(status) = client.cluster_status(ClusterStatusRequest {}, Deadline::after(ONE)).await
                && status.initialized
            {
                return status;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    deadline.limit(ask).await.ok_or_else(|| {
        UserError::new(
            ErrorCode::WaitTimeout,
            format!(
                "the daemon has not come back as a member within {}: see its log, and jaco cluster status",
                duration(deadline.length())
            ),
        )
    })
}
