//! `Cluster`: init and status.

use jaco_proto::v1::cluster_server::Cluster;
use jaco_proto::{to_status, v1};
use jaco_state::View;
use jaco_types::{Node, NodeId, NodeState, NodeStatus};
use tonic::{Request, Response, Status};

use crate::caller::identity;
use crate::facilities::ConsensusStatus;
use crate::{Api, uninitialized};

#[tonic::async_trait]
impl Cluster for Api {
    async fn init(&self, request: Request<v1::InitRequest>) -> Result<Response<v1::InitResponse>, Status> {
        let actor = identity(&request)?;
        let name = request.into_inner().name;
        let name = (!name.is_empty()).then_some(name);
        let (cluster_id, cluster_name) =
            self.parts().consensus.initialise(name, actor).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(v1::InitResponse { cluster_id, cluster_name }))
    }

    async fn status(
        &self,
        request: Request<v1::ClusterStatusRequest>,
    ) -> Result<Response<v1::ClusterStatusResponse>, Status> {
        identity(&request)?;
        let view = self.parts().store.view();
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
    Some(v1::ClusterStatusResponse {
        initialized: true,
        cluster_id: cluster.cluster_id.clone(),
        cluster_name: cluster.name.clone(),
        leader: leader.map(|node| node.hostname.to_string()),
        leader_addr: leader.map(|node| node.grpc_address.clone()),
        raft_index: consensus.index,
        quorum: consensus.quorum,
        nodes: view.list::<Node>().map(|node| member(view, consensus, node)).collect(),
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
