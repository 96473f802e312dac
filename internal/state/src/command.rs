//! A transaction in the form that network, log and apply use: kinds are numbers, bodies are bytes.
//!
//! Typed records exist only above. A command written by a newer version, with kinds and bodies this one does not know, applies here
//! just the same; one with a check or a field this version does not know is refused as unreadable, since half of it must not apply.
//!
//! Layout of an entry: magic `JTXN`, format version (u16), incarnation (u64), time (u64), then the protobuf message; integers are
//! little-endian. The log library below guards the bytes with its own checksum.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use jaco_types::Kind;
use prost::Message;

use crate::propose::ProposeError;
use crate::stored::{
    CheckVariant, StoredAuditEvent, StoredCheck, StoredPlace, StoredPut, StoredRequestId, StoredTransaction,
    StoredVersion, StoredWrite, WriteVariant, token,
};
use crate::transaction::{
    AuditEvent, Check, MAX_TRANSACTION_BYTES, MAX_TRANSACTION_WRITES, RequestId, Transaction, Write,
};

const MAGIC: &[u8; 4] = b"JTXN";
/// Version of the entry format that this code writes, and the newest it reads.
pub const ENTRY_FORMAT: u16 = 1;
const PREFIX: usize = MAGIC.len() + 2 + 8 + 8;

/// A transaction whose records are encoded: complete, within the limits, ready for the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    message: StoredTransaction,
    /// Of the encoded message, bytes.
    size: usize,
}

impl Command {
    /// Encodes a transaction and holds it to the limits.
    ///
    /// # Errors
    /// [`ProposeError::TooLarge`] over 10,000 writes or 1 MiB, [`ProposeError::Unencodable`] when a record has no stored form.
    pub fn new(transaction: Transaction) -> Result<Command, ProposeError> {
        let writes = transaction.writes.len();
        if writes > MAX_TRANSACTION_WRITES {
            return Err(ProposeError::TooLarge { unit: "writes", size: writes, limit: MAX_TRANSACTION_WRITES });
        }
        let message = StoredTransaction {
            request_id: transaction
                .request_id
                .map(|id| StoredRequestId { base_index: id.base_index, token: Bytes::copy_from_slice(&id.token) }),
            actor: transaction.actor,
            checks: transaction.checks.into_iter().map(stored_check).collect(),
            writes: transaction.writes.into_iter().map(stored_write).collect::<Result<_, _>>()?,
            audit: transaction.audit.into_iter().map(stored_event).collect(),
            reply: transaction.reply,
        };
        let size = message.encoded_len();
        if size > MAX_TRANSACTION_BYTES {
            return Err(ProposeError::TooLarge { unit: "bytes", size, limit: MAX_TRANSACTION_BYTES });
        }
        Ok(Command { message, size })
    }

    /// Size of the encoded transaction, bytes.
    pub fn encoded_len(&self) -> usize {
        self.size
    }

    /// Number of writes.
    pub fn writes(&self) -> usize {
        self.message.writes.len()
    }

    /// Whether every write is a delete: such a command frees space, so it passes when the log has little room left.
    pub fn only_deletes(&self) -> bool {
        self.message.writes.iter().all(|write| matches!(write.variant, Some(WriteVariant::Delete(_))))
    }

    /// Who proposed it.
    pub fn actor(&self) -> &str {
        &self.message.actor
    }

    /// Kind number and key of each write, in order, with the body that is put, `None` for a delete: what the leader authorises a
    /// forwarded command by.
    pub fn written(&self) -> impl Iterator<Item = (u32, &str, Option<&Bytes>)> {
        self.message.writes.iter().filter_map(|write| match &write.variant {
            Some(WriteVariant::Put(put)) => Some((put.kind, put.key.as_str(), Some(&put.body))),
            Some(WriteVariant::Delete(place)) => Some((place.kind, place.key.as_str(), None)),
            None => None,
        })
    }

    /// Its checks in typed form, those of kinds unknown to this version left out.
    pub fn checks(&self) -> impl Iterator<Item = Check> {
        (0..self.message.checks.len()).filter_map(|position| self.check(position))
    }

    /// Whether it checks the term: then it is the work of a leader, and worth nothing from anybody else.
    pub fn is_leader_only(&self) -> bool {
        self.message.checks.iter().any(|check| matches!(check.variant, Some(CheckVariant::Term(_))))
    }

    /// The stored bytes of an [`Entry`] with this command.
    pub fn encode_entry(&self, stamp: Stamp) -> Bytes {
        let mut bytes = BytesMut::with_capacity(PREFIX + self.encoded_len());
        bytes.put_slice(MAGIC);
        bytes.put_u16_le(ENTRY_FORMAT);
        bytes.put_u64_le(stamp.incarnation);
        bytes.put_u64_le(stamp.time_ms);
        // The buffer grows as needed, so the only error of `encode` cannot happen; `encode_raw` has none.
        self.message.encode_raw(&mut bytes);
        bytes.freeze()
    }

    /// The check at this position in typed form; `None` when there is none, or its kind is unknown to this version.
    pub fn check(&self, position: usize) -> Option<Check> {
        let known = |kind: u32| Kind::from_number(kind);
        match self.message.checks.get(position)?.variant.as_ref()? {
            CheckVariant::Absent(place) => known(place.kind).map(|kind| Check::Absent { kind, key: place.key.clone() }),
            CheckVariant::Version(place) => {
                known(place.kind).map(|kind| Check::Version { kind, key: place.key.clone(), version: place.version })
            }
            CheckVariant::Term(term) => Some(Check::Term(*term)),
        }
    }

    /// The error for a refusal of the check at this position. A position without a check of a known kind is an answer nobody can
    /// read, so it counts as an unknown outcome.
    pub fn refused(&self, position: usize, index: u64) -> ProposeError {
        match self.check(position) {
            Some(failed) => ProposeError::Refused { failed, index },
            None => ProposeError::OutcomeUnknown,
        }
    }

    /// The identity of the request it is of, if it may be sent again.
    pub fn request_id(&self) -> Option<RequestId> {
        let id = self.message.request_id.as_ref()?;
        Some(RequestId { base_index: id.base_index, token: token(&id.token)? })
    }

    pub(crate) fn stored(&self) -> &StoredTransaction {
        &self.message
    }

    fn decode(bytes: Bytes) -> Result<Command, EntryError> {
        let given = bytes.len();
        let message =
            StoredTransaction::decode(bytes).map_err(|error| EntryError::Malformed { reason: error.to_string() })?;
        if message.checks.iter().any(|check| check.variant.is_none()) {
            return Err(EntryError::Unknown { what: "check" });
        }
        if message.writes.iter().any(|write| write.variant.is_none()) {
            return Err(EntryError::Unknown { what: "write" });
        }
        // The decoder skips fields it does not know; their absence shows in the length.
        if message.encoded_len() != given {
            return Err(EntryError::Unknown { what: "field" });
        }
        if message.request_id.as_ref().is_some_and(|id| token(&id.token).is_none()) {
            return Err(EntryError::Malformed { reason: "a request token has not 16 bytes".to_owned() });
        }
        Ok(Command { message, size: given })
    }
}

fn stored_check(check: Check) -> StoredCheck {
    let variant = match check {
        Check::Absent { kind, key } => CheckVariant::Absent(StoredPlace { kind: kind as u32, key }),
        Check::Version { kind, key, version } => {
            CheckVariant::Version(StoredVersion { kind: kind as u32, key, version })
        }
        Check::Term(term) => CheckVariant::Term(term),
    };
    StoredCheck { variant: Some(variant) }
}

fn stored_write(write: Write) -> Result<StoredWrite, ProposeError> {
    let variant = match write {
        Write::Put(entity) => {
            let (kind, key) = (entity.kind(), entity.key());
            match entity.encode() {
                Ok(body) => WriteVariant::Put(StoredPut { kind: kind as u32, key, body: body.into() }),
                Err(error) => return Err(ProposeError::Unencodable { kind, key, reason: error.to_string() }),
            }
        }
        Write::Delete { kind, key } => WriteVariant::Delete(StoredPlace { kind: kind as u32, key }),
    };
    Ok(StoredWrite { variant: Some(variant) })
}

fn stored_event(event: AuditEvent) -> StoredAuditEvent {
    StoredAuditEvent { event: event.event, payload: event.payload }
}

/// What the leader adds to a command when it writes it to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Incarnation of the cluster, 0 before its first `ClusterMeta`.
    pub incarnation: u64,
    /// The leader's cluster time, milliseconds since the Unix epoch.
    pub time_ms: u64,
}

/// A stamped command: the payload of a log entry, and of a forwarded proposal (whose stamp the leader replaces).
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The leader's stamp.
    pub stamp: Stamp,
    /// The command.
    pub command: Command,
}

/// Why bytes are not an entry this version can carry out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes do not begin as an entry does.
    #[error("these bytes are not a log entry of JACO")]
    NotAnEntry,
    /// A newer version wrote it.
    #[error("the log entry has format {found}, and this version reads up to {supported}: run a newer jacod")]
    NewerFormat {
        /// Its format.
        found: u16,
        /// The newest format read here.
        supported: u16,
    },
    /// A part of it is not known to this version, so that applying the rest would be wrong.
    #[error("the log entry has a {what} that this version does not know: run a newer jacod")]
    Unknown {
        /// Which part.
        what: &'static str,
    },
    /// The bytes are damaged.
    #[error("the log entry is damaged: {reason}")]
    Malformed {
        /// What is wrong with them.
        reason: String,
    },
}

impl Entry {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        self.command.encode_entry(self.stamp)
    }

    /// Size of the stored bytes.
    pub fn encoded_len(&self) -> usize {
        PREFIX + self.command.encoded_len()
    }

    /// Reads stored bytes. Bodies of records stay slices of them.
    pub fn decode(mut bytes: Bytes) -> Result<Entry, EntryError> {
        if bytes.len() < PREFIX || !bytes.starts_with(MAGIC) {
            return Err(EntryError::NotAnEntry);
        }
        bytes.advance(MAGIC.len());
        match bytes.get_u16_le() {
            ENTRY_FORMAT => {}
            0 => return Err(EntryError::Malformed { reason: "format 0 does not exist".to_owned() }),
            found => return Err(EntryError::NewerFormat { found, supported: ENTRY_FORMAT }),
        }
        let stamp = Stamp { incarnation: bytes.get_u64_le(), time_ms: bytes.get_u64_le() };
        Ok(Entry { stamp, command: Command::decode(bytes)? })
    }
}

#[cfg(test)]
mod tests;
