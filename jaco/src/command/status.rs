//! `status`, once or watched.

use std::time::Duration;

use clap::Args;
use jaco_proto::v1::{StatusRequest, StatusResponse};
use jaco_types::{ErrorCode, UserError};

use super::{NORMAL, ServiceReference, parse_deployment_or_service, say_remarks};
use crate::failure::Failure;
use crate::session::Session;
use crate::snapshots::Snapshots;
use crate::terminal;
use crate::text::duration;
use crate::view::status::Status;

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// One deployment, or one of its services [default: everything].
    #[arg(value_name = "DEPLOYMENT[/SERVICE]", value_parser = parse_deployment_or_service)]
    target: Option<ServiceReference>,
    /// Go on and show every change.
    #[arg(short, long)]
    watch: bool,
}

/// How often the progress of a pull is shown on a terminal; no event tells of it.
const PULL_TICK: Duration = Duration::from_secs(1);

pub async fn run(arguments: &Arguments, session: &Session<'_>) -> Result<(), Failure> {
    let target = arguments.target.as_ref();
    let request = StatusRequest {
        deployment: target.map(|target| target.deployment.clone()).unwrap_or_default(),
        service: target.map(|target| target.service.clone()).unwrap_or_default(),
    };
    let client = session.connect().await?;
    if arguments.watch {
        let deployment = request.deployment.clone();
        return watch(session, Snapshots::new(&client, request, &deployment)).await;
    }
    let status = Status::try_from(client.status(request, session.deadline(NORMAL)).await?)?;
    session.printer().show(&status)?;
    say_remarks(session, &status.remarks);
    Ok(())
}

async fn watch(session: &Session<'_>, mut snapshots: Snapshots<'_>) -> Result<(), Failure> {
    let deadline = session.deadline_if_given();
    let mut printer = session.printer();
    let mut shown: Option<Status> = None;
    let mut pulls = false;
    loop {
        let size = terminal::stdout_size();
        let tick = (pulls && size.is_some()).then_some(PULL_TICK);
        let Some(snapshot) = deadline.limit(snapshots.next(tick)).await else {
            return Err(ended(deadline.length(), snapshots.is_connected()).into());
        };
        let snapshot: StatusResponse = snapshot?;
        let status = Status::try_from(snapshot)?;
        pulls = status.replicas.iter().any(|replica| replica.pull.is_some());
        if shown.as_ref() == Some(&status) {
            continue;
        }
        if shown.is_none() {
            // Once, and before the first frame, whose place the later ones take.
            say_remarks(session, &status.remarks);
        }
        if snapshots.take_interruption() {
            printer.leave_frame();
        }
        printer.frame(&status, size)?;
        shown = Some(status);
    }
}

fn ended(after: Duration, connected: bool) -> UserError {
    if connected {
        return UserError::new(
            ErrorCode::WaitTimeout,
            format!("the watch ended after {} (--timeout)", duration(after)),
        );
    }
    UserError::new(
        ErrorCode::Unreachable,
        format!("the daemon was lost and did not come back within {} (--timeout)", duration(after)),
    )
}
