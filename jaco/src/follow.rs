//! Streams that go on for ever: a daemon that goes away (a restart, an upgrade) is reached again, and the stream goes on where it
//! broke.

use std::time::Duration;

use jaco_client::{Client, Deadline, Events};
use jaco_types::{ErrorCode, UserError};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::printer::StdoutPrinter;
use crate::session::Session;
use crate::text::duration;

/// How long a lost daemon may be away (a restart, an upgrade) before that is an error.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Pause before each attempt to connect again.
pub const PAUSE: Duration = Duration::from_millis(200);

/// Something that is streamed, and knows where it was left.
pub trait Resumable {
    /// What the daemon sends.
    type Message;

    /// What is streamed, for messages: `the logs`.
    const NAME: &'static str;

    /// Opens the stream: at the begin the first time, later where it broke.
    async fn open(&mut self, client: &Client, deadline: Deadline) -> Result<Events<Self::Message>, UserError>;

    /// Prints what is new in a message.
    fn take(
        &mut self,
        message: Self::Message,
        printer: &mut StdoutPrinter,
        session: &Session<'_>,
    ) -> Result<(), Failure>;
}

/// Streams until the deadline, or until what is streamed is gone.
///
/// Errors: what the daemon refuses; `unreachable` when it was away for 15 s; `wait_timeout` at the deadline.
pub async fn follow<R: Resumable>(source: &mut R, session: &Session<'_>, deadline: Deadline) -> Result<(), Failure> {
    let client = session.connect().await?;
    let mut printer = session.printer();
    let mut stream = source.open(&client, deadline).await?;
    loop {
        let broke = match deadline.limit(stream.next()).await {
            None => return Err(out_of_time::<R>(deadline).into()),
            Some(Ok(Some(message))) => {
                source.take(message, &mut printer, session)?;
                continue;
            }
            // A daemon ends its streams when it stops, and when what they tell of is gone; which of them is seen by asking again.
            Some(Ok(None)) => None,
            Some(Err(error)) if is_lost(&error) => Some(error),
            Some(Err(error)) => return Err(error.into()),
        };
        stream = match deadline.limit(reopen(source, &client, broke, session)).await {
            None => return Err(out_of_time::<R>(deadline).into()),
            Some(Ok(stream)) => stream,
            Some(Err(error)) if is_gone(&error) => return Ok(()),
            Some(Err(error)) => return Err(error.into()),
        };
    }
}

/// Opens the stream again, for 15 s at most, and says so.
async fn reopen<R: Resumable>(
    source: &mut R,
    client: &Client,
    broke: Option<UserError>,
    session: &Session<'_>,
) -> Result<Events<R::Message>, UserError> {
    let end = Instant::now() + PATIENCE;
    let mut told = false;
    let tell = |told: &mut bool, reason: &str| {
        if !std::mem::replace(told, true) {
            session.warn(&format!("lost the daemon ({reason}); trying to reach it again"));
        }
    };
    if let Some(error) = &broke {
        tell(&mut told, &error.message);
    }
    loop {
        tokio::time::sleep(PAUSE).await;
        match source.open(client, Deadline::after(PATIENCE)).await {
            Ok(stream) => {
                tell(&mut told, "it ended the stream");
                session.warn(&format!("reached the daemon again; {} go on", R::NAME));
                return Ok(stream);
            }
            // A daemon that has just started may answer before it has read its state.
            Err(error) if is_lost(&error) || error.code == ErrorCode::ClusterUninitialized => {
                tell(&mut told, &error.message);
                if Instant::now() >= end {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether an error means that the stream may go on in a moment: `unreachable`, `no_leader` (an election), or a
/// failure of the transport that carries no code of ours.
pub fn is_lost(error: &UserError) -> bool {
    let untyped = || error.details.get("reason").is_some_and(|reason| reason.starts_with("gRPC status"));
    matches!(error.code, ErrorCode::Unreachable | ErrorCode::NoLeader)
        || (error.code == ErrorCode::Internal && untyped())
}

/// Whether what was followed is no more, which is the end and no failure.
fn is_gone(error: &UserError) -> bool {
    matches!(error.code, ErrorCode::DeploymentNotFound | ErrorCode::UnknownService)
}

fn out_of_time<R: Resumable>(deadline: Deadline) -> UserError {
    UserError::new(
        ErrorCode::WaitTimeout,
        format!("{} did not end within {}; --timeout sets a longer deadline", R::NAME, duration(deadline.length())),
    )
}
