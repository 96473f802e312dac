//! The lab: several hosts on one machine, to test clusters of real programs by breaking them.
//!
//! A host has its own network, mount, process, name, IPC and cgroup namespaces, its own `/etc`, `/run`, `/var/lib` and Docker engine, so
//! that default paths and ports work in each. All hosts hang off a bridge, the switch, in a network namespace of its own: the machine's
//! firewall and engine are not touched, and frames between hosts can be dropped without the hosts noticing anything but silence.
//!
//! - [`Lab::start`] boots hosts; dropping it ends them. [`Lab::attach`] finds the one that `jaco-lab up` started.
//! - [`Host`] runs programs and is killed, booted, frozen, filled up; [`Host::jacod`] is its daemon.
//! - [`Network`] cuts links one way or both, isolates, loses and delays frames, and heals.
//! - [`Capabilities`] says what this machine can do, and names what it cannot.
//!
//! Processes of a lab, all of them this crate's program: the *keeper* lives in the switch's namespace, holds the lock that forbids a
//! second lab, and removes everything when its owner ends, in whatever way; a *launcher* per host makes the namespaces and waits for the
//! host's *init*, process 1 in there, whose SIGKILL ends the whole host at once; *enter* runs one command in a host.

pub mod agent;
mod capabilities;
mod cgroup;
mod host;
mod lab;
mod namespace;
mod network;
mod options;
mod process;
mod program;
mod state;

pub use capabilities::{Capabilities, Capability, Cgroups, can_run};
pub use host::{Host, Jacod};
pub use lab::{Lab, Timings};
pub use network::Network;
pub use options::{DataDisk, JacodOptions, LabOptions};
pub use process::{Output, Process};
pub use program::program;
pub use state::LockError;
