//! A backup taken on any node becomes a cluster again, on another machine.

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::Rig;
use crate::cluster::{Cluster, cluster_status, erase, join, options, refused};
use crate::workload::{deploy, idle_project, spread};

const LONG: Duration = Duration::from_secs(60);

/// Taken on a follower, restored on a host that never was a member; another fresh one joins it.
pub(crate) fn a_backup_becomes_a_new_cluster(rig: &mut Rig) -> anyhow::Result<()> {
    let lab = rig.lab();
    let cluster = rig.cluster(3)?;
    let leader = cluster.leader(&[1, 2, 3])?;
    let follower = cluster.host(leader % 3 + 1);
    deploy(follower, "web", 2)?;
    crate::workload::apply(follower, &idle_project("kept")?)?;
    let archive = tempfile::tempdir()?;
    let path = archive.path().join("backup.tar.gz");
    let path = path.display().to_string();
    let written = follower.jaco_json(&["backup", "--file", &path])?;
    ensure!(written["cluster_id"] == cluster.founded["cluster_id"], "{written}");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path)?) & 0o777;
    ensure!(mode == 0o600, "a backup with mode {mode:o}");
    // Written after the backup, so it is gone.
    crate::workload::apply(follower, &idle_project("late")?)?;
    for number in 1..=3 {
        erase(lab.host(number))?;
    }
    restore(rig, &cluster, archive.path(), &path)
}

fn restore(rig: &Rig, cluster: &Cluster<'_>, folder: &std::path::Path, archive: &str) -> anyhow::Result<()> {
    let fresh = rig.lab().host(4);
    let key = folder.join("recovery");
    std::fs::write(&key, cluster.founded["recovery_key"].as_str().context("no recovery key")?)?;
    let key = key.display().to_string();
    let arguments =
        ["restore", "--input", archive, "--name", "host4", "--recovery-key-file", &key, "--old-nodes-are-off"];
    let restored = fresh.jaco_json(&arguments)?;
    ensure!(restored["cluster_id"] == cluster.founded["cluster_id"] && restored["hostname"] == "host4", "{restored}");
    refused(fresh, &arguments, 7, &["restore_not_empty"])?;
    fresh.start_jacod(&options())?;
    cluster.settled(&[4])?;
    let status = cluster_status(fresh)?;
    ensure!(status["cluster_id"] == cluster.founded["cluster_id"], "{status}");
    fresh.jaco_json(&["get", "deployment", "kept"])?;
    refused(fresh, &["get", "deployment", "late"], 4, &["deployment_not_found"])?;
    spread(fresh, "web", 2, &[4], LONG)?;

    let joiner = rig.lab().host(5);
    joiner.start_jacod(&options())?;
    let token = cluster.token(4, &[])?;
    join(joiner, fresh, &token)?.ok()?;
    cluster.settled(&[4, 5])?;
    spread(fresh, "web", 2, &[4, 5], LONG).map(|_| ())
}
