//! `Node`: one daemon, the one that answers or another one that it asks.

use jaco_proto::v1::node_server::Node as NodeService;
use jaco_proto::{to_status, v1};
use jaco_types::{ErrorCode, Node, NodeState, NodeStatus, UserError};
use tonic::{Request, Response, Status};

use crate::caller::identity;
use crate::{Api, uninitialized};

/// The daemon that is meant.
enum Target {
    /// The one that answers.
    Own,
    /// Another member's.
    Other(Box<Node>),
}

fn unknown(hostname: &str) -> UserError {
    UserError::new(
        ErrorCode::NodeNotFound,
        format!("no node is named {hostname}; `jaco node list` shows those there are"),
    )
    .with("hostname", hostname)
}

impl Api {
    /// Finds the node of this name, letter case ignored; an empty one is this node.
    ///
    /// Errors: `node_not_found`; `cluster_uninitialized` on a node that knows no other.
    fn target(&self, hostname: &str) -> Result<Target, UserError> {
        let parts = self.parts();
        if hostname.is_empty() || hostname.eq_ignore_ascii_case(parts.hostname.as_str()) {
            return Ok(Target::Own);
        }
        let view = parts.store.view();
        let node = view.list::<Node>().find(|node| hostname.eq_ignore_ascii_case(node.hostname.as_str()));
        match node {
            Some(node) if node.id == parts.node => Ok(Target::Own),
            Some(node) => Ok(Target::Other(Box::new(node.clone()))),
            None if view.cluster().is_none() => Err(uninitialized()),
            None => Err(unknown(hostname)),
        }
    }

    /// What this daemon says of itself.
    pub(crate) fn own_status(&self) -> v1::NodeStatusResponse {
        let parts = self.parts();
        let view = parts.store.view();
        let status = view.get::<NodeStatus>(&parts.node.to_string());
        let mut loops: Vec<v1::Loop> = parts.loops.status().into_iter().map(v1::Loop::from).collect();
        loops.sort_by(|a, b| a.name.cmp(&b.name));
        v1::NodeStatusResponse {
            hostname: parts.hostname.to_string(),
            version: parts.version.to_owned(),
            status: v1::NodeState::from(status.map_or(NodeState::Joining, |status| status.state)).into(),
            status_details: status.map(|status| status.details.clone()).unwrap_or_default(),
            loops,
            log_level: parts.log_levels.level(),
        }
    }

    /// Changes the level of this daemon's log.
    ///
    /// Errors: `validation_failed` for a word that is no level.
    pub(crate) fn set_own_log_level(&self, level: &str, actor: &str) -> Result<v1::SetLogLevelResponse, UserError> {
        let parts = self.parts();
        parts.log_levels.set_level(level)?;
        tracing::info!(%level, %actor, "log level changed");
        Ok(v1::SetLogLevelResponse { level: parts.log_levels.level(), hostname: parts.hostname.to_string() })
    }

    /// What is needed to find out what is wrong with this node.
    pub(crate) async fn own_diagnosis(&self) -> v1::DiagnoseResponse {
        let parts = self.parts();
        v1::DiagnoseResponse { hostname: parts.hostname.to_string(), files: parts.diagnostics.collect().await }
    }
}

#[tonic::async_trait]
impl NodeService for Api {
    async fn status(
        &self,
        request: Request<v1::NodeStatusRequest>,
    ) -> Result<Response<v1::NodeStatusResponse>, Status> {
        identity(&request)?;
        let answer = match self.target(&request.into_inner().hostname).map_err(|error| to_status(&error))? {
            Target::Own => Ok(self.own_status()),
            Target::Other(node) => self.parts().other_nodes.status(*node).await,
        };
        answer.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn set_log_level(
        &self,
        request: Request<v1::SetLogLevelRequest>,
    ) -> Result<Response<v1::SetLogLevelResponse>, Status> {
        let actor = identity(&request)?;
        let v1::SetLogLevelRequest { level, hostname } = request.into_inner();
        let answer = match self.target(&hostname).map_err(|error| to_status(&error))? {
            Target::Own => self.set_own_log_level(&level, &actor),
            Target::Other(node) => {
                let request = v1::MemberLogLevelRequest { level, actor: actor.to_string() };
                self.parts().other_nodes.set_log_level(*node, request).await
            }
        };
        answer.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn diagnose(&self, request: Request<v1::DiagnoseRequest>) -> Result<Response<v1::DiagnoseResponse>, Status> {
        let actor = identity(&request)?;
        let hostname = request.into_inner().hostname;
        tracing::debug!(%actor, %hostname, "a debug bundle is made");
        let answer = match self.target(&hostname).map_err(|error| to_status(&error))? {
            Target::Own => Ok(self.own_diagnosis().await),
            Target::Other(node) => self.parts().other_nodes.diagnose(*node).await,
        };
        answer.map(Response::new).map_err(|error| to_status(&error))
    }
}
