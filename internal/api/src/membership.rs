//! The part of `Cluster` about nodes: joining, listing, emptying, letting go.

use std::collections::BTreeSet;
use std::time::Duration;

use jaco_controlplane::JoinRequest;
use jaco_identity::{Certificate, CertificateRequest, JoinSecret, SealPublicKey};
use jaco_proto::v1;
use jaco_state::{RequestId, View};
use jaco_types::{
    ErrorCode, Hostname, InvalidName, JoinToken, Node, NodeId, NodeOperation, NodeOperationKind, NodeState, NodeStatus,
    ReplicaDesired, ReplicaObserved, UserError,
};

use crate::Api;

fn invalid(field: &str, reason: impl std::fmt::Display) -> UserError {
    UserError::new(ErrorCode::ValidationFailed, format!("{field}: {reason}")).with("field", field)
}

/// The checked form of a joiner's request.
pub(crate) fn join_request(request: v1::JoinRequest) -> Result<JoinRequest, UserError> {
    let secret = JoinSecret::parse(&request.secret).map_err(|error| error.user_error())?;
    let csr = CertificateRequest::from_der(&request.certificate_request).map_err(|error| error.user_error())?;
    let hostname = hostname(&request.hostname)?;
    let seal_key: SealPublicKey = request.seal_key.parse().map_err(|error| invalid("seal_key", error))?;
    for (field, address) in [("grpc_address", &request.grpc_address), ("cluster_address", &request.cluster_address)] {
        if address.parse::<std::net::SocketAddr>().is_err() {
            return Err(invalid(field, format!("{address:?} is not address:port")));
        }
    }
    if request.feature_level == 0 {
        return Err(UserError::new(ErrorCode::VersionIncompatible, "the joiner does not say which features it has"));
    }
    let node = Node {
        id: NodeId(request.node_id),
        hostname,
        address: request.address,
        grpc_address: request.grpc_address,
        version: request.version,
        joined_at_ms: 0,
        cluster_address: request.cluster_address,
        public_keys: Vec::new(),
        seal_key: String::new(),
        labels: Default::default(),
    };
    let token_hash = secret.hash().to_string();
    Ok(JoinRequest { token_hash, request: csr, node, feature_level: request.feature_level, seal_key })
}

pub(crate) fn hostname(text: &str) -> Result<Hostname, UserError> {
    Hostname::new(text).map_err(|error: InvalidName| {
        UserError::new(ErrorCode::ValidationFailed, error.to_string()).with("field", "hostname")
    })
}

impl Api {
    pub(crate) async fn join_node(&self, request: v1::JoinRequest) -> Result<v1::JoinResponse, UserError> {
        let joined = self.parts().enrolment()?.join(join_request(request)?).await?;
        Ok(v1::JoinResponse {
            cluster_id: joined.cluster_id,
            incarnation: joined.incarnation,
            certificate: joined.certificate,
            ca_certificate: joined.authority,
            peers: joined.peers,
        })
    }

    pub(crate) async fn issue_join_token(
        &self,
        request: v1::IssueJoinTokenRequest,
        actor: &str,
        request_id: Option<RequestId>,
    ) -> Result<v1::IssueJoinTokenResponse, UserError> {
        if request.token_hash.len() != 64 || !request.token_hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(invalid("token_hash", "it is not the SHA-256 of a secret in hexadecimal"));
        }
        let enrolment = self.parts().enrolment()?;
        let life = Duration::from_millis(request.ttl_ms);
        let token: JoinToken = enrolment.issue_join_token(&request.token_hash, life, actor, request_id).await?;
        let view = self.parts().store.view();
        let ca_certificate = jaco_controlplane::authority_certificate(&view)?;
        let fingerprint = Certificate::from_pem(&ca_certificate).map(|certificate| certificate.fingerprint());
        let own = self.parts().node;
        let mut nodes: Vec<&Node> = view.list::<Node>().collect();
        nodes.sort_by_key(|node| (node.id != own, node.hostname.clone()));
        Ok(v1::IssueJoinTokenResponse {
            expires_at_ms: token.expires_at_ms,
            peer_addrs: nodes.into_iter().map(|node| node.grpc_address.clone()).collect(),
            ca_fingerprint: fingerprint.map(|fingerprint| fingerprint.to_string()).unwrap_or_default(),
            ca_certificate,
        })
    }

    pub(crate) async fn operate_node(
        &self,
        host: &str,
        kind: NodeOperationKind,
        force: bool,
        actor: &str,
        request_id: Option<RequestId>,
    ) -> Result<v1::NodeOperationResponse, UserError> {
        let host = hostname(host)?;
        self.parts().enrolment()?.operate(&host, kind, force, actor, request_id).await?;
        Ok(v1::NodeOperationResponse { hostname: host.to_string() })
    }

    pub(crate) async fn uncordon_node(
        &self,
        host: &str,
        actor: &str,
        request_id: Option<RequestId>,
    ) -> Result<v1::NodeOperationResponse, UserError> {
        let host = hostname(host)?;
        self.parts().enrolment()?.uncordon(&host, actor, request_id).await?;
        Ok(v1::NodeOperationResponse { hostname: host.to_string() })
    }
}

/// How far an operation on the node of this name is, as this view shows it.
pub(crate) fn progress(view: &View, host: &Hostname) -> v1::NodeProgressResponse {
    let node = view.list::<Node>().find(|node| node.hostname == *host);
    let operation = node.and_then(|node| view.get::<NodeOperation>(&node.id.to_string()));
    let remaining = node.map(|node| remaining(view, node)).unwrap_or_default();
    let migrated = operation.iter().flat_map(|operation| &operation.migrated).map(|moved| v1::MigratedReplica {
        replica_id: moved.replica.to_string(),
        from: moved.from.to_string(),
        to: moved.to.to_string(),
    });
    v1::NodeProgressResponse {
        hostname: host.to_string(),
        member: node.is_some(),
        under_way: operation.is_some_and(|operation| !operation.timed_out),
        timed_out: operation.is_some_and(|operation| operation.timed_out),
        remaining: remaining.into_iter().collect(),
        migrated: migrated.collect(),
        dropped: operation.iter().flat_map(|operation| &operation.dropped).map(ToString::to_string).collect(),
    }
}

/// What has not left a node: replicas that are to run there, and those that are not and whose containers it has not told gone. Of a node that
/// is away only the first count, as it can tell nothing.
fn remaining(view: &View, node: &Node) -> BTreeSet<String> {
    let away = match view.get::<NodeStatus>(&node.id.to_string()).map(|status| status.state) {
        Some(NodeState::Down | NodeState::Unreachable) | None => true,
        Some(
            NodeState::Joining
            | NodeState::Ready
            | NodeState::IsolationUnavailable
            | NodeState::DrainTimeout
            | NodeState::Draining,
        ) => false,
    };
    let desired = view.list::<ReplicaDesired>().filter(|replica| replica.node == node.id);
    let desired = desired.map(|replica| replica.id.to_string());
    let observed = view.list::<ReplicaObserved>().filter(|replica| !away && replica.node == node.id);
    desired.chain(observed.map(|replica| replica.id.to_string())).collect()
}
