//! Nodes are drained, taken back, and leave.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jaco_e2e::{announce, eventually};
use jaco_lab::Host;

use crate::Rig;
use crate::cluster::{Cluster, cluster_status, join, refused};
use crate::workload::{answers, containers, deploy, engines_agree, placement, spread};

const LONG: Duration = Duration::from_secs(60);

/// A removed node is clean within this time.
const CLEAN: Duration = Duration::from_secs(30);

/// Emptied with no replica missing at any time, given nothing new, and levelled when it is taken back.
pub(crate) fn a_node_is_drained_and_taken_back(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let (asked, drained) = (cluster.host(1), cluster.host(3));
    deploy(asked, "web", 3)?;
    spread(asked, "web", 3, &[1, 2, 3], LONG)?;
    answers(rig.lab(), asked, "web", Duration::from_secs(10))?;
    let begin = Instant::now();
    asked.jaco(&["node", "drain", "host3"])?.ok()?;
    announce(&format!("drained after {:.2?}", begin.elapsed()));
    // The command returns when nothing is to run there; the last container may be in its grace period.
    eventually(Duration::from_secs(12), "the drained node runs nothing", || {
        let left = containers(drained, "web").map_err(|error| format!("{error:#}"))?;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })?;
    announce(&format!("empty after {:.2?}", begin.elapsed()));
    let states = ["draining"];
    cluster.node_becomes(2, 3, &states, Duration::from_secs(5))?;
    deploy(asked, "more", 4)?;
    ensure!(!placement(asked, "more")?.contains_key("host3"), "a drained node was given a replica");
    refused(asked, &["node", "drain", "nobody"], 4, &["node_not_found"])?;
    cluster.host(2).jaco(&["node", "uncordon", "host3"])?.ok()?;
    cluster.settled(&[1, 2, 3])?;
    spread(asked, "more", 4, &[1, 2, 3], LONG)?;
    engines_agree(asked, &cluster.hosts(&[1, 2, 3]), "more", LONG)
}

/// Removed gracefully; it cleans up by itself, is told nothing any more, and joins again as a new node.
pub(crate) fn a_node_leaves_and_joins_again(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let (asked, leaver) = (cluster.host(1), cluster.host(3));
    deploy(asked, "web", 3)?;
    spread(asked, "web", 3, &[1, 2, 3], LONG)?;
    let answer = asked.jaco_json(&["node", "remove", "host3"])?;
    ensure!(answer["hostname"] == "host3" && answer["removed"] == true && answer["forced"] == false, "{answer}");
    ensure!(answer["migrated"].as_array().is_some_and(|all| all.len() == 1), "{answer}");
    clean(leaver)?;
    cluster.settled(&[1, 2])?;
    spread(asked, "web", 3, &[1, 2], LONG)?;
    let audit = asked.jaco(&["audit", "--type", "node_remove"])?.ok()?;
    ensure!(audit.contains("host3"), "no audit event: {audit}");
    refused(asked, &["node", "remove", "host3"], 4, &["node_not_found"])?;

    let token = cluster.token(2, &[])?;
    join(leaver, cluster.host(2), &token)?.ok()?;
    cluster.settled(&[1, 2, 3])?;
    spread(asked, "web", 3, &[1, 2, 3], LONG).map(|_| ())
}

/// Waits until nothing of a cluster is left on a removed node.
fn clean(host: &Host) -> anyhow::Result<()> {
    let begin = Instant::now();
    eventually(CLEAN, &format!("{} has cleaned up after its removal", host.name()), || {
        let status = cluster_status(host).map_err(|error| format!("{error:#}"))?;
        if status["initialized"] != false {
            return Err(status.to_string());
        }
        let left = |arguments: &[&str]| host.docker(arguments).map_err(|error| format!("{error:#}"));
        let containers = left(&["ps", "--all", "--quiet", "--filter", "label=jaco.cluster_id"])?;
        let networks = left(&["network", "ls", "--quiet", "--filter", "label=jaco.cluster_id"])?;
        if containers.is_empty() && networks.is_empty() {
            Ok(())
        } else {
            Err(format!("containers {containers:?}, networks {networks:?}"))
        }
    })?;
    announce(&format!("{} was clean {:.2?} after its removal", host.name(), begin.elapsed()));
    Ok(())
}

/// The one that leads hands over and goes.
pub(crate) fn the_leader_can_leave(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let leader = cluster.leader(&[1, 2, 3])?;
    let left: Vec<usize> = (1..=3).filter(|number| *number != leader).collect();
    let name = format!("host{leader}");
    // Asked for on itself: the command goes on when its own node is gone, or somewhere else finds it done.
    cluster.host(left[0]).jaco(&["node", "remove", &name])?.ok().with_context(|| format!("{name}, which leads"))?;
    clean(cluster.host(leader))?;
    cluster.settled(&left)?;
    // From two members with one voter the voter leaves: the other is promoted first.
    let leader = cluster.leader(&left)?;
    let last: Vec<usize> = left.iter().copied().filter(|number| *number != leader).collect();
    let name = format!("host{leader}");
    cluster.host(last[0]).jaco(&["node", "remove", &name])?.ok().with_context(|| format!("{name}, the only voter"))?;
    cluster.settled(&last)?;
    deploy(cluster.host(last[0]), "web", 1).map(|_| ())
}

/// A dead one cannot be asked: refused without force, and told when it comes back after all.
pub(crate) fn a_dead_node_is_removed_by_force(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let asked = cluster.host(1);
    deploy(asked, "web", 3)?;
    spread(asked, "web", 3, &[1, 2, 3], LONG)?;
    cluster.host(3).kill()?;
    cluster.node_becomes(1, 3, &["down"], Duration::from_secs(20))?;
    let answer = asked.jaco_json(&["node", "remove", "host3", "--force"])?;
    ensure!(answer["removed"] == true && answer["forced"] == true, "{answer}");
    cluster.settled(&[1, 2])?;
    spread(asked, "web", 3, &[1, 2], LONG)?;
    // The dead one rises, learns that it is no member, and cleans up.
    revive(&cluster, 3)?;
    clean(cluster.host(3))?;
    let token = cluster.token(1, &[])?;
    join(cluster.host(3), asked, &token)?.ok()?;
    cluster.settled(&[1, 2, 3])
}

fn revive(cluster: &Cluster<'_>, number: usize) -> anyhow::Result<()> {
    cluster.host(number).boot()?;
    cluster.host(number).start_jacod(&crate::cluster::options()).map(|_| ())
}
