//! What this node does for other members.

use std::sync::Arc;

use futures_util::StreamExt;
use jaco_api::{
    AnswerStream, CertificateSigner, LogOptions, LogSource, MemberCaller, NodeLogs, ReplicaLogLine, SessionHost,
};
use jaco_controlplane::Enrolment;
use jaco_identity::CertificateRequest;
use jaco_proto::{to_status, v1};
use jaco_state::BoxFuture;
use jaco_types::{ErrorCode, UserError};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

/// Lines of a log that wait for the network.
const LOG_LINES: usize = 256;

/// Hosts no session.
pub(crate) struct NoSessions;

impl SessionHost for NoSessions {
    fn session(
        &self,
        _caller: MemberCaller,
        _messages: Streaming<v1::SessionRequest>,
    ) -> BoxFuture<'_, Result<AnswerStream<v1::SessionResponse>, Status>> {
        Box::pin(async { Err(to_status(&UserError::new(ErrorCode::NoLeader, "this node hosts no sessions"))) })
    }
}

/// New certificates by way of enrolment.
pub(crate) struct Renewals(pub(crate) Enrolment);

impl CertificateSigner for Renewals {
    fn sign_node(&self, caller: MemberCaller, request: Vec<u8>) -> BoxFuture<'_, Result<String, UserError>> {
        Box::pin(async move {
            let request = CertificateRequest::from_der(&request).map_err(|error| error.user_error())?;
            self.0.renew(caller.node, &request).await
        })
    }
}

/// Logs of this node's containers.
pub(crate) struct OwnLogs {
    pub(crate) source: Arc<dyn LogSource>,
    pub(crate) host: String,
}

impl NodeLogs for OwnLogs {
    fn logs(&self, request: v1::NodeLogsRequest) -> AnswerStream<v1::LogsResponse> {
        let options = LogOptions { follow: request.follow, since_ms: request.since_ms, tail: request.tail };
        let (sender, lines) = mpsc::channel(LOG_LINES);
        let reading = self.source.read(request.container_id, options, sender);
        let (replica_id, host) = (request.replica_id, self.host.clone());
        let lines =
            tokio_stream::wrappers::ReceiverStream::new(lines).map(move |line| Ok(message(line, &replica_id, &host)));
        // The reading runs with the stream, in whoever polls it, and its failure is the stream's last word.
        let failure = futures_util::stream::once(reading)
            .filter_map(|read| async move { read.err().map(|error| Err(to_status(&error))) });
        Box::pin(futures_util::stream::select(lines, failure))
    }
}

fn message(line: ReplicaLogLine, replica_id: &str, host: &str) -> v1::LogsResponse {
    v1::LogsResponse {
        event: Some(v1::logs_response::Event::Line(v1::LogLine {
            replica_id: replica_id.to_owned(),
            host: host.to_owned(),
            stream: line.stream.to_owned(),
            ts_ms: line.ts_ms,
            line: line.line,
        })),
    }
}
