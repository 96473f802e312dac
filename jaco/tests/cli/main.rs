//! The real binary against a daemon that only pretends: what a user or a script sees of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly anywhere")]
#![allow(unreachable_pub, missing_docs, reason = "a test has no outside")]

mod backup;
mod debug;
mod errors;
mod fake;
mod local;
mod nodes;
mod operators;
mod reads;
mod run;
mod stale;
mod streams;
mod terminal;
mod tls;
mod writes;
