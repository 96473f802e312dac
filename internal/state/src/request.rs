//! The request-id table: which requests are already committed, so that a repeat gets the first answer instead of a second effect.
//!
//! It remembers commits by log position: at index `n` those above `n - REQUEST_WINDOW`. A client takes the base index of an id
//! before it sends it, so a commit of it has a higher index; hence an id whose base is not below the horizon is either in the
//! table or was never committed, and an older one is refused because nobody can tell any more.

use bytes::Bytes;
use imbl::OrdMap;

use crate::transaction::Commit;

/// Log positions the table looks back.
pub const REQUEST_WINDOW: u64 = 65_536;

/// A commit that carried a request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedRequest {
    pub(crate) index: u64,
    pub(crate) time_ms: u64,
    pub(crate) token: [u8; 16],
    pub(crate) reply: Bytes,
}

/// The table, searchable by token and by position. Both maps hold the same requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestTable {
    by_index: OrdMap<u64, CommittedRequest>,
    by_token: OrdMap<[u8; 16], u64>,
}

/// Commits at or below this index are forgotten once `index` is applied.
pub(crate) fn horizon(index: u64) -> u64 {
    index.saturating_sub(REQUEST_WINDOW)
}

impl RequestTable {
    /// The first answer to this request, if it is remembered.
    pub(crate) fn find(&self, token: &[u8; 16]) -> Option<Commit> {
        let request = self.by_token.get(token).and_then(|index| self.by_index.get(index))?;
        Some(Commit { index: request.index, time_ms: request.time_ms, reply: request.reply.clone(), repeated: true })
    }

    pub(crate) fn insert(&mut self, request: CommittedRequest) {
        self.by_token.insert(request.token, request.index);
        self.by_index.insert(request.index, request);
    }

    /// Forgets what lies at or below the horizon of this index.
    pub(crate) fn trim(&mut self, index: u64) {
        let horizon = horizon(index);
        while let Some((oldest, token)) = self.by_index.get_min().map(|(index, request)| (*index, request.token)) {
            if oldest > horizon {
                return;
            }
            self.by_index.remove(&oldest);
            self.by_token.remove(&token);
        }
    }

    pub(crate) fn contains(&self, token: &[u8; 16]) -> bool {
        self.by_token.contains_key(token)
    }

    /// Position of the newest remembered commit.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.by_index.get_max().map(|(index, _)| *index)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_index.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &CommittedRequest> {
        self.by_index.values()
    }
}

#[cfg(test)]
mod tests;
