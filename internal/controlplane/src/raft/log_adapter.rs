//! Our log as openraft's log.

use std::fmt::Debug;
use std::io;
use std::marker::PhantomData;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use futures_util::{Stream, stream};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{AsyncRuntime, OptionalSend, RaftLogReader};

use super::convert::{
    RaftEntryId, RaftLogEntry, entry_from_raft, entry_to_raft, log_id_from_raft, log_id_to_raft, vote_from_raft,
    vote_to_raft,
};
use super::types::{LeaderId, Types};
use crate::log::{LogStorage, LogWrite};

/// Entries are read from the log in pieces of about this size.
const READ_BYTES: u64 = 1 << 20;

/// Any [`LogStorage`] as openraft's log, for a runtime `R`.
pub(crate) struct LogAdapter<R> {
    log: Arc<dyn LogStorage>,
    runtime: PhantomData<fn() -> R>,
}

impl<R> LogAdapter<R> {
    pub(crate) fn new(log: Arc<dyn LogStorage>) -> Self {
        LogAdapter { log, runtime: PhantomData }
    }

    fn read(&self, range: Range<u64>) -> io::Result<Vec<RaftLogEntry>> {
        self.log.read(range, READ_BYTES)?.into_iter().map(entry_to_raft).collect()
    }

    /// Queues a write without waiting: writes stay in order, and a failed one fails all that follow.
    fn submit(&self, write: LogWrite) {
        self.log.submit(write, Box::new(|_result| {}));
    }
}

impl<R> Clone for LogAdapter<R> {
    fn clone(&self) -> Self {
        LogAdapter::new(self.log.clone())
    }
}

fn index_range(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl<R: AsyncRuntime> RaftLogReader<Types<R>> for LogAdapter<R> {
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<RaftLogEntry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        // Piece by piece: after a start the range may be the whole log.
        let state = (self.clone(), index_range(&range), Vec::new().into_iter());
        stream::unfold(state, |(log, mut range, mut piece)| async move {
            let mut next: Option<RaftLogEntry> = piece.next();
            if next.is_none() && !range.is_empty() {
                match log.read(range.clone()) {
                    Ok(entries) => piece = entries.into_iter(),
                    Err(error) => {
                        range.start = range.end;
                        return Some((Err(error), (log, range, piece)));
                    }
                }
                next = piece.next();
            }
            let entry = next?;
            range.start = entry.log_id.index + 1;
            Some((Ok(entry), (log, range, piece)))
        })
    }

    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<RaftLogEntry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let mut range = index_range(&range);
        let mut entries = Vec::new();
        while !range.is_empty() {
            let piece = self.read(range.clone())?;
            let Some(last) = piece.last() else { break };
            range.start = last.log_id.index + 1;
            entries.extend(piece);
        }
        Ok(entries)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftLogEntry>, io::Error> {
        self.read(start..end)
    }

    async fn read_vote(&mut self) -> Result<Option<openraft::Vote<LeaderId>>, io::Error> {
        Ok(self.log.state().vote.map(vote_to_raft))
    }
}

impl<R: AsyncRuntime> RaftLogStorage<Types<R>> for LogAdapter<R> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types<R>>, io::Error> {
        let state = self.log.state();
        Ok(LogState {
            last_purged_log_id: state.purged.map(log_id_to_raft),
            last_log_id: state.last.map(log_id_to_raft),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &openraft::Vote<LeaderId>) -> Result<(), io::Error> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let done = Box::new(move |result| {
            // Nobody waits any more when raft has been stopped.
            let _ = sender.send(result);
        });
        self.log.submit(LogWrite::Vote(vote_from_raft(vote)), done);
        receiver.await.map_err(|_| io::Error::other("the raft log ended in the middle of a write"))?
    }

    async fn save_committed(&mut self, committed: Option<RaftEntryId>) -> Result<(), io::Error> {
        self.submit(LogWrite::Committed(committed.as_ref().map(log_id_from_raft)));
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<RaftEntryId>, io::Error> {
        let state = self.log.state();
        let Some(id) = state.committed else { return Ok(None) };
        // The note may be of an entry that a crash has cut off, or in the place of which an older one lies that was to be replaced: the
        // batch with both was torn. Then nobody was told of it, and the leader says anew what is committed.
        let is_dropped = state.purged.is_some_and(|purged| id.index <= purged.index);
        let held = self.log.read(id.index..id.index.saturating_add(1), READ_BYTES)?;
        Ok(Some(id).filter(|id| is_dropped || held.iter().any(|entry| entry.id == *id)).map(log_id_to_raft))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types<R>>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = RaftLogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(entry_from_raft).collect();
        self.log.submit(LogWrite::Append(entries), Box::new(move |result| callback.io_completed(result)));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<RaftEntryId>) -> Result<(), io::Error> {
        self.submit(LogWrite::Truncate(last_log_id.as_ref().map(log_id_from_raft)));
        Ok(())
    }

    async fn purge(&mut self, log_id: RaftEntryId) -> Result<(), io::Error> {
        self.submit(LogWrite::Purge(log_id_from_raft(&log_id)));
        Ok(())
    }
}
