//! Small records and transactions for this crate's own tests.

use bytes::Bytes;
use jaco_types::{ClusterMeta, DeploymentName, NodeId, NodeSchedulability, RevisionCounter};

use crate::clock::Clock;
use crate::command::{Command, Entry, Stamp};
use crate::machine::{EntryMeta, Outcome, StateMachine};
use crate::stored::{StoredPut, StoredTransaction, StoredWrite, WriteVariant};
use crate::transaction::{RequestId, Transaction};

/// The smallest record there is: its key is the name.
pub(crate) fn counter(name: &str, highest: u64) -> RevisionCounter {
    RevisionCounter { deployment: DeploymentName::new(name).unwrap(), highest }
}

/// A record of another kind.
pub(crate) fn schedulability(id: u64, schedulable: bool) -> NodeSchedulability {
    NodeSchedulability { id: NodeId(id), schedulable }
}

pub(crate) fn cluster(incarnation: u64) -> ClusterMeta {
    ClusterMeta {
        cluster_id: "5f0c1c9e-2f4d-4c53-9d0a-3f6a3c5b8e11".to_owned(),
        name: "test".to_owned(),
        incarnation,
        feature_level: 1,
        created_at_ms: 1_000,
        ipam_pool: "10.244.0.0/16".parse().unwrap(),
        mesh_cidr: "10.245.0.0/16".parse().unwrap(),
        node_down_after_ms: 10_000,
    }
}

pub(crate) fn transaction(fill: impl FnOnce(&mut Transaction)) -> Transaction {
    let mut transaction = Transaction::new("tester");
    fill(&mut transaction);
    transaction
}

pub(crate) fn command(fill: impl FnOnce(&mut Transaction)) -> Command {
    Command::new(transaction(fill)).unwrap()
}

pub(crate) fn request(base_index: u64, token: u8) -> RequestId {
    RequestId { base_index, token: [token; 16] }
}

/// Applies at the next index, term 1, time = 1,000 x index.
pub(crate) fn apply(machine: &mut StateMachine, fill: impl FnOnce(&mut Transaction)) -> Outcome {
    let index = machine.view().index() + 1;
    machine.apply(EntryMeta { index, term: 1, time_ms: index * 1_000 }, &command(fill))
}

/// An entry that puts bytes under a kind number, whatever they mean.
pub(crate) fn raw_put(kind: u32, key: &str, body: &'static [u8]) -> Command {
    let put = StoredPut { kind, key: key.to_owned(), body: Bytes::from_static(body) };
    let message = StoredTransaction {
        actor: "newer".to_owned(),
        writes: vec![StoredWrite { variant: Some(WriteVariant::Put(put)) }],
        ..StoredTransaction::default()
    };
    decoded(&message)
}

/// The command that these stored bytes are.
pub(crate) fn decoded(message: &StoredTransaction) -> Command {
    Entry::decode(stored_bytes(message)).unwrap().command
}

/// The bytes of an entry with this message, by an encoder other than the one under test.
pub(crate) fn stored_bytes(message: &impl prost::Message) -> Bytes {
    let mut bytes = Entry { stamp: Stamp::default(), command: command(|_| {}) }.encode().to_vec();
    bytes.truncate(22);
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes.into()
}

/// A clock that stands still.
pub(crate) struct Still(pub(crate) u64);

impl Clock for Still {
    fn now_ms(&self) -> u64 {
        self.0
    }

    fn monotonic(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}
