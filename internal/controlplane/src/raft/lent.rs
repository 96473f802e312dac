//! A stream that is lent to somebody and taken back when its owner says so, whether the borrower has dropped it or not.
//!
//! Raft's stream of requests holds a lock of raft's while it waits for something to send. The answers may end long before a transport lets
//! go of the requests, and the next stream to the same member needs that lock: see `docs/adr/0010-streams-are-taken-back.md`.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::{Stream, StreamExt};

struct Slot<S> {
    stream: Option<S>,
    /// Of the borrower that waits.
    waiting: Option<Waker>,
}

/// The owner's side. When it is dropped, the stream is, and the borrower sees the end of it.
pub(crate) struct Lender<S>(Arc<Mutex<Slot<S>>>);

/// The borrower's side.
pub(crate) struct Lent<S>(Arc<Mutex<Slot<S>>>);

/// Lends a stream.
pub(crate) fn lend<S>(stream: S) -> (Lender<S>, Lent<S>) {
    let slot = Arc::new(Mutex::new(Slot { stream: Some(stream), waiting: None }));
    (Lender(slot.clone()), Lent(slot))
}

fn lock<S>(slot: &Mutex<Slot<S>>) -> MutexGuard<'_, Slot<S>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S> Drop for Lender<S> {
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        let (stream, waiting) = (slot.stream.take(), slot.waiting.take());
        drop(slot);
        drop(stream);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

impl<S: Stream + Unpin> Stream for Lent<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut slot = lock(&self.0);
        let Some(stream) = &mut slot.stream else { return Poll::Ready(None) };
        let next = stream.poll_next_unpin(context);
        slot.waiting = next.is_pending().then(|| context.waker().clone());
        next
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::sync::Mutex;

    use super::*;

    /// Holds the lock while it waits, which it does for ever.
    fn waiting(lock: Arc<Mutex<()>>) -> Pin<Box<dyn Stream<Item = u8> + Send>> {
        Box::pin(stream::once(async move {
            let _held = lock.lock().await;
            std::future::pending().await
        }))
    }

    #[tokio::test]
    async fn what_is_taken_back_ends_for_the_borrower_and_lets_go_of_all_it_holds() {
        let held = Arc::new(Mutex::new(()));
        let (lender, mut lent) = lend(waiting(held.clone()));
        let mut next = by_hand(&mut lent);
        assert!(next.poll().is_pending());
        assert!(held.try_lock().is_err(), "the stream holds it while it waits");
        drop(lender);
        assert!(held.try_lock().is_ok(), "taken back, with the borrower still there");
        assert!(next.is_woken(), "the borrower is told");
        assert_eq!(next.poll(), Poll::Ready(None));
    }

    #[tokio::test]
    async fn what_is_lent_goes_through() {
        let (_lender, lent) = lend(stream::iter([1, 2, 3]));
        assert_eq!(lent.collect::<Vec<_>>().await, [1, 2, 3]);
    }

    struct Woken(std::sync::atomic::AtomicBool);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// A poll of the stream's next item, by hand.
    struct ByHand<'a, S> {
        stream: &'a mut S,
        woken: Arc<Woken>,
    }

    fn by_hand<S: Stream + Unpin>(stream: &mut S) -> ByHand<'_, S> {
        ByHand { stream, woken: Arc::new(Woken(false.into())) }
    }

    impl<S: Stream + Unpin> ByHand<'_, S> {
        fn poll(&mut self) -> Poll<Option<S::Item>> {
            let waker = Waker::from(self.woken.clone());
            self.stream.poll_next_unpin(&mut Context::from_waker(&waker))
        }

        fn is_woken(&self) -> bool {
            self.woken.0.load(std::sync::atomic::Ordering::Relaxed)
        }
    }
}
