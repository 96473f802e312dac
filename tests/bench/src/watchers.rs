//! (e) Time from a commit until a thousand watchers have it, in process and over the socket of a real daemon.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jaco_client::Deadline;
use jaco_proto::v1::SubscribeRequest;
use jaco_state::{Event, Store, WatchFrom};
use jaco_types::Kind;
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::commits::{open, small_apply, transaction};
use crate::node::Node;
use crate::report::{Bar, Figure, Measure, Report};
use crate::stats::{median, quantile};
use crate::{Settings, say};

const WATCHERS: usize = 1_000;
/// Connections that carry the streams; an HTTP/2 server allows some hundred streams on one.
const CONNECTIONS: usize = 20;
/// Longest wait for all watchers.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let in_process = runtime.block_on(in_process(settings, report))?;
    runtime.block_on(over_the_socket(settings, report, &in_process))
}

/// Milliseconds of every commit.
#[derive(Default)]
struct Times {
    /// From the moment the commit was known, to its proposer or to the first watcher, until the last watcher had it.
    spread: Vec<f64>,
    /// From the call that proposed it, the sync to disk included.
    whole: Vec<f64>,
}

impl Times {
    fn add(&mut self, seen: Seen, answered: u64) {
        self.spread.push(millis(seen.last.saturating_sub(seen.first.min(answered))));
        self.whole.push(millis(seen.last));
    }

    fn measure(&self) -> Measure {
        let (p99, most) = (quantile(&self.spread, 0.99), quantile(&self.spread, 1.0));
        Measure::of(median(&self.spread))
            .detail(format!("p99 {p99:.2}, worst {most:.2}; with its write {:.2}", median(&self.whole)))
            .numbers(json!({ "p99": p99, "worst": most, "with_write_p50": median(&self.whole), "commits": self.spread.len() }))
    }
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

/// When the first and the last watcher had something, microseconds after the beginning.
#[derive(Debug, Clone, Copy)]
struct Seen {
    first: u64,
    last: u64,
}

/// Collects arrivals of one thing at all watchers, without a lock.
struct Arrivals {
    epoch: Instant,
    begun: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
    count: AtomicUsize,
    all: Notify,
}

impl Arrivals {
    fn new() -> Self {
        Arrivals {
            epoch: Instant::now(),
            begun: AtomicU64::new(0),
            first: AtomicU64::new(u64::MAX),
            last: AtomicU64::new(0),
            count: AtomicUsize::new(0),
            all: Notify::new(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// To be called while no watcher has anything to come.
    fn begin(&self) {
        self.first.store(u64::MAX, Ordering::SeqCst);
        self.last.store(0, Ordering::SeqCst);
        self.count.store(0, Ordering::SeqCst);
        self.begun.store(self.now(), Ordering::SeqCst);
    }

    fn arrived(&self) {
        let now = self.now();
        self.first.fetch_min(now, Ordering::SeqCst);
        self.last.fetch_max(now, Ordering::SeqCst);
        if self.count.fetch_add(1, Ordering::SeqCst) + 1 == WATCHERS {
            self.all.notify_one();
        }
    }

    async fn everywhere(&self) -> anyhow::Result<Seen> {
        if timeout(PATIENCE, self.all.notified()).await.is_err() {
            bail!("after {PATIENCE:?} only {} of {WATCHERS} watchers had it", self.count.load(Ordering::SeqCst));
        }
        let begun = self.begun.load(Ordering::SeqCst);
        let since = |moment: &AtomicU64| moment.load(Ordering::SeqCst).saturating_sub(begun);
        Ok(Seen { first: since(&self.first), last: since(&self.last) })
    }

    /// Microseconds since the beginning.
    fn elapsed(&self) -> u64 {
        self.now().saturating_sub(self.begun.load(Ordering::SeqCst))
    }
}

async fn in_process(settings: &Settings, report: &mut Report) -> anyhow::Result<Measure> {
    let scratch = tempfile::Builder::new().prefix("watchers-").tempdir()?;
    let store = open(&scratch.path().join("store")).await?;
    let arrivals = Arc::new(Arrivals::new());
    let mut tasks = JoinSet::new();
    for _ in 0..WATCHERS {
        let mut watcher = store.watch_client(WatchFrom::Now)?;
        let arrivals = Arc::clone(&arrivals);
        tasks.spawn(async move {
            while let Some(event) = watcher.next().await {
                match event {
                    Event::Snapshot(_) => {}
                    Event::Batch(_) => arrivals.arrived(),
                }
            }
        });
    }
    let bare = Arc::new(Arrivals::new());
    let (sender, receiver) = watch::channel(0_u64);
    for _ in 0..WATCHERS {
        let (mut receiver, bare) = (receiver.clone(), Arc::clone(&bare));
        tasks.spawn(async move {
            while receiver.changed().await.is_ok() {
                bare.arrived();
            }
        });
    }
    let (mut ours, mut floor) = (Times::default(), Times::default());
    for sequence in 0..settings.rounds(400, 50) as u64 {
        arrivals.begin();
        store.propose(transaction(0, sequence)?).await?;
        let answered = arrivals.elapsed();
        ours.add(arrivals.everywhere().await?, answered);
        bare.begin();
        sender.send_replace(sequence);
        let answered = bare.elapsed();
        floor.add(bare.everywhere().await?, answered);
    }
    tasks.shutdown().await;
    store.shutdown().await;
    let measure = ours.measure();
    say(&format!("  in process: {:.2} ms, bare wake-ups {:.2} ms", measure.value, median(&floor.spread)));
    report.add(Figure {
        part: 'e',
        name: "a commit at 1,000 watchers, in process".to_owned(),
        unit: "ms",
        ours: measure.clone(),
        floor: Some(("1,000 bare wake-ups".to_owned(), Measure::of(median(&floor.spread)))),
        ratio: Some(measure.value / median(&floor.spread).max(f64::MIN_POSITIVE)),
        bar: Some(Bar::AtMost(5.0)),
        note: "from the moment the commit is known to its proposer or to the first watcher, whichever is earlier, until the last \
               watcher has it; median over commits"
            .to_owned(),
    });
    Ok(measure)
}

/// Arrivals by log index, as a stream does not know which commit it is asked about.
#[derive(Default)]
struct ByIndex {
    arrivals: Mutex<BTreeMap<u64, (Instant, Instant, usize)>>,
    some: Notify,
}

impl ByIndex {
    fn arrived(&self, index: u64) {
        let now = Instant::now();
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = arrivals.entry(index).or_insert((now, now, 0));
        entry.1 = entry.1.max(now);
        entry.2 += 1;
        if entry.2 == WATCHERS {
            self.some.notify_one();
        }
    }

    fn complete(&self, index: u64) -> Option<(Instant, Instant)> {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.get(&index).filter(|(.., count)| *count >= WATCHERS).map(|(first, last, _)| (*first, *last))
    }

    async fn everywhere(&self, index: u64) -> anyhow::Result<(Instant, Instant)> {
        let wait = async {
            loop {
                let some = self.some.notified();
                if let Some(seen) = self.complete(index) {
                    return seen;
                }
                some.await;
            }
        };
        timeout(PATIENCE, wait)
            .await
            .with_context(|| format!("not all streams had the commit {index} after {PATIENCE:?}"))
    }
}

async fn over_the_socket(settings: &Settings, report: &mut Report, in_process: &Measure) -> anyhow::Result<()> {
    let node = Node::start_without_engine()?;
    let seen = Arc::new(ByIndex::default());
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    subscribe(&node, &seen, &mut tasks).await?;
    let client = node.client().await?;
    let mut times = Times::default();
    for sequence in 0..settings.rounds(100, 20) {
        let begun = Instant::now();
        let request = small_apply("bench", &sequence.to_string());
        let answer = client.apply(request, Deadline::after(PATIENCE)).await;
        let index = answer.map_err(|error| anyhow::anyhow!("apply: {}", error.message))?.index;
        let answered = micros_since(begun, Instant::now());
        let (first, last) = tokio::select! {
            seen = seen.everywhere(index) => seen?,
            Some(ended) = tasks.join_next() => { ended??; bail!("a stream ended early") }
        };
        times.add(Seen { first: micros_since(begun, first), last: micros_since(begun, last) }, answered);
    }
    tasks.shutdown().await;
    let measure = times.measure();
    say(&format!("  over the socket: {:.2} ms", measure.value));
    report.add(Figure {
        part: 'e',
        name: "a commit at 1,000 streams over the socket".to_owned(),
        unit: "ms",
        ratio: Some(measure.value / in_process.value.max(f64::MIN_POSITIVE)),
        ours: measure,
        floor: Some(("in process".to_owned(), in_process.clone())),
        bar: None,
        note: format!(
            "{WATCHERS} Subscribe streams over {CONNECTIONS} connections, all received by this one program, which shares the cores \
             with the daemon"
        ),
    });
    Ok(())
}

/// Opens all streams; on return each has had the state it begins with.
async fn subscribe(node: &Node, seen: &Arc<ByIndex>, tasks: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    let request = SubscribeRequest { kinds: vec![Kind::RevisionCounter.as_str().to_owned()], ..Default::default() };
    for _ in 0..CONNECTIONS {
        let client = node.client().await?;
        for _ in 0..WATCHERS / CONNECTIONS {
            let opened = client.subscribe(request.clone(), Deadline::after(PATIENCE)).await;
            let mut events = opened.map_err(|error| anyhow::anyhow!("subscribe: {}", error.message))?;
            events.next().await.map_err(|error| anyhow::anyhow!("subscribe: {}", error.message))?;
            let seen = Arc::clone(seen);
            tasks.spawn(async move {
                while let Some(event) = events.next().await.map_err(|error| anyhow::anyhow!("{}", error.message))? {
                    seen.arrived(event.cursor.context("an event without its place")?.index);
                }
                bail!("the daemon ended a stream")
            });
        }
    }
    Ok(())
}

fn micros_since(begun: Instant, moment: Instant) -> u64 {
    u64::try_from(moment.saturating_duration_since(begun).as_micros()).unwrap_or(u64::MAX)
}
