//! A log in memory whose writes take time to become durable, and are lost by a power cut before that.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jaco_controlplane::{
    Completion, Demand, LogEntry, LogState, LogStorage, LogUsage, LogWrite, MemoryLog, Randomness, Room, Vote,
};
use tokio::sync::Notify;

use super::SeededRandomness;

/// A log with a disk below it. What was submitted is read at once, and is durable when a sync that began after it has ended: syncs take
/// the time that [`VolatileLog::sync`] gives them, in the order of submission, many writes at a time.
pub struct VolatileLog {
    inner: Mutex<Inner>,
    submitted: Notify,
    space: Arc<Notify>,
    randomness: SeededRandomness,
}

struct Inner {
    written: MemoryLog,
    durable: MemoryLog,
    /// What is in `written` and not in `durable`.
    queue: VecDeque<(LogWrite, Completion)>,
    is_on: bool,
    /// Proposers are told before anything is durable.
    lies: bool,
    /// Votes for a node that a majority voted for, since somebody last asked.
    elected: Vec<Vote>,
    sync_takes: Range<Duration>,
    syncs: u64,
}

fn copy(write: LogWrite, to: &MemoryLog) -> io::Result<()> {
    let result = Arc::new(Mutex::new(Ok(())));
    let sink = result.clone();
    // It is called before `submit` returns.
    to.submit(write, Box::new(move |done| *sink.lock().unwrap_or_else(PoisonError::into_inner) = done));
    let mut result = result.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut *result, Ok(()))
}

/// Everything that a log holds, in another one.
fn replica(of: &MemoryLog) -> io::Result<MemoryLog> {
    let log = MemoryLog::default();
    let state = of.state();
    if let Some(purged) = state.purged {
        copy(LogWrite::Purge(purged), &log)?;
    }
    copy(LogWrite::Append(of.read(0..u64::MAX, u64::MAX)?), &log)?;
    if let Some(vote) = state.vote {
        copy(LogWrite::Vote(vote), &log)?;
    }
    copy(LogWrite::Committed(state.committed), &log)?;
    Ok(log)
}

impl VolatileLog {
    /// An empty log whose syncs take this long.
    pub fn new(seed: u64, sync_takes: Range<Duration>) -> Self {
        let (written, durable) = (MemoryLog::default(), MemoryLog::default());
        let inner = Inner {
            written,
            durable,
            queue: VecDeque::new(),
            is_on: true,
            lies: false,
            elected: Vec::new(),
            sync_takes,
            syncs: 0,
        };
        VolatileLog {
            inner: Mutex::new(inner),
            submitted: Notify::new(),
            space: Arc::default(),
            randomness: SeededRandomness::new(seed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs take this long from now on.
    pub fn set_sync(&self, takes: Range<Duration>) {
        self.lock().sync_takes = takes;
    }

    /// From now on every write is said to be durable at once, which it is not: to see that somebody notices.
    pub fn lie(&self) {
        self.lock().lies = true;
    }

    /// The leaders that this node has learnt of since this was last asked: each as the vote that says so.
    pub fn take_elected(&self) -> Vec<Vote> {
        std::mem::take(&mut self.lock().elected)
    }

    /// The disk: makes durable what was submitted. One of this has to run while the power is on; it never ends by itself.
    pub async fn sync(&self) {
        loop {
            let mut submitted = std::pin::pin!(self.submitted.notified());
            submitted.as_mut().enable();
            let (count, takes) = {
                let inner = self.lock();
                (inner.queue.len(), inner.sync_takes.clone())
            };
            if count == 0 {
                submitted.await;
                continue;
            }
            let width = u64::try_from(takes.end.saturating_sub(takes.start).as_micros()).unwrap_or(u64::MAX);
            let extra = Duration::from_micros(self.randomness.next_u64() % width.saturating_add(1));
            tokio::time::sleep(takes.start + extra).await;
            for done in self.synced(count) {
                done();
            }
        }
    }

    /// Moves so many writes to what is durable; what is returned tells their proposers.
    fn synced(&self, count: usize) -> Vec<Box<dyn FnOnce() + Send>> {
        let mut inner = self.lock();
        inner.syncs += 1;
        let count = count.min(inner.queue.len());
        let writes: Vec<_> = inner.queue.drain(..count).collect();
        let tell = |(write, done): (LogWrite, Completion)| {
            let result = copy(write, &inner.durable);
            let tell: Box<dyn FnOnce() + Send> = Box::new(move || done(result));
            tell
        };
        writes.into_iter().map(tell).collect()
    }

    /// A power cut: of what was not synced the first so many reached the disk all the same, nobody is told of any, and what is submitted
    /// from now on goes nowhere. `share` is of a thousand.
    pub fn cut_power(&self, share: u64) {
        let queue = {
            let mut inner = self.lock();
            inner.is_on = false;
            std::mem::take(&mut inner.queue)
        };
        let kept = queue.len() * usize::try_from(share).unwrap_or(0) / 1000;
        for (write, _untold) in queue.into_iter().take(kept) {
            // The only error is of a log that was told to fail.
            let _ = copy(write, &self.lock().durable);
        }
    }

    /// The power is back: what is durable is all there is.
    ///
    /// # Errors
    /// None that a test makes happen.
    pub fn power_on(&self) -> io::Result<()> {
        let mut inner = self.lock();
        inner.written = replica(&inner.durable)?;
        inner.queue.clear();
        inner.is_on = true;
        Ok(())
    }
}

impl LogStorage for VolatileLog {
    fn state(&self) -> LogState {
        self.lock().written.state()
    }

    fn read(&self, range: Range<u64>, max_bytes: u64) -> io::Result<Vec<LogEntry>> {
        self.lock().written.read(range, max_bytes)
    }

    fn submit(&self, write: LogWrite, done: Completion) {
        let mut inner = self.lock();
        if !inner.is_on {
            drop(inner);
            return done(Err(io::Error::other("the power is off")));
        }
        if let Err(error) = copy(write.clone(), &inner.written) {
            drop(inner);
            return done(Err(error));
        }
        if let LogWrite::Vote(vote) = &write {
            inner.elected.extend(Some(*vote).filter(|vote| vote.committed));
        }
        if inner.lies {
            let untold: Completion = Box::new(|_result| {});
            inner.queue.push_back((write, untold));
            drop(inner);
            done(Ok(()));
        } else {
            inner.queue.push_back((write, done));
            drop(inner);
        }
        self.submitted.notify_one();
    }

    fn reserve(&self, _bytes: u64, _demand: Demand) -> Room {
        Room::Granted
    }

    fn release(&self, _bytes: u64) {}

    fn failure(&self) -> Option<String> {
        (!self.lock().is_on).then(|| "the power is off".to_owned())
    }

    fn space_changed(&self) -> Arc<Notify> {
        self.space.clone()
    }

    fn usage(&self) -> LogUsage {
        let inner = self.lock();
        LogUsage { syncs: inner.syncs, ..inner.written.usage() }
    }

    fn close(&self) {}

    fn blocks(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
