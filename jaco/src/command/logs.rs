//! `logs`.

use std::time::Duration;

use clap::Args;
use jaco_proto::v1::{LogsRequest, logs_response};
use jaco_types::{ErrorCode, UserError};

use super::{ServiceReference, parse_service};
use crate::failure::{Failure, complain};
use crate::session::Session;
use crate::text::{duration, one_line, parse_duration};
use crate::view::log::Line;

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The service.
    #[arg(value_name = "DEPLOYMENT/SERVICE", value_parser = parse_service)]
    target: ServiceReference,
    /// Go on with new lines.
    #[arg(short, long)]
    follow: bool,
    /// How far back, for example 30s or 1h30m [default: 5m].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    since: Option<Duration>,
    /// At most this many lines of each replica, from the end.
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
}

/// Default deadline without `--follow`.
const WHOLE: Duration = Duration::from_secs(60);

pub async fn run(arguments: &Arguments, session: &Session<'_>) -> Result<(), Failure> {
    let client = session.connect().await?;
    let deadline = if arguments.follow { session.deadline_if_given() } else { session.deadline(WHOLE) };
    let request = LogsRequest {
        deployment: arguments.target.deployment.clone(),
        service: arguments.target.service.clone(),
        follow: arguments.follow,
        since_ms: arguments.since.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        tail: arguments.tail,
    };
    let mut stream = client.logs(request, deadline).await?;
    let mut printer = session.printer();
    loop {
        let Some(message) = deadline.limit(stream.next()).await else {
            return Err(UserError::new(
                ErrorCode::WaitTimeout,
                format!(
                    "the logs did not end within {}; --timeout sets a longer deadline",
                    duration(deadline.length())
                ),
            )
            .into());
        };
        match message?.map(|message| message.event) {
            None => return Ok(()),
            Some(Some(logs_response::Event::Line(line))) => printer.item(&Line::from(line))?,
            Some(Some(logs_response::Event::Warning(warning))) => {
                complain(&format!("Warning: {}: {}", one_line(&warning.host), one_line(&warning.message)));
            }
            // An event of a newer daemon: not a line of anybody's log.
            Some(None) => {}
        }
    }
}
