//! One method per call of the API.

use jaco_proto::MAX_MESSAGE_BYTES;
use jaco_proto::v1::audit_client::AuditClient;
use jaco_proto::v1::cluster_client::ClusterClient;
use jaco_proto::v1::deploy_client::DeployClient;
use jaco_proto::v1::node_client::NodeClient;
use jaco_proto::v1::tokens_client::TokensClient;
use jaco_proto::v1::watch_client::WatchClient;
use jaco_proto::v1::*;
use jaco_types::UserError;

use crate::retry::Repeat;
use crate::{Client, Deadline, Events};

macro_rules! calls {
    ($($(#[$doc:meta])* $vis:vis $name:ident = $service:ident.$method:ident($request:ty) -> $response:ty, $repeat:ident;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                $vis async fn $name(&self, request: $request, deadline: Deadline) -> Result<$response, UserError> {
                    self.call(Repeat::$repeat, request, deadline, |channel, request| async move {
                        // What is too large to send is for the daemon to say: its answer has a code.
                        let mut stub = $service::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
                        stub.$method(request).await
                    })
                    .await
                }
            )*
        }
    };
}

calls! {
    /// Makes the node the first member of a new cluster.
    pub cluster_init = ClusterClient.init(InitRequest) -> InitResponse, Once;
    /// The cluster as a whole; also answered before there is one.
    pub cluster_status = ClusterClient.status(ClusterStatusRequest) -> ClusterStatusResponse, Read;
    /// Has the node join the cluster of another one.
    pub node_join = ClusterClient.node_join(NodeJoinRequest) -> NodeJoinResponse, Once;
    /// The members.
    pub node_list = ClusterClient.node_list(NodeListRequest) -> NodeListResponse, Read;
    /// How far an operation on a node is.
    pub node_progress = ClusterClient.node_progress(NodeProgressRequest) -> NodeProgressResponse, Read;
    pub(crate) issue_join_token_with_id = ClusterClient.issue_join_token(IssueJoinTokenRequest) -> IssueJoinTokenResponse, Identified;
    pub(crate) node_drain_with_id = ClusterClient.node_drain(NodeDrainRequest) -> NodeOperationResponse, Identified;
    pub(crate) node_uncordon_with_id = ClusterClient.node_uncordon(NodeUncordonRequest) -> NodeOperationResponse, Identified;
    pub(crate) node_remove_with_id = ClusterClient.node_remove(NodeRemoveRequest) -> NodeOperationResponse, Identified;
    pub(crate) token_issue_with_id = TokensClient.issue(IssueTokenRequest) -> IssueTokenResponse, Identified;
    pub(crate) token_revoke_with_id = TokensClient.revoke(RevokeTokenRequest) -> RevokeTokenResponse, Identified;
    /// Every operator's token, revoked ones included; never a secret.
    pub token_list = TokensClient.list(ListTokensRequest) -> ListTokensResponse, Read;
    pub(crate) apply_with_id = DeployClient.apply(ApplyRequest) -> ApplyResponse, Identified;
    pub(crate) rollback_with_id = DeployClient.rollback(RollbackRequest) -> RollbackResponse, Identified;
    pub(crate) delete_with_id = DeployClient.delete(DeleteRequest) -> DeleteResponse, Identified;
    pub(crate) apply_dry_run = DeployClient.apply(ApplyRequest) -> ApplyResponse, Read;
    pub(crate) rollback_dry_run = DeployClient.rollback(RollbackRequest) -> RollbackResponse, Read;
    /// Deployments, replicas and routes.
    pub status = DeployClient.status(StatusRequest) -> StatusResponse, Read;
    /// Every deployment.
    pub get_deployments = DeployClient.get_deployments(GetDeploymentsRequest) -> GetDeploymentsResponse, Read;
    /// One deployment, its manifests included.
    pub get_deployment = DeployClient.get_deployment(GetDeploymentRequest) -> GetDeploymentResponse, Read;
    /// Replicas in detail.
    pub get_replicas = DeployClient.get_replicas(GetReplicasRequest) -> GetReplicasResponse, Read;
    /// Every route.
    pub get_routes = DeployClient.get_routes(GetRoutesRequest) -> GetRoutesResponse, Read;
    /// The routes of one domain.
    pub get_route = DeployClient.get_route(GetRouteRequest) -> GetRouteResponse, Read;
    /// The stored revisions of a deployment.
    pub history = DeployClient.history(HistoryRequest) -> HistoryResponse, Read;
    /// A node's daemon.
    pub node_status = NodeClient.status(NodeStatusRequest) -> NodeStatusResponse, Read;
    /// What is needed to find out what is wrong with a node.
    pub diagnose = NodeClient.diagnose(DiagnoseRequest) -> DiagnoseResponse, Read;
    /// Sets the log level of the daemon until its next start.
    pub set_log_level = NodeClient.set_log_level(SetLogLevelRequest) -> SetLogLevelResponse, Read;
    pub(crate) open_backup = ClusterClient.backup(BackupRequest) -> tonic::Streaming<BackupResponse>, Stream;
    pub(crate) rotate_key_with_id = ClusterClient.rotate_key(RotateKeyRequest) -> RotateKeyResponse, Identified;
    pub(crate) open_logs = DeployClient.logs(LogsRequest) -> tonic::Streaming<LogsResponse>, Stream;
    pub(crate) open_audit = AuditClient.query(AuditQueryRequest) -> tonic::Streaming<AuditQueryResponse>, Stream;
    pub(crate) open_watch = WatchClient.subscribe(SubscribeRequest) -> tonic::Streaming<SubscribeResponse>, Stream;
}

macro_rules! changes {
    ($($(#[$doc:meta])* $name:ident = $with_id:ident($request:ty) -> $response:ty;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                ///
                /// The request id is made here.
                pub async fn $name(&self, mut request: $request, deadline: Deadline) -> Result<$response, UserError> {
                    request.request_id = Some(self.new_request_id(deadline).await?);
                    self.$with_id(request, deadline).await
                }
            )*
        }
    };
}

changes! {
    /// Makes a join token known, by the hash of its secret.
    issue_join_token = issue_join_token_with_id(IssueJoinTokenRequest) -> IssueJoinTokenResponse;
    /// Asks for a node to be emptied, and kept empty. [`Client::node_progress`] says how far it is.
    node_drain = node_drain_with_id(NodeDrainRequest) -> NodeOperationResponse;
    /// Lets a node take replicas again.
    node_uncordon = node_uncordon_with_id(NodeUncordonRequest) -> NodeOperationResponse;
    /// Asks for a node to be emptied and let go. [`Client::node_progress`] says how far it is.
    node_remove = node_remove_with_id(NodeRemoveRequest) -> NodeOperationResponse;
    /// Makes an operator's token known, by its hash, and has a client certificate signed.
    token_issue = token_issue_with_id(IssueTokenRequest) -> IssueTokenResponse;
    /// Revokes an operator's token and certificates.
    token_revoke = token_revoke_with_id(RevokeTokenRequest) -> RevokeTokenResponse;
    /// Deletes a deployment.
    delete = delete_with_id(DeleteRequest) -> DeleteResponse;
}

impl Client {
    /// Applies a deployment, or compares only (`dry_run`). The request id is made here.
    pub async fn apply(&self, mut request: ApplyRequest, deadline: Deadline) -> Result<ApplyResponse, UserError> {
        if request.dry_run {
            return self.apply_dry_run(request, deadline).await;
        }
        request.request_id = Some(self.new_request_id(deadline).await?);
        self.apply_with_id(request, deadline).await
    }

    /// Makes a stored revision the active one, or compares only (`dry_run`). The request id is made here.
    pub async fn rollback(
        &self,
        mut request: RollbackRequest,
        deadline: Deadline,
    ) -> Result<RollbackResponse, UserError> {
        if request.dry_run {
            return self.rollback_dry_run(request, deadline).await;
        }
        request.request_id = Some(self.new_request_id(deadline).await?);
        self.rollback_with_id(request, deadline).await
    }

    /// A backup in pieces, the last of which says what it came to. The deadline is that of the first answer.
    pub async fn backup(&self, deadline: Deadline) -> Result<Events<BackupResponse>, UserError> {
        Ok(Events::new(self.open_backup(BackupRequest {}, deadline).await?, self))
    }

    /// Makes a new data key. The request id is made here.
    pub async fn rotate_key(&self, deadline: Deadline) -> Result<RotateKeyResponse, UserError> {
        let request = RotateKeyRequest { request_id: Some(self.new_request_id(deadline).await?) };
        self.rotate_key_with_id(request, deadline).await
    }

    /// Log lines; with `follow` the stream goes on until dropped. The deadline is that of the first answer; lines have none.
    pub async fn logs(&self, request: LogsRequest, deadline: Deadline) -> Result<Events<LogsResponse>, UserError> {
        Ok(Events::new(self.open_logs(request, deadline).await?, self))
    }

    /// Events of the audit log; with `follow` the stream goes on until dropped. The deadline is that of the first answer.
    pub async fn audit(
        &self,
        request: AuditQueryRequest,
        deadline: Deadline,
    ) -> Result<Events<AuditQueryResponse>, UserError> {
        Ok(Events::new(self.open_audit(request, deadline).await?, self))
    }

    /// Changes of the replicated state until dropped. The deadline is that of the first answer.
    pub async fn subscribe(
        &self,
        request: SubscribeRequest,
        deadline: Deadline,
    ) -> Result<Events<SubscribeResponse>, UserError> {
        Ok(Events::new(self.open_watch(request, deadline).await?, self))
    }
}
