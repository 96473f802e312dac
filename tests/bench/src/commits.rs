//! (a) Commits through the one write path, beside what the disk can do at best: one thread that writes the bytes of a commit and syncs.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use jaco_client::Deadline;
use jaco_controlplane::{ControlPlane, Options};
use jaco_proto::v1::ApplyRequest;
use jaco_state::{Store, Transaction};
use jaco_types::{Claim, ClaimKind, ClusterMeta, DeploymentName, NodeId};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::node::Node;
use crate::process::processor_seconds;
use crate::report::{Bar, Figure, Measure, Report};
use crate::stats::{Load, paired_ratio};
use crate::{Settings, say};

const WRITERS: [usize; 3] = [1, 16, 64];
/// Body of the record that a transaction writes, bytes.
const BODY: usize = 256;
/// Size of the preallocated file; when it is full the floor begins at its start again.
const PREALLOCATED: u64 = 64 << 20;
const NOTE: &str = "floor: one thread appends the bytes of a commit to a file and calls fdatasync, on the same disk, in the same round";
const PREALLOCATED_NOTE: &str = "the same, written into a file whose space was made before: stricter, as the file system has no size to \
                                 record; our log makes its space ahead, too";

/// All rounds of one way to write.
#[derive(Default)]
struct Rounds(Vec<Load>);

/// What commits cost besides time.
#[derive(Default)]
struct Effort {
    commits: f64,
    syncs: f64,
    processor_seconds: f64,
}

impl Effort {
    /// Why more writers are not as many times faster: what a commit costs that no sharing of syncs takes away.
    fn note(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let micros = self.processor_seconds / self.commits.max(1.0) * 1e6;
        format!(
            "{:.0} commits share a sync, and each takes {micros:.1} us of processor time, the writers' own work included: on {cores} \
             cores at most {:.0} /s, whatever the disk can do",
            self.commits / self.syncs.max(1.0),
            cores as f64 / micros.max(f64::MIN_POSITIVE) * 1e6
        )
    }
}

impl Rounds {
    fn rates(&self) -> Vec<f64> {
        self.0.iter().map(|round| round.per_second).collect()
    }

    fn measure(&self) -> Measure {
        let over = Load::over(&self.0);
        let rounds: Vec<Value> = self.0.iter().map(Load::json).collect();
        Measure::of(over.per_second)
            .detail(over.latencies())
            .numbers(json!({ "p50_us": over.p50, "p99_us": over.p99, "rounds": rounds }))
    }
}

pub(crate) fn run(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let scratch = tempfile::Builder::new().prefix("commits-").tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let in_process = in_process(settings, report, scratch.path(), &runtime)?;
    over_the_socket(settings, report, &runtime, &in_process)
}

fn in_process(
    settings: &Settings,
    report: &mut Report,
    scratch: &Path,
    runtime: &tokio::runtime::Runtime,
) -> anyhow::Result<Vec<Rounds>> {
    let length = settings.seconds(3.0, 0.5);
    let store = runtime.block_on(open(&scratch.join("store")))?;
    let bytes = runtime.block_on(bytes_of_a_commit(&store))?;
    let mut file = PreallocatedFile::new(&scratch.join("preallocated"))?;
    let (mut growing, mut preallocated) = (Rounds::default(), Rounds::default());
    let mut ours: Vec<Rounds> = WRITERS.iter().map(|_| Rounds::default()).collect();
    let mut efforts: Vec<Effort> = WRITERS.iter().map(|_| Effort::default()).collect();
    for round in 0..settings.rounds(7, 2) {
        growing.0.push(growing_floor(&scratch.join("growing"), bytes, length)?);
        preallocated.0.push(file.append(bytes, length)?);
        for ((writers, rounds), effort) in WRITERS.into_iter().zip(&mut ours).zip(&mut efforts) {
            let (syncs, processor) = (store.status().log.syncs, processor_seconds(std::process::id())?);
            let load = runtime.block_on(commits(&store, writers, length))?;
            effort.commits += load.per_second * length.as_secs_f64();
            effort.syncs += (store.status().log.syncs - syncs) as f64;
            effort.processor_seconds += processor_seconds(std::process::id())? - processor;
            rounds.0.push(load);
        }
        let latest: Vec<u64> = ours.iter().filter_map(|r| r.0.last()).map(|load| load.per_second as u64).collect();
        say(&format!("  round {}: commits/s with {WRITERS:?} writers: {latest:?}", round + 1));
    }
    runtime.block_on(store.shutdown());
    let name = "append + fdatasync, 1 writer";
    for ((writers, rounds), effort) in WRITERS.into_iter().zip(&ours).zip(&efforts) {
        let bar = match writers {
            1 => Some(Bar::RatioAtLeast(0.5)),
            64 => Some(Bar::RatioAtLeast(8.0)),
            _ => None,
        };
        report.add(Figure {
            part: 'a',
            name: format!("commits, {writers} writer{}, in process", if writers == 1 { "" } else { "s" }),
            unit: "/s",
            ours: rounds.measure(),
            floor: Some((name.to_owned(), growing.measure())),
            ratio: Some(paired_ratio(&rounds.rates(), &growing.rates())),
            bar,
            note: match writers {
                1 => format!("{NOTE}; {bytes} bytes per commit"),
                _ => effort.note(),
            },
        });
    }
    for (writers, rounds) in WRITERS.into_iter().zip(&ours) {
        report.add(Figure {
            part: 'a',
            name: format!(
                "commits, {writers} writer{}, beside a preallocated file",
                if writers == 1 { "" } else { "s" }
            ),
            unit: "/s",
            ours: rounds.measure(),
            floor: Some(("append + fdatasync, preallocated, 1 writer".to_owned(), preallocated.measure())),
            ratio: Some(paired_ratio(&rounds.rates(), &preallocated.rates())),
            bar: None,
            note: if writers == 1 { PREALLOCATED_NOTE.to_owned() } else { String::new() },
        });
    }
    Ok(ours)
}

/// Applies of small deployments without replicas through the API of a real daemon, beside the same number of writers in process.
fn over_the_socket(
    settings: &Settings,
    report: &mut Report,
    runtime: &tokio::runtime::Runtime,
    in_process: &[Rounds],
) -> anyhow::Result<()> {
    let node = Node::start_without_engine()?;
    let length = settings.seconds(5.0, 1.0);
    for (writers, floor) in WRITERS.into_iter().zip(in_process) {
        let mut rounds = Rounds::default();
        for round in 0..settings.rounds(3, 1) {
            rounds.0.push(runtime.block_on(applies(&node, writers, round, length))?);
        }
        let (ours, beside) = (Load::over(&rounds.0), Load::over(&floor.0));
        say(&format!("  applies/s with {writers} writers over the socket: {:.0}", ours.per_second));
        report.add(Figure {
            part: 'a',
            name: format!("applies, {writers} writer{}, over the socket", if writers == 1 { "" } else { "s" }),
            unit: "/s",
            ours: rounds.measure(),
            floor: Some(("commits in process".to_owned(), floor.measure())),
            ratio: Some(ours.per_second / beside.per_second.max(f64::MIN_POSITIVE)),
            bar: None,
            note: "an apply is two calls: one for the request id, one that reads the manifests, compares and commits; \
                   the scheduler then commits on its own"
                .to_owned(),
        });
    }
    Ok(())
}

struct PreallocatedFile {
    file: File,
    offset: u64,
}

impl PreallocatedFile {
    fn new(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path)?;
        file.write_all_at(&vec![0; PREALLOCATED as usize], 0)?;
        file.sync_all()?;
        Ok(PreallocatedFile { file, offset: 0 })
    }

    fn append(&mut self, bytes: usize, length: Duration) -> anyhow::Result<Load> {
        if self.offset > PREALLOCATED / 2 {
            self.offset = 0;
        }
        let (load, written) = append(&self.file, self.offset, PREALLOCATED, bytes, length)?;
        self.offset = written;
        Ok(load)
    }
}

fn growing_floor(path: &Path, bytes: usize, length: Duration) -> anyhow::Result<Load> {
    let file = File::create(path)?;
    let (load, _) = append(&file, 0, u64::MAX, bytes, length)?;
    drop(file);
    std::fs::remove_file(path)?;
    Ok(load)
}

fn append(file: &File, from: u64, end: u64, bytes: usize, length: Duration) -> anyhow::Result<(Load, u64)> {
    let buffer = vec![0x5a; bytes];
    let (mut offset, mut latencies) = (from, Vec::new());
    let begun = Instant::now();
    while begun.elapsed() < length {
        let one = Instant::now();
        file.write_all_at(&buffer, offset)?;
        file.sync_data()?;
        latencies.push(one.elapsed());
        offset += bytes as u64;
        if offset + bytes as u64 > end {
            offset = 0;
        }
    }
    Ok((Load::of(&latencies, begun.elapsed()), offset))
}

/// A store of one voter, as the daemon opens it.
pub(crate) async fn open(data_dir: &Path) -> anyhow::Result<Arc<ControlPlane>> {
    let store = ControlPlane::open(Options::new(data_dir, NodeId(1))).await?;
    let meta = ClusterMeta {
        cluster_id: "bench".to_owned(),
        name: "bench".to_owned(),
        incarnation: 0,
        feature_level: 1,
        created_at_ms: 0,
        ipam_pool: "10.199.0.0/16".parse()?,
        mesh_cidr: "10.198.0.0/16".parse()?,
        node_down_after_ms: 10_000,
    };
    store.initialise(meta, Transaction::new("bench")).await?;
    Ok(Arc::new(store))
}

/// One small transaction.
pub(crate) fn transaction(writer: usize, sequence: u64) -> anyhow::Result<Transaction> {
    let mut transaction = Transaction::new("bench");
    transaction.put(Claim {
        kind: ClaimKind::Port,
        key: format!("{writer}/{}", sequence % 64),
        owner: DeploymentName::new("bench")?,
        detail: "d".repeat(BODY),
    });
    Ok(transaction)
}

async fn bytes_of_a_commit(store: &ControlPlane) -> anyhow::Result<usize> {
    const COMMITS: u64 = 200;
    let before = store.status().log.appended_bytes;
    for sequence in 0..COMMITS {
        store.propose(transaction(0, sequence)?).await?;
    }
    Ok(usize::try_from((store.status().log.appended_bytes - before) / COMMITS)?)
}

async fn commits(store: &Arc<ControlPlane>, writers: usize, length: Duration) -> anyhow::Result<Load> {
    let mut tasks: JoinSet<anyhow::Result<Vec<Duration>>> = JoinSet::new();
    let begun = Instant::now();
    for writer in 0..writers {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while begun.elapsed() < length {
                let transaction = transaction(writer, latencies.len() as u64)?;
                let one = Instant::now();
                store.propose(transaction).await?;
                latencies.push(one.elapsed());
            }
            Ok(latencies)
        });
    }
    collect(tasks, begun).await
}

async fn collect(mut tasks: JoinSet<anyhow::Result<Vec<Duration>>>, begun: Instant) -> anyhow::Result<Load> {
    let mut latencies = Vec::new();
    while let Some(of_one) = tasks.join_next().await {
        latencies.extend(of_one.context("a writer ended early")??);
    }
    Ok(Load::of(&latencies, begun.elapsed()))
}

async fn applies(node: &Node, writers: usize, round: usize, length: Duration) -> anyhow::Result<Load> {
    let mut clients = Vec::new();
    for _ in 0..writers {
        clients.push(node.client().await?);
    }
    let mut tasks: JoinSet<anyhow::Result<Vec<Duration>>> = JoinSet::new();
    let begun = Instant::now();
    for (writer, client) in clients.into_iter().enumerate() {
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while begun.elapsed() < length {
                let request = small_apply(&format!("w{writer}"), &format!("{round}-{}", latencies.len()));
                let one = Instant::now();
                client
                    .apply(request, Deadline::after(Duration::from_secs(30)))
                    .await
                    .map_err(|error| anyhow::anyhow!("apply: {}", error.message))?;
                latencies.push(one.elapsed());
            }
            Ok(latencies)
        });
    }
    collect(tasks, begun).await
}

/// A deployment without containers; another `value` is another revision.
pub(crate) fn small_apply(deployment: &str, value: &str) -> ApplyRequest {
    ApplyRequest {
        jaco_yaml: format!("deployment: {deployment}\nservices:\n  - name: web\n    replicas: 0\n"),
        compose_yaml: format!(
            "services:\n  web:\n    image: jaco.bench/none:1\n    environment:\n      VALUE: \"{value}\"\n"
        ),
        ..ApplyRequest::default()
    }
}
