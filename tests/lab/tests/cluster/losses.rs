//! Most of the nodes are gone, or all that one of them knew.

use std::time::{Duration, Instant};

use anyhow::ensure;
use jaco_e2e::announce;

use crate::Rig;
use crate::cluster::{cluster_status, join, options, refused};
use crate::workload::{answers, apply, containers, deploy, engines_agree, idle_project, spread};

const LONG: Duration = Duration::from_secs(60);

/// Two of three hosts die: the third goes on with what it runs, and when they are back everything is as it was.
pub(crate) fn a_lost_majority_comes_back(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let left = cluster.host(1);
    deploy(left, "web", 3)?;
    spread(left, "web", 3, &[1, 2, 3], LONG)?;
    let before = containers(left, "web")?;
    for number in [2, 3] {
        cluster.host(number).kill()?;
    }
    let project = idle_project("refused")?;
    refused(left, &["apply", &project.jaco(), "--timeout", "30s"], 6, &["quorum_lost", "no_leader"])?;
    let told = cluster_status(left)?;
    ensure!(told["quorum"] == false, "{told}");
    // Killed and started again it has nobody to ask, and keeps what runs.
    left.jacod().kill9()?;
    left.start_jacod(&options())?;
    answers(rig.lab(), left, "web", Duration::from_secs(10))?;
    ensure!(containers(left, "web")? == before, "{before:?} ran, now {:?}", containers(left, "web")?);

    let begin = Instant::now();
    rig.lab().each(|host| {
        if host.is_running() {
            return Ok(());
        }
        host.boot()?;
        host.start_jacod(&options()).map(|_| ())
    })?;
    cluster.settled(&[1, 2, 3])?;
    apply(left, &idle_project("accepted")?)?;
    announce(&format!("whole and writing {:.2?} after the majority was booted", begin.elapsed()));
    refused(left, &["get", "deployment", "refused"], 4, &["deployment_not_found"])?;
    spread(left, "web", 3, &[1, 2, 3], LONG)?;
    engines_agree(left, &cluster.hosts(&[1, 2, 3]), "web", LONG)
}

/// A whole disk is lost; the host is removed by force and joins again as a new node with the old name.
pub(crate) fn a_node_that_lost_its_disk_is_replaced(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let (asked, lost) = (cluster.host(1), cluster.host(3));
    deploy(asked, "web", 3)?;
    lost.kill()?;
    lost.wipe_disk()?;
    lost.boot()?;
    lost.start_jacod(&options())?;
    // Its name is taken as long as the old record is there.
    let token = cluster.token(1, &[])?;
    crate::cluster::refusal(&join(lost, asked, &token)?, 7, &["node_already_member"])?;
    cluster.node_becomes(1, 3, &["down"], Duration::from_secs(20))?;
    asked.jaco(&["node", "remove", "host3", "--force"])?.ok()?;
    // Its images went with its disk.
    rig.lab().build_web_image()?;
    let begin = Instant::now();
    join(lost, asked, &token)?.ok()?;
    cluster.settled(&[1, 2, 3])?;
    announce(&format!("replaced after {:.2?}", begin.elapsed()));
    spread(asked, "web", 3, &[1, 2, 3], LONG).map(|_| ())
}
