//! `get`: one kind of thing in detail.

use clap::{Args, Subcommand};
use jaco_proto::v1::{
    GetDeploymentRequest, GetDeploymentsRequest, GetReplicasRequest, GetRouteRequest, GetRoutesRequest,
};
use jaco_types::{ErrorCode, UserError};

use super::NORMAL;
use crate::failure::Failure;
use crate::session::Session;
use crate::view::{deployment, replica, route};

/// What to get.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// All deployments.
    Deployments,
    /// One deployment with its services and manifests.
    Deployment(DeploymentArguments),
    /// All replicas.
    Replicas(ReplicasArguments),
    /// One replica with its history.
    Replica {
        /// Its id, for example shop-web-0.
        id: String,
    },
    /// All routes.
    Routes(RoutesArguments),
    /// The routes of one domain, in the order they are matched.
    Route {
        /// The domain.
        domain: String,
    },
}

/// Arguments of `get deployment`.
#[derive(Debug, Args)]
pub struct DeploymentArguments {
    /// Its name.
    name: String,
    /// A stored revision [default: the active one].
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
}

/// Filters of `get replicas`.
#[derive(Debug, Args)]
pub struct ReplicasArguments {
    /// Only of this deployment.
    #[arg(long, default_value = "", hide_default_value = true)]
    deployment: String,
    /// Only of this service.
    #[arg(long, default_value = "", hide_default_value = true)]
    service: String,
}

/// Filter of `get routes`.
#[derive(Debug, Args)]
pub struct RoutesArguments {
    /// Only of this domain.
    #[arg(long, default_value = "", hide_default_value = true)]
    domain: String,
}

pub async fn run(command: &Command, session: &Session<'_>) -> Result<(), Failure> {
    let client = session.connect().await?;
    let deadline = session.deadline(NORMAL);
    let mut printer = session.printer();
    match command {
        Command::Deployments => {
            let answer = client.get_deployments(GetDeploymentsRequest {}, deadline).await?;
            printer.show(&deployment::List::try_from(answer)?)
        }
        Command::Deployment(arguments) => {
            let request = GetDeploymentRequest { name: arguments.name.clone(), revision: arguments.revision };
            printer.show(&deployment::Detail::try_from(client.get_deployment(request, deadline).await?)?)
        }
        Command::Replicas(arguments) => {
            let request = GetReplicasRequest {
                deployment: arguments.deployment.clone(),
                service: arguments.service.clone(),
                id: String::new(),
            };
            printer.show(&replica::List::try_from(client.get_replicas(request, deadline).await?)?)
        }
        Command::Replica { id } => {
            let request = GetReplicasRequest { id: id.clone(), ..GetReplicasRequest::default() };
            let list = replica::List::try_from(client.get_replicas(request, deadline).await?)?;
            match list.0.into_iter().next() {
                Some(replica) => printer.show(&replica),
                None => Err(UserError::new(ErrorCode::ReplicaNotFound, format!("there is no replica {id:?}")).into()),
            }
        }
        Command::Routes(arguments) => {
            let request = GetRoutesRequest { domain: arguments.domain.clone() };
            printer.show(&route::List::from(client.get_routes(request, deadline).await?))
        }
        Command::Route { domain } => {
            let request = GetRouteRequest { domain: domain.clone() };
            printer.show(&route::Domain::from(client.get_route(request, deadline).await?))
        }
    }
}
