//! `jaco-sim`: runs seeds, one after the other on each of some threads, and stops at the first that fails.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use jaco_sim::{Failed, Passed};

/// Runs simulated clusters and breaks them.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; by default one for each processor.
    #[arg(long)]
    threads: Option<usize>,
    /// Break this, to see that it is noticed.
    #[arg(long, value_enum)]
    sabotage: Option<jaco_sim::Sabotage>,
    /// Print what each seed did.
    #[arg(long)]
    verbose: bool,
}

#[derive(Default)]
struct Totals {
    passed: u64,
    entries: u64,
    operations: u64,
    undecided: u64,
    watched: u64,
    exclusive_starts: u64,
    failed: Option<Box<Failed>>,
}

impl Totals {
    fn add(&mut self, passed: &Passed) {
        self.passed += 1;
        self.entries += passed.entries;
        self.operations += passed.operations;
        self.undecided += passed.undecided;
        self.watched += passed.watched;
        self.exclusive_starts += passed.exclusive_starts;
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let begun = Instant::now();
    let threads = arguments.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let (next, stop, totals) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(Totals::default()));
    let is_terminal = std::io::stderr().is_terminal();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let count = next.fetch_add(1, Ordering::Relaxed);
                    if count >= arguments.seeds {
                        return;
                    }
                    let seed = arguments.seed.wrapping_add(count);
                    let ended = match arguments.sabotage {
                        None => jaco_sim::run(seed),
                        Some(sabotage) => jaco_sim::run_broken(seed, sabotage),
                    };
                    let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
                    match ended {
                        Ok(passed) => {
                            totals.add(&passed);
                            if arguments.verbose {
                                say(&format!("seed {seed}: {passed:?}\n"));
                            }
                        }
                        Err(failed) => {
                            stop.store(true, Ordering::Relaxed);
                            totals.failed.get_or_insert(failed);
                        }
                    }
                    if is_terminal {
                        say(&format!("\r{} of {} seeds passed", totals.passed, arguments.seeds));
                    }
                }
            });
        }
    });
    if is_terminal {
        say("\n");
    }
    let totals = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(failed) = totals.failed {
        say(&format!("{failed}\n"));
        return ExitCode::FAILURE;
    }
    let Totals { passed, entries, operations, undecided, watched, exclusive_starts, failed: _ } = totals;
    let mut out = std::io::stdout().lock();
    // Nobody to tell it to is no failure of the simulation.
    let _ = writeln!(
        out,
        "{passed} seeds passed in {:.0} s: {entries} entries, {operations} operations on registers ({undecided} histories undecided), \
         {watched} watched changes, {exclusive_starts} starts of exclusive containers",
        begun.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}

fn say(text: &str) {
    // Nobody to tell it to is no failure of the simulation.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
