//! The simulation: whole clusters in one process, on simulated time, network and disks, from a seed.
//!
//! What runs is the real thing: stores over raft, sessions, membership, scheduler. Simulated are time (tokio's, paused), the network and
//! the disks of [`jaco_testkit`], and the nodes' engines. [`run`] makes one run; its choices follow from the seed alone, so the same seed
//! gives the same trace.
//!
//! After each step: no term has two leaders; all nodes have the same committed history, and the same state at the same index; cluster
//! time and versions only grow; what was acknowledged is in the history exactly once; watchers miss nothing; no join token lets two
//! nodes in; no port or route has two owners; no exclusive replica runs twice. At the end: the cluster has recovered, and the histories
//! of concurrent clients are linearizable.

mod agent;
mod client;
mod entropy;
mod forged;
mod host;
pub mod linearizable;
mod membership;
mod model;
mod random;
mod run;
mod sabotage;
mod trace;
mod watching;
mod world;

pub use run::{Failed, Passed, elapsed, run, run_broken};
pub use sabotage::Sabotage;
