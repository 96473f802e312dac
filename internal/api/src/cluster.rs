//! `Cluster`: init, status, and the nodes.

use jaco_proto::v1::cluster_server::Cluster;
use jaco_proto::{to_status, v1};
use jaco_state::View;
use jaco_types::{Node, NodeId, NodeOperationKind, NodeState, NodeStatus};
use tonic::{Request, Response, Status};

use crate::caller::{Caller, caller, identity};
use crate::deploy::request_id;
use crate::facilities::ConsensusStatus;
use crate::{Api, membership, uninitialized};

#[tonic::async_trait]
impl Cluster for Api {
    type BackupStream = crate::backup::Pieces;

    async fn backup(&self, request: Request<v1::BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        self.open_backup(identity(&request)?).await.map(Response::new)
    }

    async fn rotate_key(
        &self,
        request: Request<v1::RotateKeyRequest>,
    ) -> Result<Response<v1::RotateKeyResponse>, Status> {
        let actor = identity(&request)?;
        self.change_key(request.into_inner(), &actor).await.map(Response::new)
    }

    async fn init(&self, request: Request<v1::InitRequest>) -> Result<Response<v1::InitResponse>, Status> {
        let actor = identity(&request)?;
        let answer = self.parts().consensus.initialise(request.into_inner(), &actor).await;
        answer.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        self.join_node(request.into_inner()).await.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn node_join(&self, request: Request<v1::NodeJoinRequest>) -> Result<Response<v1::NodeJoinResponse>, Status> {
        identity(&request)?;
        let answer = self.parts().consensus.join(request.into_inner()).await;
        answer.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn issue_join_token(
        &self,
        request: Request<v1::IssueJoinTokenRequest>,
    ) -> Result<Response<v1::IssueJoinTokenResponse>, Status> {
        let actor = identity(&request)?;
        let mut request = request.into_inner();
        let id = request_id(request.request_id.take())?;
        let answer = Api::issue_join_token(self, request, &actor, id).await;
        answer.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn node_list(&self, request: Request<v1::NodeListRequest>) -> Result<Response<v1::NodeListResponse>, Status> {
        identity(&request)?;
        let view = self.view()?;
        let consensus = self.parts().consensus.status();
        let mut nodes: Vec<v1::Member> = view.list::<Node>().map(|node| member(&view, &consensus, node)).collect();
        nodes.sort_by(|a, b| a.hostname.cmp(&b.hostname));
        Ok(Response::new(v1::NodeListResponse { nodes }))
    }

    async fn node_drain(
        &self,
        request: Request<v1::NodeDrainRequest>,
    ) -> Result<Response<v1::NodeOperationResponse>, Status> {
        let actor = identity(&request)?;
        let request = request.into_inner();
        let id = request_id(request.request_id)?;
        let answer = self.operate_node(&request.hostname, NodeOperationKind::Drain, false, &actor, id).await;
        answer.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn node_uncordon(
        &self,
        request: Request<v1::NodeUncordonRequest>,
    ) -> Result<Response<v1::NodeOperationResponse>, Status> {
        let actor = identity(&request)?;
        let request = request.into_inner();
        let id = request_id(request.request_id)?;
        let answer = self.uncordon_node(&request.hostname, &actor, id).await;
        answer.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn node_remove(
        &self,
        request: Request<v1::NodeRemoveRequest>,
    ) -> Result<Response<v1::NodeOperationResponse>, Status> {
        let actor = identity(&request)?;
        let request = request.into_inner();
        let id = request_id(request.request_id)?;
        let answer = self.operate_node(&request.hostname, NodeOperationKind::Remove, request.force, &actor, id).await;
        answer.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn node_progress(
        &self,
        request: Request<v1::NodeProgressRequest>,
    ) -> Result<Response<v1::NodeProgressResponse>, Status> {
        identity(&request)?;
        let view = self.view()?;
        let host = membership::hostname(&request.into_inner().hostname).map_err(|error| to_status(&error))?;
        Ok(Response::new(membership::progress(&view, &host)))
    }

    async fn status(
        &self,
        request: Request<v1::ClusterStatusRequest>,
    ) -> Result<Response<v1::ClusterStatusResponse>, Status> {
        let view = self.parts().store.view();
        if !matches!(caller(&request), Caller::Known(_)) {
            let initialized = view.cluster().is_some();
            return Ok(Response::new(v1::ClusterStatusResponse { initialized, ..Default::default() }));
        }
        let answer = match view.cluster() {
            Some(_) => {
                cluster_status(&view, &self.parts().consensus.status()).ok_or_else(|| to_status(&uninitialized()))?
            }
            None => v1::ClusterStatusResponse::default(),
        };
        Ok(Response::new(answer))
    }
}

/// The cluster's status as this node sees it; `None` before init.
fn cluster_status(view: &View, consensus: &ConsensusStatus) -> Option<v1::ClusterStatusResponse> {
    let cluster = view.cluster()?;
    let leader = consensus.leader.and_then(|id| view.get::<Node>(&id.to_string()));
    let mut nodes: Vec<v1::Member> = view.list::<Node>().map(|node| member(view, consensus, node)).collect();
    nodes.sort_by(|a, b| a.hostname.cmp(&b.hostname));
    Some(v1::ClusterStatusResponse {
        initialized: true,
        cluster_id: cluster.cluster_id.clone(),
        cluster_name: cluster.name.clone(),
        leader: leader.map(|node| node.hostname.to_string()),
        leader_addr: leader.map(|node| node.grpc_address.clone()),
        raft_index: consensus.index,
        quorum: consensus.quorum,
        nodes,
        feature_level: cluster.feature_level,
    })
}

fn member(view: &View, consensus: &ConsensusStatus, node: &Node) -> v1::Member {
    let status = view.get::<NodeStatus>(&node.id.to_string());
    v1::Member {
        hostname: node.hostname.to_string(),
        address: node.address.clone(),
        grpc_address: node.grpc_address.clone(),
        status: v1::NodeState::from(status.map_or(NodeState::Joining, |status| status.state)).into(),
        suffrage: suffrage(consensus, node.id).into(),
        version: node.version.clone(),
        last_seen_at_ms: None,
        status_details: status.map(|status| status.details.clone()).unwrap_or_default(),
    }
}

fn suffrage(consensus: &ConsensusStatus, id: NodeId) -> v1::Suffrage {
    if consensus.leader.is_none() {
        v1::Suffrage::Unknown
    } else if consensus.voters.contains(&id) {
        v1::Suffrage::Voter
    } else {
        v1::Suffrage::Nonvoter
    }
}
