//! (g) Writes on three members: each client on a connection of its own, one write after the other, at the leader and at a follower.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, Etcd, MEMBERS, Ours, VALUE};
use crate::process::processor_seconds;
use crate::report::{Bar, Figure, Measure, Report};
use crate::stats::{Load, median, paired_ratio};
use crate::{Settings, say};

const CLIENTS: [usize; 3] = [1, 16, 64];

/// Which member the clients talk to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Leader,
    Follower,
}

impl At {
    fn name(self) -> &'static str {
        match self {
            At::Leader => "at the leader",
            At::Follower => "at a follower",
        }
    }
}

/// One round of one cluster.
#[derive(Clone, Copy)]
struct Round {
    load: Load,
    /// Processor time that the three members took per write, microseconds.
    members_micros: f64,
    /// The same of the clients, which share the machine with them.
    clients_micros: f64,
}

/// All rounds of one row.
struct Row {
    at: At,
    clients: usize,
    ours: Vec<Round>,
    etcd: Vec<Round>,
}

pub(crate) fn run(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ours = Ours::start()?;
    let etcd = Etcd::start(runtime.handle())?;
    if etcd.is_none() {
        report.skip("(g) etcd's writes", "etcd is not installed");
    }
    let length = settings.seconds(4.0, 1.5);
    let mut rows: Vec<Row> = [At::Leader, At::Follower]
        .into_iter()
        .flat_map(|at| CLIENTS.map(|clients| Row { at, clients, ours: Vec::new(), etcd: Vec::new() }))
        .collect();
    for round in 0..settings.rounds(5, 1) {
        for row in &mut rows {
            row.ours.push(measure(&runtime, &ours, row, length)?);
            if let Some(etcd) = &etcd {
                row.etcd.push(measure(&runtime, etcd, row, length)?);
            }
            let rate = |rounds: &[Round]| rounds.last().map_or(0, |round| round.load.per_second as u64);
            let (clients, at) = (row.clients, row.at.name());
            say(&format!(
                "  round {}: {clients} clients {at}: {}/s, etcd {}/s",
                round + 1,
                rate(&row.ours),
                rate(&row.etcd)
            ));
        }
    }
    for row in &rows {
        add_figures(report, row);
    }
    Ok(())
}

fn measure(runtime: &Runtime, cluster: &dyn Cluster, row: &Row, length: Duration) -> anyhow::Result<Round> {
    let leader = cluster.leader()?;
    let which = match row.at {
        At::Leader => leader,
        At::Follower => (leader + 1) % MEMBERS,
    };
    let members =
        || -> anyhow::Result<f64> { cluster.processes().iter().map(|process| processor_seconds(process.id())).sum() };
    let clients = || processor_seconds(std::process::id());
    // Connections are made, and have carried a write, before the time begins.
    let writers = (0..row.clients).map(|_| cluster.writer(which)).collect::<anyhow::Result<Vec<_>>>()?;
    runtime.block_on(async {
        for writer in &writers {
            writer.write(0).await?;
        }
        anyhow::Ok(())
    })?;
    let before = (members()?, clients()?);
    let load = runtime.block_on(async {
        let mut tasks: JoinSet<anyhow::Result<Vec<Duration>>> = JoinSet::new();
        let begun = Instant::now();
        for writer in writers {
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                while begun.elapsed() < length {
                    let one = Instant::now();
                    writer.write(latencies.len() as u64).await?;
                    latencies.push(one.elapsed());
                }
                Ok(latencies)
            });
        }
        let mut latencies = Vec::new();
        while let Some(of_one) = tasks.join_next().await {
            latencies.extend(of_one.context("a client ended early")??);
        }
        anyhow::Ok(Load::of(&latencies, begun.elapsed()))
    });
    let load = load.with_context(|| format!("{}, {} clients {}", cluster.name(), row.clients, row.at.name()))?;
    let writes = (load.per_second * length.as_secs_f64()).max(1.0);
    Ok(Round {
        load,
        members_micros: (members()? - before.0) / writes * 1e6,
        clients_micros: (clients()? - before.1) / writes * 1e6,
    })
}

fn per_second(rounds: &[Round]) -> Vec<f64> {
    rounds.iter().map(|round| round.load.per_second).collect()
}

fn p99(rounds: &[Round]) -> Vec<f64> {
    rounds.iter().map(|round| round.load.p99 / 1e3).collect()
}

fn throughput(rounds: &[Round]) -> Measure {
    let loads: Vec<Load> = rounds.iter().map(|round| round.load).collect();
    let over = Load::over(&loads);
    let micros = |of: fn(&Round) -> f64| median(&rounds.iter().map(of).collect::<Vec<_>>());
    let (members, clients) = (micros(|round| round.members_micros), micros(|round| round.clients_micros));
    Measure::of(over.per_second).detail(format!("{}; cpu {members:.0} + {clients:.0} us", over.latencies())).numbers(
        json!({
            "p50_us": over.p50,
            "p99_us": over.p99,
            "members_cpu_us_per_write": members,
            "clients_cpu_us_per_write": clients,
            "rounds": loads.iter().map(Load::json).collect::<Vec<_>>(),
        }),
    )
}

fn add_figures(report: &mut Report, row: &Row) {
    let who = format!("{} client{} {}", row.clients, if row.clients == 1 { "" } else { "s" }, row.at.name());
    let has_peer = !row.etcd.is_empty();
    report.add(Figure {
        part: 'g',
        name: format!("writes, {who}"),
        unit: "/s",
        ours: throughput(&row.ours),
        floor: has_peer.then(|| ("etcd".to_owned(), throughput(&row.etcd))),
        ratio: has_peer.then(|| paired_ratio(&per_second(&row.ours), &per_second(&row.etcd))),
        bar: Some(Bar::RatioAtLeast(1.5)),
        note: format!(
            "{MEMBERS} members and their clients on this machine, {VALUE} bytes a write, client and peer TLS, one connection per \
             client, data on one disk; cpu: processor time per write of the members, and of the clients"
        ),
    });
    report.add(Figure {
        part: 'g',
        name: format!("p99 of writes, {who}"),
        unit: "ms",
        ours: Measure::of(median(&p99(&row.ours))),
        floor: has_peer.then(|| ("etcd".to_owned(), Measure::of(median(&p99(&row.etcd))))),
        ratio: has_peer.then(|| paired_ratio(&p99(&row.ours), &p99(&row.etcd))),
        bar: Some(Bar::RatioAtMost(1.0)),
        note: String::new(),
    });
}
