//! Links that lose and delay frames, and a node that is to be found somewhere else.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use jaco_e2e::{announce, eventually};
use jaco_lab::{Capability, Host, can_run};

use crate::Rig;
use crate::cluster::{Cluster, cluster_status, nodes, options};
use crate::workload::{apply, idle_project};
use crate::writers::{time_passes, while_writing};

/// Lost frames of a hundred, at each end of a link.
const LOSS: u8 = 3;

/// How long links are bad.
const BAD: Duration = Duration::from_secs(10);

/// Bad links may hold writes up for no longer.
const BAR: Duration = Duration::from_secs(5);

/// Every link loses frames, then every one is slow: nothing is lost, and nobody is called dead.
pub(crate) fn writes_go_on_over_bad_links(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let network = rig.lab().network();
    let all = cluster.hosts(&[1, 2, 3]);
    bad_links(&cluster, &format!("{LOSS} % lost at each end"), || {
        all.iter().try_for_each(|host| network.loss(host, LOSS))
    })?;
    network.heal()?;
    if can_run("cluster::writes_go_on_over_bad_links (delays)", &[Capability::Netem]) {
        let delay = Duration::from_millis(20);
        bad_links(&cluster, "20 ms at each end", || all.iter().try_for_each(|host| network.delay(host, delay)))?;
        all.iter().try_for_each(|host| network.delay(host, Duration::ZERO))?;
    }
    Ok(())
}

fn bad_links(cluster: &Cluster<'_>, what: &str, spoil: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let before = cluster.leader(&[1, 2, 3])?;
    let downs = count_downs(cluster)?;
    let (after, report) = while_writing(&cluster.hosts(&[1, 2, 3]), || {
        spoil()?;
        time_passes(BAD);
        cluster.leader(&[1, 2, 3])
    })?;
    announce(&format!("{what}: led by host{before}, then host{after}; {}", report.summary()));
    ensure!(count_downs(cluster)? == downs, "{what}: a node was called down");
    report.check(&cluster.hosts(&[1, 2, 3]))?;
    let gap = report.longest_gap();
    ensure!(gap <= BAR, "{what}: no write was accepted for {gap:.2?}");
    Ok(())
}

fn count_downs(cluster: &Cluster<'_>) -> anyhow::Result<usize> {
    let events = cluster.host(1).jaco_json(&["audit", "--type", "node_down"])?;
    Ok(events.as_array().map_or(0, Vec::len))
}

/// Started again at another address, it is found there by everybody: it is voted with when another member is lost, and serves.
pub(crate) fn a_node_moves_to_another_address(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let leader = cluster.leader(&[1, 2, 3])?;
    let (moving, third) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    let ((), report) = while_writing(&cluster.hosts(&[leader, third]), || {
        time_passes(Duration::from_secs(1));
        let begin = Instant::now();
        let address = move_away(cluster.host(moving))?;
        for number in 1..=3 {
            is_told(cluster.host(number), moving, address)?;
        }
        cluster.settled(&[1, 2, 3])?;
        announce(&format!("found at its new address {:.2?} after it was stopped", begin.elapsed()));
        Ok(())
    })?;
    announce(&report.summary());
    report.check(&cluster.hosts(&[1, 2, 3]))?;
    let gap = report.longest_gap();
    ensure!(gap <= BAR, "no write was accepted for {gap:.2?}");

    // Without the leader the majority needs the one that moved.
    let begin = Instant::now();
    cluster.host(leader).jacod().kill9()?;
    apply(cluster.host(moving), &idle_project("moved")?)?;
    announce(&format!("without the old leader it serves a write after {:.2?}", begin.elapsed()));
    cluster.host(leader).start_jacod(&options())?;
    cluster.settled(&[1, 2, 3])?;
    // A node joins through it, where it is now.
    let joiner = rig.lab().host(4);
    joiner.start_jacod(&options())?;
    let peer = format!("{}:7000", other_address(cluster.host(moving)));
    let token = cluster.token(moving, &[])?;
    joiner.jaco(&["node", "join", "--no-systemd-enable", "--peer", &peer, "--token", &token])?.ok()?;
    cluster.settled(&[1, 2, 3, 4])
}

/// An address of the switch's network that no host has.
fn other_address(host: &Host) -> Ipv4Addr {
    let [a, b, c, d] = host.address().octets();
    Ipv4Addr::new(a, b, c, d + 100)
}

/// Stops a host's daemon, and starts it again bound to another address.
fn move_away(host: &Host) -> anyhow::Result<Ipv4Addr> {
    let address = other_address(host);
    host.jacod().stop()?;
    host.run(&["ip", "address", "add", &format!("{address}/24"), "dev", "eth0"])?.ok()?;
    let [listen, cluster] = [7000, 7001].map(|port| format!("{address}:{port}"));
    host.start_jacod(&options().set("listen_addr", &listen).set("cluster_addr", &cluster))?;
    Ok(address)
}

fn is_told(asked: &Host, moved: usize, address: Ipv4Addr) -> anyhow::Result<()> {
    let (name, wanted) = (format!("host{moved}"), address.to_string());
    eventually(Duration::from_secs(20), &format!("{} knows {name} at {address}", asked.name()), || {
        let status = cluster_status(asked).map_err(|error| format!("{error:#}"))?;
        let told =
            nodes(&status).iter().any(|node| node["hostname"] == name.as_str() && node["address"] == wanted.as_str());
        if told { Ok(()) } else { Err(status.to_string()) }
    })
}
