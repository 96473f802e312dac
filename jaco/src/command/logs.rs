//! `logs`.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use jaco_client::{Client, Deadline, Events};
use jaco_proto::v1::{LogLine, LogsRequest, LogsResponse, logs_response};
use jaco_types::{ErrorCode, UserError};
use tokio::time::Instant;

use super::{ServiceReference, parse_service};
use crate::failure::Failure;
use crate::follow::{Resumable, follow};
use crate::printer::StdoutPrinter;
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
    let request = LogsRequest {
        deployment: arguments.target.deployment.clone(),
        service: arguments.target.service.clone(),
        follow: arguments.follow,
        since_ms: arguments.since.map(millis),
        tail: arguments.tail,
    };
    let mut lines = Lines::new(request);
    if arguments.follow {
        return follow(&mut lines, session, session.deadline_if_given()).await;
    }
    let deadline = session.deadline(WHOLE);
    let client = session.connect().await?;
    let mut printer = session.printer();
    let mut stream = lines.open(&client, deadline).await?;
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
        match message? {
            None => return Ok(()),
            Some(message) => lines.take(message, &mut printer, session)?,
        }
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// How many lines of one replica were printed with the newest time stamp, and that time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Newest {
    ts_ms: u64,
    count: usize,
}

/// The lines of a service, and what of them was printed.
struct Lines {
    request: LogsRequest,
    /// When the last line came; a stream that broke begins again a little before that.
    last_line: Option<Instant>,
    opened: Option<Instant>,
    printed: BTreeMap<String, Newest>,
    /// Of each replica: what comes again on a stream that was opened again.
    again: BTreeMap<String, Newest>,
}

/// How far back the daemon looks when it does not say.
const DEFAULT_SINCE: Duration = Duration::from_secs(300);

/// Lines are asked for from this long before the last one: engines cut times to seconds, and lines may be on their way.
const OVERLAP: Duration = Duration::from_secs(5);

impl Lines {
    fn new(request: LogsRequest) -> Self {
        Lines { request, last_line: None, opened: None, printed: BTreeMap::new(), again: BTreeMap::new() }
    }

    /// The request that goes on where the stream broke.
    fn resumed(&self, now: Instant) -> LogsRequest {
        let mut request = self.request.clone();
        if let Some(last) = self.last_line {
            request.since_ms = Some(millis(now.duration_since(last) + OVERLAP));
            request.tail = None;
        } else if let Some(opened) = self.opened {
            let since = request.since_ms.map_or(DEFAULT_SINCE, Duration::from_millis);
            request.since_ms = Some(millis(since.saturating_add(now.duration_since(opened))));
        }
        request
    }

    /// Whether a line was not printed before.
    fn is_new(&mut self, line: &LogLine) -> bool {
        if let Some(old) = self.again.get_mut(&line.replica_id) {
            if line.ts_ms < old.ts_ms {
                return false;
            }
            if line.ts_ms == old.ts_ms && old.count > 0 {
                old.count -= 1;
                return false;
            }
            self.again.remove(&line.replica_id);
        }
        let newest = self.printed.entry(line.replica_id.clone()).or_default();
        if line.ts_ms > newest.ts_ms {
            *newest = Newest { ts_ms: line.ts_ms, count: 0 };
        }
        newest.count += usize::from(line.ts_ms == newest.ts_ms);
        true
    }
}

impl Resumable for Lines {
    type Message = LogsResponse;

    const NAME: &'static str = "the logs";

    async fn open(&mut self, client: &Client, deadline: Deadline) -> Result<Events<LogsResponse>, UserError> {
        let stream = client.logs(self.resumed(Instant::now()), deadline).await?;
        self.opened.get_or_insert_with(Instant::now);
        self.again.clone_from(&self.printed);
        Ok(stream)
    }

    fn take(
        &mut self,
        message: LogsResponse,
        printer: &mut StdoutPrinter,
        session: &Session<'_>,
    ) -> Result<(), Failure> {
        match message.event {
            Some(logs_response::Event::Line(line)) => {
                self.last_line = Some(Instant::now());
                if self.is_new(&line) {
                    printer.item(&Line::from(line))?;
                }
            }
            Some(logs_response::Event::Warning(warning)) => {
                session.warn(&format!("{}: {}", one_line(&warning.host), one_line(&warning.message)));
            }
            // An event of a newer daemon: not a line of anybody's log.
            None => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(replica: &str, ts_ms: u64) -> LogLine {
        LogLine { replica_id: replica.into(), ts_ms, ..LogLine::default() }
    }

    #[test]
    fn what_comes_again_after_a_break_is_printed_once() {
        let mut lines = Lines::new(LogsRequest::default());
        for line in [line("a", 1), line("a", 2), line("a", 2), line("b", 9)] {
            assert!(lines.is_new(&line));
        }
        lines.again.clone_from(&lines.printed);
        // The third line of the same millisecond, and the line of a replica that was never seen, are new.
        let again = [(line("a", 1), false), (line("a", 2), false), (line("a", 2), false), (line("a", 2), true)];
        for (line, new) in again.into_iter().chain([(line("c", 1), true), (line("b", 9), false), (line("b", 9), true)])
        {
            assert_eq!(lines.is_new(&line), new, "{line:?}");
        }
        lines.again.clone_from(&lines.printed);
        let third = [false, false, false, true].map(|new| (line("a", 2), new));
        for (line, new) in third {
            assert_eq!(lines.is_new(&line), new, "after a second break");
        }
    }

    #[tokio::test]
    async fn a_broken_stream_begins_again_before_its_last_line_and_forgets_the_tail() {
        let request = LogsRequest { since_ms: Some(1_000), tail: Some(3), ..LogsRequest::default() };
        let mut lines = Lines::new(request.clone());
        let now = Instant::now();
        assert_eq!(lines.resumed(now), request, "the first time");
        lines.opened = Some(now);
        let later = now + Duration::from_secs(60);
        let resumed = lines.resumed(later);
        assert_eq!((resumed.since_ms, resumed.tail), (Some(61_000), Some(3)), "nothing was printed yet");
        lines.last_line = Some(now + Duration::from_secs(50));
        let resumed = lines.resumed(later);
        assert_eq!((resumed.since_ms, resumed.tail), (Some(15_000), None));
    }
}
