//! A new life of a cluster on one node: from a backup (`jaco restore`), or from what this node has (`jaco cluster recover`).
//!
//! Both work on a data directory whose daemon is stopped. [`begin_life`] is pure: a state in, a state with one member out. [`read_state`]
//! and [`write_state`] are the way from and to a data directory, [`Staging`] puts everything in place at once.
//!
//! Invariants:
//! - The new life has a new incarnation, so nothing of the old one (a member, a watch cursor, a certificate) is taken for a part of it.
//! - Its log goes on at the old index + 2^32: no index of the old life, whatever was committed after the backup, means anything in it,
//!   and every request id of the old life is refused as too old.
//! - On disk there is the old state or the new one, never a part, whenever the process dies.

mod life;
mod offline;
mod staging;

pub use life::{INDEX_GAP, LifeEvent, NewLife, begin_life, open_with_recovery_key};
pub use offline::{OfflineState, WriteStateError, read_state, write_state};
pub use staging::{Replaced, Staging};

#[cfg(test)]
mod tests;
