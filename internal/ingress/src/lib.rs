//! The ingress of a node: HTTP routes and published ports, forwarded to running replicas.
//!
//! # How it is put together
//!
//! [`render`] turns a view of the store into a plain [`Table`] (pure). [`Ingress::apply`] compiles that table and swaps it in
//! atomically; whoever holds the old one finishes with it, so a change never drops a request in flight. HTTP is served by N threads,
//! each with a current-thread runtime, its own listening sockets and its own keep-alive connections to upstreams, so that threads
//! share nothing but counters. Published ports are served by one more such thread. None of this runs on the daemon's own runtime.
//!
//! # Invariants
//!
//! - An upstream is identified by address *and* container: a new container that gets an old address starts with no history.
//! - Whoever uses an upstream (a request until its last body byte, a tunnel, a TCP connection, a UDP flow) holds an in-flight guard.
//!   [`Ingress::withdraw`] first closes the upstream to new guards, then waits for the existing ones.
//! - A request is sent again only if no byte of an answer came, and either it was never written, or it has no body and its method is
//!   idempotent.
//! - The cache of the last table is a hint for the time between start and the first real view, never truth.
//!
//! # Tasks
//!
//! Each thread owns its runtime, and the runtime owns every task started on it. [`Ingress::stop`] ends them within a deadline. The
//! one future for the caller to run is [`Ingress::route_loop`].

mod accept;
mod activity;
mod admission;
mod cache;
mod client;
mod clock;
mod conditions;
mod connect;
mod connection;
mod headers;
mod limits;
mod listen;
mod live;
mod options;
mod ports;
mod proxy;
mod render;
mod reply;
mod request_body;
mod response_body;
mod router;
mod service;
mod shared;
mod small_writes;
mod stats;
mod table;
mod tunnel;
mod upstream;
mod worker;

pub use conditions::{PORTS_DETAIL, port_details};
pub use limits::Limits;
pub use listen::HttpListener;
pub use options::Options;
pub use ports::{PortKeeper, PortSocket};
pub use render::{H2C_LABEL, Reach, render};
pub use router::{Found, Router};
pub use service::{Drained, Ingress, RouteReport, StartError};
pub use stats::{DURATION_BUCKETS_MICROS, Stats};
pub use table::{Backend, Endpoint, PortRule, RouteRule, Table, UpstreamProtocol};
