//! Whether a machine has what a node needs: facts are gathered by thin code, and judged by pure code.

mod config;
mod engine;
mod evaluate;
mod facts;
mod gather;
mod listeners;
mod report;

pub use config::DEFAULT_PATH;
pub use evaluate::evaluate;
pub use gather::{Places, gather};
pub use report::Report;
