//! The disk of one member fills up while others write.

use std::time::{Duration, Instant};

use anyhow::ensure;
use jaco_e2e::{announce, eventually};
use jaco_lab::{Capability, can_run};

use crate::Rig;
use crate::cluster::{Cluster, cluster_status, condition_becomes};
use crate::writers::{time_passes, while_writing};

/// One member's full disk may hold writes up for no longer.
const BAR: Duration = Duration::from_secs(5);

/// How long it stays full.
const FULL: Duration = Duration::from_secs(5);

/// First the disk of whoever leads, then that of a follower: the leader hands over, the follower waits, and both catch up when there is
/// room again.
pub(crate) fn writes_go_on_when_a_disk_is_full(rig: &mut Rig) -> anyhow::Result<()> {
    if !can_run("cluster::writes_go_on_when_a_disk_is_full", &[Capability::Ext4]) {
        return Ok(());
    }
    let cluster = rig.cluster(3)?;
    let leader = cluster.leader(&[1, 2, 3])?;
    fill_up(&cluster, leader, "the leader's")?;
    let leader = cluster.leader(&[1, 2, 3])?;
    fill_up(&cluster, leader % 3 + 1, "a follower's")
}

fn fill_up(cluster: &Cluster<'_>, full: usize, whose: &str) -> anyhow::Result<()> {
    let others: Vec<usize> = (1..=3).filter(|number| *number != full).collect();
    let witness = cluster.host(others[0]);
    let ((told, level), report) = while_writing(&cluster.hosts(&others), || {
        time_passes(Duration::from_secs(1));
        let begin = Instant::now();
        cluster.host(full).fill_disk(0)?;
        let told = condition_becomes(witness, full, "disk_full", true)?;
        ensure!(cluster.leader(&others)? != full, "the one whose disk is full leads");
        time_passes(FULL.saturating_sub(begin.elapsed()));
        ensure!(cluster.host(full).jacod().is_running(), "the daemon ended when its disk was full");
        cluster.host(full).free_disk()?;
        let freed = Instant::now();
        condition_becomes(witness, full, "disk_full", false)?;
        level_with(cluster, witness.number(), full)?;
        Ok((told, freed.elapsed()))
    })?;
    announce(&format!(
        "{whose} disk was full: told after {told:.2?}, level {level:.2?} after there was room; {}",
        report.summary()
    ));
    cluster.settled(&[1, 2, 3])?;
    report.check(&cluster.hosts(&[1, 2, 3]))?;
    let gap = report.longest_gap();
    ensure!(gap <= BAR, "{whose} disk was full: no write was accepted for {gap:.2?}");
    Ok(())
}

/// Waits until a host has applied what another one had when this was asked.
fn level_with(cluster: &Cluster<'_>, ahead: usize, behind: usize) -> anyhow::Result<()> {
    let index = |number: usize| anyhow::Ok(cluster_status(cluster.host(number))?["raft_index"].as_u64().unwrap_or(0));
    let wanted = index(ahead)?;
    eventually(Duration::from_secs(20), &format!("host{behind} has applied index {wanted}"), || {
        let has = index(behind).map_err(|error| format!("{error:#}"))?;
        if has >= wanted { Ok(()) } else { Err(format!("it is at {has}")) }
    })
}
