//! `Deploy`: apply, rollback, delete, and the way to the reads.

use std::pin::Pin;
use std::time::Instant;

use futures_util::Stream;
use jaco_controlplane::{Applied, ApplyCommand};
use jaco_proto::v1::deploy_server::Deploy;
use jaco_proto::{to_status, v1};
use jaco_state::RequestId;
use jaco_types::{DeploymentSpec, ErrorCode, UserError};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::Api;
use crate::caller::{Identity, identity, operator};
use crate::{manifest, render};

#[tonic::async_trait]
impl Deploy for Api {
    async fn apply(&self, request: Request<v1::ApplyRequest>) -> Result<Response<v1::ApplyResponse>, Status> {
        let caller = operator(&request)?;
        let begin = Instant::now();
        let answer = self.apply_manifest(&caller, request.into_inner()).await;
        self.parts().timings.apply_took(begin.elapsed());
        answer.map(Response::new)
    }

    async fn rollback(&self, request: Request<v1::RollbackRequest>) -> Result<Response<v1::RollbackResponse>, Status> {
        let caller = operator(&request)?;
        let request = request.into_inner();
        let view = self.current_view().await?;
        let id = request_id(request.request_id)?;
        let deployments = &self.parts().deployments;
        // What was allowed when the revision was applied may not be allowed to this caller.
        if let Ok(preview) = deployments.preview_rollback(&view, &request.deployment, request.to) {
            manifest::check_privileges(&preview.after, &caller).map_err(|error| to_status(&error))?;
        }
        let applied: Applied = if request.dry_run {
            deployments.preview_rollback(&view, &request.deployment, request.to)
        } else {
            deployments.rollback(&request.deployment, request.to, &caller.name, id).await
        }
        .map_err(|error| to_status(&error))?;
        let text = manifest::revision(&view, &applied.after.name, applied.revision)
            .map_or("", |revision| revision.compose_yaml.as_str());
        Ok(Response::new(v1::RollbackResponse {
            deployment: applied.after.name.to_string(),
            revision: applied.revision,
            previous_revision: applied.previous_revision,
            diff: Some(manifest::diff(&view, applied.before.as_deref(), &applied.after, text)),
            index: applied.index,
            attempt: applied.attempt,
            remarks: plain_http(&applied.after).into_iter().collect(),
        }))
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteResponse>, Status> {
        let actor = identity(&request)?;
        let request = request.into_inner();
        self.view()?;
        let id = request_id(request.request_id)?;
        let index = self
            .parts()
            .deployments
            .delete(&request.deployment, &actor, id)
            .await
            .map_err(|error| to_status(&error))?;
        Ok(Response::new(v1::DeleteResponse { deployment: request.deployment, index }))
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        identity(&request)?;
        self.read_status(&request.into_inner()).map(Response::new)
    }

    async fn get_deployments(
        &self,
        request: Request<v1::GetDeploymentsRequest>,
    ) -> Result<Response<v1::GetDeploymentsResponse>, Status> {
        identity(&request)?;
        self.read_deployments().map(Response::new)
    }

    async fn get_deployment(
        &self,
        request: Request<v1::GetDeploymentRequest>,
    ) -> Result<Response<v1::GetDeploymentResponse>, Status> {
        let caller = operator(&request)?;
        self.read_deployment(&request.into_inner(), &caller).map(Response::new)
    }

    async fn get_replicas(
        &self,
        request: Request<v1::GetReplicasRequest>,
    ) -> Result<Response<v1::GetReplicasResponse>, Status> {
        identity(&request)?;
        self.read_replicas(&request.into_inner()).map(Response::new)
    }

    async fn get_routes(
        &self,
        request: Request<v1::GetRoutesRequest>,
    ) -> Result<Response<v1::GetRoutesResponse>, Status> {
        identity(&request)?;
        self.read_routes(&request.into_inner()).map(Response::new)
    }

    async fn get_route(&self, request: Request<v1::GetRouteRequest>) -> Result<Response<v1::GetRouteResponse>, Status> {
        identity(&request)?;
        self.read_route(&request.into_inner()).map(Response::new)
    }

    async fn history(&self, request: Request<v1::HistoryRequest>) -> Result<Response<v1::HistoryResponse>, Status> {
        identity(&request)?;
        self.read_history(&request.into_inner()).map(Response::new)
    }

    type LogsStream = Pin<Box<dyn Stream<Item = Result<v1::LogsResponse, Status>> + Send>>;

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        identity(&request)?;
        let answers = self.open_logs(&request.into_inner())?;
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

impl Api {
    async fn apply_manifest(&self, caller: &Identity, request: v1::ApplyRequest) -> Result<v1::ApplyResponse, Status> {
        let view = self.current_view().await?;
        let resolved = manifest::resolve(self.parts(), &request).map_err(|error| to_status(&error))?;
        manifest::check_privileges(&resolved.spec, caller).map_err(|error| to_status(&error))?;
        let remarks = resolved.remarks;
        let text = request.compose_yaml.clone();
        let command = ApplyCommand {
            spec: resolved.spec,
            jaco_yaml: request.jaco_yaml,
            compose_yaml: request.compose_yaml,
            identity: caller.name.to_string(),
            request_id: request_id(request.request_id)?,
        };
        let deployments = &self.parts().deployments;
        let applied =
            if request.dry_run { deployments.preview_apply(&view, &command) } else { deployments.apply(command).await }
                .map_err(|error| to_status(&error))?;
        let diff = manifest::diff(&view, applied.before.as_deref(), &applied.after, &text);
        Ok(v1::ApplyResponse {
            deployment: applied.after.name.to_string(),
            applied_revision: applied.revision,
            previous_revision: applied.previous_revision,
            changed: manifest::has_changes(&diff),
            diff: Some(diff),
            remarks,
            index: applied.index,
            attempt: applied.attempt,
        })
    }
}

/// The request id as sent; none is allowed, a malformed one is not.
pub(crate) fn request_id(id: Option<v1::RequestId>) -> Result<Option<RequestId>, Status> {
    let Some(id) = id else { return Ok(None) };
    let token: [u8; 16] = id.token.try_into().map_err(|token: Vec<u8>| {
        to_status(
            &UserError::new(
                ErrorCode::ValidationFailed,
                format!("a request id has 16 bytes, this one {}", token.len()),
            )
            .with("field", "request_id.token"),
        )
    })?;
    Ok(Some(RequestId { base_index: id.base_index, token }))
}

fn plain_http(spec: &DeploymentSpec) -> Option<v1::Remark> {
    render::plain_http_remark(spec.routes.iter().map(|route| (route.domain.as_str(), route.tls)))
}
