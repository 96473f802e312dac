//! Views: everything the store holds at one log index, immutable.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use jaco_types::{ClusterMeta, Stored};

use crate::audit::{AuditLog, AuditRecord};
use crate::record::{Change, Record};
use crate::request::RequestTable;
use crate::transaction::{Commit, RequestId};

pub(crate) type Records = OrdMap<Arc<str>, Arc<Record>>;

/// The whole state. Its maps are persistent: a clone shares everything with the original.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) now_ms: u64,
    /// Kind number to records. A kind without records has no map.
    pub(crate) kinds: OrdMap<u32, Records>,
    pub(crate) requests: RequestTable,
    pub(crate) audit: AuditLog,
}

/// An immutable view of everything at one log index. A clone is one reference count.
#[derive(Debug, Clone, Default)]
pub struct View(pub(crate) Arc<Contents>);

impl View {
    /// The view of a store that has applied nothing.
    pub fn empty() -> Self {
        View::default()
    }

    /// Log index of the last applied entry, 0 when there is none.
    pub fn index(&self) -> u64 {
        self.0.index
    }

    /// Term of that entry.
    pub fn term(&self) -> u64 {
        self.0.term
    }

    /// Cluster time of the newest entry, milliseconds since the Unix epoch. It never goes back.
    pub fn now_ms(&self) -> u64 {
        self.0.now_ms
    }

    /// The record of this type with this key.
    pub fn get<T: Stored>(&self, key: &str) -> Option<&T> {
        self.record(T::KIND as u32, key).and_then(|record| record.entity())
    }

    /// Version of the record of this type with this key; also of one whose body this version cannot read.
    pub fn version<T: Stored>(&self, key: &str) -> Option<u64> {
        self.record(T::KIND as u32, key).map(|record| record.version)
    }

    /// The record with its bytes and version.
    pub fn record(&self, kind: u32, key: &str) -> Option<&Arc<Record>> {
        self.0.kinds.get(&kind)?.get(key)
    }

    /// All records of this type, in the order of their keys.
    pub fn list<'a, T: Stored + 'a>(&'a self) -> impl Iterator<Item = &'a T> {
        self.0
            .kinds
            .get(&(T::KIND as u32))
            .into_iter()
            .flat_map(|records| records.values())
            .filter_map(|record| record.entity())
    }

    /// The records of this type whose key begins with `prefix`, in the order of their keys.
    pub fn list_prefix<'a, T: Stored + 'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a T> {
        self.0
            .kinds
            .get(&(T::KIND as u32))
            .into_iter()
            .flat_map(move |records| records.range::<_, str>((Bound::Included(prefix), Bound::Unbounded)))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .filter_map(|(_, record)| record.entity())
    }

    /// Number of records of this type.
    pub fn count<T: Stored>(&self) -> usize {
        self.0.kinds.get(&(T::KIND as u32)).map_or(0, OrdMap::len)
    }

    /// Every record, in the order of kind numbers and keys.
    pub fn records(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.0.kinds.values().flat_map(|records| records.values())
    }

    /// The record whose presence means that the cluster is initialised.
    pub fn cluster(&self) -> Option<&ClusterMeta> {
        // Key of the only record of its kind.
        self.get("cluster")
    }

    /// Incarnation of the cluster, 0 before it is initialised.
    pub fn incarnation(&self) -> u64 {
        self.cluster().map_or(0, |cluster| cluster.incarnation)
    }

    /// The commit of a request, while the table remembers it: a repeat gets this answer.
    pub fn commit_of(&self, request: &RequestId) -> Option<Commit> {
        self.0.requests.find(&request.token)
    }

    /// The audit log, oldest first: at most the newest 10,000 events.
    pub fn audit(&self) -> impl Iterator<Item = &AuditRecord> {
        self.0.audit.iter().map(|record| &**record)
    }

    /// The audit events of transactions after this log index, oldest first.
    pub fn audit_after(&self, index: u64) -> impl Iterator<Item = &AuditRecord> {
        self.0.audit.after(index).map(|record| &**record)
    }

    /// What must happen to `older` to become this view, ordered by kind number and key. This is how a reader that lost its place
    /// finds the removals. Cost follows the differences where the two views share parts.
    pub fn changes_since(&self, older: &View) -> Vec<Change> {
        let mut changes = Vec::new();
        let none = Records::default();
        for difference in older.0.kinds.diff(&self.0.kinds) {
            let (kind, before, after) = match difference {
                DiffItem::Add(kind, after) => (*kind, &none, after),
                DiffItem::Remove(kind, before) => (*kind, before, &none),
                DiffItem::Update { old: (kind, before), new: (_, after) } => (*kind, before, after),
            };
            changes.extend(before.diff(after).map(|difference| record_change(kind, &difference)));
        }
        changes
    }
}

fn record_change(kind: u32, difference: &DiffItem<'_, '_, Arc<str>, Arc<Record>>) -> Change {
    match *difference {
        DiffItem::Add(key, after) => Change { kind, key: key.clone(), before: None, after: Some(after.clone()) },
        DiffItem::Remove(key, before) => Change { kind, key: key.clone(), before: Some(before.clone()), after: None },
        DiffItem::Update { old: (key, before), new: (_, after) } => {
            Change { kind, key: key.clone(), before: Some(before.clone()), after: Some(after.clone()) }
        }
    }
}
