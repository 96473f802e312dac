//! All on tokio's paused clock: nothing here waits for real time.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, advance, sleep, timeout};

use super::*;

const TICK: Duration = Duration::from_secs(30);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn supervisor() -> Supervisor {
    Supervisor::with_jitter(|| 1.0)
}

/// A body that tells when each of its runs began.
fn reporting(runs: mpsc::UnboundedSender<Instant>) -> impl LoopBody {
    move |_context: TaskContext| {
        let _ = runs.send(Instant::now());
        async { Ok::<(), Infallible>(()) }
    }
}

fn status_of(supervisor: &Supervisor, name: &str) -> TaskStatus {
    supervisor.status().into_iter().find(|status| status.name == name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_loop_runs_at_once_and_then_on_its_tick() {
    let (sender, mut runs) = mpsc::unbounded_channel();
    let supervisor = supervisor();
    let began = Instant::now();
    supervisor.spawn_loop(LoopSpec::new("ticking", TICK), Wake::new(), reporting(sender));
    assert_eq!(runs.recv().await.unwrap(), began);
    assert_eq!(runs.recv().await.unwrap(), began + TICK);
    assert_eq!(runs.recv().await.unwrap(), began + TICK * 2);
}

#[tokio::test(start_paused = true)]
async fn wake_ups_are_gathered_until_they_are_quiet() {
    let (sender, mut runs) = mpsc::unbounded_channel();
    let (supervisor, wake) = (supervisor(), Wake::new());
    let spec = LoopSpec::new("gathering", TICK).debounce(ms(20), ms(200));
    supervisor.spawn_loop(spec, wake.clone(), reporting(sender));
    runs.recv().await.unwrap();
    for _ in 0..3 {
        wake.notify();
        sleep(ms(10)).await;
    }
    let last = Instant::now() - ms(10);
    let run = runs.recv().await.unwrap();
    assert!(run >= last + ms(20) && run <= last + ms(25), "{:?} after the last wake-up", run - last);
    assert!(timeout(ms(500), runs.recv()).await.is_err(), "three wake-ups lead to one run");
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_wake_ups_cannot_hold_a_run_back() {
    let (sender, mut runs) = mpsc::unbounded_channel();
    let (supervisor, wake) = (supervisor(), Wake::new());
    let spec = LoopSpec::new("stormy", TICK).debounce(ms(20), ms(200));
    supervisor.spawn_loop(spec, wake.clone(), reporting(sender));
    let first = runs.recv().await.unwrap();
    for _ in 0..100 {
        wake.notify();
        sleep(ms(10)).await;
    }
    let mut before = first;
    let mut count = 0;
    while let Ok(run) = runs.try_recv() {
        assert!(run - before <= ms(225), "{:?} between two runs", run - before);
        before = run;
        count += 1;
    }
    assert!((4..=6).contains(&count), "{count} runs in a second");
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_during_a_run_leads_to_another_run() {
    let (supervisor, wake) = (supervisor(), Wake::new());
    let (sender, mut runs) = mpsc::unbounded_channel();
    let bell = wake.clone();
    let mut first = true;
    let body = move |_context: TaskContext| {
        let (sender, bell) = (sender.clone(), bell.clone());
        let ring = std::mem::take(&mut first);
        async move {
            if ring {
                bell.notify();
                sleep(ms(100)).await;
            }
            sender.send(Instant::now()).map_err(|error| error.to_string())
        }
    };
    supervisor.spawn_loop(LoopSpec::new("again", TICK), wake, body);
    let one = runs.recv().await.unwrap();
    let two = runs.recv().await.unwrap();
    assert!(two - one < ms(50));
    let lag = status_of(&supervisor, "again").lag;
    assert!(lag >= ms(100) && lag < ms(150), "lag {lag:?}");
}

#[tokio::test(start_paused = true)]
async fn errors_and_panics_are_counted_and_retried_with_backoff() {
    let supervisor = supervisor();
    let began = Instant::now();
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&times);
    let body = move |_context: TaskContext| {
        let mut times = seen.lock().unwrap();
        times.push(began.elapsed());
        let run = times.len();
        drop(times);
        async move {
            match run {
                1 => Err("engine is away".to_owned()),
                2 => panic!("out of range"),
                3 => Err("engine is away".to_owned()),
                _ => Ok(()),
            }
        }
    };
    let spec = LoopSpec::new("failing", TICK).backoff(Backoff::new(ms(100), ms(300)));
    supervisor.spawn_loop(spec, Wake::new(), body);
    sleep(ms(150)).await;
    let status = status_of(&supervisor, "failing");
    assert_eq!((status.state, status.errors_in_a_row), (TaskState::Backoff, 2));
    assert_eq!(status.last_error.as_deref(), Some("panic: out of range"));
    sleep(ms(1000)).await;
    let status = status_of(&supervisor, "failing");
    assert_eq!((status.state, status.errors_in_a_row, status.errors_total, status.runs), (TaskState::Idle, 0, 3, 4));
    let waits: Vec<u128> = times.lock().unwrap().windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(waits, [100, 200, 300], "doubling, up to the longest wait");
}

#[tokio::test(start_paused = true)]
async fn a_body_may_be_a_struct_with_state() {
    struct Counting(u32, mpsc::UnboundedSender<u32>);
    impl LoopBody for Counting {
        type Error = Infallible;
        async fn run(&mut self, _context: &TaskContext) -> Result<(), Infallible> {
            self.0 += 1;
            let _ = self.1.send(self.0);
            Ok(())
        }
    }
    let (sender, mut counts) = mpsc::unbounded_channel();
    let supervisor = supervisor();
    supervisor.spawn_loop(LoopSpec::new("counting", TICK), Wake::new(), Counting(0, sender));
    assert_eq!(counts.recv().await, Some(1));
    assert_eq!(counts.recv().await, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_fatal_service_ends_the_node_with_its_reason() {
    let supervisor = supervisor();
    supervisor.spawn_service("log", OnExit::StopNode, |_context| async {
        sleep(ms(50)).await;
        Err::<(), _>("disk: input/output error")
    });
    let exit = timeout(ms(100), supervisor.fatal()).await.unwrap();
    assert_eq!(exit, FatalExit { task: "log".into(), reason: "disk: input/output error".into() });
    assert_eq!(supervisor.fatal().await, exit, "asking again gives the same answer");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_returns_without_being_asked_to_is_a_failure_as_well() {
    let supervisor = supervisor();
    supervisor.spawn_service("quiet", OnExit::StopNode, |_context| async { Ok::<(), Infallible>(()) });
    assert_eq!(supervisor.fatal().await.reason, "ended without being asked to");
}

#[tokio::test(start_paused = true)]
async fn a_service_is_started_again_and_a_long_life_clears_its_failures() {
    let supervisor = supervisor();
    let starts = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&starts);
    supervisor.spawn_service("stream", OnExit::Restart(Backoff::new(ms(100), ms(1000))), move |_context| {
        let start = seen.fetch_add(1, Ordering::SeqCst);
        async move {
            if start == 2 {
                sleep(Duration::from_secs(60)).await;
            }
            Err::<(), _>("connection lost")
        }
    });
    sleep(ms(350)).await;
    assert_eq!(starts.load(Ordering::SeqCst), 3, "after 100 and 200 ms");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(status_of(&supervisor, "stream").errors_in_a_row, 1);
    assert!(timeout(ms(1), supervisor.fatal()).await.is_err());
}

/// Spawns a service that notes its stop and takes `takes` for it.
fn spawn_stopping(
    supervisor: &Supervisor,
    name: &'static str,
    takes: Duration,
    stopped: &Arc<Mutex<Vec<&'static str>>>,
) {
    let stopped = Arc::clone(stopped);
    supervisor.spawn_service(name, OnExit::StopNode, move |context| {
        let stopped = Arc::clone(&stopped);
        async move {
            context.shutdown.cancelled().await;
            sleep(takes).await;
            stopped.lock().unwrap().push(name);
            Ok::<(), Infallible>(())
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_drain_follows_its_order_and_counts_every_task() {
    let supervisor = supervisor();
    let stopped = Arc::new(Mutex::new(Vec::new()));
    spawn_stopping(&supervisor, "store", ms(10), &stopped);
    spawn_stopping(&supervisor, "unnamed", ms(10), &stopped);
    spawn_stopping(&supervisor, "ingress-2", ms(40), &stopped);
    spawn_stopping(&supervisor, "ingress-1", ms(50), &stopped);
    let (sender, _runs) = mpsc::unbounded_channel();
    supervisor.spawn_loop(LoopSpec::new("replica_loop", TICK), Wake::new(), reporting(sender));
    sleep(ms(1)).await;
    let report = supervisor.drain(&["ingress-*", "replica_loop", "store"], Duration::from_secs(5)).await;
    assert_eq!(*stopped.lock().unwrap(), ["ingress-2", "ingress-1", "store", "unnamed"]);
    assert_eq!(report.joined, ["ingress-2", "ingress-1", "replica_loop", "store", "unnamed"]);
    assert!(report.aborted.is_empty());
    assert!(supervisor.status().iter().all(|status| status.state == TaskState::Stopped));
    assert!(timeout(ms(1), supervisor.fatal()).await.is_err(), "a service that was asked to end is no failure");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_hangs_is_aborted_and_leaves_time_for_the_others() {
    let supervisor = supervisor();
    let stopped = Arc::new(Mutex::new(Vec::new()));
    supervisor.spawn_service("stuck", OnExit::StopNode, |_context| std::future::pending::<Result<(), Infallible>>());
    spawn_stopping(&supervisor, "store", ms(500), &stopped);
    sleep(ms(1)).await;
    let began = Instant::now();
    let report = supervisor.drain(&["stuck", "store"], Duration::from_secs(4)).await;
    assert_eq!(report, DrainReport { joined: vec!["store".into()], aborted: vec!["stuck".into()] });
    assert_eq!(began.elapsed(), Duration::from_secs(2) + ms(500));
    assert!(supervisor.status().iter().all(|status| status.state == TaskState::Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_run_under_way_is_finished_before_the_loop_stops() {
    let supervisor = supervisor();
    let finished = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&finished);
    supervisor.spawn_loop(LoopSpec::new("busy", TICK), Wake::new(), move |_context: TaskContext| {
        let seen = Arc::clone(&seen);
        async move {
            sleep(ms(300)).await;
            seen.fetch_add(1, Ordering::SeqCst);
            Ok::<(), Infallible>(())
        }
    });
    sleep(ms(100)).await;
    let report = supervisor.drain(&[], Duration::from_secs(5)).await;
    assert_eq!((report.joined.len(), finished.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_once_the_drain_has_begun() {
    let supervisor = supervisor();
    supervisor.drain(&[], Duration::from_secs(1)).await;
    let (sender, mut runs) = mpsc::unbounded_channel();
    supervisor.spawn_loop(LoopSpec::new("late", TICK), Wake::new(), reporting(sender));
    assert_eq!(runs.recv().await, None);
    assert!(supervisor.status().is_empty());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_supervisor_aborts_its_tasks() {
    let (sender, mut runs) = mpsc::unbounded_channel();
    let supervisor = supervisor();
    supervisor.spawn_loop(LoopSpec::new("orphan", TICK), Wake::new(), reporting(sender));
    runs.recv().await.unwrap();
    drop(supervisor);
    assert_eq!(timeout(ms(10), runs.recv()).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_name_can_be_used_again_after_its_task_ended() {
    let supervisor = supervisor();
    let stopped = Arc::new(Mutex::new(Vec::new()));
    supervisor.spawn_service("member", OnExit::StopNode, |_context| async { Err::<(), _>("left") });
    supervisor.fatal().await;
    sleep(ms(1)).await;
    spawn_stopping(&supervisor, "member", ms(1), &stopped);
    assert_eq!(supervisor.status().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_failure_is_logged_at_start_at_change_and_every_ten_minutes() {
    let mut log = FailureLog::default();
    let mut lines = Vec::new();
    for second in 0..1300_u64 {
        let text = if second < 10 { "refused" } else { "timed out" };
        if let Some(report) = log.failed(text, Instant::now()) {
            lines.push((second, report.count));
        }
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(lines, [(0, 1), (10, 1), (610, 601), (1210, 1201)]);
    let report = log.recovered(Instant::now()).unwrap();
    assert_eq!((report.count, report.lasting), (1290, Duration::from_secs(1290)));
    assert_eq!(log.recovered(Instant::now()), None);
}

#[test]
fn backoff_doubles_up_to_its_longest_wait_and_never_overflows() {
    let backoff = Backoff::new(ms(100), Duration::from_secs(10));
    assert_eq!(backoff.delay(0, 1.0), Duration::ZERO);
    assert_eq!(backoff.delay(1, 0.0), ms(50));
    assert_eq!(backoff.delay(1, 1.0), ms(100));
    assert_eq!(backoff.delay(3, 1.0), ms(400));
    assert_eq!(backoff.delay(u32::MAX, 1.0), Duration::from_secs(10));
    assert_eq!(backoff.delay(1, f64::INFINITY), ms(100));
}
