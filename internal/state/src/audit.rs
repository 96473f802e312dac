//! The audit log: the newest events, bounded, part of the state but not a record kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;

/// Audit events kept; the oldest go first (contract, section 9).
pub const AUDIT_LIMIT: usize = 10_000;

/// One event of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Cluster time, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Log index of the transaction that left it.
    pub raft_index: u64,
    /// Position among the events of that transaction, from 0.
    pub sequence: u32,
    /// Who did it: a token's name, `local`, or `system`.
    pub identity: String,
    /// Type name of the event.
    pub event: String,
    /// Facts, never a secret.
    pub payload: BTreeMap<String, String>,
}

impl AuditRecord {
    /// Bytes of its texts.
    pub(crate) fn text_len(&self) -> usize {
        let payload: usize = self.payload.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.identity.len() + self.event.len() + payload
    }
}

/// The log itself, ordered by (raft index, position).
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditLog {
    records: OrdMap<(u64, u32), Arc<AuditRecord>>,
}

impl AuditLog {
    pub(crate) fn push(&mut self, record: Arc<AuditRecord>) {
        self.records.insert((record.raft_index, record.sequence), record);
        while self.records.len() > AUDIT_LIMIT {
            let Some(oldest) = self.records.get_min().map(|(place, _)| *place) else { return };
            self.records.remove(&oldest);
        }
    }

    /// Place of the newest event.
    pub(crate) fn newest(&self) -> Option<(u64, u32)> {
        self.records.get_max().map(|(place, _)| *place)
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<AuditRecord>> {
        self.records.values()
    }

    /// Events of the transactions after this index.
    pub(crate) fn after(&self, index: u64) -> impl Iterator<Item = &Arc<AuditRecord>> {
        self.records.range((index.saturating_add(1), 0)..).map(|(_, record)| record)
    }
}
