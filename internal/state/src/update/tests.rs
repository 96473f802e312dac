//! Tests of the retry loop.

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use jaco_types::{ErrorCode, RevisionCounter};

use super::*;
use crate::fixture::{Still, counter, transaction};
use crate::local::LocalStore;
use crate::store::{BoxFuture, Leadership};
use crate::transaction::Check;
use crate::watch::{TooManyWatchers, WatchFrom, Watcher};

fn store() -> LocalStore {
    LocalStore::new(Arc::new(Still(1)))
}

/// Adds one to a counter, under a check of what was read.
fn increment(view: &View) -> Transaction {
    let highest = view.get::<RevisionCounter>("a").map_or(0, |counter| counter.highest);
    transaction(|transaction| {
        transaction
            .check_unchanged::<RevisionCounter>("a", view.version::<RevisionCounter>("a"))
            .put(counter("a", highest + 1));
    })
}

#[tokio::test]
async fn a_lost_check_leads_to_another_attempt_on_a_newer_view() {
    let store = store();
    let calls = Cell::new(0);
    let commit = update(&store, Retry::seeded(1), |view| {
        calls.set(calls.get() + 1);
        let planned = increment(view);
        if calls.get() < 4 {
            // Somebody else is faster.
            store.commit(increment(&store.view())).unwrap();
        }
        Ok::<_, UserError>(Some(planned))
    })
    .await
    .unwrap();
    assert_eq!(calls.get(), 4);
    assert_eq!(store.view().get::<RevisionCounter>("a").map(|counter| counter.highest), Some(4));
    assert_eq!(commit.map(|commit| commit.index), Some(7));
}

#[tokio::test]
async fn after_the_last_attempt_it_is_a_conflict() {
    let store = store();
    let calls = Cell::new(0);
    let error = update(&store, Retry::seeded(1), |_| {
        calls.set(calls.get() + 1);
        Ok::<_, UserError>(Some(transaction(|transaction| {
            transaction.check_term(9);
        })))
    })
    .await
    .unwrap_err();
    assert_eq!(calls.get(), 8);
    assert!(matches!(&error, UpdateError::Propose(ProposeError::Refused { failed: Check::Term(9), .. })));
    assert_eq!(error.into_user_error().code, ErrorCode::Conflict);
}

#[tokio::test]
async fn nothing_to_do_a_refused_plan_and_other_errors_end_it_at_once() {
    let store = store();
    assert!(matches!(update(&store, Retry::default(), |_| Ok::<_, UserError>(None)).await, Ok(None)));
    let refuse = |_: &View| Err(UserError::new(ErrorCode::RouteConflict, "taken"));
    let error = update(&store, Retry::default(), refuse).await.unwrap_err();
    assert_eq!(error.into_user_error().code, ErrorCode::RouteConflict);
    store.fail_next(ProposeError::DiskFull);
    let error = update(&store, Retry::default(), |view| Ok::<_, UserError>(Some(increment(view)))).await.unwrap_err();
    assert_eq!(error.into_user_error().code, ErrorCode::DiskFull);
    assert_eq!(store.view().index(), 0);
}

#[test]
fn pauses_grow_are_bounded_and_differ() {
    let retry = Retry::seeded(42);
    let pauses: Vec<_> = (0..40).map(|attempt| retry.pause(attempt)).collect();
    for (attempt, pause) in (0..).zip(&pauses) {
        assert!(
            *pause <= retry.first_pause * (1 << attempt.min(16)) && *pause <= retry.longest_pause,
            "{attempt}: {pause:?}"
        );
    }
    assert!(pauses.iter().any(|pause| *pause > retry.longest_pause / 2));
    assert_ne!(pauses, (0..40).map(|attempt| Retry::seeded(43).pause(attempt)).collect::<Vec<_>>());
}

#[tokio::test]
async fn it_takes_any_store() {
    let store: Arc<dyn Store> = Arc::new(store());
    let commit = update(&*store, Retry::default(), |view| Ok::<_, UserError>(Some(increment(view)))).await.unwrap();
    assert!(commit.is_some());
}

/// A follower: its own view lags, and shows what was committed only to those who wait for its index.
struct Lagging {
    leader: LocalStore,
    behind: View,
    waited_for: Mutex<Vec<u64>>,
}

impl Store for Lagging {
    fn propose(&self, transaction: Transaction) -> BoxFuture<'_, Result<Commit, ProposeError>> {
        self.leader.propose(transaction)
    }

    fn view(&self) -> View {
        self.behind.clone()
    }

    fn linearizable_view(&self) -> BoxFuture<'_, Result<View, ProposeError>> {
        // A view taken before the others wrote, as it is by the time its owner has computed something from it.
        Box::pin(async move { Ok(self.behind.clone()) })
    }

    fn reached(&self, index: u64) -> BoxFuture<'_, Result<View, ProposeError>> {
        self.waited_for.lock().unwrap().push(index);
        if index > self.behind.index() { self.leader.reached(index) } else { self.linearizable_view() }
    }

    fn watch(&self, from: WatchFrom) -> Watcher {
        self.leader.watch(from)
    }

    fn watch_client(&self, from: WatchFrom) -> Result<Watcher, TooManyWatchers> {
        self.leader.watch_client(from)
    }

    fn leadership(&self) -> Leadership {
        Leadership::Follower { leader: None }
    }
}

#[tokio::test]
async fn a_follower_waits_for_the_index_of_the_refusal() {
    let store = Lagging { leader: store(), behind: View::empty(), waited_for: Mutex::default() };
    for _ in 0..3 {
        store.leader.commit(increment(&store.leader.view())).unwrap();
    }
    let commit = update(&store, Retry::seeded(1), |view| Ok::<_, UserError>(Some(increment(view)))).await.unwrap();
    assert_eq!(commit.map(|commit| commit.index), Some(5));
    assert_eq!(*store.waited_for.lock().unwrap(), [4]);
}
