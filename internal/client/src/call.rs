//! The one way a call is made: deadline, retries, typed errors.

use std::time::Duration;

use jaco_types::{ErrorCode, UserError};
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::retry::{PATIENCE, Repeat, is_worth_repeating, pause};
use crate::{Client, Deadline};

impl Client {
    /// Sends a request until it is answered, refused for good, or out of time. Dropping the future gives the call up; what the
    /// daemon has begun by then goes on.
    pub(crate) async fn call<Req, Resp, Send, Answer>(
        &self,
        repeat: Repeat,
        request: Req,
        deadline: Deadline,
        send: Send,
    ) -> Result<Resp, UserError>
    where
        Req: Clone,
        Send: Fn(Channel, Request<Req>) -> Answer,
        Answer: Future<Output = Result<Response<Resp>, Status>>,
    {
        let patience = Instant::now() + PATIENCE;
        let mut last: Option<UserError> = None;
        for attempt in 0.. {
            let mut message = Request::new(request.clone());
            if let Some(authorization) = &self.authorization {
                message.metadata_mut().insert("authorization", authorization.clone());
            }
            if let Some(left) = deadline.left().filter(|_| repeat != Repeat::Stream) {
                // The daemon gives up a little later than this side, so that it is this side's deadline that is reported.
                message.set_timeout(left + Duration::from_millis(500));
            }
            let status = match deadline.limit(send(self.channel.clone(), message)).await {
                Some(Ok(answer)) => {
                    self.staleness.note(answer.metadata());
                    return Ok(answer.into_inner());
                }
                Some(Err(status)) => status,
                None => break,
            };
            if deadline.has_passed() {
                break;
            }
            let error = jaco_proto::from_status(&status);
            let wait = pause(attempt);
            if !is_worth_repeating(repeat, error.code) || Instant::now() + wait > patience {
                // What the daemon says is out of reach is not the connection to it.
                let is_told = !status.details().is_empty();
                return Err(if is_told { error } else { self.final_error(repeat, error) });
            }
            tracing::debug!(code = %error.code, attempt, "not answered, trying again");
            last = Some(error);
            if deadline.limit(tokio::time::sleep(wait)).await.is_none() {
                break;
            }
        }
        Err(match last {
            // More telling than the deadline: why there was no answer.
            Some(error) => self.final_error(repeat, error),
            None => self.deadline_error(repeat, deadline.length()),
        })
    }

    fn final_error(&self, repeat: Repeat, error: UserError) -> UserError {
        match (repeat, error.code) {
            (Repeat::Identified | Repeat::Once, ErrorCode::Unreachable) => UserError::new(
                ErrorCode::OutcomeUnknown,
                format!(
                    "the connection to {} broke before the answer: the change may or may not have been made; look with jaco status or jaco history",
                    self.endpoint
                ),
            )
            .with("reason", error.message),
            (_, ErrorCode::Unreachable) => {
                let message = format!("the connection to {} broke: {}", self.endpoint, error.message);
                UserError { message, ..error }
            }
            _ => error,
        }
    }

    fn deadline_error(&self, repeat: Repeat, length: Duration) -> UserError {
        let seconds = length.as_secs_f64();
        match repeat {
            Repeat::Read | Repeat::Stream => UserError::new(
                ErrorCode::Unreachable,
                format!("no answer from {} within {seconds}s; --timeout sets a longer deadline", self.endpoint),
            ),
            Repeat::Identified | Repeat::Once => UserError::new(
                ErrorCode::OutcomeUnknown,
                format!(
                    "no answer from {} within {seconds}s: the change may or may not have been made; look with jaco status or jaco history",
                    self.endpoint
                ),
            ),
        }
    }
}

/// What a streaming call sends, one message after the other.
#[derive(Debug)]
pub struct Events<T> {
    stream: Streaming<T>,
    client: Client,
}

impl<T> Events<T> {
    pub(crate) fn new(stream: Streaming<T>, client: &Client) -> Self {
        Events { stream, client: client.clone() }
    }

    /// The next message, `None` when the daemon ended the stream. May be cancelled without losing a message.
    pub async fn next(&mut self) -> Result<Option<T>, UserError> {
        self.stream
            .message()
            .await
            .map_err(|status| self.client.final_error(Repeat::Read, jaco_proto::from_status(&status)))
    }
}
