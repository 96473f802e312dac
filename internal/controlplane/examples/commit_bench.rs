//! Measures commits through the one write path against what the disk can do at best, on the same disk in the same minutes.
//!
//! `commit_bench [directory] [seconds per round] [writers,...]` prints one JSON object: the floor (one thread that writes the bytes of
//! a commit and syncs, once into a growing file and once into a preallocated one) and, for each number of writers (1, 16 and 64),
//! transactions per second, latencies in microseconds and processor time of the whole process per transaction, with the ratio to the
//! faster of the two floors.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jaco_controlplane::{ControlPlane, Options};
use jaco_state::{Store, Transaction};
use jaco_types::{Claim, ClaimKind, ClusterMeta, DeploymentName, NodeId};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Body of a record; a transaction of it takes about this much more in the log than this.
const BODY: usize = 256;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds: f64 = arguments.next().map_or(2.0, |seconds| seconds.parse().expect("seconds per round, a number"));
    let round = Duration::from_secs_f64(seconds);
    let writers = arguments.next().unwrap_or_else(|| "1,16,64".to_owned());
    let writers: Vec<usize> = writers.split(',').map(|number| number.parse().expect("numbers of writers")).collect();
    let scratch = tempfile::tempdir_in(directory).expect("the directory can be written");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");

    let growing = floor(&scratch.path().join("growing"), false, round);
    let preallocated = floor(&scratch.path().join("preallocated"), true, round);
    let best = rate(&growing).max(rate(&preallocated));
    let mut rounds = Vec::new();
    for writers in writers {
        let data_dir = scratch.path().join(format!("store-{writers}"));
        let mut result = runtime.block_on(commits(&data_dir, writers, round));
        result["ratio_to_floor"] = json!(rate(&result) / best);
        rounds.push(result);
    }
    let result = json!({
        "body_bytes": BODY,
        "floor": { "append_fdatasync": growing, "preallocated_fdatasync": preallocated },
        "commits": rounds,
    });
    println!("{}", serde_json::to_string_pretty(&result).expect("JSON"));
}

fn rate(result: &Value) -> f64 {
    result["per_second"].as_f64().unwrap_or(0.0)
}

fn summary(mut latencies: Vec<Duration>, took: Duration) -> Value {
    latencies.sort_unstable();
    let at =
        |share: f64| latencies.get((latencies.len() as f64 * share) as usize).map_or(0.0, |l| l.as_secs_f64() * 1e6);
    json!({
        "count": latencies.len(),
        "per_second": latencies.len() as f64 / took.as_secs_f64(),
        "p50_us": at(0.5),
        "p99_us": at(0.99),
    })
}

fn floor(path: &Path, preallocated: bool, round: Duration) -> Value {
    let bytes = vec![0x5a; BODY + 150];
    let file = File::create(path).expect("a file");
    if preallocated {
        file.write_all_at(&vec![0; 64 << 20], 0).expect("room for 64 MiB");
        file.sync_all().expect("sync");
    }
    let begun = Instant::now();
    let (mut offset, mut latencies) = (0, Vec::new());
    while begun.elapsed() < round {
        let one = Instant::now();
        file.write_all_at(&bytes, offset).expect("write");
        file.sync_data().expect("sync");
        latencies.push(one.elapsed());
        offset += bytes.len() as u64;
        if preallocated && offset + bytes.len() as u64 > 64 << 20 {
            offset = 0;
        }
    }
    summary(latencies, begun.elapsed())
}

async fn commits(data_dir: &Path, writers: usize, round: Duration) -> Value {
    let store = ControlPlane::open(Options::new(data_dir, NodeId(1))).await.expect("a fresh store");
    store.initialise(meta(), Transaction::new("bench")).await.expect("a fresh cluster");
    let store = Arc::new(store);
    let before = store.status().log.syncs;
    let processor = processor_time();
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for writer in 0..writers {
        let store = store.clone();
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            let mut sequence = 0u64;
            while begun.elapsed() < round {
                let one = Instant::now();
                let mut transaction = Transaction::new("bench");
                transaction.put(record(writer, sequence % 64));
                store.propose(transaction).await.expect("a commit");
                latencies.push(one.elapsed());
                sequence += 1;
            }
            latencies
        });
    }
    let latencies: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    let took = begun.elapsed();
    let processor = processor_time() - processor;
    let commits = latencies.len() as f64;
    let mut result = summary(latencies, took);
    result["processor_us_per_commit"] = json!(processor.as_secs_f64() * 1e6 / commits);
    result["writers"] = json!(writers);
    result["syncs"] = json!(store.status().log.syncs - before);
    store.shutdown().await;
    result
}

/// Processor time of this process, user and system.
fn processor_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

fn record(writer: usize, sequence: u64) -> Claim {
    Claim {
        kind: ClaimKind::Port,
        key: format!("{writer}/{sequence}"),
        owner: DeploymentName::new("bench").expect("a name"),
        detail: "d".repeat(BODY),
    }
}

fn meta() -> ClusterMeta {
    ClusterMeta {
        cluster_id: "bench".to_owned(),
        name: "bench".to_owned(),
        incarnation: 0,
        feature_level: 1,
        created_at_ms: 0,
        ipam_pool: "10.64.0.0/10".parse().expect("a network"),
        mesh_cidr: "10.63.0.0/16".parse().expect("a network"),
        node_down_after_ms: 10_000,
    }
}
