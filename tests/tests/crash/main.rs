//! A real `jacod` is killed without warning at random moments: what it acknowledged is there afterwards, and nothing is half there.
//!
//! `JACO_CRASH_ROUNDS` sets how often (300), `JACO_CRASH_SEED` the moments.

mod book;
mod rollout;
mod writers;

use std::process::ExitCode;

use jaco_e2e::{Case, Shared, can_run, run};

/// Each case has a daemon of its own.
pub(crate) struct Lab {
    pub(crate) evidence: String,
}

impl Shared for Lab {
    fn start() -> anyhow::Result<Lab> {
        Ok(Lab { evidence: String::new() })
    }

    fn evidence(&self) -> String {
        self.evidence.clone()
    }

    fn clear(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Random moments: xorshift64 (Marsaglia 2003), enough to spread kills and small enough to have no dependency.
pub(crate) struct Moments(u64);

impl Moments {
    pub(crate) fn new() -> Self {
        let seed = std::env::var("JACO_CRASH_SEED").ok().and_then(|text| text.parse().ok());
        let now = || {
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(1, |since| since.as_micros() as u64)
        };
        let seed = seed.unwrap_or_else(now).max(1);
        jaco_e2e::announce(&format!("JACO_CRASH_SEED={seed}"));
        Moments(seed)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

const CASES: &[Case<Lab>] = &[
    ("what_was_acknowledged_survives_kills", writers::what_was_acknowledged_survives_kills),
    ("a_kill_in_the_middle_of_an_apply_leaves_old_or_new", rollout::a_kill_in_the_middle_of_an_apply_leaves_old_or_new),
];

fn main() -> ExitCode {
    if !can_run("crash") {
        return ExitCode::SUCCESS;
    }
    run("crash", CASES)
}
