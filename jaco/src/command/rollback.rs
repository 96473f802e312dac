//! `rollback`.

use clap::Args;
use jaco_client::{Client, Deadline};
use jaco_proto::v1::{RollbackRequest, RollbackResponse};

use super::{NORMAL, WAIT, say_remarks};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::session::Session;
use crate::view::change::{DryRun, RolledBack};
use crate::wait::{Target, outcome, until_running};

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
    wait(&client, answer, waiting, session).await
}

async fn wait(
    client: &Client,
    answer: RollbackResponse,
    deadline: Deadline,
    session: &Session<'_>,
) -> Result<(), Failure> {
    let target = Target {
        deployment: answer.deployment.clone(),
        revision: answer.revision,
        attempt: answer.attempt,
        index: answer.index,
    };
    let mut progress = Progress::new(!session.is_quiet() && session.speaks_text());
    let waited = until_running(client, &target, deadline, &mut progress).await;
    drop(progress);
    if let Some(outcome) = outcome(&waited) {
        let view = RolledBack::new(answer, Some(outcome))?;
        say_remarks(session, &view.remarks);
        session.printer().show(&view)?;
    }
    Ok(waited?)
}
