//! The leader goes, in several ways, under continuous writes.

use std::time::{Duration, Instant};

use anyhow::ensure;
use jaco_e2e::announce;
use jaco_lab::Host;

use crate::Rig;
use crate::cluster::{Cluster, options};
use crate::writers::{Report, time_passes, while_writing};

/// Writes are accepted again within this time.
const BAR: Duration = Duration::from_secs(2);

/// How long writers work before the leader goes and after.
const AROUND: Duration = Duration::from_secs(4);

/// How often the leader is killed.
const ROUNDS: usize = 5;

/// The writers work on the hosts that stay; gives the longest gap after the leader went.
fn without_leader(
    cluster: &Cluster<'_>,
    end_leader: impl FnOnce(&Host) -> anyhow::Result<()>,
) -> anyhow::Result<(usize, Report, Duration)> {
    let leader = cluster.leader(&[1, 2, 3])?;
    let others: Vec<usize> = (1..=3).filter(|number| *number != leader).collect();
    let (moment, report) = while_writing(&cluster.hosts(&others), || {
        time_passes(AROUND / 2);
        let moment = Instant::now();
        end_leader(cluster.host(leader))?;
        time_passes(AROUND);
        Ok(moment)
    })?;
    let gap = report.gap_after(moment);
    report.check(&cluster.hosts(&others))?;
    ensure!(cluster.leader(&others)? != leader);
    Ok((leader, report, gap))
}

fn tell(what: &str, gaps: &[Duration]) {
    let mut sorted = gaps.to_vec();
    sorted.sort_unstable();
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    announce(&format!("leader {what}: no write for {gaps:.2?}, median {median:.2?} (bar {BAR:?})"));
}

/// Killed without warning, each time the one that leads then.
pub(crate) fn writes_go_on_when_the_leader_is_killed(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let mut gaps = Vec::new();
    for round in 1..=ROUNDS {
        let (leader, report, gap) = without_leader(&cluster, |host| host.jacod().kill9())?;
        announce(&format!("kill {round}: {}", report.summary()));
        cluster.host(leader).start_jacod(&options())?;
        cluster.settled(&[1, 2, 3])?;
        report.check(&cluster.hosts(&[1, 2, 3]))?;
        gaps.push(gap);
    }
    tell("killed", &gaps);
    ensure!(gaps.iter().all(|gap| *gap <= BAR), "no write was accepted for {gaps:.2?}");
    Ok(())
}

/// Paused: its connections stay open, and it thinks that it leads still when it goes on.
pub(crate) fn writes_go_on_when_the_leader_is_paused(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let (leader, report, gap) = without_leader(&cluster, |host| host.jacod().pause())?;
    announce(&report.summary());
    let others: Vec<usize> = (1..=3).filter(|number| *number != leader).collect();
    let successor = cluster.leader(&others)?;
    cluster.host(leader).jacod().resume()?;
    cluster.settled(&[1, 2, 3])?;
    ensure!(cluster.leader(&[1, 2, 3])? == successor, "the one that was paused deposed its successor");
    report.check(&cluster.hosts(&[1, 2, 3]))?;
    tell("paused", &[gap]);
    ensure!(gap <= BAR, "no write was accepted for {gap:.2?}");
    Ok(())
}

/// Stopped as the service manager does: it hands over first, so that nobody has to notice its silence.
pub(crate) fn writes_go_on_when_the_leader_stops(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let (leader, report, gap) = without_leader(&cluster, |host| host.jacod().stop().map(|_| ()))?;
    announce(&report.summary());
    cluster.host(leader).start_jacod(&options())?;
    cluster.settled(&[1, 2, 3])?;
    report.check(&cluster.hosts(&[1, 2, 3]))?;
    tell("stopped", &[gap]);
    ensure!(gap <= BAR, "no write was accepted for {gap:.2?}");
    Ok(())
}
