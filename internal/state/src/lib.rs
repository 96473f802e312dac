//! The replicated store as everybody above consensus sees it.
//!
//! A [`Transaction`] (checks and writes) becomes a [`Command`], travels in the log as an [`Entry`], and is judged by
//! [`StateMachine::apply`], which is pure: the same entries give the same bytes on every node. What it leaves behind is an
//! immutable [`View`]; a [`Hub`] hands views and the [`Batch`]es between them to [`Watcher`]s. [`Store`] is the one interface the
//! rest of the daemon uses; [`LocalStore`] is that interface without consensus, for tests.
//!
//! Invariants:
//! - A transaction is applied wholly or not at all.
//! - A record's version is the log index that last wrote it, so versions only grow.
//! - Kinds and bodies unknown to this version keep their bytes through apply, snapshot and load.
//! - A watcher sees a snapshot and then every change after it, in log order, with no hole; a lost place is said with a new snapshot.
//!
//! Everything but [`watch`](Hub), the [`Store`] implementations and [`update`] builds on plain data; those use tokio's `sync` part,
//! and [`update`] its timer for the pause between two attempts. No task is started here.

mod audit;
mod clock;
mod command;
#[cfg(test)]
mod fixture;
mod local;
mod machine;
mod propose;
mod record;
mod request;
mod snapshot;
mod store;
mod stored;
mod transaction;
mod update;
mod view;
mod watch;

pub use audit::{AUDIT_LIMIT, AuditRecord};
pub use clock::{Clock, SystemClock};
pub use command::{Command, ENTRY_FORMAT, Entry, EntryError, Stamp};
pub use local::LocalStore;
pub use machine::{EntryMeta, Outcome, StateMachine};
pub use propose::ProposeError;
pub use record::{Batch, Change, Record};
pub use request::REQUEST_WINDOW;
pub use snapshot::{SNAPSHOT_FORMAT, SnapshotError, SnapshotHeader, read_snapshot, write_snapshot};
pub use store::{BoxFuture, Leadership, Store};
pub use transaction::{
    AuditEvent, Check, Commit, MAX_TRANSACTION_BYTES, MAX_TRANSACTION_WRITES, RequestId, Transaction, Write,
};
pub use update::{Retry, UpdateError, update};
pub use view::View;
pub use watch::{Cursor, Event, Hub, HubLimits, HubStopped, TooManyWatchers, WatchFrom, Watcher};
