//! (i) What an idle cluster of three members costs: bytes between them, processor time, and entries written to the log.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;

use crate::cluster::{Cluster, Etcd, Ours};
use crate::idle::wait;
use crate::process::{memory, processor_seconds};
use crate::report::{Bar, Figure, Measure, Report};
use crate::{Settings, say};

const NOTE: &str = "ours: the members' store and port, without the daemon's sessions and loops; bytes as the sockets between members count \
                    them, TLS included, and with 52 bytes of TCP and IP header per segment";
/// Header of a segment over IPv4: 20 bytes of IP, 20 of TCP, 12 of timestamps.
const HEADER: u64 = 52;

/// What one cluster was seen to need.
struct Quiet {
    /// Bytes per second between the members, all directions.
    payload: f64,
    /// The same with headers.
    on_the_wire: f64,
    /// Share of one core, per cent, all members together.
    processor: f64,
    /// Resident memory of a member, MiB, on average.
    resident: f64,
    /// Entries written.
    entries: u64,
}

/// What the kernel has counted for one end of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sent {
    bytes: u64,
    segments: u64,
}

pub(crate) fn run(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let length = settings.seconds(60.0, 20.0);
    let ours = observe(&Ours::start()?, length)?;
    let etcd = match Etcd::start(runtime.handle())? {
        Some(etcd) => Some(observe(&etcd, length)?),
        None => {
            report.skip("(i) an idle cluster of etcd", "etcd is not installed");
            None
        }
    };
    add_figures(report, &ours, etcd.as_ref());
    Ok(())
}

fn observe(cluster: &dyn Cluster, length: Duration) -> anyhow::Result<Quiet> {
    // What came before ends: elections, and threads that are kept for ten seconds after their last work.
    wait(Duration::from_secs(12));
    let pids: Vec<u32> = cluster.processes().iter().map(|process| process.id()).collect();
    let processor = || pids.iter().map(|pid| processor_seconds(*pid)).sum::<anyhow::Result<f64>>();
    let index = cluster.last_index()?;
    let (sockets, used, begun) = (sockets(&pids)?, processor()?, Instant::now());
    wait(length);
    let took = begun.elapsed().as_secs_f64();
    let (later, used) = (self::sockets(&pids)?, processor()? - used);
    let mut sent = Sent::default();
    for (connection, now) in &later {
        // One that is new began at nothing.
        let before = sockets.get(connection).copied().unwrap_or_default();
        sent.bytes += now.bytes.saturating_sub(before.bytes);
        sent.segments += now.segments.saturating_sub(before.segments);
    }
    let resident: Vec<f64> = pids.iter().map(|pid| Ok(memory(*pid)?.resident)).collect::<anyhow::Result<_>>()?;
    let quiet = Quiet {
        payload: sent.bytes as f64 / took,
        on_the_wire: (sent.bytes + sent.segments * HEADER) as f64 / took,
        processor: used / took * 100.0,
        resident: resident.iter().sum::<f64>() / resident.len().max(1) as f64,
        entries: cluster.last_index()? - index,
    };
    say(&format!(
        "  {}: {:.0} B/s, {:.2} % of a core, {} entries in {took:.0} s",
        cluster.name(),
        quiet.on_the_wire,
        quiet.processor,
        quiet.entries
    ));
    Ok(quiet)
}

/// What was sent on each connection whose both ends belong to these processes, by its two addresses.
fn sockets(pids: &[u32]) -> anyhow::Result<BTreeMap<(String, String), Sent>> {
    let output = Command::new("ss").args(["-tinpHO", "state", "established"]).output().context("ss (iproute2)")?;
    if !output.status.success() {
        bail!("ss failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(between(&String::from_utf8_lossy(&output.stdout), pids))
}

fn between(text: &str, pids: &[u32]) -> BTreeMap<(String, String), Sent> {
    let owned = |line: &str| pids.iter().any(|pid| line.contains(&format!("pid={pid},")));
    let all: BTreeMap<(String, String), Sent> = text.lines().filter(|line| owned(line)).filter_map(socket).collect();
    let ends: BTreeSet<String> = all.keys().map(|(local, _)| local.clone()).collect();
    all.into_iter().filter(|((_, peer), _)| ends.contains(peer)).collect()
}

/// One line of `ss`: two queues, two addresses, then words.
fn socket(line: &str) -> Option<((String, String), Sent)> {
    let mut words = line.split_whitespace().skip(2);
    let connection = (words.next()?.to_owned(), words.next()?.to_owned());
    // What is nought is not written.
    let number = |name: &str| words.clone().find_map(|word| word.strip_prefix(name)?.parse().ok()).unwrap_or(0);
    Some((connection, Sent { bytes: number("bytes_sent:"), segments: number("segs_out:") }))
}

fn add_figures(report: &mut Report, ours: &Quiet, etcd: Option<&Quiet>) {
    let bytes = |quiet: &Quiet| {
        Measure::of(quiet.on_the_wire)
            .detail(format!("{:.0} without headers", quiet.payload))
            .numbers(json!({ "payload_bytes_per_second": quiet.payload }))
    };
    let processor = |quiet: &Quiet| {
        Measure::of(quiet.processor)
            .detail(format!("{:.0} MiB resident each", quiet.resident))
            .numbers(json!({ "resident_mib": quiet.resident }))
    };
    let entries = |quiet: &Quiet| Measure::of(quiet.entries as f64);
    let beside = |measure: &dyn Fn(&Quiet) -> Measure| etcd.map(|etcd| ("etcd".to_owned(), measure(etcd)));
    let ratio = |of: fn(&Quiet) -> f64| etcd.map(|etcd| of(ours) / of(etcd).max(f64::MIN_POSITIVE));
    let note = NOTE.to_owned();
    report.add(Figure {
        part: 'i',
        name: "idle cluster of 3, bytes between members".to_owned(),
        unit: "B/s",
        ours: bytes(ours),
        floor: beside(&bytes),
        ratio: ratio(|quiet| quiet.on_the_wire),
        bar: None,
        note: note.clone(),
    });
    report.add(Figure {
        part: 'i',
        name: "idle cluster of 3, processor, all members".to_owned(),
        unit: "% of a core",
        ours: processor(ours),
        floor: beside(&processor),
        ratio: ratio(|quiet| quiet.processor),
        bar: None,
        note: note.clone(),
    });
    report.add(Figure {
        part: 'i',
        name: "idle cluster of 3, log entries written".to_owned(),
        unit: "entries",
        ours: entries(ours),
        floor: beside(&entries),
        ratio: None,
        bar: Some(Bar::AtMost(0.0)),
        note,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_with_both_ends_in_the_cluster_count() {
        let text = "0 0 127.0.0.1:10 127.0.0.1:20 users:((\"m\",pid=1,fd=3)) cubic bytes_sent:100 bytes_acked:90 segs_out:7 segs_in:8\n\
                    0 0 127.0.0.1:20 127.0.0.1:10 users:((\"m\",pid=2,fd=3)) cubic bytes_sent:50 segs_out:6\n\
                    0 0 127.0.0.1:20 127.0.0.1:30 users:((\"m\",pid=2,fd=4)) cubic bytes_sent:9 segs_out:1\n\
                    0 0 127.0.0.1:30 127.0.0.1:20 users:((\"x\",pid=12,fd=4)) cubic segs_out:1\n";
        let found = between(text, &[1, 2]);
        let sent: Vec<Sent> = found.into_values().collect();
        assert_eq!(sent, [Sent { bytes: 100, segments: 7 }, Sent { bytes: 50, segments: 6 }]);
    }
}
