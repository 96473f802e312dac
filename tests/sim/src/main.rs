//! `jaco-sim`: runs seeds, one after the other on each of some threads, and stops at the first that fails.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use clap::ValueEnum;
use jaco_sim::{Passed, Sabotage};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

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
    sabotage: Option<Sabotage>,
    /// Run the one seed in this process: each has one of its own, since tokio counts the runtimes of a process and its choices follow from
    /// the count.
    #[arg(long, hide = true)]
    here: bool,
    /// Print what each seed did.
    #[arg(long)]
    verbose: bool,
    /// With `--here`: have the nodes say on standard error what they do, in simulated time, e.g. `openraft=debug,jaco_controlplane=info`.
    #[arg(long)]
    log: Option<Targets>,
}

#[derive(Default)]
struct Totals {
    passed: u64,
    entries: u64,
    operations: u64,
    undecided: u64,
    watched: u64,
    exclusive_starts: u64,
    failed: Option<String>,
}

impl Totals {
    /// Adds what a seed printed: numbers with their names.
    fn add(&mut self, printed: &str) {
        let number = |name: &str| {
            let found = printed.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            found.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
        };
        self.passed += 1;
        self.entries += number("entries");
        self.operations += number("operations");
        self.undecided += number("undecided");
        self.watched += number("watched");
        self.exclusive_starts += number("exclusive_starts");
    }
}

/// One line about a seed that passed.
fn line(passed: &Passed) -> String {
    let Passed { trace_hash, events, entries, operations, undecided, watched, exclusive_starts, joined, terms } =
        passed;
    format!(
        "trace={trace_hash:016x} events={events} entries={entries} operations={operations} undecided={undecided} watched={watched} \
         exclusive_starts={exclusive_starts} joined={joined} terms={terms}"
    )
}

/// The time of a run, as its trace has it.
struct SimulatedTime;

impl FormatTime for SimulatedTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        jaco_sim::elapsed().map_or(Ok(()), |elapsed| write!(writer, "{:>10.3}", elapsed.as_secs_f64()))
    }
}

/// Has everything in this process say what it does.
fn log_to_standard_error(targets: Targets) {
    let lines =
        tracing_subscriber::fmt::layer().with_timer(SimulatedTime).with_ansi(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(targets).with(lines).init();
}

/// Runs one seed in this process, and prints what came of it.
fn here(seed: u64, sabotage: Option<Sabotage>) -> ExitCode {
    let ended = match sabotage {
        None => jaco_sim::run(seed),
        Some(sabotage) => jaco_sim::run_broken(seed, sabotage),
    };
    let (text, code) = match ended {
        Ok(passed) => (line(&passed), ExitCode::SUCCESS),
        Err(failed) => (failed.to_string(), ExitCode::FAILURE),
    };
    // Nobody to tell it to is no failure of the simulation.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
    code
}

/// Runs one seed in a process of its own: what it printed, or how it failed.
fn apart(seed: u64, sabotage: Option<Sabotage>) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("seed {seed} cannot be run: {error}");
    let mut command = std::process::Command::new(std::env::current_exe().map_err(failed)?);
    command.args(["--here", "--seed", &seed.to_string()]);
    if let Some(sabotage) = sabotage.and_then(|sabotage| sabotage.to_possible_value()) {
        command.args(["--sabotage", sabotage.get_name()]);
    }
    let output = command.output().map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    let told = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(text) } else { Err(format!("{told}{text}\nseed {seed}: {}", output.status)) }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.here {
        if let Some(targets) = arguments.log {
            log_to_standard_error(targets);
        }
        return here(arguments.seed, arguments.sabotage);
    }
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
                    let ended = apart(seed, arguments.sabotage);
                    let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
                    match ended {
                        Ok(passed) => {
                            totals.add(&passed);
                            if arguments.verbose {
                                say(&format!("seed {seed}: {passed}\n"));
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
