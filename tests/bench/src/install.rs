//! (j) A fresh member gets a state of 100 MiB as a snapshot, beside a copy of the same file that is synced to the same disk.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::{Installed, Single};
use crate::report::{Figure, Measure, Report};
use crate::stats::{median, paired_ratio};
use crate::{Settings, say};

const STATE: u64 = 100 << 20;
const NOTE: &str = "ours: from taking the learner in until it has applied all: reading the file, TLS on loopback, its checksums, writing and \
                    syncing it, decoding it into memory; beside it the same file copied and synced, in the same round";

/// One round.
struct Round {
    ours: f64,
    copy: f64,
    mebibytes: f64,
    processor: (f64, f64),
}

pub(crate) fn run(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let single = Single::start()?;
    single.fill(STATE)?;
    let mut rounds = Vec::new();
    for number in 0..settings.rounds(5, 2) {
        let Installed { took, processor, snapshot } = single.install(2 + number as u64)?;
        let round = Round {
            ours: took.as_secs_f64(),
            copy: copy(&snapshot)?.as_secs_f64(),
            mebibytes: std::fs::metadata(&snapshot)?.len() as f64 / f64::from(1 << 20),
            processor,
        };
        say(&format!(
            "  round {}: {:.0} MiB in {:.2} s, copy {:.2} s",
            number + 1,
            round.mebibytes,
            round.ours,
            round.copy
        ));
        rounds.push(round);
    }
    let all = |of: fn(&Round) -> f64| rounds.iter().map(of).collect::<Vec<f64>>();
    let mebibytes = median(&all(|round| round.mebibytes));
    let measure = |times: &[f64]| {
        let took = median(times);
        let rate = mebibytes / took.max(f64::MIN_POSITIVE);
        Measure::of(took)
            .detail(format!("{rate:.0} MiB/s"))
            .numbers(json!({ "mib_per_second": rate, "rounds_s": times }))
    };
    let (ours, copies) = (all(|round| round.ours), all(|round| round.copy));
    let (leader, learner) = (median(&all(|round| round.processor.0)), median(&all(|round| round.processor.1)));
    report.add(Figure {
        part: 'j',
        name: format!("snapshot of {mebibytes:.0} MiB into a fresh member"),
        unit: "s",
        ours: measure(&ours),
        floor: Some(("copy + fsync".to_owned(), measure(&copies))),
        ratio: Some(paired_ratio(&ours, &copies)),
        bar: None,
        note: format!("{NOTE}; processor time: leader {leader:.2} s, learner {learner:.2} s"),
    });
    Ok(())
}

fn copy(snapshot: &Path) -> anyhow::Result<Duration> {
    let target = snapshot.with_extension("copy");
    let begun = Instant::now();
    std::fs::copy(snapshot, &target)?;
    File::open(&target)?.sync_all()?;
    let took = begun.elapsed();
    std::fs::remove_file(&target)?;
    Ok(took)
}
