//! A disk that is full, and one that fails.
// Test code: it may panic, and it says what it skips.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use jaco_state::{ProposeError, Store};
use support::{LoopDisk, Tmpfs, assert_nothing_lost, can_mount, commit, committed, open, remove, runtime};

/// Fills a disk to the last byte; the file that does it.
fn fill(directory: &Path) -> std::path::PathBuf {
    let path = directory.join("filler");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    for size in [1 << 20, 1 << 12, 1] {
        let block = vec![1; size];
        while file.write_all(&block).is_ok() {}
    }
    path
}

async fn full_disk(mount: &Path) {
    let data_dir = mount.join("data");
    let store = open(&data_dir).await;
    for sequence in 0..20 {
        commit(&store, sequence).await.unwrap();
    }
    let filler = fill(mount);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut sequence = 20;
    let refused = loop {
        match commit(&store, sequence).await {
            Ok(()) => sequence += 1,
            Err(error) => break error,
        }
        assert!(Instant::now() < deadline, "a full disk was never reported");
    };
    assert_eq!(refused, ProposeError::DiskFull);
    assert!(store.status().log.disk_full);

    // The node runs on: reads answer, deletes are taken, and it is still full for others.
    store.linearizable_view().await.unwrap();
    sequence -= 1;
    remove(&store, sequence).await.unwrap();
    assert_eq!(commit(&store, 9_000).await, Err(ProposeError::DiskFull));
    for _ in 0..50 {
        // Removing what is not there is no change, but it is written to the log all the same.
        remove(&store, 8_000).await.unwrap();
    }

    std::fs::remove_file(filler).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = commit(&store, sequence).await {
        assert_eq!(error, ProposeError::DiskFull);
        assert!(Instant::now() < deadline, "room again was never noticed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sequence += 1;
    // Enough for several segments and snapshots.
    for sequence in sequence..sequence + 3_000 {
        commit(&store, sequence).await.unwrap();
    }
    let last = sequence + 2_999;
    assert!(!store.status().log.disk_full);
    store.shutdown().await;
    let store = open(&data_dir).await;
    assert_nothing_lost(&store.view(), Some(last));
    store.shutdown().await;
}

#[test]
fn a_full_disk_refuses_writes_and_ends_by_itself() {
    if !can_mount("a_full_disk_refuses_writes_and_ends_by_itself") {
        return;
    }
    let mut disk = LoopDisk::new(64);
    runtime().block_on(full_disk(&disk.path()));
    disk.unmount();
}

#[test]
fn a_full_tmpfs_refuses_writes_and_ends_by_itself() {
    if !can_mount("a_full_tmpfs_refuses_writes_and_ends_by_itself") {
        return;
    }
    let disk = Tmpfs::new(48);
    runtime().block_on(full_disk(disk.path()));
}

#[test]
fn a_store_opens_on_a_full_disk_and_refuses_writes() {
    if !can_mount("a_store_opens_on_a_full_disk_and_refuses_writes") {
        return;
    }
    let disk = Tmpfs::new(48);
    let data_dir = disk.path().join("data");
    runtime().block_on(async {
        let store = open(&data_dir).await;
        for sequence in 0..20 {
            commit(&store, sequence).await.unwrap();
        }
        store.shutdown().await;
        let filler = fill(disk.path());
        let store = open(&data_dir).await;
        assert_nothing_lost(&store.view(), Some(19));
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut sequence = 20;
        while commit(&store, sequence).await.is_ok() {
            sequence += 1;
            assert!(Instant::now() < deadline, "a full disk was never reported");
        }
        std::fs::remove_file(filler).unwrap();
        while commit(&store, sequence).await.is_err() {
            assert!(Instant::now() < deadline, "room again was never noticed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        store.shutdown().await;
    });
}

#[test]
fn an_io_error_ends_the_store_with_the_reason() {
    if !can_mount("an_io_error_ends_the_store_with_the_reason") {
        return;
    }
    let mut disk = LoopDisk::new(64);
    let data_dir = disk.path().join("data");
    runtime().block_on(async {
        let store = open(&data_dir).await;
        for sequence in 0..20 {
            commit(&store, sequence).await.unwrap();
        }
        let mut watcher = store.watch(jaco_state::WatchFrom::Now);
        disk.cut_power();
        assert_eq!(commit(&store, 20).await, Err(ProposeError::OutcomeUnknown));
        let fatal = tokio::time::timeout(Duration::from_secs(10), store.fatal()).await.unwrap();
        assert!(fatal.reason.contains("os error 5") || fatal.reason.contains("Input/output"), "{}", fatal.reason);
        assert_eq!(commit(&store, 21).await, Err(ProposeError::Stopped));
        let ended = async { while watcher.next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("watches end with the store");
        let begun = Instant::now();
        store.shutdown().await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    });
    disk.restore_power();
    runtime().block_on(async {
        let store = open(&data_dir).await;
        let found = committed(&store.view());
        assert!(found.len() >= 20, "{} of 20 acknowledged are there", found.len());
        store.shutdown().await;
    });
    disk.unmount();
}
