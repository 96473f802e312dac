//! Streams of answers, as handlers give them to the server.

use std::pin::Pin;

use futures_util::Stream;
use tonic::Status;

/// A stream of answers to a member.
pub type AnswerStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
