//! What both files are read with: fields that know their place, tables of keys with a verdict each, and the report of problems.
//!
//! Every key has a verdict in [`keys`]; nothing is dropped silently, and reading goes on after a problem so that all are told at once.

pub mod keys;
mod place;
pub(crate) mod read;
pub(crate) mod report;
pub(crate) mod scalar;
mod spelling;

/// Most published host ports of a deployment.
pub const MAX_PORTS: usize = 1_000;
