//! Waiting until a node is empty or gone. The cluster carries the operation on by itself; this only looks.

use std::time::Duration;

use jaco_client::{Client, Deadline, Events};
use jaco_proto::v1::{NodeProgressRequest, NodeProgressResponse, SubscribeRequest, SubscribeResponse};
use jaco_types::{ErrorCode, UserError};
use tokio::time::Instant;

use crate::follow::{PATIENCE, PAUSE, is_lost};
use crate::text::duration;

/// Deadline of each single call.
const CALL: Duration = Duration::from_secs(10);

/// Records that tell of progress.
const KINDS: [&str; 5] = ["Node", "NodeOperation", "NodeStatus", "ReplicaDesired", "ReplicaObserved"];

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The node is empty.
    Drained,
    /// The node is no member any more.
    Removed,
}

/// How a moment is to be understood: pure.
///
/// Gives whether the goal is reached. Errors: `drain_timeout`; `conflict` when somebody called it off; `node_not_found`.
fn judge(goal: Goal, progress: &NodeProgressResponse) -> Result<bool, UserError> {
    let hostname = &progress.hostname;
    let reached = match goal {
        Goal::Removed => !progress.member,
        Goal::Drained => progress.member && progress.remaining.is_empty() && !progress.timed_out,
    };
    if reached {
        return Ok(true);
    }
    if !progress.member {
        let text = format!("{hostname} is no member of the cluster any more");
        return Err(UserError::new(ErrorCode::NodeNotFound, text).with("hostname", hostname));
    }
    if progress.timed_out {
        let left = progress.remaining.join(", ");
        return Err(UserError::new(
            ErrorCode::DrainTimeout,
            format!(
                "{hostname} was not emptied in time, and stays a member: {left} did not move; run the command again to go on, or jaco node uncordon {hostname} to call it off"
            ),
        )
        .with("hostname", hostname)
        .with("remaining", left));
    }
    if !progress.under_way {
        let text = format!("somebody called it off: {hostname} stays, and takes replicas");
        return Err(UserError::new(ErrorCode::Conflict, text).with("hostname", hostname));
    }
    Ok(false)
}

/// Waits until the goal is reached; gives the last progress that was seen while the node was a member.
///
/// Errors: those of the operation, `wait_timeout` at the deadline, `unreachable` when the daemon was away for 15 s.
pub async fn until_done(
    client: &Client,
    hostname: &str,
    goal: Goal,
    deadline: Deadline,
) -> Result<NodeProgressResponse, UserError> {
    let mut last = NodeProgressResponse { hostname: hostname.to_owned(), ..NodeProgressResponse::default() };
    let mut look = Look { client, events: None, heard: Instant::now() };
    loop {
        let progress = match deadline.limit(look.next(hostname)).await {
            None => return Err(timed_out(hostname, &last, deadline)),
            Some(Ok(progress)) => progress,
            // The node that answered was the one that went.
            Some(Err(error)) if goal == Goal::Removed && is_gone(&error) => return Ok(last),
            Some(Err(error)) => return Err(error),
        };
        let reached = judge(goal, &progress)?;
        if progress.member {
            last = progress;
        }
        if reached {
            return Ok(last);
        }
    }
}

/// Whether the node that was asked belongs to no cluster any more.
fn is_gone(error: &UserError) -> bool {
    matches!(error.code, ErrorCode::ClusterUninitialized | ErrorCode::NodeRemoved)
}

fn timed_out(hostname: &str, last: &NodeProgressResponse, deadline: Deadline) -> UserError {
    let left = last.remaining.join(", ");
    UserError::new(
        ErrorCode::WaitTimeout,
        format!(
            "{hostname} still has {} after {}; the cluster goes on with it, and the same command waits again",
            if left.is_empty() { "its place" } else { &left },
            duration(deadline.length())
        ),
    )
    .with("hostname", hostname)
    .with("remaining", &left)
}

/// Looks at once, and again after each change.
struct Look<'a> {
    client: &'a Client,
    events: Option<Events<SubscribeResponse>>,
    heard: Instant,
}

impl Look<'_> {
    async fn next(&mut self, hostname: &str) -> Result<NodeProgressResponse, UserError> {
        loop {
            match self.try_next(hostname).await {
                Err(error) if is_lost(&error) && self.heard.elapsed() < PATIENCE => {
                    self.events = None;
                    tokio::time::sleep(PAUSE).await;
                }
                other => return other,
            }
        }
    }

    async fn try_next(&mut self, hostname: &str) -> Result<NodeProgressResponse, UserError> {
        let events = match &mut self.events {
            Some(events) => events,
            none => {
                let kinds = KINDS.map(str::to_owned).to_vec();
                let request = SubscribeRequest { kinds, ..SubscribeRequest::default() };
                none.insert(self.client.subscribe(request, Deadline::after(CALL)).await?)
            }
        };
        // The first event of a watch is the present state.
        if events.next().await?.is_none() {
            return Err(UserError::new(ErrorCode::Unreachable, "the daemon ended the watch"));
        }
        let request = NodeProgressRequest { hostname: hostname.to_owned() };
        let progress = self.client.node_progress(request, Deadline::after(CALL)).await?;
        self.heard = Instant::now();
        Ok(progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(member: bool, under_way: bool, remaining: &[&str]) -> NodeProgressResponse {
        NodeProgressResponse {
            hostname: "n2".into(),
            member,
            under_way,
            remaining: remaining.iter().map(|id| (*id).to_owned()).collect(),
            ..NodeProgressResponse::default()
        }
    }

    #[test]
    fn a_removal_ends_with_the_membership() {
        assert_eq!(judge(Goal::Removed, &progress(true, true, &["a"])), Ok(false));
        assert_eq!(judge(Goal::Removed, &progress(true, true, &[])), Ok(false), "empty, and still a member");
        assert_eq!(judge(Goal::Removed, &progress(false, false, &[])), Ok(true));
        let called_off = judge(Goal::Removed, &progress(true, false, &["a"])).unwrap_err();
        assert_eq!(called_off.code, ErrorCode::Conflict);
    }

    #[test]
    fn a_drain_ends_with_the_last_replica() {
        assert_eq!(judge(Goal::Drained, &progress(true, true, &["a"])), Ok(false));
        assert_eq!(judge(Goal::Drained, &progress(true, true, &[])), Ok(true));
        assert_eq!(judge(Goal::Drained, &progress(false, false, &[])).unwrap_err().code, ErrorCode::NodeNotFound);
        assert_eq!(judge(Goal::Drained, &progress(true, false, &["a"])).unwrap_err().code, ErrorCode::Conflict);
    }

    #[test]
    fn too_slow_a_drain_names_what_is_left() {
        for goal in [Goal::Drained, Goal::Removed] {
            let late = NodeProgressResponse { timed_out: true, ..progress(true, false, &["a", "b"]) };
            let error = judge(goal, &late).unwrap_err();
            assert_eq!((error.code, error.details["remaining"].as_str()), (ErrorCode::DrainTimeout, "a, b"));
        }
    }
}
