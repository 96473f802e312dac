//! A few seeds, and that a seed says everything.
//!
//! `JACO_SIM_SEEDS` sets how many seeds are run, `JACO_SIM_SEED` the first of them. By default it is few, for a quick look; `make sim` runs
//! as many as one likes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // A test ends where it fails.

use std::sync::atomic::{AtomicU64, Ordering};

/// So many seeds without being told.
const FEW: u64 = 24;
/// Within so many seeds each sabotage has to be noticed.
const SABOTAGED: u64 = 40;

fn number(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")),
        Err(_) => otherwise,
    }
}

/// Runs seeds on all processors; the failures.
fn run_all(first: u64, seeds: u64) -> Vec<String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(0);
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failures.lock().unwrap().is_empty() {
                    let count = next.fetch_add(1, Ordering::Relaxed);
                    if count >= seeds {
                        return;
                    }
                    if let Err(failed) = jaco_sim::run(first + count) {
                        failures.lock().unwrap().push(failed.to_string());
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

#[test]
fn seeds_pass() {
    let failures = run_all(number("JACO_SIM_SEED", 1), number("JACO_SIM_SEEDS", FEW));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_one_another() {
    let hash = |seed| jaco_sim::run(seed).unwrap_or_else(|failed| panic!("{failed}")).trace_hash;
    let first = hash(3);
    assert_eq!(first, hash(3), "the same seed, another trace");
    assert_ne!(first, hash(4), "the seed decides nothing");
}

#[test]
fn what_is_broken_on_purpose_is_noticed() {
    for sabotage in jaco_sim::Sabotage::ALL {
        let noticed = (1..=SABOTAGED).find(|seed| jaco_sim::run_broken(*seed, *sabotage).is_err());
        println!("{sabotage:?}: noticed with seed {noticed:?}");
        assert!(noticed.is_some(), "{sabotage:?} was not noticed in {SABOTAGED} seeds");
    }
}

/// Seeds that found something once.
#[test]
fn seeds_that_failed_before_pass() {
    // 127: a leader was lost between the two halves of a change of voters, and nobody finished it.
    // 8: a read under way on a node that stopped waited in a loop that never waited.
    for seed in [127, 8] {
        let passed = jaco_sim::run(seed);
        assert!(passed.is_ok(), "{}", passed.unwrap_err());
    }
}
