//! The store as its users see it.
// Test code: it may panic, and it says what it skips.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jaco_controlplane::{
    ControlPlane, DataDirLock, IdentityError, InitialiseError, LockError, MemoryLog, OpenError, Options, Phase,
};
use jaco_state::{Check, Event, Leadership, ProposeError, RequestId, Store, Transaction, WatchFrom};
use jaco_types::{ClusterMeta, ErrorCode, NodeId, Stored};
use support::{assert_nothing_lost, commit, meta, open, options, runtime};

#[test]
fn a_fresh_store_is_uninitialised_until_its_cluster_record_is_committed() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = ControlPlane::open(options(directory.path())).await.unwrap();
        assert_eq!(store.phase(), Phase::Uninitialised);
        assert_eq!(store.ready().await.unwrap().index(), 0);
        assert_eq!(store.leadership(), Leadership::Follower { leader: None });
        assert_eq!(commit(&store, 0).await, Err(ProposeError::NoLeader));

        let mut first = Transaction::new("local");
        first.audit("cluster_initialized", [("name", "c")]);
        let commit = store.initialise(meta(), first).await.unwrap();
        assert_eq!(store.phase(), Phase::Member);
        let view = store.view();
        assert_eq!(view.cluster().unwrap().incarnation, store.incarnation());
        assert_eq!(view.version::<ClusterMeta>(&meta().key()), Some(commit.index));
        assert_eq!(view.audit().count(), 1);
        assert!(matches!(store.leadership(), Leadership::Leader { .. }));

        let again = store.initialise(meta(), Transaction::new("local")).await.unwrap_err();
        assert!(matches!(again, InitialiseError::AlreadyInitialised), "{again}");
        assert_eq!(again.user_error().code, ErrorCode::ClusterAlreadyInitialized);
        store.shutdown().await;

        let store = ControlPlane::open(options(directory.path())).await.unwrap();
        assert_eq!(store.ready().await.unwrap().cluster().unwrap().incarnation, store.incarnation());
        assert_eq!(store.phase(), Phase::Member);
        store.shutdown().await;
    });
}

#[test]
fn an_initialisation_that_died_half_way_is_finished_by_another() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = ControlPlane::open(options(directory.path())).await.unwrap();
        // Raft has begun, and then the transaction did not come about: here because it does not fit.
        let mut too_large = Transaction::new("local");
        too_large.reply(vec![0; 2 << 20]);
        let error = store.initialise(meta(), too_large).await.unwrap_err();
        assert!(matches!(error, InitialiseError::Propose(ProposeError::TooLarge { .. })), "{error}");
        assert_eq!(store.phase(), Phase::Uninitialised);
        store.shutdown().await;

        let store = ControlPlane::open(options(directory.path())).await.unwrap();
        assert_eq!(store.ready().await.unwrap().cluster(), None);
        store.initialise(meta(), Transaction::new("local")).await.unwrap();
        assert_eq!(store.phase(), Phase::Member);
        store.shutdown().await;
    });
}

#[test]
fn everything_is_there_again_after_a_restart_with_snapshots_and_a_short_log() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = open(directory.path()).await;
        for sequence in 0..1_500 {
            commit(&store, sequence).await.unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while store.status().snapshot_index.is_none_or(|index| index < 1_000) {
            assert!(Instant::now() < deadline, "{:?}", store.status());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        store.compact().await.unwrap();
        let status = store.status();
        assert_eq!(status.snapshot_index, Some(status.applied_index));
        let deadline = Instant::now() + Duration::from_secs(20);
        while store.status().log.entries > 60 {
            assert!(Instant::now() < deadline, "the log was not cut: {:?}", store.status());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let snapshots = std::fs::read_dir(directory.path().join("raft/snapshots")).unwrap().count();
        assert_eq!(snapshots, 2, "two snapshots are kept");
        for sequence in 1_500..1_600 {
            commit(&store, sequence).await.unwrap();
        }
        let before = store.view();
        store.shutdown().await;

        let store = open(directory.path()).await;
        assert_nothing_lost(&store.view(), Some(1_599));
        assert!(store.view().index() > before.index(), "a new term begins with an entry");
        assert_eq!(store.view().now_ms(), before.now_ms());
        commit(&store, 1_600).await.unwrap();
        assert!(store.view().now_ms() >= before.now_ms(), "cluster time went back");
        store.shutdown().await;
    });
}

#[test]
fn answers_and_refusals_are_those_of_the_state_machine() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = open(directory.path()).await;
        let Leadership::Leader { term } = store.leadership() else { panic!("the only voter leads") };

        let id = RequestId { base_index: store.view().index(), token: [7; 16] };
        let mut request = Transaction::new("a");
        request.request_id(id).reply("answer").check_term(term);
        let first = store.propose(request.clone()).await.unwrap();
        assert_eq!((first.reply.as_ref(), first.repeated), (b"answer".as_slice(), false));
        let second = store.propose(request).await.unwrap();
        assert_eq!((second.index, second.repeated), (first.index, true));

        let mut wrong = Transaction::new("a");
        wrong.check_term(term + 1);
        let refused = store.propose(wrong).await.unwrap_err();
        assert!(
            matches!(refused, ProposeError::Refused { failed: Check::Term(failed), .. } if failed == term + 1),
            "{refused}"
        );

        let mut large = Transaction::new("a");
        large.reply(vec![0; (1 << 20) + 1]);
        assert!(matches!(store.propose(large).await, Err(ProposeError::TooLarge { .. })));
        // One of nearly the largest size goes through, again and again over the ends of segments.
        for size in [1 << 20, 1_000_000, 700_000].into_iter().cycle().take(30) {
            let mut large = Transaction::new("a");
            large.reply(vec![1; size - 100]);
            store.propose(large).await.unwrap();
        }
        store.shutdown().await;
        assert_eq!(commit(&store, 0).await, Err(ProposeError::Stopped));
        let store = open(directory.path()).await;
        store.shutdown().await;
    });
}

#[test]
fn a_watch_gets_every_change_in_order() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = Arc::new(open(directory.path()).await);
        let mut watcher = store.watch(WatchFrom::Now);
        let Some(Event::Snapshot(view)) = watcher.next().await else { panic!("a watch begins with a snapshot") };
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..8 {
            let store = store.clone();
            writers.spawn(async move {
                for step in 0..50 {
                    commit(&store, writer * 50 + step).await.unwrap();
                }
            });
        }
        writers.join_all().await;
        let (mut index, mut time) = (view.index(), view.now_ms());
        for _ in 0..400 {
            let Some(Event::Batch(batch)) = watcher.next().await else { panic!("the watch lost its place") };
            assert!(batch.index > index && batch.time_ms >= time, "out of order");
            (index, time) = (batch.index, batch.time_ms);
        }
        assert_eq!(index, store.view().index());
        store.shutdown().await;
        assert!(watcher.next().await.is_none());
    });
}

#[test]
fn a_clean_stop_takes_less_than_a_second_even_under_load() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = Arc::new(open(directory.path()).await);
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..16u64 {
            let store = store.clone();
            writers.spawn(async move {
                for step in 0.. {
                    match commit(&store, writer * 1_000_000 + step).await {
                        Ok(()) => {}
                        Err(ProposeError::Stopped | ProposeError::OutcomeUnknown | ProposeError::NoLeader) => return,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        store.reached(store.view().index() + 100).await.unwrap();
        let begun = Instant::now();
        store.shutdown().await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        tokio::time::timeout(Duration::from_secs(5), writers.join_all()).await.expect("writers end with the store");
    });
}

#[test]
fn a_log_that_fails_ends_the_store() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let log = Arc::new(MemoryLog::default());
        let options = Options { log: Some(log.clone()), ..options(directory.path()) };
        let store = ControlPlane::open(options).await.unwrap();
        store.initialise(meta(), Transaction::new("test")).await.unwrap();
        commit(&store, 0).await.unwrap();
        log.fail();
        assert_eq!(commit(&store, 1).await, Err(ProposeError::OutcomeUnknown));
        let fatal = tokio::time::timeout(Duration::from_secs(10), store.fatal()).await.unwrap();
        assert!(fatal.reason.contains("told to fail"), "{}", fatal.reason);
        store.shutdown().await;
    });
}

#[test]
fn damaged_snapshots_and_missing_ones_stop_the_opening() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = open(directory.path()).await;
        for sequence in 0..200 {
            commit(&store, sequence).await.unwrap();
        }
        store.compact().await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while store.status().log.entries > 60 {
            assert!(Instant::now() < deadline, "{:?}", store.status());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        store.shutdown().await;
        let snapshot = only_file(&directory.path().join("raft/snapshots"));
        let content = std::fs::read(&snapshot).unwrap();
        for at in [0, 9, 13, 20, 40, content.len() / 2, content.len() - 1] {
            let mut damaged = content.clone();
            damaged[at] ^= 1;
            std::fs::write(&snapshot, damaged).unwrap();
            let error = ControlPlane::open(options(directory.path())).await.err().unwrap();
            assert!(error.to_string().contains(snapshot.to_str().unwrap()), "byte {at}: {error}");
        }
        std::fs::remove_file(&snapshot).unwrap();
        let error = ControlPlane::open(options(directory.path())).await.err().unwrap();
        assert!(matches!(error, OpenError::SnapshotMissing { .. }), "{error}");
        std::fs::write(&snapshot, content).unwrap();
        let store = open(directory.path()).await;
        assert_nothing_lost(&store.view(), Some(199));
        store.shutdown().await;
    });
}

fn only_file(directory: &Path) -> std::path::PathBuf {
    let files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn a_directory_belongs_to_one_node_and_one_process() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let lock = DataDirLock::acquire(&data_dir).unwrap();
    let refused = DataDirLock::acquire(&data_dir).unwrap_err();
    assert!(matches!(refused, LockError::InUse { .. }), "{refused}");
    assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
    runtime().block_on(async {
        let store = open(&data_dir).await;
        store.shutdown().await;
        let other = Options { node_id: NodeId(8), ..options(&data_dir) };
        let error = ControlPlane::open(other).await.err().unwrap();
        assert!(matches!(error, OpenError::Identity(IdentityError::OtherNode { .. })), "{error}");
    });
    let mode = std::fs::metadata(data_dir.join("raft")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    drop(lock);
    DataDirLock::acquire(&data_dir).unwrap();
}

/// Looking at the numbers and writing take locks of the same raft: neither may wait for the other for ever.
#[test]
fn the_status_is_answered_while_others_write() {
    let directory = tempfile::tempdir().unwrap();
    let (done, end) = std::sync::mpsc::channel();
    // The store and its threads are of their own, so that a store that hangs does not keep the test from failing.
    let worker = std::thread::spawn(move || {
        let runtime = runtime();
        let store = runtime.block_on(open(directory.path()));
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..8u64 {
            let store = store.clone();
            tasks.spawn_on(
                async move {
                    for sequence in 0..400 {
                        commit(&store, writer * 1_000 + sequence).await.unwrap();
                        assert!(store.status().last_index > 0);
                    }
                },
                runtime.handle(),
            );
        }
        let asking = store.clone();
        let asker = std::thread::spawn(move || (0..200_000).map(|_| asking.status().voters.len()).sum::<usize>());
        runtime.block_on(tasks.join_all());
        assert_eq!(asker.join().unwrap(), 200_000);
        runtime.block_on(store.shutdown());
        done.send(()).unwrap();
    });
    end.recv_timeout(Duration::from_secs(60)).expect("writers and readers of the status hang");
    worker.join().unwrap();
}

/// Writers that go on at once after their answer travel together; without that, every other sync would carry one proposal.
#[test]
fn writers_that_go_on_at_once_share_their_syncs() {
    const WRITERS: u64 = 32;
    const ROUNDS: u64 = 50;
    let directory = tempfile::tempdir().unwrap();
    // One thread: the order in which tasks run does not depend on the machine.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(directory.path()).await;
        commit(&store, u64::MAX).await.unwrap();
        let before = store.status().log.syncs;
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let store = store.clone();
            tasks.spawn(async move {
                for sequence in 0..ROUNDS {
                    commit(&store, writer * 1_000 + sequence).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
        let syncs = store.status().log.syncs - before;
        assert!(syncs < ROUNDS * 3 / 2, "{syncs} syncs for {ROUNDS} rounds of {WRITERS} writers");
        store.shutdown().await;
    });
}
