//! `audit`.

use std::time::Duration;

use clap::Args;
use jaco_client::{Client, Deadline, Events};
use jaco_proto::v1::{AuditPlace, AuditQueryRequest, AuditQueryResponse};
use jaco_types::{AUDIT_TYPES, ErrorCode, UserError, audit_type};

use super::NORMAL;
use crate::failure::Failure;
use crate::follow::{Resumable, follow};
use crate::printer::StdoutPrinter;
use crate::session::Session;
use crate::text::{duration, parse_duration};
use crate::view::audit::{Event, List};

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// How far back, for example 30m or 7d [default: everything kept].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    since: Option<Duration>,
    /// Only events of these types, separated by commas.
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = parse_type)]
    types: Vec<String>,
    /// Go on with new events.
    #[arg(short, long)]
    follow: bool,
}

/// The daemon may know more types than this client; those this one knows are what can be asked for.
fn parse_type(name: &str) -> Result<String, String> {
    let known = audit_type(name.trim());
    known
        .map(str::to_owned)
        .ok_or_else(|| format!("{name:?} is no type of audit event; the types are {}", AUDIT_TYPES.join(", ")))
}

pub async fn run(arguments: &Arguments, session: &Session<'_>) -> Result<(), Failure> {
    let request = AuditQueryRequest {
        since_ms: arguments.since.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        types: arguments.types.clone(),
        follow: arguments.follow,
        after: None,
    };
    if arguments.follow {
        return follow(&mut Log { request, opened: false }, session, session.deadline_if_given()).await;
    }
    let deadline = session.deadline(NORMAL);
    let client = session.connect().await?;
    let mut stream = client.audit(request, deadline).await?;
    let mut events = Vec::new();
    loop {
        let Some(message) = deadline.limit(stream.next()).await else {
            return Err(UserError::new(
                ErrorCode::Unreachable,
                format!(
                    "the audit log did not arrive within {}; --timeout sets a longer deadline",
                    duration(deadline.length())
                ),
            )
            .into());
        };
        match message? {
            Some(message) => events.extend(message.events.into_iter().map(Event::from)),
            None => return session.printer().show(&List(events)),
        }
    }
}

/// The events, and how far they were seen.
struct Log {
    request: AuditQueryRequest,
    opened: bool,
}

impl Log {
    fn reached(&mut self, place: Option<AuditPlace>) {
        self.request.after = place.or(self.request.after);
    }
}

impl Resumable for Log {
    type Message = AuditQueryResponse;

    const NAME: &'static str = "the audit events";

    async fn open(&mut self, client: &Client, deadline: Deadline) -> Result<Events<AuditQueryResponse>, UserError> {
        if std::mem::replace(&mut self.opened, true) {
            // What came meanwhile counts, however long the daemon was away.
            self.request.since_ms = None;
        }
        client.audit(self.request.clone(), deadline).await
    }

    fn take(
        &mut self,
        message: AuditQueryResponse,
        printer: &mut StdoutPrinter,
        _: &Session<'_>,
    ) -> Result<(), Failure> {
        for event in message.events {
            printer.item(&Event::from(event))?;
        }
        self.reached(message.reached);
        Ok(())
    }
}
