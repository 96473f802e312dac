//! Containers of this node: the replicas that are desired here become containers of the engine, and what happens to them becomes
//! observations in the store.
//!
//! [`plan`](crate::plan()) decides (pure), [`container::config`] translates (pure), the [`Engine`] acts, [`Runtime::run`] is the loop
//! between them. The loop is woken by the store's changes, by the engine's events, by the ends of its own steps and by deadlines;
//! a safety tick looks at everything again every 30 s.
//!
//! Invariants:
//! - only objects that carry our cluster's id are ever touched, and no named volume is ever removed;
//! - the containers are the memory: after any crash the loop looks, adopts what matches and repairs the rest;
//! - one step at a time per replica, each bounded in time; a step that hangs keeps nobody else waiting;
//! - observations are written on transitions only, at most five transactions a second: an idle node writes nothing;
//! - a container is out of routing, and that is committed, before it gets its stop signal;
//! - an exclusive container is up only while the node's lease holds and its slot is the node's ([`Rights`]).
//!
//! Tasks: all are owned by [`Runtime::run`] and end with it. Dropping it never stops a container.

mod act;
pub mod container;
pub mod engine;
mod labels;
mod lease;
mod leave;
mod logs;
mod network;
mod now;
pub mod plan;
mod pull;
mod service;
mod soft;
pub mod subnet;
#[cfg(test)]
mod testing;
mod traffic;

pub use engine::{DockerEngine, Engine, EngineError, LogOptions, OutputStream, PullProgress};
pub use lease::{Charge, Exclusive, Guard, Lease, LeaseHandle, Rights};
pub use leave::leave;
pub use logs::LogLine;
pub use now::Now;
pub use plan::{Memory, Plan, Step, Wanted, World, by_replica, observe, plan};
pub use service::{Options, Runtime, RuntimeError};
pub use soft::{ReplicaSoft, SoftState, Stats, StatsSnapshot};
pub use traffic::{NoTraffic, Traffic};
