//! Tests of the store in memory.

use jaco_types::RevisionCounter;

use super::*;
use crate::fixture::{Still, counter, request, transaction};
use crate::watch::Event;

fn store() -> LocalStore {
    LocalStore::new(Arc::new(Still(5_000)))
}

#[test]
fn a_commit_is_stamped_applied_and_seen() {
    let store = store();
    let commit = store
        .commit(transaction(|transaction| {
            transaction.put(counter("a", 1)).reply("ok");
        }))
        .unwrap();
    assert_eq!(commit, Commit { index: 1, time_ms: 5_000, reply: "ok".into(), repeated: false });
    assert_eq!(store.view().version::<RevisionCounter>("a"), Some(1));
}

#[test]
fn refusals_and_repeats_come_back_typed_and_use_up_an_index() {
    let store = store();
    let put = || {
        transaction(|transaction| {
            transaction.check_absent::<RevisionCounter>("a").put(counter("a", 1));
        })
    };
    store.commit(put()).unwrap();
    assert!(matches!(store.commit(put()), Err(ProposeError::Refused { index: 2, .. })));
    let with_id = || {
        transaction(|transaction| {
            transaction.request_id(request(2, 1)).put(counter("b", 1));
        })
    };
    assert_eq!(store.commit(with_id()).map(|commit| (commit.index, commit.repeated)), Ok((3, false)));
    assert_eq!(store.commit(with_id()).map(|commit| (commit.index, commit.repeated)), Ok((3, true)));
    assert_eq!(store.view().index(), 4);
}

#[test]
fn leadership_and_failures_are_set_by_the_test() {
    let store = store();
    store.set_leadership(Leadership::Leader { term: 7 });
    store
        .commit(transaction(|transaction| {
            transaction.check_term(7).put(counter("a", 1));
        }))
        .unwrap();
    store.set_leadership(Leadership::Follower { leader: None });
    assert_eq!(store.leadership(), Leadership::Follower { leader: None });
    store.fail_next(ProposeError::DiskFull);
    assert_eq!(store.commit(transaction(|_| {})), Err(ProposeError::DiskFull));
    assert_eq!(store.view().index(), 1);
    assert!(store.commit(transaction(|_| {})).is_ok());
}

#[tokio::test]
async fn a_stopped_store_says_so_everywhere() {
    let store = store();
    let mut watcher = store.watch(WatchFrom::Now);
    assert!(matches!(watcher.next().await, Some(Event::Snapshot(_))));
    store.stop();
    assert!(watcher.next().await.is_none());
    assert_eq!(store.propose(transaction(|_| {})).await, Err(ProposeError::Stopped));
    assert!(matches!(store.linearizable_view().await, Err(ProposeError::Stopped)));
    assert!(matches!(store.reached(1).await, Err(ProposeError::Stopped)));
}
