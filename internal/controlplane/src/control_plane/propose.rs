//! The write path on the leader.

use std::sync::Arc;

use jaco_state::{Command, Commit, Leadership, ProposeError, Stamp};
use tokio::time::Instant;

use super::batching::{Company, Written};
use super::{Inner, forward};
use crate::log::{Demand, LogStorage, RECORD_OVERHEAD, Room};
use crate::raft::{Proposal, Reply};
use crate::runtime::Runtime;

/// Proposes what came out of encoding a transaction, through the leader where this node is not it.
pub(super) async fn propose<R: Runtime>(
    inner: &Arc<Inner<R>>,
    command: Result<Command, ProposeError>,
) -> Result<Commit, ProposeError> {
    let begun = Instant::now();
    let deadline = begun + inner.limits.deadline;
    let command = command?;
    if inner.has_failed() {
        return Err(ProposeError::Stopped);
    }
    let written = match inner.leadership() {
        Leadership::Leader { term } => local(inner, &command, term, deadline, Company::Alone).await,
        Leadership::Follower { leader: _ } => Err(ProposeError::NoLeader),
    };
    let commit = match written {
        Ok(written) => outcome(&command, written)?,
        // In a box, since every proposal would carry its size.
        Err(ProposeError::NoLeader) => Box::pin(forward::forward(inner, command, deadline)).await?,
        Err(error) => return Err(error),
    };
    inner.observer.committed(begun.elapsed());
    Ok(commit)
}

/// Proposes on this node, which leads in this term. [`ProposeError::NoLeader`] means that it does not any more and nothing was written.
pub(super) async fn local<R: Runtime>(
    inner: &Arc<Inner<R>>,
    command: &Command,
    term: u64,
    deadline: Instant,
    company: Company,
) -> Written {
    let _room = reserve(inner, command, deadline).await?;
    let applied_ms = inner.machine.hub.view().now_ms();
    let stamp = Stamp { incarnation: inner.incarnation, time_ms: inner.time.stamp(term, applied_ms) };
    let written = inner.batcher.write(inner, Proposal(command.encode_entry(stamp)), company);
    match tokio::time::timeout_at(deadline, written).await {
        Ok(written) => written,
        Err(_elapsed) => Err(ProposeError::OutcomeUnknown),
    }
}

/// What the state machine's answer to a command means.
pub(super) fn outcome(command: &Command, (index, reply): (u64, Reply)) -> Result<Commit, ProposeError> {
    match reply {
        Reply::Commit(commit) => Ok(commit),
        Reply::Refused(failed) => Err(command.refused(failed, index)),
        Reply::RequestTooOld => Err(ProposeError::RequestTooOld),
        // A command was proposed, so an answer to something else cannot be trusted.
        Reply::Nothing => Err(ProposeError::OutcomeUnknown),
    }
}

/// Room in the log that goes back when the value is dropped.
pub(super) struct Reservation {
    log: Arc<dyn LogStorage>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.log.release(self.bytes);
    }
}

/// Takes room in the log for a proposal. There is nearly always some.
async fn reserve<R: Runtime>(
    inner: &Inner<R>,
    command: &Command,
    deadline: Instant,
) -> Result<Reservation, ProposeError> {
    let bytes = command.encoded_len() as u64 + RECORD_OVERHEAD;
    let demand = if command.writes() > 0 && command.only_deletes() { Demand::DeletesOnly } else { Demand::Ordinary };
    reserve_bytes(inner, bytes, demand, deadline).await
}

/// Takes room in the log.
pub(super) async fn reserve_bytes<R: Runtime>(
    inner: &Inner<R>,
    bytes: u64,
    demand: Demand,
    deadline: Instant,
) -> Result<Reservation, ProposeError> {
    match inner.log.reserve(bytes, demand) {
        Room::Granted => {}
        Room::Full => return Err(ProposeError::DiskFull),
        // In a box, since it is rare and every proposal would carry its size.
        Room::Wait => Box::pin(wait_for_room(inner, bytes, demand, deadline)).await?,
    }
    Ok(Reservation { log: inner.log.clone(), bytes })
}

/// Waits until room was granted, which is a matter of milliseconds unless the disk is full.
async fn wait_for_room<R: Runtime>(
    inner: &Inner<R>,
    bytes: u64,
    demand: Demand,
    deadline: Instant,
) -> Result<(), ProposeError> {
    let changed = inner.log.space_changed();
    loop {
        let mut notified = std::pin::pin!(changed.notified());
        // Before asking, so that no change between question and wait is missed.
        notified.as_mut().enable();
        match inner.log.reserve(bytes, demand) {
            Room::Granted => return Ok(()),
            Room::Full => return Err(ProposeError::DiskFull),
            Room::Wait => {}
        }
        if inner.has_failed() {
            return Err(ProposeError::Stopped);
        }
        if tokio::time::timeout_at(deadline, notified).await.is_err() {
            return Err(ProposeError::DiskFull);
        }
    }
}
