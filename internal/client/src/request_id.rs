//! Request ids: what makes it safe to send a change twice.

use jaco_proto::v1::{ClusterStatusRequest, RequestId};
use jaco_types::UserError;

use crate::{Client, Deadline};

impl Client {
    /// A new request id for one change: the log index this daemon is at, and 16 random bytes. The cluster refuses an id whose
    /// index is too old instead of applying it twice, so the index has to be asked for.
    pub(crate) async fn new_request_id(&self, deadline: Deadline) -> Result<RequestId, UserError> {
        let status = self.cluster_status(ClusterStatusRequest {}, deadline).await?;
        let mut token = vec![0; 16];
        getrandom::fill(&mut token)
            .map_err(|error| UserError::internal("the system has no random numbers for a request id", error))?;
        Ok(RequestId { base_index: status.raft_index, token })
    }
}
