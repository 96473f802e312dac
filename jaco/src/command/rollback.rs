//! `rollback`.

use clap::Args;
use jaco_proto::v1::RollbackRequest;

use super::{NORMAL, WAIT, say_remarks, wait_and_show};
use crate::failure::Failure;
use crate::session::Session;
use crate::view::change::{DryRun, RolledBack};
use crate::wait::Target;

/// Arguments of `rollback`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The deployment.
    deployment: String,
    /// A stored revision, see history [default: the previous active one].
    #[arg(long, value_name = "REVISION")]
    to: Option<u64>,
    /// Wait until every replica runs.
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(arguments: &Arguments, session: &Session<'_>) -> Result<(), Failure> {
    let client = session.connect().await?;
    let request = RollbackRequest {
        deployment: arguments.deployment.clone(),
        to: arguments.to,
        dry_run: arguments.dry_run,
        request_id: None,
    };
    let waiting = session.deadline(WAIT);
    let answer = client.rollback(request, session.deadline(NORMAL)).await?;
    if arguments.dry_run {
        let view = DryRun::of_rollback(answer)?;
        session.printer().show(&view)?;
        say_remarks(session, &view.remarks);
        return Ok(());
    }
    if !arguments.wait {
        let view = RolledBack::new(answer, None)?;
        say_remarks(session, &view.remarks);
        return session.printer().show(&view);
    }
    let target = Target {
        deployment: answer.deployment.clone(),
        revision: answer.revision,
        attempt: answer.attempt,
        index: answer.index,
    };
    wait_and_show(&client, &target, waiting, session, |outcome| {
        let view = RolledBack::new(answer, Some(outcome))?;
        say_remarks(session, &view.remarks);
        Ok(view)
    })
    .await
}
