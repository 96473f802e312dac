//! The write path on the leader.

use std::sync::Arc;

use jaco_state::{Command, Commit, Entry, Leadership, ProposeError, Stamp, Transaction};
use tokio::time::Instant;

use super::{ControlPlane, Inner};
use crate::log::{Demand, LogStorage, RECORD_OVERHEAD, Room};
use crate::raft::{Proposal, Reply};

pub(super) async fn propose(inner: &Arc<Inner>, transaction: Transaction) -> Result<Commit, ProposeError> {
    let begun = Instant::now();
    let deadline = begun + inner.limits.deadline;
    let command = Command::new(transaction)?;
    if inner.has_failed() {
        return Err(ProposeError::Stopped);
    }
    let term = match (ControlPlane { inner: inner.clone() }).leadership_now() {
        Leadership::Leader { term } => term,
        Leadership::Follower { leader: _ } => return Err(ProposeError::NoLeader),
    };
    let _room = reserve(inner, &command, deadline).await?;
    let view = inner.machine.hub.view();
    let stamp = Stamp { incarnation: inner.incarnation, time_ms: inner.time.stamp(term, view.now_ms()) };
    let entry = Entry { stamp, command };
    let written = inner.batcher.write(inner, Proposal(entry.encode()));
    match tokio::time::timeout_at(deadline, written).await {
        Ok(written) => {
            let (index, reply) = written?;
            let commit = outcome(&entry.command, index, reply)?;
            inner.observer.committed(begun.elapsed());
            Ok(commit)
        }
        Err(_elapsed) => Err(ProposeError::OutcomeUnknown),
    }
}

fn outcome(command: &Command, index: u64, reply: Reply) -> Result<Commit, ProposeError> {
    match reply {
        Reply::Commit(commit) => Ok(commit),
        Reply::Refused(failed) => Err(command.refused(failed, index)),
        Reply::RequestTooOld => Err(ProposeError::RequestTooOld),
        // A command was proposed, so an answer to something else cannot be trusted.
        Reply::Nothing => Err(ProposeError::OutcomeUnknown),
    }
}

/// Room in the log that goes back when the value is dropped.
struct Reservation {
    log: Arc<dyn LogStorage>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.log.release(self.bytes);
    }
}

/// Waits for room in the log, which is a matter of milliseconds unless the disk is full.
async fn reserve(inner: &Inner, command: &Command, deadline: Instant) -> Result<Reservation, ProposeError> {
    let bytes = command.encoded_len() as u64 + RECORD_OVERHEAD;
    let demand = if command.writes() > 0 && command.only_deletes() { Demand::DeletesOnly } else { Demand::Ordinary };
    let changed = inner.log.space_changed();
    loop {
        let mut notified = std::pin::pin!(changed.notified());
        // Before asking, so that no change between question and wait is missed.
        notified.as_mut().enable();
        match inner.log.reserve(bytes, demand) {
            Room::Granted => return Ok(Reservation { log: inner.log.clone(), bytes }),
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
