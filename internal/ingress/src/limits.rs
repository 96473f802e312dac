//! Bounds of one ingress.

use std::time::Duration;

/// Bounds on what clients and upstreams may use. A request may have at most 100 header fields; that bound is fixed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head; more is answered with 431.
    pub header_bytes: usize,
    /// Bytes of a request's body; more is answered with 413. `None`: any size, as bodies are streamed and never held.
    pub request_body: Option<u64>,
    /// Client connections of one address (IPv6: of one /64); more are answered with 429 and closed.
    pub connections_per_client: u32,
    /// Client connections in all.
    pub connections: u32,
    /// Time a client has to send a whole request head.
    pub header_timeout: Duration,
    /// Time a connection may stay open between two requests.
    pub idle_timeout: Duration,
    /// Time without any progress of a body, in either direction on the client's side, after which the connection is closed.
    pub stall_timeout: Duration,
    /// Time to connect to an upstream.
    pub connect_timeout: Duration,
    /// Time an upstream may take until its answer begins; `None`: any, as long polls need.
    pub response_timeout: Option<Duration>,
    /// Idle connections kept per upstream and worker.
    pub upstream_idle: usize,
    /// Time an idle upstream connection is kept.
    pub upstream_idle_timeout: Duration,
    /// Time a failing upstream is left out.
    pub eject_for: Duration,
    /// Further tries after a failed one.
    pub retries: u32,
    /// TCP connections through one published port.
    pub tcp_connections: usize,
    /// Flows (client addresses) through one published UDP port.
    pub udp_flows: usize,
    /// Time without a datagram after which a flow ends.
    pub udp_idle: Duration,
    /// Time TCP connections may go on after their port was removed.
    pub port_linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            header_bytes: 64 * 1024,
            request_body: None,
            connections_per_client: 4096,
            connections: 32_768,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(3),
            response_timeout: None,
            upstream_idle: 128,
            upstream_idle_timeout: Duration::from_secs(30),
            eject_for: Duration::from_secs(10),
            retries: 2,
            tcp_connections: 8192,
            udp_flows: 8192,
            udp_idle: Duration::from_secs(60),
            port_linger: Duration::from_secs(30),
        }
    }
}
