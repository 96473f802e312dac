//! Whole hosts die, and what they ran is run by others.

use std::time::{Duration, Instant};

use anyhow::ensure;
use jaco_e2e::announce;

use crate::Rig;
use crate::cluster::{Cluster, DOWN_AFTER, options};
use crate::workload::{answers, ask, deploy, engines_agree, spread};
use crate::writers::while_writing;

/// After a node is down its replicas run elsewhere within this time.
const REPLACED: Duration = Duration::from_secs(5);

/// No loss of a node may hold writes up for longer.
const NO_WRITE: Duration = Duration::from_secs(5);

/// Enough for what has no bar of its own.
const LONG: Duration = Duration::from_secs(60);

/// Unreachable, down, replaced, back, and level again.
pub(crate) fn replicas_of_a_killed_host_run_elsewhere(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let leader = cluster.leader(&[1, 2, 3])?;
    let followers: Vec<usize> = (1..=3).filter(|number| *number != leader).collect();
    let (victim, witness) = (followers[0], followers[1]);
    deploy(cluster.host(witness), "web", 6)?;
    spread(cluster.host(witness), "web", 6, &[1, 2, 3], LONG)?;
    for number in 1..=3 {
        served(rig, &cluster, number)?;
    }
    let took = kill_and_see(&cluster, victim, witness, 6)?;
    announce(&format!("host killed: unreachable, down, replaced after {took:.2?} (bar {:?})", DOWN_AFTER + REPLACED));

    let mut left: Vec<usize> = vec![leader, witness];
    left.sort_unstable();
    for number in &left {
        answers(rig.lab(), cluster.host(*number), "web", Duration::from_secs(10))?;
    }
    let begin = Instant::now();
    revive(&cluster, victim)?;
    cluster.node_becomes(witness, victim, &["ready"], LONG)?;
    let ready = begin.elapsed();
    // What was replaced elsewhere is gone by the time that the node is ready.
    let own = crate::workload::containers(cluster.host(victim), "web")?;
    let placed = crate::workload::placement(cluster.host(witness), "web")?;
    let wanted = placed.get(cluster.host(victim).name()).cloned().unwrap_or_default();
    let superseded: Vec<&String> = own.iter().filter(|name| !wanted.contains(name)).collect();
    let moving_in = superseded.iter().all(|name| is_on_its_way(&cluster, witness, victim, name).unwrap_or(false));
    ensure!(moving_in, "ready, and still runs {superseded:?}");
    spread(cluster.host(witness), "web", 6, &[1, 2, 3], LONG)?;
    announce(&format!("host booted: ready after {ready:.2?}, level after {:.2?}", begin.elapsed()));
    engines_agree(cluster.host(witness), &cluster.hosts(&[1, 2, 3]), "web", LONG)?;
    cluster.settled(&[1, 2, 3])
}

/// Asks the ingress of a host again and again: each answer is a good one, though most replicas are on other hosts.
fn served(rig: &Rig, cluster: &Cluster<'_>, number: usize) -> anyhow::Result<()> {
    const REQUESTS: usize = 30;
    let host = cluster.host(number);
    answers(rig.lab(), host, "web", Duration::from_secs(10))?;
    let statuses = (0..REQUESTS).map(|_| ask(rig.lab(), host, "web").map(|reply| reply.status));
    let statuses = statuses.collect::<anyhow::Result<Vec<u16>>>()?;
    let good = statuses.iter().filter(|status| **status == 200).count();
    ensure!(good == REQUESTS, "{} answered {good} of {REQUESTS} requests well: {statuses:?}", host.name());
    Ok(())
}

/// Whether a container is there because its replica moves to that host now.
fn is_on_its_way(cluster: &Cluster<'_>, asked: usize, host: usize, replica: &str) -> anyhow::Result<bool> {
    let detail = cluster.host(asked).jaco_json(&["get", "replica", replica])?;
    Ok(detail["host"] == cluster.host(host).name())
}

/// Kills a host; gives when it was unreachable, down, and replaced.
fn kill_and_see(
    cluster: &Cluster<'_>,
    victim: usize,
    witness: usize,
    replicas: usize,
) -> anyhow::Result<[Duration; 3]> {
    let begin = Instant::now();
    cluster.host(victim).kill()?;
    cluster.node_becomes(witness, victim, &["unreachable"], DOWN_AFTER + Duration::from_secs(2))?;
    let unreachable = begin.elapsed();
    cluster.node_becomes(witness, victim, &["down"], DOWN_AFTER + REPLACED)?;
    let down = begin.elapsed();
    ensure!(unreachable >= Duration::from_secs(2), "unreachable after {unreachable:?}: too hasty");
    ensure!(down >= DOWN_AFTER.saturating_sub(Duration::from_secs(1)), "down after {down:?}: too hasty");
    let left: Vec<usize> = (1..=3).filter(|number| *number != victim).collect();
    let bar = (DOWN_AFTER + REPLACED).saturating_sub(begin.elapsed());
    spread(cluster.host(witness), "web", replicas, &left, bar)?;
    Ok([unreachable, down, begin.elapsed()])
}

fn revive(cluster: &Cluster<'_>, number: usize) -> anyhow::Result<()> {
    cluster.host(number).boot()?;
    cluster.host(number).start_jacod(&options()).map(|_| ())
}

/// Each in turn, the leader among them, under writes on all of them: what the dead one ran runs elsewhere, nothing acknowledged is lost,
/// and the cluster is whole again afterwards.
pub(crate) fn each_host_is_killed_in_turn(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let all = cluster.hosts(&[1, 2, 3]);
    deploy(cluster.host(1), "web", 3)?;
    let (times, report) = while_writing(&all, || {
        let mut times = Vec::new();
        for victim in 1..=3 {
            times.push(kill_and_revive(&cluster, victim)?);
        }
        Ok(times)
    })?;
    announce(&format!("killed (whether it led, time until replaced): {times:.2?}"));
    announce(&report.summary());
    report.check(&all)?;
    let gap = report.longest_gap();
    ensure!(gap <= NO_WRITE, "no write was accepted for {gap:.2?}");
    engines_agree(cluster.host(1), &all, "web", LONG)
}

fn kill_and_revive(cluster: &Cluster<'_>, victim: usize) -> anyhow::Result<(bool, Duration)> {
    let witness = victim % 3 + 1;
    let left: Vec<usize> = (1..=3).filter(|number| *number != victim).collect();
    let led = cluster.leader(&[1, 2, 3])? == victim;
    let begin = Instant::now();
    cluster.host(victim).kill()?;
    // A new leader grants everybody a full period first.
    let grace = if led { Duration::from_secs(5) } else { Duration::ZERO };
    spread(cluster.host(witness), "web", 3, &left, DOWN_AFTER + REPLACED + grace)?;
    let replaced = begin.elapsed();
    revive(cluster, victim)?;
    cluster.settled(&[1, 2, 3])?;
    spread(cluster.host(witness), "web", 3, &[1, 2, 3], LONG)?;
    Ok((led, replaced))
}
