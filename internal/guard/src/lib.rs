//! The guard: a process apart from the daemon that ends exclusive containers when the node's lease has ended, also while the daemon is
//! killed, paused or being upgraded.
//!
//! The daemon writes a [`Charge`] (until when the lease holds, on the boot-time clock, and which containers depend on it) into a directory
//! that does not survive a reboot ([`ChargeDir`]); the guard ([`run`]) reads it at every change and at every deadline. When the lease has
//! ended it has the engine stop the containers, each with its grace cut to what is left, and before the time for that is over it
//! kills by itself whatever is left of their processes, found by their control groups. It goes on looking until the lease is renewed
//! or the charge is taken back.
//!
//! Invariants:
//! - one guard per directory; it holds a lock on it as long as it lives, which is how the daemon sees that it does;
//! - no process is killed that is not in the control group of a container of the charge;
//! - the guard depends on nothing of the daemon's but the charge, and does not wait for the engine.
//!
//! Not covered: a hung kernel, a virtual machine that is paused and resumed, and a guard that is killed together with the daemon.

mod charge;
mod engine;
mod journal;
mod processes;
mod run;

pub use charge::{Charge, ChargeDir, ChargeError, Held, boot_time};
pub use processes::{ControlGroups, Processes};
pub use run::{GuardOptions, RunError, run, run_with};
