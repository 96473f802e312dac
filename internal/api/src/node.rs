//! `Node`: the daemon that answers.

use jaco_proto::v1::node_server::Node as NodeService;
use jaco_proto::{to_status, v1};
use jaco_types::{ErrorCode, NodeState, NodeStatus, UserError};
use tonic::{Request, Response, Status};

use crate::Api;
use crate::caller::identity;

#[tonic::async_trait]
impl NodeService for Api {
    async fn status(
        &self,
        request: Request<v1::NodeStatusRequest>,
    ) -> Result<Response<v1::NodeStatusResponse>, Status> {
        identity(&request)?;
        let wanted = request.into_inner().hostname;
        let parts = self.parts();
        if !wanted.is_empty() && !wanted.eq_ignore_ascii_case(parts.hostname.as_str()) {
            return Err(to_status(
                &UserError::new(
                    ErrorCode::NodeNotFound,
                    format!("no node is named {wanted}; `jaco cluster status` lists them"),
                )
                .with("hostname", wanted),
            ));
        }
        let view = parts.store.view();
        let status = view.get::<NodeStatus>(&parts.node.to_string());
        let mut loops: Vec<v1::Loop> = parts.loops.status().into_iter().map(v1::Loop::from).collect();
        loops.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Response::new(v1::NodeStatusResponse {
            hostname: parts.hostname.to_string(),
            version: parts.version.to_owned(),
            status: v1::NodeState::from(status.map_or(NodeState::Joining, |status| status.state)).into(),
            status_details: status.map(|status| status.details.clone()).unwrap_or_default(),
            loops,
            log_level: parts.log_levels.level(),
        }))
    }

    async fn set_log_level(
        &self,
        request: Request<v1::SetLogLevelRequest>,
    ) -> Result<Response<v1::SetLogLevelResponse>, Status> {
        let actor = identity(&request)?;
        let level = request.into_inner().level;
        self.parts().log_levels.set_level(&level).map_err(|error| to_status(&error))?;
        tracing::info!(%level, %actor, "log level changed");
        Ok(Response::new(v1::SetLogLevelResponse { level: self.parts().log_levels.level() }))
    }
}
