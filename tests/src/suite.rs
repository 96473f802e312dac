//! The frame of a test program whose cases share something that costs seconds to start, and that must be cleared away at the end.
//!
//! Cases run one after the other in the order given. Words on the command line choose cases by a part of their name; flags of the
//! usual harness are accepted and have no effect, except `--list`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use crate::announce;

/// What the cases of a program share.
pub trait Shared: Sized {
    /// Makes it; called once, before the first case.
    fn start() -> anyhow::Result<Self>;

    /// What helps to understand a failure: the end of the daemon's log.
    fn evidence(&self) -> String;

    /// Removes what a case left behind, whatever its end.
    fn clear(&mut self) -> anyhow::Result<()>;
}

/// A case: its name and what it does.
pub type Case<S> = (&'static str, fn(&mut S) -> anyhow::Result<()>);

/// Runs the chosen cases; fails when one of them does, or when what they share cannot be had.
pub fn run<S: Shared>(suite: &str, cases: &[Case<S>]) -> ExitCode {
    let words: Vec<String> = chosen(std::env::args().skip(1));
    let chosen: Vec<&Case<S>> =
        cases.iter().filter(|(name, _)| words.is_empty() || words.iter().any(|word| name.contains(word))).collect();
    if std::env::args().any(|argument| argument == "--list") {
        for (name, _) in cases {
            announce(&format!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    if chosen.is_empty() {
        return ExitCode::SUCCESS;
    }
    let begin = Instant::now();
    let mut shared = match S::start() {
        Ok(shared) => shared,
        Err(error) => {
            announce(&format!("{suite} could not begin: {error:#}"));
            return ExitCode::FAILURE;
        }
    };
    announce(&format!("{suite}: {} cases, ready after {:.1} s", chosen.len(), begin.elapsed().as_secs_f64()));
    let failed: Vec<&str> =
        chosen.iter().filter(|case| !run_one(suite, case, &mut shared)).map(|(name, _)| *name).collect();
    drop(shared);
    let took = begin.elapsed().as_secs_f64();
    if failed.is_empty() {
        announce(&format!("{suite}: ok, {} passed in {took:.1} s", chosen.len()));
        return ExitCode::SUCCESS;
    }
    announce(&format!("{suite}: FAILED: {} (of {}, {took:.1} s)", failed.join(", "), chosen.len()));
    ExitCode::FAILURE
}

fn run_one<S: Shared>(suite: &str, (name, body): &Case<S>, shared: &mut S) -> bool {
    let begin = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| body(shared)));
    let took = begin.elapsed().as_secs_f64();
    let why = match result {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("{error:#}")),
        Err(_) => Some("it panicked, see above".to_owned()),
    };
    match &why {
        None => announce(&format!("test {suite}::{name} ... ok ({took:.1} s)")),
        Some(why) => {
            announce(&format!("test {suite}::{name} ... FAILED ({took:.1} s)\n{why}\n{}", shared.evidence()));
        }
    }
    if let Err(error) = shared.clear() {
        announce(&format!("test {suite}::{name} left something behind: {error:#}"));
        return false;
    }
    why.is_none()
}

/// The words of a command line that are no flags and no values of flags.
fn chosen(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut words = Vec::new();
    let mut value_follows = false;
    for argument in arguments {
        let is_flag = argument.starts_with('-');
        if !is_flag && !value_follows {
            words.push(argument.clone());
        }
        value_follows = matches!(argument.as_str(), "--test-threads" | "--color" | "--format" | "--skip");
    }
    words
}
