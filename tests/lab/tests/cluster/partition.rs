//! Links between the hosts are cut, both ways and one way.

use std::time::{Duration, Instant};

use anyhow::ensure;
use jaco_e2e::{announce, eventually};

use crate::Rig;
use crate::cluster::{Cluster, DOWN_AFTER, refused};
use crate::workload::{answers, apply, ask, containers, deploy, engines_agree, idle_project, spread};
use crate::writers::{time_passes, while_writing};

const LONG: Duration = Duration::from_secs(60);

/// What a node without a majority answers to a write.
const NO_MAJORITY: &[&str] = &["quorum_lost", "no_leader"];

fn others(number: usize) -> Vec<usize> {
    (1..=3).filter(|other| *other != number).collect()
}

/// Whoever led stands alone: it tells what it knows and takes no writes, its containers and its ingress go on. The others choose a new
/// leader, and replace what the lost one ran; afterwards it stops what is no longer its own.
pub(crate) fn a_cut_off_leader_serves_reads_and_refuses_writes(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let alone = cluster.leader(&[1, 2, 3])?;
    let majority = others(alone);
    let (lost, witness) = (cluster.host(alone), cluster.host(majority[0]));
    deploy(lost, "web", 3)?;
    spread(lost, "web", 3, &[1, 2, 3], LONG)?;
    answers(rig.lab(), lost, "web", Duration::from_secs(10))?;
    let before = containers(lost, "web")?;
    ensure!(before.len() == 1, "{before:?}");

    let begin = Instant::now();
    rig.lab().network().partition(&[lost], &cluster.hosts(&majority))?;
    let successor = cluster.leader(&majority)?;
    apply(witness, &idle_project("after")?)?;
    announce(&format!("the majority writes {:.2?} after the cut", begin.elapsed()));
    spread(witness, "web", 3, &majority, DOWN_AFTER * 2 + Duration::from_secs(10))?;

    minority(rig, &cluster, alone, &before)?;
    rig.lab().network().heal()?;
    let healed = Instant::now();
    cluster.settled(&[1, 2, 3])?;
    ensure!(cluster.leader(&[1, 2, 3])? == successor, "the returning node deposed a healthy leader");
    spread(witness, "web", 3, &[1, 2, 3], LONG)?;
    engines_agree(witness, &cluster.hosts(&[1, 2, 3]), "web", LONG)?;
    announce(&format!("whole and level {:.2?} after the cut was mended", healed.elapsed()));
    lost.jaco_json(&["get", "deployment", "after"]).map(|_| ())
}

fn minority(rig: &Rig, cluster: &Cluster<'_>, alone: usize, before: &[String]) -> anyhow::Result<()> {
    let lost = cluster.host(alone);
    // Reads answer with what was known, and say that it may be old.
    let read = lost.jaco_within(Duration::from_secs(20), &["-o", "json", "status", "web"])?;
    ensure!(read.is_success() && read.stdout.contains("web-web-0"), "{read:?}");
    ensure!(read.stderr.contains("stale"), "a read without a majority is not marked: {read:?}");
    let told = lost.jaco_json(&["cluster", "status"])?;
    ensure!(told["quorum"] == false, "{told}");
    let after = lost.jaco_json(&["get", "deployments"])?;
    ensure!(!after.to_string().contains("after"), "the cut-off node knows what the others wrote: {after}");

    let begin = Instant::now();
    let project = idle_project("refused")?;
    refused(lost, &["apply", &project.jaco(), "--timeout", "30s"], 6, NO_MAJORITY)?;
    let apply_took = begin.elapsed();
    ensure!(apply_took < Duration::from_secs(3), "refused only after {apply_took:?}");
    refused(lost, &["delete", "web", "--timeout", "30s"], 6, NO_MAJORITY)?;
    ensure!(containers(lost, "web")? == before, "the cut-off node changed its containers");
    let reply = ask(rig.lab(), lost, "web")?;
    ensure!(reply.status == 200, "{reply:?}");
    announce(&format!("the minority refused a write after {apply_took:.2?}"));
    Ok(())
}

/// Cut off for long enough to want an election badly, and back: the leader is who it was all the time, and writes never stopped.
pub(crate) fn a_returning_follower_deposes_nobody(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let leader = cluster.leader(&[1, 2, 3])?;
    let followers = others(leader);
    let (gone, stays) = (followers[0], followers[1]);
    let writers = cluster.hosts(&[leader, stays]);
    let ((), report) = while_writing(&writers, || {
        rig.lab().network().isolate(cluster.host(gone))?;
        time_passes(Duration::from_secs(8));
        rig.lab().network().heal()?;
        cluster.settled(&[1, 2, 3])?;
        time_passes(Duration::from_secs(3));
        Ok(())
    })?;
    announce(&report.summary());
    ensure!(cluster.leader(&[1, 2, 3])? == leader, "another one leads");
    report.check(&cluster.hosts(&[1, 2, 3]))?;
    let gap = report.longest_gap();
    ensure!(gap <= Duration::from_secs(2), "a follower's absence stopped writes for {gap:.2?}");
    Ok(())
}

/// From the leader to one follower, from a follower to the leader, from the leader to both: writes go on within seconds, and nothing
/// is lost.
pub(crate) fn a_cut_one_way_stops_nothing_for_long(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let network = rig.lab().network();
    for (what, bar) in [("leader to a follower", 5), ("a follower to the leader", 5), ("leader to both", 8)] {
        let leader = cluster.leader(&[1, 2, 3])?;
        let followers = others(leader);
        let (one, two) = (cluster.host(followers[0]), cluster.host(followers[1]));
        let led = cluster.host(leader);
        let (reached, report) = while_writing(&[two, led], || {
            time_passes(Duration::from_secs(1));
            match what {
                "leader to a follower" => network.cut_one_way(led, one)?,
                "a follower to the leader" => network.cut_one_way(one, led)?,
                _ => {
                    network.cut_one_way(led, one)?;
                    network.cut_one_way(led, two)?;
                }
            }
            time_passes(Duration::from_secs(8));
            eventually(Duration::from_secs(10), "somebody takes a write", || {
                let project = idle_project("probe").map_err(|error| format!("{error:#}"))?;
                let arguments = ["apply", &project.jaco(), "--timeout", "5s"];
                let answer =
                    two.jaco_within(Duration::from_secs(8), &arguments).map_err(|error| format!("{error:#}"))?;
                if answer.is_success() { Ok(()) } else { Err(answer.stderr) }
            })?;
            let reached = Instant::now();
            network.heal()?;
            cluster.settled(&[1, 2, 3])?;
            Ok(reached)
        })?;
        ensure!(report.count() > 0 && reached.elapsed() < LONG);
        announce(&format!("cut from {what}: {}", report.summary()));
        report.check(&cluster.hosts(&[1, 2, 3]))?;
        let gap = report.longest_gap();
        ensure!(gap <= Duration::from_secs(bar), "cut from {what}: no write was accepted for {gap:.2?}");
    }
    Ok(())
}
