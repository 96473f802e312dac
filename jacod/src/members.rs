//! What this node does for other members, and asks of them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jaco_api::{
    AnswerStream, CertificateSigner, LogOptions, LogSource, MemberCaller, NodeLogs, OtherNodes, ReplicaLogLine,
};
use jaco_client::{MemberError, Members};
use jaco_controlplane::Enrolment;
use jaco_identity::CertificateRequest;
use jaco_proto::{to_status, v1};
use jaco_state::{BoxFuture, Store};
use jaco_types::{ErrorCode, Node, NodeId, UserError};
use tokio::sync::mpsc;

/// Lines of a log that wait for the network.
const LOG_LINES: usize = 256;

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
    pub(crate) node: NodeId,
    pub(crate) host: String,
}

impl NodeLogs for OwnLogs {
    fn logs(&self, request: v1::NodeLogsRequest) -> AnswerStream<v1::LogsResponse> {
        let options = LogOptions { follow: request.follow, since_ms: request.since_ms, tail: request.tail };
        let (sender, lines) = mpsc::channel(LOG_LINES);
        let reading = self.source.read(self.node, request.container_id, options, sender);
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

/// Logs of the whole cluster's containers: those of other nodes are asked of them.
pub(crate) struct ClusterLogs {
    pub(crate) own: NodeId,
    pub(crate) local: Arc<dyn LogSource>,
    pub(crate) members: Option<Members>,
    pub(crate) store: Arc<dyn Store>,
}

impl LogSource for ClusterLogs {
    fn read(
        &self,
        node: NodeId,
        container_id: String,
        options: LogOptions,
        lines: mpsc::Sender<ReplicaLogLine>,
    ) -> BoxFuture<'static, Result<(), UserError>> {
        if node == self.own {
            return self.local.read(node, container_id, options, lines);
        }
        let member = self.store.view().get::<Node>(&node.to_string()).cloned();
        let members = self.members.clone();
        Box::pin(async move {
            let (Some(member), Some(members)) = (member, members) else {
                return Err(UserError::new(ErrorCode::NodeNotFound, "the node that ran it is no member any more"));
            };
            let request = v1::NodeLogsRequest {
                container_id,
                replica_id: String::new(),
                follow: options.follow,
                since_ms: options.since_ms,
                tail: options.tail,
            };
            let opened = members.logs(node, &member.cluster_address, request).await;
            let mut stream = opened.map_err(|error| unreachable(&member, error))?;
            loop {
                let next = tokio::select! {
                    () = lines.closed() => return Ok(()),
                    next = stream.message() => next,
                };
                let line = match next.map_err(|status| jaco_proto::from_status(&status))? {
                    None => return Ok(()),
                    Some(v1::LogsResponse { event: Some(v1::logs_response::Event::Line(line)) }) => line,
                    Some(_) => continue,
                };
                let stream = if line.stream == "stderr" { "stderr" } else { "stdout" };
                let line = ReplicaLogLine { stream, ts_ms: line.ts_ms, line: line.line };
                if lines.send(line).await.is_err() {
                    return Ok(());
                }
            }
        })
    }
}

/// The daemons of other members, by way of the members' port.
pub(crate) struct OtherDaemons(pub(crate) Option<Members>);

/// One that answers a question about itself does so at once; a diagnosis asks its engine first.
const QUESTION: Duration = Duration::from_secs(5);
const DIAGNOSIS: Duration = Duration::from_secs(15);

impl OtherDaemons {
    fn members(&self) -> Result<&Members, UserError> {
        self.0.as_ref().ok_or_else(|| UserError::internal("no member can be asked", "this node has no certificate"))
    }
}

impl OtherNodes for OtherDaemons {
    fn status(&self, node: Node) -> BoxFuture<'_, Result<v1::NodeStatusResponse, UserError>> {
        Box::pin(async move {
            let answer = self.members()?.node_status(node.id, &node.cluster_address, QUESTION).await;
            answer.map_err(|error| unreachable(&node, error))
        })
    }

    fn set_log_level(
        &self,
        node: Node,
        request: v1::MemberLogLevelRequest,
    ) -> BoxFuture<'_, Result<v1::SetLogLevelResponse, UserError>> {
        Box::pin(async move {
            let answer = self.members()?.set_log_level(node.id, &node.cluster_address, request, QUESTION).await;
            answer.map_err(|error| unreachable(&node, error))
        })
    }

    fn diagnose(&self, node: Node) -> BoxFuture<'_, Result<v1::DiagnoseResponse, UserError>> {
        Box::pin(async move {
            let answer = self.members()?.diagnose(node.id, &node.cluster_address, DIAGNOSIS).await;
            answer.map_err(|error| unreachable(&node, error))
        })
    }
}

fn unreachable(member: &Node, error: MemberError) -> UserError {
    match error {
        MemberError::Answered(error) => error,
        MemberError::Unreachable { .. } | MemberError::Lost { .. } => UserError::new(
            ErrorCode::Unreachable,
            format!("{} does not answer: {error}; `jaco node list` shows whether it is down", member.hostname),
        )
        .with("hostname", &member.hostname),
    }
}

#[cfg(test)]
mod tests;
