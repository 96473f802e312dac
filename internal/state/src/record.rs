//! What the store holds, and what a transaction changed in it.

use std::sync::Arc;

use bytes::Bytes;
use jaco_types::{Entity, Kind, Stored};

use crate::audit::AuditRecord;

/// One record at one version. Its bytes are what was written; the entity is read from them once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Stored number of its kind, possibly one that only a newer version knows.
    pub kind: u32,
    /// Key among the records of its kind.
    pub key: Arc<str>,
    /// Log index of the transaction that last wrote it.
    pub version: u64,
    /// The bytes as written.
    pub body: Bytes,
    /// The bytes as a typed record; `None` when the kind, or this body of it, is unknown to this version.
    pub entity: Option<Entity>,
}

impl Record {
    /// Reads the entity out of the body; what cannot be read keeps its bytes.
    pub(crate) fn new(kind: u32, key: Arc<str>, version: u64, body: Bytes) -> Self {
        let entity = Kind::from_number(kind).and_then(|kind| Entity::decode(kind, &body).ok());
        Record { kind, key, version, body, entity }
    }

    /// The typed record, when it is of this type.
    pub fn entity<T: Stored>(&self) -> Option<&T> {
        self.entity.as_ref().and_then(T::from_entity)
    }
}

/// What one transaction did to one key. A key written twice in a transaction is one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Stored number of the kind.
    pub kind: u32,
    /// The key.
    pub key: Arc<str>,
    /// The record before the transaction; `None` when there was none.
    pub before: Option<Arc<Record>>,
    /// The record after it; `None` when it was deleted.
    pub after: Option<Arc<Record>>,
}

impl Change {
    /// The kind, when this version knows it.
    pub fn known_kind(&self) -> Option<Kind> {
        Kind::from_number(self.kind)
    }

    /// The typed record before, when it is of this type.
    pub fn before<T: Stored>(&self) -> Option<&T> {
        self.before.as_ref().and_then(|record| record.entity())
    }

    /// The typed record after, when it is of this type.
    pub fn after<T: Stored>(&self) -> Option<&T> {
        self.after.as_ref().and_then(|record| record.entity())
    }
}

/// Everything one transaction changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Log index of the transaction.
    pub index: u64,
    /// Cluster time of the transaction, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Changes ordered by kind number and key; each key at most once.
    pub changes: Vec<Change>,
    /// Audit events the transaction left, in its order.
    pub audit: Vec<Arc<AuditRecord>>,
}

impl Batch {
    /// Whether a record of this kind changed: the usual question of a loop that decides whether to wake.
    pub fn touches(&self, kind: Kind) -> bool {
        self.changes.iter().any(|change| change.kind == kind as u32)
    }

    /// Memory it is accounted for in a watch ring: the bytes it refers to and a fixed part per item, in bytes.
    pub(crate) fn cost(&self) -> usize {
        // Room for the record's struct, its reference counts and the decoded entity, which has about the size of the body.
        const PER_ITEM: usize = 256;
        let record =
            |record: &Option<Arc<Record>>| record.as_ref().map_or(0, |record| record.body.len().saturating_mul(2));
        let changes = self
            .changes
            .iter()
            .map(|change| PER_ITEM + change.key.len() + record(&change.before) + record(&change.after));
        let audit = self.audit.iter().map(|event| PER_ITEM + event.text_len());
        PER_ITEM + changes.chain(audit).sum::<usize>()
    }
}
