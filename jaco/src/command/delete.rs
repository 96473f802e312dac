//! `delete`.

use clap::Args;
use jaco_proto::v1::DeleteRequest;

use super::{NORMAL, WAIT};
use crate::failure::Failure;
use crate::session::Session;
use crate::view::change::Deleted;
use crate::wait::until_gone;

/// Arguments of `delete`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The deployment.
    deployment: String,
    /// Wait until its containers are gone.
    #[arg(long)]
    wait: bool,
}

pub async fn run(arguments: &Arguments, session: &Session<'_>) -> Result<(), Failure> {
    let client = session.connect().await?;
    let waiting = session.deadline(WAIT);
    let request = DeleteRequest { deployment: arguments.deployment.clone(), request_id: None };
    let answer = client.delete(request, session.deadline(NORMAL)).await?;
    if arguments.wait {
        until_gone(&client, &answer.deployment, answer.index, waiting).await?;
    }
    session.printer().show(&Deleted { deployment: answer.deployment, deleted: true })
}
