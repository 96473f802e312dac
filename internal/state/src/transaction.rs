//! The one thing that changes the store: checks and writes, judged and carried out together.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use jaco_types::{Entity, Kind, Stored};

/// Largest encoded transaction, bytes.
pub const MAX_TRANSACTION_BYTES: usize = 1024 * 1024;
/// Most writes in one transaction.
pub const MAX_TRANSACTION_WRITES: usize = 10_000;

/// What must hold at the moment the transaction is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// No record has this key.
    Absent {
        /// Kind of the record.
        kind: Kind,
        /// Its key.
        key: String,
    },
    /// The record exists and was last written at this log index.
    Version {
        /// Kind of the record.
        kind: Kind,
        /// Its key.
        key: String,
        /// Its version.
        version: u64,
    },
    /// The entry was written to the log by the leader of this term.
    Term(u64),
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Check::Absent { kind, key } => write!(f, "{} {key:?} must not exist", kind.as_str()),
            Check::Version { kind, key, version } => {
                write!(f, "{} {key:?} must be as it was at index {version}", kind.as_str())
            }
            Check::Term(term) => write!(f, "the leader of term {term} must still lead"),
        }
    }
}

/// One change. Of two writes to the same key the later one counts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // Lists of writes are mostly puts; a box would cost an allocation for each.
pub enum Write {
    /// Stores the record. One that is equal to the stored one still gets a new version.
    Put(Entity),
    /// Removes the record; one that does not exist is no error and no change.
    Delete {
        /// Kind of the record.
        kind: Kind,
        /// Its key.
        key: String,
    },
}

/// Identity of a request over all its retries and all nodes it is sent to; made by the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId {
    /// An index the client knew to be applied before it first sent the request.
    pub base_index: u64,
    /// 128 random bits.
    pub token: [u8; 16],
}

/// An event for the audit log; time, index and identity are added at apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Type name, `snake_case`.
    pub event: String,
    /// Facts, never a secret.
    pub payload: BTreeMap<String, String>,
}

/// Checks, and the writes to carry out when all of them hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Set when a client may send the same request again; reconcilers need none, their checks suffice.
    pub request_id: Option<RequestId>,
    /// Who: a token's name, `local`, or `system`.
    pub actor: String,
    /// What must hold.
    pub checks: Vec<Check>,
    /// What is changed, in order.
    pub writes: Vec<Write>,
    /// What is written to the audit log.
    pub audit: Vec<AuditEvent>,
    /// The answer, remembered with the request id and given again to a repeat.
    pub reply: Bytes,
}

impl Transaction {
    /// An empty transaction of this actor.
    pub fn new(actor: impl Into<String>) -> Self {
        Transaction {
            request_id: None,
            actor: actor.into(),
            checks: Vec::new(),
            writes: Vec::new(),
            audit: Vec::new(),
            reply: Bytes::new(),
        }
    }

    /// Requires that no record of this type has this key.
    pub fn check_absent<T: Stored>(&mut self, key: impl Into<String>) -> &mut Self {
        self.check(Check::Absent { kind: T::KIND, key: key.into() })
    }

    /// Requires that the record of this type is still at this version.
    pub fn check_version<T: Stored>(&mut self, key: impl Into<String>, version: u64) -> &mut Self {
        self.check(Check::Version { kind: T::KIND, key: key.into(), version })
    }

    /// Requires the version the record had in a view, or its absence if it was absent there.
    pub fn check_unchanged<T: Stored>(&mut self, key: impl Into<String>, version: Option<u64>) -> &mut Self {
        match version {
            Some(version) => self.check_version::<T>(key, version),
            None => self.check_absent::<T>(key),
        }
    }

    /// Requires that the entry is of this term.
    pub fn check_term(&mut self, term: u64) -> &mut Self {
        self.check(Check::Term(term))
    }

    /// Adds a check.
    pub fn check(&mut self, check: Check) -> &mut Self {
        self.checks.push(check);
        self
    }

    /// Stores a record.
    pub fn put(&mut self, record: impl Stored) -> &mut Self {
        // Most transactions have one write, and room for four is over two kilobytes.
        if self.writes.is_empty() {
            self.writes.reserve_exact(1);
        }
        self.writes.push(Write::Put(record.into_entity()));
        self
    }

    /// Removes a record.
    pub fn delete<T: Stored>(&mut self, key: impl Into<String>) -> &mut Self {
        self.writes.push(Write::Delete { kind: T::KIND, key: key.into() });
        self
    }

    /// Leaves an audit event.
    pub fn audit<N: Into<String>, V: Into<String>>(
        &mut self,
        event: impl Into<String>,
        payload: impl IntoIterator<Item = (N, V)>,
    ) -> &mut Self {
        let payload = payload.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self.audit.push(AuditEvent { event: event.into(), payload });
        self
    }

    /// Sets the answer.
    pub fn reply(&mut self, reply: impl Into<Bytes>) -> &mut Self {
        self.reply = reply.into();
        self
    }

    /// Sets the request id.
    pub fn request_id(&mut self, id: RequestId) -> &mut Self {
        self.request_id = Some(id);
        self
    }

    /// Whether it would change nothing: no writes and no audit events.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.audit.is_empty()
    }
}

/// A transaction that is durable and applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Log index of its (first) commit.
    pub index: u64,
    /// Cluster time of that commit, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The answer it carried.
    pub reply: Bytes,
    /// The same request had been committed before; nothing was written this time.
    pub repeated: bool,
}
