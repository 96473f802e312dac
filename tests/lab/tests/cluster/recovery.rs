//! What is done when a majority is lost for good, and when a key is.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jaco_e2e::{announce, eventually};

use crate::Rig;
use crate::cluster::{cluster_status, erase, join, options, refusal, refused};
use crate::workload::{apply, deploy, idle_project, spread};
use crate::writers::{time_passes, while_writing};

const LONG: Duration = Duration::from_secs(60);

/// Two of three are lost for good: the third becomes the only voter of a new life with all that it knew. One that comes back after all is
/// refused until it has joined anew.
pub(crate) fn the_only_survivor_recovers_the_cluster(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let left = cluster.host(1);
    deploy(left, "web", 3)?;
    spread(left, "web", 3, &[1, 2, 3], LONG)?;
    for number in [2, 3] {
        cluster.host(number).kill()?;
    }
    cluster.host(3).wipe_disk()?;
    let recover = ["cluster", "recover", "--old-nodes-are-off", "--yes"];
    refused(left, &recover, 7, &["conflict"]).context("while the daemon runs")?;
    left.jacod().stop()?;
    let unsure = refused(left, &["cluster", "recover"], 2, &["usage"]).context("without --yes")?;
    let text = unsure["message"].as_str().unwrap_or_default();
    ensure!(text.contains("lost") && text.contains("--yes"), "no clear warning: {unsure}");

    let begin = Instant::now();
    let answer = left.jaco(&recover)?;
    ensure!(answer.is_success() && answer.stderr.contains("only member"), "no clear warning: {answer:?}");
    left.start_jacod(&options())?;
    cluster.settled(&[1])?;
    apply(left, &idle_project("after")?)?;
    announce(&format!("the survivor writes {:.2?} after it was told to recover", begin.elapsed()));
    let status = cluster_status(left)?;
    ensure!(status["cluster_id"] == cluster.founded["cluster_id"], "{status}");
    let events = left.jaco_json(&["audit", "--type", "cluster_recovered"])?;
    ensure!(events.as_array().is_some_and(|events| events.len() == 1), "{events}");
    spread(left, "web", 3, &[1], LONG)?;

    // Of the old life: it finds nobody, and cannot join as it is.
    let old = cluster.host(2);
    for number in [2, 3] {
        cluster.host(number).boot()?;
    }
    old.start_jacod(&options())?;
    eventually(Duration::from_secs(20), "a node of the old life finds no majority", || {
        let told = cluster_status(old).map_err(|error| format!("{error:#}"))?;
        if told["quorum"] == false { Ok(()) } else { Err(told.to_string()) }
    })?;
    let token = cluster.token(1, &[])?;
    refusal(&join(old, left, &token)?, 7, &["cluster_already_initialized"])?;
    cluster.settled(&[1])?;
    erase(old)?;
    // Its images went with its disk.
    rig.lab().build_web_image()?;
    for number in [2, 3] {
        cluster.add(number, 1)?;
    }
    cluster.settled(&[1, 2, 3])?;
    spread(left, "web", 3, &[1, 2, 3], LONG)?;
    announce(&format!("three members again {:.2?} after it was told to recover", begin.elapsed()));
    cluster.host(3).jaco_json(&["get", "deployment", "after"]).map(|_| ())
}

/// A new data key, again and again, asked for on each member while all of them take writes; a node joins afterwards.
pub(crate) fn the_data_key_is_rotated_under_writes(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let (times, report) = while_writing(&cluster.hosts(&[1, 2, 3]), || {
        let (mut times, mut newest) = (Vec::new(), 1);
        for number in [1, 2, 3] {
            time_passes(Duration::from_secs(1));
            let begin = Instant::now();
            let answer = cluster.host(number).jaco_json(&["cluster", "rotate-key"])?;
            times.push(begin.elapsed());
            let epoch = answer["epoch"].as_u64().with_context(|| answer.to_string())?;
            ensure!(epoch > newest, "key {epoch} after {newest}");
            newest = epoch;
        }
        Ok(times)
    })?;
    announce(&format!("rotated within {times:.2?}; {}", report.summary()));
    report.check(&cluster.hosts(&[1, 2, 3]))?;
    let gap = report.longest_gap();
    ensure!(gap <= Duration::from_secs(2), "no write was accepted for {gap:.2?}");
    let events = cluster.host(2).jaco_json(&["audit", "--type", "key_rotated"])?;
    ensure!(events.as_array().is_some_and(|events| events.len() == 3), "{events}");
    // What signs for a joiner is sealed with the new key, and the joiner has a copy of it: it lets the next one in.
    cluster.add(4, 2)?;
    cluster.add(5, 4)?;
    cluster.settled(&[1, 2, 3, 4, 5])
}
