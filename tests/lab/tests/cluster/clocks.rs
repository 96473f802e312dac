//! A wall clock that jumps on one member.

use std::time::Duration;

use anyhow::{Context, ensure};
use jaco_e2e::announce;
use jaco_lab::{Capability, can_run};
use serde_json::Value;

use crate::Rig;
use crate::cluster::{Cluster, condition_becomes, options};
use crate::workload::{deploy, placement};
use crate::writers::{time_passes, while_writing};

/// A jump may hold writes up for no longer.
const BAR: Duration = Duration::from_secs(2);

/// Forth and back by as much as a clock without a battery, on a follower and on the leader: the condition comes and goes, nothing moves,
/// nobody is called dead, and the cluster's time goes on as before.
pub(crate) fn a_clock_that_jumps_moves_nothing(rig: &mut Rig) -> anyhow::Result<()> {
    if !can_run("cluster::a_clock_that_jumps_moves_nothing", &[Capability::Faketime]) {
        return Ok(());
    }
    let cluster = Cluster::form_of(rig.lab(), 3, &options().with_own_clock())?;
    let witness = cluster.host(1);
    deploy(witness, "web", 3)?;
    let before = placement(witness, "web")?;
    let leader = cluster.leader(&[1, 2, 3])?;
    let follower = leader % 3 + 1;
    let (took, report) = while_writing(&cluster.hosts(&[1, 2, 3]), || {
        let mut took = Vec::new();
        // The leader's clock is what others are compared with.
        for (who, told_of, seconds) in [
            (follower, follower, 40 * 60),
            (follower, follower, -40 * 60),
            (leader, follower, 40 * 60),
            (leader, follower, -40 * 60),
        ] {
            cluster.host(who).shift_clock(seconds)?;
            took.push(condition_becomes(witness, told_of, "clock_skew", true)?);
            time_passes(Duration::from_secs(1));
            cluster.host(who).shift_clock(0)?;
            took.push(condition_becomes(witness, told_of, "clock_skew", false)?);
        }
        Ok(took)
    })?;
    announce(&format!("jumps were told after {took:.2?}; {}", report.summary()));
    ensure!(cluster.leader(&[1, 2, 3])? == leader, "another one leads");
    ensure!(placement(witness, "web")? == before, "replicas moved");
    cluster.settled(&[1, 2, 3])?;
    report.check(&cluster.hosts(&[1, 2, 3]))?;
    let gap = report.longest_gap();
    ensure!(gap <= BAR, "no write was accepted for {gap:.2?}");
    times_go_on(&witness.jaco_json(&["audit", "--since", "2h"])?)
}

/// The times of the audit log never go back, and never jump.
fn times_go_on(events: &Value) -> anyhow::Result<()> {
    let mut stamps = Vec::new();
    for event in events.as_array().context("no events")? {
        let text = event["ts"].as_str().context("an event without a time")?;
        let index = event["raft_index"].as_u64().context("an event without an index")?;
        stamps.push((index, seconds(text).with_context(|| format!("a time like {text:?}"))?));
    }
    stamps.sort_by_key(|(index, _)| *index);
    ensure!(stamps.len() > 10, "only {} events", stamps.len());
    for pair in stamps.windows(2) {
        let step = (pair[1].1 - pair[0].1).rem_euclid(86_400);
        ensure!(step < 60, "{step} s between log indexes {} and {}: the cluster's time jumped", pair[0].0, pair[1].0);
    }
    Ok(())
}

/// Second of the day of an RFC 3339 text in UTC.
fn seconds(text: &str) -> Option<i64> {
    let time = text.split_once('T')?.1;
    let mut parts = time.split([':', '.', 'Z']).map(|part| part.parse::<i64>().ok());
    Some(parts.next()?? * 3600 + parts.next()?? * 60 + parts.next()??)
}
