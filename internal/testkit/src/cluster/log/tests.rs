//! What a power cut takes and leaves.

use std::sync::atomic::{AtomicU64, Ordering};

use jaco_controlplane::{LogId, Payload, Vote};

use super::*;

fn entries(indexes: Range<u64>) -> LogWrite {
    let id = |index| LogId { term: 1, index };
    LogWrite::Append(indexes.map(|index| LogEntry { id: id(index), payload: Some(Payload::Blank(true)) }).collect())
}

fn indexes(log: &VolatileLog) -> Vec<u64> {
    log.read(0..u64::MAX, u64::MAX).unwrap().into_iter().map(|entry| entry.id.index).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_outlives_a_power_cut_and_the_rest_may_not() {
    let log = Arc::new(VolatileLog::new(1, Duration::from_millis(5)..Duration::from_millis(6)));
    let told = Arc::new(AtomicU64::new(0));
    let count = || {
        let told = told.clone();
        let done: Completion = Box::new(move |result| {
            if result.is_ok() {
                told.fetch_add(1, Ordering::Relaxed);
            }
        });
        done
    };
    let syncing = log.sync();
    let using = async {
        log.submit(LogWrite::Vote(Vote { term: 1, node_id: 1, committed: true }), count());
        log.submit(entries(1..4), count());
        assert_eq!((indexes(&log), told.load(Ordering::Relaxed)), (vec![1, 2, 3], 0), "written, and not durable yet");
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(told.load(Ordering::Relaxed), 2);
        log.submit(entries(4..6), count());
        log.submit(entries(6..7), count());
    };
    tokio::select! {
        () = syncing => unreachable!("it never ends"),
        () = using => {}
    }
    assert_eq!(indexes(&log), [1, 2, 3, 4, 5, 6]);
    log.cut_power(500);
    log.submit(entries(7..8), count());
    log.power_on().unwrap();
    assert_eq!(indexes(&log), [1, 2, 3, 4, 5], "half of what waited");
    assert_eq!(log.state().vote.map(|vote| vote.term), Some(1));
    assert_eq!(told.load(Ordering::Relaxed), 2);
    log.submit(entries(6..8), count());
    log.cut_power(0);
    log.power_on().unwrap();
    assert_eq!(indexes(&log), [1, 2, 3, 4, 5]);
}
