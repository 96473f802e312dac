//! openraft's own suite on our storage.

use std::sync::Arc;

use jaco_state::{Hub, HubLimits, StateMachine};
use openraft::StorageError;
use openraft::storage::RaftLogStorage;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::{LogAdapter, Machine, MachineShared, SnapshotAfter, Types};
use crate::log::{FileLog, FileLogOptions, LogEntry, LogId, LogStorage, LogWrite, MemoryLog, Payload};
use crate::snapshot::SnapshotStore;

type Runtime = crate::runtime::TokioRuntime;
type TestTypes = Types<Runtime>;

struct Builder {
    in_memory: bool,
}

impl StoreBuilder<TestTypes, LogAdapter<Runtime>, Machine<Runtime>, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogAdapter<Runtime>, Machine<Runtime>), StorageError<TestTypes>> {
        let directory = tempfile::tempdir().unwrap();
        let log: Arc<dyn LogStorage> = if self.in_memory {
            Arc::new(MemoryLog::default())
        } else {
            let options = FileLogOptions {
                segment_bytes: 64 << 10,
                max_record_bytes: 8 << 10,
                cache_bytes: 200,
                min_free_bytes: 0,
                ..FileLogOptions::new(directory.path().join("log"), 1)
            };
            Arc::new(FileLog::open(options).unwrap())
        };
        let snapshots = SnapshotStore::new(SnapshotStore::directory(directory.path().join("snapshots")).unwrap(), 1);
        let machine = StateMachine::new();
        let hub = Hub::new(machine.view(), HubLimits::default());
        let shared = MachineShared::new(hub, snapshots, SnapshotAfter { entries: 1 << 20, bytes: 1 << 30 }, 1);
        Ok((directory, LogAdapter::new(log), Machine::new(machine, None, shared)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_suite_passes_on_files() {
    Suite::test_all(Builder { in_memory: false }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_suite_passes_in_memory() {
    Suite::test_all(Builder { in_memory: true }).await.unwrap();
}

#[tokio::test]
async fn only_an_entry_that_is_there_is_committed() {
    let log: Arc<dyn LogStorage> = Arc::new(MemoryLog::default());
    let mut adapter = LogAdapter::<Runtime>::new(log.clone());
    let id = |term, index| LogId { term, index };
    let entry = |index| LogEntry { id: id(1, index), payload: Some(Payload::Blank(true)) };
    let write = |write| log.submit(write, Box::new(|written| written.unwrap()));
    write(LogWrite::Append((0..4).map(entry).collect()));
    // That of term 2 was to replace one of term 1, and a torn batch has left only the note.
    for (noted, expected) in [(id(1, 2), true), (id(2, 2), false), (id(1, 4), false), (id(2, 9), false)] {
        write(LogWrite::Committed(Some(noted)));
        let committed = adapter.read_committed().await.unwrap();
        assert_eq!(committed.map(|found| found.index), Some(noted.index).filter(|_| expected), "{noted:?}");
    }
    write(LogWrite::Committed(Some(id(1, 1))));
    write(LogWrite::Purge(id(1, 2)));
    assert_eq!(adapter.read_committed().await.unwrap().map(|found| found.index), Some(1), "a snapshot holds it");
}
