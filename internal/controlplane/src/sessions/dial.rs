//! The way from a node to its leader.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use jaco_client::{MemberError, Members};
use jaco_proto::v1;
use jaco_state::BoxFuture;
use jaco_types::{ErrorCode, NodeId};

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// This node is no member any more.
    #[error("this node was removed from the cluster")]
    Removed,
    /// Nothing came about, or it broke.
    #[error("{0}")]
    Failed(String),
}

/// What a session says, until it breaks.
pub type SessionStream<T> = Pin<Box<dyn Stream<Item = T> + Send>>;

/// Opens sessions with other nodes.
pub trait SessionDialer: Send + Sync + 'static {
    /// A session with the node at this address of the members' port. Dropping the answers ends it.
    fn open<'a>(
        &'a self,
        node: NodeId,
        address: &'a str,
        messages: SessionStream<v1::SessionRequest>,
    ) -> BoxFuture<'a, Result<SessionStream<Result<v1::SessionResponse, DialError>>, DialError>>;
}

impl SessionDialer for Members {
    fn open<'a>(
        &'a self,
        node: NodeId,
        address: &'a str,
        messages: SessionStream<v1::SessionRequest>,
    ) -> BoxFuture<'a, Result<SessionStream<Result<v1::SessionResponse, DialError>>, DialError>> {
        Box::pin(async move {
            let answers = self.session(node, address.to_owned(), messages).await.map_err(|error| dial_error(&error))?;
            let answers = answers.map(|answer| {
                answer.map_err(|status| match jaco_proto::from_status(&status) {
                    error if error.code == ErrorCode::NodeRemoved => DialError::Removed,
                    error => DialError::Failed(error.message),
                })
            });
            let answers: SessionStream<_> = Box::pin(answers);
            Ok(answers)
        })
    }
}

fn dial_error(error: &MemberError) -> DialError {
    match error {
        MemberError::Answered(answer) if answer.code == ErrorCode::NodeRemoved => DialError::Removed,
        MemberError::Unreachable { .. } | MemberError::Lost { .. } | MemberError::Answered(_) => {
            DialError::Failed(error.to_string())
        }
    }
}
