//! `history`.

use clap::Args;
use jaco_proto::v1::HistoryRequest;

use super::NORMAL;
use crate::failure::Failure;
use crate::session::Session;
use crate::view::history::History;

/// Arguments of `history`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The deployment.
    deployment: String,
}

pub async fn run(arguments: &Arguments, session: &Session<'_>) -> Result<(), Failure> {
    let client = session.connect().await?;
    let request = HistoryRequest { deployment: arguments.deployment.clone() };
    session.printer().show(&History::from(client.history(request, session.deadline(NORMAL)).await?))
}
