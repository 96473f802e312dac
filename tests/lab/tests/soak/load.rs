//! An hour of load: several clients write without a pause, then nobody does, and so on, while snapshots are made. Nobody is elected.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jaco_e2e::{Project, announce, pause};
use jaco_lab::{Host, JacodOptions};
use serde_json::Value;

use crate::cluster::{Cluster, cluster_status};
use crate::{MEMBERS, Rig, setting};

/// Writers at a time, spread over the hosts.
const CLIENTS: usize = 4;

/// Work, then rest.
const WORK: Duration = Duration::from_secs(45);
const REST: Duration = Duration::from_secs(15);

/// Every so many writes one is large, so that the log grows to where a snapshot is made.
const LARGE_EVERY: u64 = 4;
const LARGE: usize = 200 << 10;

/// What one client did.
#[derive(Default)]
struct Written {
    acknowledged: u64,
    failures: Vec<String>,
    longest: Duration,
}

/// How the cluster stands: its term, and who leads.
#[derive(Debug, PartialEq, Eq)]
struct Reign {
    term: u64,
    leader: String,
}

/// Fails when the term changes in `JACO_SOAK_MINUTES` of it.
pub(crate) fn load_elects_nobody(rig: &mut Rig) -> anyhow::Result<()> {
    let minutes: u64 = setting("JACO_SOAK_MINUTES", 0)?;
    if minutes == 0 {
        announce("SKIPPED soak::load_elects_nobody: JACO_SOAK_MINUTES is not set; `make soak` sets it to 60");
        return Ok(());
    }
    let cluster = Cluster::form(rig.lab(), MEMBERS.len())?;
    let hosts = cluster.hosts(&MEMBERS);
    for host in &hosts {
        // An hour of debug logs would fill the disk.
        host.jacod().stop()?;
        host.start_jacod(&JacodOptions::default().set("node_down_after", "5s"))?;
    }
    cluster.settled(&MEMBERS)?;
    let folder = tempfile::Builder::new().prefix("jaco-soak-").tempdir()?;
    let first = reign(hosts[0], folder.path())?;
    let before = index(hosts[0])?;
    announce(&format!("{minutes} minutes of load under {first:?}"));
    let (begin, end) = (Instant::now(), Instant::now() + Duration::from_secs(60 * minutes));
    let (mut written, mut working) = (Written::default(), Duration::ZERO);
    let mut snapshots = [const { std::collections::BTreeSet::new() }; MEMBERS.len()];
    while Instant::now() < end {
        let work = WORK.min(end.saturating_duration_since(Instant::now()));
        let round = write(&hosts, work)?;
        working += work;
        written.acknowledged += round.acknowledged;
        written.failures.extend(round.failures);
        written.longest = written.longest.max(round.longest);
        let rest = Instant::now() + REST;
        while Instant::now() < rest {
            pause();
        }
        for (host, seen) in hosts.iter().zip(&mut snapshots) {
            seen.extend(snapshots_of(host)?);
        }
        let now = reign(hosts[0], folder.path())?;
        ensure!(now == first, "somebody was elected after {:.0?}: {first:?}, then {now:?}", begin.elapsed());
    }
    let made: Vec<usize> = snapshots.iter().map(std::collections::BTreeSet::len).collect();
    announce(&format!(
        "{:.0} s of load: no election (term {}), {} writes acknowledged ({:.1}/s while writing), {} not, longest {:.2} s, {} log entries, \
         snapshots on the hosts {made:?}",
        begin.elapsed().as_secs_f64(),
        first.term,
        written.acknowledged,
        written.acknowledged as f64 / working.as_secs_f64(),
        written.failures.len(),
        written.longest.as_secs_f64(),
        index(hosts[0])? - before
    ));
    ensure!(written.acknowledged > 10 * minutes, "nothing much was written");
    ensure!(written.failures.is_empty(), "writes failed: {:?}", written.failures);
    ensure!(minutes < 5 || made.iter().all(|made| *made > 0), "no snapshot was made in {minutes} minutes: {made:?}");
    Ok(())
}

/// All clients write for so long.
fn write(hosts: &[&Host], time: Duration) -> anyhow::Result<Written> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || client(hosts, number, stop))).collect();
        let end = Instant::now() + time;
        while Instant::now() < end {
            pause();
        }
        stop.store(true, Ordering::Release);
        let mut all = Written::default();
        for client in clients {
            let written = client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            all.acknowledged += written.acknowledged;
            all.failures.extend(written.failures);
            all.longest = all.longest.max(written.longest);
        }
        Ok(all)
    })
}

/// Applies one deployment again and again, so that the state stays as large as it is.
fn client(hosts: &[&Host], number: usize, stop: &AtomicBool) -> anyhow::Result<Written> {
    let host = hosts.get(number % hosts.len()).context("no host")?;
    let jaco = format!("deployment: load-{number}\nservices:\n  - name: none\n    replicas: 0\n");
    let project = Project::new(&jaco, "")?;
    let mut written = Written::default();
    for count in 0_u64.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let size = if count % LARGE_EVERY == 0 { LARGE } else { 16 };
        let filler: String = format!("{count} ").chars().cycle().take(size).collect();
        let compose =
            format!("services:\n  none:\n    image: jaco.test/web:1\n    environment:\n      FILLER: \"{filler}\"\n");
        project.write("compose.yml", &compose)?;
        let begin = Instant::now();
        let output = host.jaco_within(Duration::from_secs(40), &["apply", &project.jaco(), "--timeout", "30s"])?;
        written.longest = written.longest.max(begin.elapsed());
        if output.is_success() {
            written.acknowledged += 1;
        } else {
            written.failures.push(output.stderr);
        }
    }
    Ok(written)
}

/// A backup says in which term its last entry was written, and every leader begins with an entry.
fn reign(host: &Host, folder: &Path) -> anyhow::Result<Reign> {
    let file = folder.join("backup.tar.gz");
    let path = file.display().to_string();
    let _ = std::fs::remove_file(&file);
    host.jaco_json(&["backup", "--file", &path])?;
    let text = host.run(&["tar", "-xzOf", &path, "meta.json"])?.ok()?;
    let meta: Value = serde_json::from_str(&text)?;
    let leader = cluster_status(host)?["leader"].as_str().unwrap_or_default().to_owned();
    let term = meta["snapshot_term"].as_u64().with_context(|| format!("no term: {meta}"))?;
    Ok(Reign { term, leader })
}

fn index(host: &Host) -> anyhow::Result<u64> {
    let status = cluster_status(host)?;
    status["raft_index"].as_u64().with_context(|| format!("no index: {status}"))
}

/// Names of the snapshots that lie there now.
fn snapshots_of(host: &Host) -> anyhow::Result<Vec<String>> {
    let script = "find /var/lib/jaco/raft -name '*.snap'";
    let found = host.run(&["sh", "-c", script])?.ok()?;
    Ok(found.lines().map(str::to_owned).collect())
}
