//! Members of one version are replaced by the next, one after the other.
//!
//! `JACO_PREVIOUS_JACOD` names the `jacod` of the release before. Without one, this version stands in for it, and the next one is this
//! version with a higher feature level.

use std::time::Duration;

use anyhow::{Context, ensure};
use jaco_e2e::{announce, eventually};
use jaco_lab::JacodOptions;
use serde_json::Value;

use crate::Rig;
use crate::cluster::{Cluster, cluster_status, join, options, refusal};
use crate::writers::{time_passes, while_writing};

/// One member's restart may hold writes up for no longer.
const BAR: Duration = Duration::from_secs(5);

/// The daemon before the upgrade.
fn previous() -> JacodOptions {
    match std::env::var("JACO_PREVIOUS_JACOD") {
        Ok(path) if !path.is_empty() => {
            announce(&format!("upgrade from {path}"));
            options().program(&path)
        }
        Ok(_) | Err(_) => {
            announce(
                "SKIPPED cluster::members_are_upgraded_one_after_the_other (the release before): JACO_PREVIOUS_JACOD names none; \
                 this version stands in for it",
            );
            options()
        }
    }
}

fn level(status: &Value) -> u64 {
    status["feature_level"].as_u64().unwrap_or(1)
}

/// Under writes; the cluster's level stays where it is until the last one is upgraded. From then on the old version is refused, as a
/// joiner and as a member.
pub(crate) fn members_are_upgraded_one_after_the_other(rig: &mut Rig) -> anyhow::Result<()> {
    let old = previous();
    let cluster = Cluster::form_of(rig.lab(), 3, &old)?;
    let before = level(&cluster_status(cluster.host(1))?);
    let next = options().argument("--feature-level").argument(&(before + 1).to_string());
    let leader = cluster.leader(&[1, 2, 3])?;
    let order = [leader % 3 + 1, (leader + 1) % 3 + 1, leader];
    let ((), report) = while_writing(&cluster.hosts(&[1, 2, 3]), || {
        for (done, number) in order.into_iter().enumerate() {
            time_passes(Duration::from_secs(1));
            let host = cluster.host(number);
            host.jacod().stop()?;
            host.start_jacod(&next)?;
            cluster.settled(&[1, 2, 3])?;
            if done < 2 {
                let status = cluster_status(host)?;
                ensure!(level(&status) == before, "raised while a member cannot: {status}");
            }
        }
        raised(&cluster, before + 1)
    })?;
    announce(&format!("upgraded from level {before} to {}: {}", before + 1, report.summary()));
    report.check(&cluster.hosts(&[1, 2, 3]))?;
    let gap = report.longest_gap();
    ensure!(gap <= BAR, "no write was accepted for {gap:.2?}");
    let events = cluster.host(1).jaco_json(&["audit", "--type", "feature_level_raised"])?;
    ensure!(events.as_array().is_some_and(|events| events.len() == 1), "{events}");

    let joiner = rig.lab().host(4);
    joiner.start_jacod(&old)?;
    let token = cluster.token(1, &[])?;
    refusal(&join(joiner, cluster.host(1), &token)?, 7, &["version_incompatible"])?;
    joiner.jacod().stop()?;
    joiner.start_jacod(&next)?;
    join(joiner, cluster.host(1), &token)?.ok().context("with the same token, and the new version")?;
    cluster.settled(&[1, 2, 3, 4])?;
    // A step back ends with a word why, and forth again all is well.
    joiner.jacod().stop()?;
    joiner.spawn_jacod(&old)?;
    eventually(Duration::from_secs(30), "the old version stops by itself", || {
        if joiner.jacod().is_running() { Err("it runs".to_owned()) } else { Ok(()) }
    })?;
    let log = joiner.jacod().log_tail(20);
    ensure!(log.contains("install a newer jacod"), "it does not say why: {log}");
    joiner.start_jacod(&next)?;
    cluster.settled(&[1, 2, 3, 4])
}

fn raised(cluster: &Cluster<'_>, wanted: u64) -> anyhow::Result<()> {
    for number in 1..=3 {
        eventually(Duration::from_secs(20), &format!("host{number} says feature level {wanted}"), || {
            let status = cluster_status(cluster.host(number)).map_err(|error| format!("{error:#}"))?;
            if level(&status) == wanted { Ok(()) } else { Err(status.to_string()) }
        })?;
    }
    Ok(())
}
