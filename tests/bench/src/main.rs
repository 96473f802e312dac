//! `make bench`: every figure of the product beside a floor or a peer that was measured in the same run.
//!
//! Usage: `jaco-bench [a b c d e f g h i j k]`; without arguments all parts run. `BENCH_QUICK=1` takes fewer and shorter rounds: good for seeing
//! that a part runs, not for its figures. The programs under test are taken from `JACO_BIN_DIR`; the table goes to standard output,
//! the same as JSON to the file that `BENCH_JSON` names.
//!
//! A part that cannot run, or fails, is named in the table and keeps no other from running. A missed bar is no failure of the run.
//! Everything a part starts ends with it; nothing outside the temporary directory is written but the result file.

mod about;
mod apply;
mod cluster;
mod commits;
mod corpus;
mod failover;
mod hosts;
mod idle;
mod image;
mod ingress;
mod install;
mod node;
mod peers;
mod process;
mod quiet;
mod report;
mod stats;
mod watchers;
mod writes;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use report::Report;

/// As in the daemon, whose commits are measured in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a run was asked for.
pub(crate) struct Settings {
    quick: bool,
}

impl Settings {
    /// A number of rounds, or fewer in a quick run.
    pub(crate) fn rounds(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// A length in seconds, or a shorter one in a quick run.
    pub(crate) fn seconds(&self, full: f64, quick: f64) -> Duration {
        Duration::from_secs_f64(if self.quick { quick } else { full })
    }
}

type Part = fn(&Settings, &mut Report) -> anyhow::Result<()>;

const PARTS: &[(char, &str, Part)] = &[
    ('a', "commits", commits::run),
    ('b', "apply --wait of 30 replicas", apply::run),
    ('c', "ingress", ingress::run),
    ('d', "an idle daemon", idle::run),
    ('e', "1,000 watchers", watchers::run),
    ('f', "validate over the corpus", corpus::run),
    ('g', "writes on three members", writes::run),
    ('h', "the leader is killed", failover::run),
    ('i', "an idle cluster", quiet::run),
    ('j', "a snapshot for a fresh member", install::run),
    ('k', "joins, and a killed host", hosts::run),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let [member, folder] = wanted.as_slice()
        && member == "member"
    {
        return run_member(Path::new(folder));
    }
    if let Some(unknown) = wanted.iter().find(|name| !PARTS.iter().any(|(part, ..)| part.to_string() == **name)) {
        say(&format!("there is no part {unknown}: the parts are a to k"));
        return ExitCode::from(2);
    }
    let settings = Settings { quick: std::env::var_os("BENCH_QUICK").is_some_and(|value| value != "0") };
    let about = about::begin(settings.quick);
    let mut report = Report::default();
    for (part, title, run) in PARTS {
        if !wanted.is_empty() && !wanted.contains(&part.to_string()) {
            continue;
        }
        say(&format!("== ({part}) {title}"));
        if let Err(error) = run(&settings, &mut report) {
            report.fail(format!("({part}) {title}"), format!("{error:#}"));
        }
    }
    show(&report.table());
    let path = std::env::var_os("BENCH_JSON").map_or_else(|| PathBuf::from("target/bench.json"), PathBuf::from);
    if let Err(error) = report.write(&path, about::end(about)) {
        say(&format!("{} cannot be written: {error}", path.display()));
        return ExitCode::FAILURE;
    }
    say(&format!("written to {}", path.display()));
    if report.has_failures() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// This program as one member of a cluster that another one of it measures.
fn run_member(folder: &Path) -> ExitCode {
    match cluster::run_member(folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("the member ends: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Tells how far the run is.
#[allow(clippy::print_stderr)] // The course of a run goes to whoever waits for it.
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

#[allow(clippy::print_stdout)] // The table is what this program is for.
fn show(text: &str) {
    println!("\n{text}");
}
