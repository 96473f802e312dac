//! The ingress on real sockets of the loopback, with replicas inside the test process.

// Helpers outside of test functions fail a test in the same way as test functions do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod balance;
mod http;
mod lifecycle;
mod limits;
mod ports;
mod support;
