//! The one write path and the one way to read, as seen by everybody.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use jaco_types::NodeId;

use crate::propose::ProposeError;
use crate::transaction::{Commit, Transaction};
use crate::view::View;
use crate::watch::{TooManyWatchers, WatchFrom, Watcher};

/// A boxed future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who leads, as this node knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// This node leads, and a majority confirmed it within the lease.
    Leader {
        /// Its term: goes into [`Check::Term`](crate::Check::Term) of leader-only work.
        term: u64,
    },
    /// Another node leads, or nobody.
    Follower {
        /// The leader, where one is known.
        leader: Option<NodeId>,
    },
}

/// The replicated store of this node.
pub trait Store: Send + Sync + 'static {
    /// Commits a transaction: on return it is on disk on a majority and this node's view has applied it.
    ///
    /// Dropping the future does not take the proposal back: it may still commit.
    fn propose(&self, transaction: Transaction) -> BoxFuture<'_, Result<Commit, ProposeError>>;

    /// What this node has applied so far. Never blocks; may be behind the leader.
    fn view(&self) -> View;

    /// A view that holds every transaction that was acknowledged anywhere before the call.
    fn linearizable_view(&self) -> BoxFuture<'_, Result<View, ProposeError>>;

    /// A view that has applied at least this index; waits for it without limit, so the caller sets the deadline.
    fn reached(&self, index: u64) -> BoxFuture<'_, Result<View, ProposeError>>;

    /// Follows the store. For the daemon's own parts, whose number is fixed: it is never refused.
    fn watch(&self, from: WatchFrom) -> Watcher;

    /// Follows the store on behalf of a client; refused over the limit of such watchers.
    fn watch_client(&self, from: WatchFrom) -> Result<Watcher, TooManyWatchers>;

    /// Who leads. [`Leadership::Leader`] only while the quorum lease is valid.
    fn leadership(&self) -> Leadership;
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn propose(&self, transaction: Transaction) -> BoxFuture<'_, Result<Commit, ProposeError>> {
        (**self).propose(transaction)
    }

    fn view(&self) -> View {
        (**self).view()
    }

    fn linearizable_view(&self) -> BoxFuture<'_, Result<View, ProposeError>> {
        (**self).linearizable_view()
    }

    fn reached(&self, index: u64) -> BoxFuture<'_, Result<View, ProposeError>> {
        (**self).reached(index)
    }

    fn watch(&self, from: WatchFrom) -> Watcher {
        (**self).watch(from)
    }

    fn watch_client(&self, from: WatchFrom) -> Result<Watcher, TooManyWatchers> {
        (**self).watch_client(from)
    }

    fn leadership(&self) -> Leadership {
        (**self).leadership()
    }
}
