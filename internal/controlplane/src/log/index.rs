//! Where each entry is: in memory while it is young, on disk always. Pure bookkeeping.

use std::collections::VecDeque;
use std::ops::Range;

use super::record::{LogEntry, LogId};

/// The place of an entry's encoded record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location {
    /// Segment number.
    pub segment: u64,
    /// Offset of its frame in the segment.
    pub offset: u32,
    /// Length of its frame.
    pub length: u32,
}

#[derive(Debug)]
struct Slot {
    id: LogId,
    location: Option<Location>,
    entry: Option<LogEntry>,
}

/// What a read finds for one entry.
#[derive(Debug)]
pub(crate) enum Found {
    /// The entry itself.
    Cached(LogEntry),
    /// Where to read it.
    Stored(LogId, Location),
}

/// All entries of the log, by index, without a hole.
#[derive(Debug, Default)]
pub(crate) struct Index {
    first: u64,
    slots: VecDeque<Slot>,
    purged: Option<LogId>,
    cached_bytes: u64,
    /// Everything before this index has left the cache already.
    uncached_before: u64,
}

impl Index {
    /// The newest entry, or the purged one when there is none.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.slots.back().map(|slot| slot.id).or(self.purged)
    }

    /// What was dropped at the front.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.purged
    }

    /// Number of entries held.
    pub(crate) fn len(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Adds an entry. False when its index does not follow the last one.
    pub(crate) fn append(&mut self, entry: LogEntry) -> bool {
        let weight = entry.weight();
        let added = self.push(Slot { id: entry.id, location: None, entry: Some(entry) });
        if added {
            self.cached_bytes += weight;
        }
        added
    }

    /// Adds an entry that is on disk only. False when its index does not follow the last one.
    pub(crate) fn append_stored(&mut self, id: LogId, location: Location) -> bool {
        self.push(Slot { id, location: Some(location), entry: None })
    }

    fn push(&mut self, slot: Slot) -> bool {
        match self.last() {
            Some(last) if slot.id.index != last.index + 1 => return false,
            // An empty log may begin anywhere: the entries before came in a snapshot.
            Some(_) | None => {}
        }
        if self.slots.is_empty() {
            self.first = slot.id.index;
        }
        self.slots.push_back(slot);
        true
    }

    /// Drops the entries after `after`.
    pub(crate) fn truncate(&mut self, after: Option<LogId>) {
        while self.slots.back().is_some_and(|slot| after.is_none_or(|after| slot.id.index > after.index)) {
            if let Some(entry) = self.slots.pop_back().and_then(|slot| slot.entry) {
                self.cached_bytes -= entry.weight();
            }
        }
    }

    /// Drops the entries up to and including `upto`.
    pub(crate) fn purge(&mut self, upto: LogId) {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return;
        }
        while self.slots.front().is_some_and(|slot| slot.id.index <= upto.index) {
            self.first += 1;
            if let Some(entry) = self.slots.pop_front().and_then(|slot| slot.entry) {
                self.cached_bytes -= entry.weight();
            }
        }
        self.purged = Some(upto);
    }

    /// Notes where entries were written, and lets the oldest written ones leave the cache above `cache_bytes`.
    pub(crate) fn stored(&mut self, written: &[(LogId, Location)], cache_bytes: u64) {
        for (id, location) in written {
            if let Some(slot) = self.slot_mut(id.index)
                && slot.id == *id
            {
                slot.location = Some(*location);
            }
        }
        let mut at = self.uncached_before.max(self.first);
        while self.cached_bytes > cache_bytes {
            let Some(slot) = self.slot_mut(at) else { break };
            if slot.location.is_none() {
                break;
            }
            if let Some(entry) = slot.entry.take() {
                self.cached_bytes -= entry.weight();
            }
            at += 1;
        }
        self.uncached_before = at;
    }

    fn slot_mut(&mut self, index: u64) -> Option<&mut Slot> {
        let at = index.checked_sub(self.first)?;
        self.slots.get_mut(usize::try_from(at).ok()?)
    }

    /// The entries of a range, as many as fit into about `max_bytes` but at least one.
    pub(crate) fn find(&self, range: Range<u64>, max_bytes: u64) -> Vec<Found> {
        let mut bytes = 0;
        let mut found = Vec::new();
        let skip = usize::try_from(range.start.saturating_sub(self.first)).unwrap_or(usize::MAX);
        for slot in self.slots.iter().skip(skip).take_while(|slot| slot.id.index < range.end) {
            let (weight, item) = match (&slot.entry, slot.location) {
                (Some(entry), _) => (entry.weight(), Found::Cached(entry.clone())),
                (None, Some(location)) => (u64::from(location.length), Found::Stored(slot.id, location)),
                // Entries leave the cache only after they were written.
                (None, None) => break,
            };
            if !found.is_empty() && bytes + weight > max_bytes {
                break;
            }
            bytes += weight;
            found.push(item);
        }
        found
    }
}
