//! The parts of the members' port that a measurement has no use for.

use jaco_api::{AnswerStream, CertificateSigner, MemberCaller, NodeLogs, SessionHost};
use jaco_proto::v1;
use jaco_state::BoxFuture;
use jaco_types::{ErrorCode, UserError};
use tonic::{Status, Streaming};

/// Serves none of them.
pub(super) struct Nothing;

fn unserved() -> UserError {
    UserError::new(ErrorCode::Internal, "a member of a benchmark serves nothing but consensus")
}

impl SessionHost for Nothing {
    fn session(
        &self,
        _caller: MemberCaller,
        _messages: Streaming<v1::SessionRequest>,
    ) -> BoxFuture<'_, Result<AnswerStream<v1::SessionResponse>, Status>> {
        Box::pin(async { Err(jaco_proto::to_status(&unserved())) })
    }
}

impl CertificateSigner for Nothing {
    fn sign_node(&self, _caller: MemberCaller, _request: Vec<u8>) -> BoxFuture<'_, Result<String, UserError>> {
        Box::pin(async { Err(unserved()) })
    }
}

impl NodeLogs for Nothing {
    fn logs(&self, _request: v1::NodeLogsRequest) -> AnswerStream<v1::LogsResponse> {
        Box::pin(futures_util::stream::empty())
    }
}
