//! The real binary against a daemon that only pretends: what a user or a script sees of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly anywhere")]
#![allow(unreachable_pub, missing_docs, reason = "a test has no outside")]

mod errors;
mod fake;
mod local;
mod reads;
mod run;
mod streams;
mod terminal;
mod writes;
