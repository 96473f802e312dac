//! (h) The leader is killed with SIGKILL: how long until a write is accepted again. A write is sent to each of the two others every ten
//! milliseconds, whatever became of those before it, so that neither side's habit of keeping a write waiting hides that it serves again.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, Etcd, MEMBERS, Ours, PATIENCE, Writer};
use crate::report::{Bar, Figure, Measure, Report};
use crate::stats::{median, quantile};
use crate::{Settings, say};

/// Between two writes to the same member; also what a gap is known to.
const PROBE_INTERVAL: Duration = Duration::from_millis(10);
const NOTE: &str = "a write every 10 ms to each of the two others from the kill on; both with their own defaults";

pub(crate) fn run(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut ours = Ours::start()?;
    let mut etcd = Etcd::start(runtime.handle())?;
    if etcd.is_none() {
        report.skip("(h) etcd's gap", "etcd is not installed");
    }
    let (mut gaps, mut peer_gaps) = (Vec::new(), Vec::new());
    for round in 0..settings.rounds(20, 8) {
        gaps.push(gap(&runtime, &mut ours)?);
        if let Some(etcd) = &mut etcd {
            peer_gaps.push(gap(&runtime, etcd)?);
        }
        let latest = |gaps: &[f64]| gaps.last().copied().unwrap_or_default();
        say(&format!("  kill {}: {:.2} s, etcd {:.2} s", round + 1, latest(&gaps), latest(&peer_gaps)));
    }
    let measure = |gaps: &[f64], value: f64| {
        let most = quantile(gaps, 1.0);
        Measure::of(value).detail(format!("longest {most:.2} s")).numbers(json!({ "gaps_s": gaps }))
    };
    let rows = [("median", 1.0, 0.5), ("p95", 2.0, 0.95)];
    for (name, most, share) in rows {
        let of = |gaps: &[f64]| if share == 0.5 { median(gaps) } else { quantile(gaps, share) };
        let peer = (!peer_gaps.is_empty()).then(|| of(&peer_gaps));
        report.add(Figure {
            part: 'h',
            name: format!("leader killed, next accepted write, {name} of {}", gaps.len()),
            unit: "s",
            ours: measure(&gaps, of(&gaps)),
            floor: peer.map(|peer| ("etcd".to_owned(), measure(&peer_gaps, peer))),
            ratio: peer.map(|peer| of(&gaps) / peer.max(f64::MIN_POSITIVE)),
            bar: Some(Bar::AtMost(most)),
            note: NOTE.to_owned(),
        });
    }
    Ok(())
}

/// Kills the leader once, and brings it back; the gap in seconds.
fn gap(runtime: &Runtime, cluster: &mut dyn Cluster) -> anyhow::Result<f64> {
    let leader = jaco_e2e::eventually(PATIENCE, "a leader", || cluster.leader().map_err(|error| error.to_string()))?;
    let others: Vec<usize> = (0..MEMBERS).filter(|which| *which != leader).collect();
    let writers = others.iter().map(|which| cluster.writer(*which)).collect::<anyhow::Result<Vec<_>>>()?;
    // All is well before the kill, and the connections are there.
    runtime.block_on(async {
        for sequence in 0..20 {
            for writer in &writers {
                writer.write(sequence).await?;
            }
        }
        anyhow::Ok(())
    })?;
    let begun = Instant::now();
    cluster.kill(leader)?;
    let accepted = runtime.block_on(first_accepted(&writers)).with_context(|| cluster.name().to_owned())?;
    let gap = (accepted - begun).as_secs_f64();
    cluster.restart(leader)?;
    Ok(gap)
}

/// When the first write was acknowledged of those that were sent from now on.
async fn first_accepted(writers: &[Writer]) -> anyhow::Result<Instant> {
    let mut probes = JoinSet::new();
    let mut ticks = tokio::time::interval(PROBE_INTERVAL);
    let (mut sequence, mut last_failure) = (0, None);
    let end = Instant::now() + PATIENCE;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                sequence += 1;
                for writer in writers {
                    let writer = writer.clone();
                    probes.spawn(async move { writer.write(sequence).await.map(|()| Instant::now()) });
                }
            }
            Some(probe) = probes.join_next() => match probe? {
                Ok(accepted) => return Ok(accepted),
                Err(error) => last_failure = Some(error),
            },
        }
        if Instant::now() > end {
            bail!("no write was accepted within {PATIENCE:?}: {last_failure:?}");
        }
    }
}
