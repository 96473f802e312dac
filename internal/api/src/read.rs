//! The read half of `Deploy`: every answer is rendered from one view.

use std::collections::BTreeSet;

use jaco_proto::{to_status, v1};
use jaco_state::View;
use jaco_types::{Deployment, DeploymentRevision, Domain, ErrorCode, ReplicaId, Route, UserError};
use tonic::Status;

use crate::caller::Identity;
use crate::render::{self, ReplicaFilter};
use crate::{Api, redact};

/// The deployment of that name, or `deployment_not_found`.
pub(crate) fn find_deployment<'a>(view: &'a View, name: &str) -> Result<&'a Deployment, Status> {
    view.get::<Deployment>(name).ok_or_else(|| to_status(&deployment_not_found(name)))
}

fn deployment_not_found(name: &str) -> UserError {
    UserError::new(
        ErrorCode::DeploymentNotFound,
        format!("no deployment is named {name}; `jaco get deployments` lists them"),
    )
    .with("deployment", name)
}

/// The active revision of a deployment; missing only when the store was damaged.
pub(crate) fn active_revision<'a>(view: &'a View, deployment: &Deployment) -> Result<&'a DeploymentRevision, Status> {
    view.get::<DeploymentRevision>(&DeploymentRevision::key_of(&deployment.name, deployment.active_revision))
        .ok_or_else(|| {
            to_status(&UserError::internal(
                format!(
                    "the active revision {} of {} is not in the store",
                    deployment.active_revision, deployment.name
                ),
                "missing revision record",
            ))
        })
}

/// Refuses a service that the deployment's active revision does not have.
pub(crate) fn check_service(view: &View, deployment: &Deployment, service: &str) -> Result<(), Status> {
    if active_revision(view, deployment)?.spec.services.contains_key(service) {
        return Ok(());
    }
    Err(to_status(
        &UserError::new(ErrorCode::UnknownService, format!("deployment {} has no service {service}", deployment.name))
            .with("deployment", &deployment.name)
            .with("service", service),
    ))
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

impl Api {
    fn render_replicas(&self, view: &View, filter: ReplicaFilter<'_>) -> Vec<v1::Replica> {
        let soft = |id: &ReplicaId| self.parts().soft.replica(id);
        render::replicas(view, filter, &soft)
    }

    pub(crate) fn read_status(&self, request: &v1::StatusRequest) -> Result<v1::StatusResponse, Status> {
        let view = self.view()?;
        let filter = ReplicaFilter {
            deployment: non_empty(&request.deployment),
            service: non_empty(&request.service),
            id: None,
        };
        let replicas = self.render_replicas(&view, filter);
        if let Some(name) = filter.deployment {
            match view.get::<Deployment>(name) {
                Some(deployment) => {
                    if let Some(service) = filter.service {
                        check_service(&view, deployment, service)?;
                    }
                }
                // A deleted deployment is still shown while its containers stop.
                None if replicas.is_empty() => return Err(to_status(&deployment_not_found(name))),
                None => {}
            }
        }
        let wanted = |name: &str| filter.deployment.is_none_or(|deployment| deployment == name);
        let routes: Vec<v1::Route> = render::routes(&view, None)
            .into_iter()
            .filter(|route| wanted(&route.deployment) && filter.service.is_none_or(|service| service == route.service))
            .collect();
        let shown: BTreeSet<&str> = routes.iter().map(|route| route.domain.as_str()).collect();
        let remark = render::plain_http_remark(
            view.list::<Route>()
                .map(|route| (route.domain.as_str(), route.tls))
                .filter(|(domain, _)| shown.contains(domain)),
        );
        Ok(v1::StatusResponse {
            deployments: view
                .list::<Deployment>()
                .filter(|deployment| wanted(deployment.name.as_str()))
                .map(|deployment| render::deployment(&view, deployment))
                .collect(),
            replicas,
            index: view.index(),
            remarks: remark.into_iter().collect(),
            routes,
        })
    }

    pub(crate) fn read_deployments(&self) -> Result<v1::GetDeploymentsResponse, Status> {
        let view = self.view()?;
        let deployments = view.list::<Deployment>().map(|record| render::deployment(&view, record)).collect();
        Ok(v1::GetDeploymentsResponse { deployments })
    }

    pub(crate) fn read_deployment(
        &self,
        request: &v1::GetDeploymentRequest,
        caller: &Identity,
    ) -> Result<v1::GetDeploymentResponse, Status> {
        let view = self.view()?;
        let deployment = find_deployment(&view, &request.name)?;
        let number = request.revision.unwrap_or(deployment.active_revision);
        let revision =
            view.get::<DeploymentRevision>(&DeploymentRevision::key_of(&deployment.name, number)).ok_or_else(|| {
                to_status(
                    &UserError::new(
                        ErrorCode::RevisionNotFound,
                        format!("{} has no stored revision {number}; `jaco history {0}` lists them", deployment.name),
                    )
                    .with("deployment", &deployment.name)
                    .with("revision", number),
                )
            })?;
        Ok(v1::GetDeploymentResponse {
            deployment: Some(render::deployment(&view, deployment)),
            revision: number,
            acme_email: revision.spec.acme_email.clone(),
            services: render::services(revision),
            jaco_yaml: revision.jaco_yaml.clone(),
            compose_yaml: if caller.local {
                revision.compose_yaml.clone()
            } else {
                redact::compose(&revision.compose_yaml)
            },
        })
    }

    pub(crate) fn read_replicas(&self, request: &v1::GetReplicasRequest) -> Result<v1::GetReplicasResponse, Status> {
        let view = self.view()?;
        if let Some(name) = non_empty(&request.deployment) {
            let deployment = find_deployment(&view, name)?;
            if let Some(service) = non_empty(&request.service) {
                check_service(&view, deployment, service)?;
            }
        }
        let filter = ReplicaFilter {
            deployment: non_empty(&request.deployment),
            service: non_empty(&request.service),
            id: non_empty(&request.id),
        };
        let replicas = self.render_replicas(&view, filter);
        match filter.id {
            Some(id) if replicas.is_empty() => Err(to_status(
                &UserError::new(
                    ErrorCode::ReplicaNotFound,
                    format!("no replica has the id {id}; `jaco get replicas` lists them"),
                )
                .with("replica_id", id),
            )),
            Some(_) | None => Ok(v1::GetReplicasResponse { replicas }),
        }
    }

    pub(crate) fn read_routes(&self, request: &v1::GetRoutesRequest) -> Result<v1::GetRoutesResponse, Status> {
        let domain = request.domain.to_ascii_lowercase();
        Ok(v1::GetRoutesResponse { routes: render::routes(&self.view()?, non_empty(&domain)) })
    }

    pub(crate) fn read_route(&self, request: &v1::GetRouteRequest) -> Result<v1::GetRouteResponse, Status> {
        let view = self.view()?;
        let domain = Domain::new(&request.domain).map_err(|error| {
            to_status(&UserError::new(ErrorCode::ValidationFailed, error.to_string()).with("field", "domain"))
        })?;
        let routes = render::routes(&view, Some(domain.as_str()));
        if routes.is_empty() {
            return Err(to_status(
                &UserError::new(
                    ErrorCode::RouteNotFound,
                    format!("no route serves {domain}; `jaco get routes` lists them"),
                )
                .with("domain", &domain),
            ));
        }
        Ok(v1::GetRouteResponse { domain: domain.to_string(), routes })
    }

    pub(crate) fn read_history(&self, request: &v1::HistoryRequest) -> Result<v1::HistoryResponse, Status> {
        let view = self.view()?;
        let deployment = find_deployment(&view, &request.deployment)?;
        Ok(v1::HistoryResponse {
            deployment: deployment.name.to_string(),
            revisions: render::history(&view, deployment),
        })
    }
}
