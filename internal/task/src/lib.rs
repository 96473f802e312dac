//! The life that every long-running part of the daemon has in common: named, owned, woken, restarted, stopped in order.
//!
//! A [`Supervisor`] owns all tasks. A *loop* ([`Supervisor::spawn_loop`]) runs its body once at the start, then whenever its
//! [`Wake`] is notified (debounced, with a longest wait) and on a slow safety tick. A wake-up carries no information: it says "look
//! again", so a body is idempotent and makes a full pass. A *service* ([`Supervisor::spawn_service`]) is one long future whose end
//! either stops the node or starts it anew.
//!
//! Invariants:
//! - no task dies silently: an error or a panic is counted, shown in [`Supervisor::status`], logged (at the start, at a change, and
//!   every ten minutes while it lasts) and followed by a restart with backoff, or by the end of the node;
//! - a wake-up that arrives while the body runs leads to another run;
//! - a body is never torn by a stop: it is asked by its [`CancellationToken`], and only past its share of the drain's deadline aborted;
//! - dropping the last `Supervisor` aborts whatever it still owns.
//!
//! Time is tokio's and jitter is a parameter, so that a simulation can hold both.

mod backoff;
mod drain;
mod repeat;
mod run;
mod status;
mod supervisor;
#[cfg(test)]
mod tests;
mod wake;

pub use backoff::Backoff;
pub use drain::DrainReport;
pub use repeat::{FailureLog, FailureReport};
pub use run::{LoopBody, LoopSpec, OnExit, TaskContext};
pub use status::{TaskState, TaskStatus};
pub use supervisor::{FatalExit, Supervisor};
pub use tokio_util::sync::CancellationToken;
pub use wake::Wake;
