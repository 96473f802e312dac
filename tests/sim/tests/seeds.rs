//! A few seeds, and that a seed says everything.
//!
//! `JACO_SIM_SEEDS` sets how many seeds are run, `JACO_SIM_SEED` the first of them. By default it is few, for a quick look; `make sim` runs
//! as many as one likes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // A test ends where it fails.

use std::process::{Command, Output};

use clap::ValueEnum;
use jaco_sim::Sabotage;

/// Seeds that whatever is broken must be noticed in. Most of it is in the first ones; that an exclusive container lives on without a lease
/// matters only when another node gets its slot meanwhile.
const NOTICED_WITHIN: &str = "120";

fn jaco_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jaco-sim")).args(arguments).output().unwrap()
}

/// What it printed; it must have succeeded.
fn passed(arguments: &[&str]) -> String {
    let output = jaco_sim(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
    String::from_utf8(output.stdout).unwrap()
}

fn setting(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

#[test]
fn seeds_pass() {
    let (seeds, first) = (setting("JACO_SIM_SEEDS", "24"), setting("JACO_SIM_SEED", "1"));
    print!("{}", passed(&["--seeds", &seeds, "--seed", &first]));
}

/// Seeds that were added when they had found something. Other code or choices make another story of a seed: what it found has a test of its
/// own, too.
#[test]
fn seeds_that_failed_before_pass() {
    for seed in ["8", "65", "90", "127"] {
        passed(&["--seeds", "1", "--seed", seed]);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_one_another() {
    let told = |seed| passed(&["--here", "--seed", seed]);
    let first = told("3");
    assert_eq!(first, told("3"), "the same seed, another trace");
    assert_ne!(first, told("4"), "the seed decides nothing");
}

#[test]
fn what_is_broken_on_purpose_is_noticed() {
    for sabotage in Sabotage::ALL {
        let name = sabotage.to_possible_value().unwrap().get_name().to_owned();
        let output = jaco_sim(&["--seeds", NOTICED_WITHIN, "--sabotage", &name]);
        assert!(!output.status.success(), "{name} was not noticed within {NOTICED_WITHIN} seeds");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("{name}: {}", told.lines().find(|line| line.starts_with("seed ")).unwrap_or(&told));
    }
}
