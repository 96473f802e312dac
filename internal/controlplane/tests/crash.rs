//! Crashes: the process killed at any moment, and the power cut right after an acknowledgement. Nothing acknowledged may be missing
//! afterwards, and nothing may be half there.
// Test code: it may panic, and it says what it skips.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use jaco_state::Store;
use support::{LoopDisk, WriterProcess, assert_nothing_lost, can_mount, committed, open, run_as_writer, runtime};

fn rounds(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(default)
}

/// Not a test of its own: what the tests below start as another process.
#[test]
fn writer() {
    run_as_writer();
}

#[test]
fn killed_at_random_moments_it_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let rounds = rounds("JACO_KILL_ROUNDS", 40);
    let mut acknowledged = None;
    for round in 0..rounds {
        let mut writer = WriterProcess::start("writer", directory.path());
        // The seed is the round, so a failing round can be found again; the moment itself is the scheduler's.
        let acks = 1 + round.wrapping_mul(7919) % 150;
        acknowledged = Some(writer.wait_for_acks(acks));
        acknowledged = writer.kill().or(acknowledged);
        if round % 10 == 9 || round + 1 == rounds {
            check(directory.path(), acknowledged);
        }
    }
    println!("{rounds} kills, {} transactions", acknowledged.map_or(0, |last| last + 1));
}

#[test]
fn killed_while_starting_it_starts_again() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..rounds("JACO_KILL_ROUNDS", 40) / 2 {
        let writer = WriterProcess::start("writer", directory.path());
        let begun = std::time::Instant::now();
        let delay = std::time::Duration::from_micros(round * 1_700);
        while begun.elapsed() < delay {
            std::thread::yield_now();
        }
        writer.kill();
    }
    let store = runtime().block_on(async {
        let store = open(directory.path()).await;
        committed(&store.view());
        store.shutdown().await;
        store
    });
    assert!(store.view().cluster().is_some());
}

#[test]
fn power_cut_right_after_an_acknowledgement_loses_nothing() {
    if !can_mount("power_cut_right_after_an_acknowledgement_loses_nothing") {
        return;
    }
    let mut disk = LoopDisk::new(96);
    let rounds = rounds("JACO_POWER_CUT_ROUNDS", 12);
    let mut acknowledged = None;
    for round in 0..rounds {
        let data_dir = disk.path().join("data");
        let mut writer = WriterProcess::start("writer", &data_dir);
        let acks = 1 + round.wrapping_mul(7919) % 700;
        acknowledged = Some(writer.wait_for_acks(acks));
        disk.cut_power();
        // What it had said before it met the dead disk counts as well: it was acknowledged.
        acknowledged = last_before_failure(&mut writer).or(acknowledged);
        writer.kill();
        disk.restore_power();
        check(&data_dir, acknowledged);
    }
    println!("{rounds} power cuts, {} transactions", acknowledged.map_or(0, |last| last + 1));
    disk.unmount();
}

/// After the cut the writer must end with the reason, not go on.
fn last_before_failure(writer: &mut WriterProcess) -> Option<u64> {
    let mut last = None;
    while let Some(said) = writer.next() {
        if let Some(sequence) = said.strip_prefix("ack ") {
            last = sequence.parse().ok();
        }
        if let Some(reason) = said.strip_prefix("fatal ") {
            assert!(reason.contains("error") || reason.contains("Error"), "the reason names no I/O error: {reason}");
            return last;
        }
    }
    panic!("the writer ended without a reason");
}

fn check(data_dir: &std::path::Path, acknowledged: Option<u64>) {
    runtime().block_on(async {
        let store = open(data_dir).await;
        assert_nothing_lost(&store.view(), acknowledged);
        store.shutdown().await;
    });
}
