//! A follower without room for its log.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jaco_controlplane::{
    Completion, Demand, LogEntry, LogState, LogStorage, LogUsage, LogWrite, MemoryLog, Options, Room,
};
use jaco_state::Store;
use jaco_testkit::{MemoryCluster, SeededStore, target};
use tokio::sync::Notify;

use super::{SEED, agree, keys, node, shutdown, write};

/// A log whose disk is full when it is told so; an append without room fails, and with it the node.
#[derive(Default)]
struct Tight {
    log: MemoryLog,
    full: AtomicBool,
}

impl LogStorage for Tight {
    fn state(&self) -> LogState {
        self.log.state()
    }

    fn read(&self, range: Range<u64>, max_bytes: u64) -> io::Result<Vec<LogEntry>> {
        self.log.read(range, max_bytes)
    }

    fn submit(&self, write: LogWrite, done: Completion) {
        if self.full.load(Ordering::Relaxed) && matches!(write, LogWrite::Append(_)) {
            self.log.fail();
        }
        self.log.submit(write, done);
    }

    fn reserve(&self, _bytes: u64, _demand: Demand) -> Room {
        if self.full.load(Ordering::Relaxed) { Room::Full } else { Room::Granted }
    }

    fn release(&self, _bytes: u64) {}

    fn failure(&self) -> Option<String> {
        self.log.failure()
    }

    fn space_changed(&self) -> Arc<Notify> {
        self.log.space_changed()
    }

    fn usage(&self) -> LogUsage {
        self.log.usage()
    }

    fn close(&self) {}

    fn blocks(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_whose_disk_is_full_waits_and_goes_on_when_there_is_room() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let leader = cluster.store(node(1)).unwrap().clone();
    let log = Arc::new(Tight::default());
    let options = Options { log: Some(log.clone()), ..cluster.options(node(4)) };
    let follower = SeededStore::open_on(options).await.unwrap();
    cluster.network.attach(node(4), Arc::new(follower.clone()));
    leader.add_learner(target(node(4))).await.unwrap();
    write(&leader, "a").await.unwrap();
    cluster.until("it has the first", |_| keys(&follower.view()) == ["a"]).await.unwrap();

    log.full.store(true, Ordering::Relaxed);
    write(&leader, "b").await.unwrap();
    agree(&cluster, &["a", "b"]).await;
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    assert_eq!((keys(&follower.view()), log.failure()), (vec!["a".to_owned()], None));

    log.full.store(false, Ordering::Relaxed);
    cluster.until("it has the second", |_| keys(&follower.view()) == ["a", "b"]).await.unwrap();
    follower.halt().await;
    shutdown(&mut cluster).await;
}
