//! Serves one catch-all route, to be driven by a load generator.
//!
//! Usage: `ingress_bench <listen address> <upstream address> <workers>`; requests must name the listen address' host.

use std::net::SocketAddr;

use jaco_ingress::{Backend, Endpoint, HttpListener, Ingress, Options, RouteRule, Table, UpstreamProtocol};
use jaco_types::{DeploymentName, ServiceName};

/// As the daemon has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: ingress_bench <listen address> <upstream address> <workers>";
    let listen: SocketAddr = arguments.next().ok_or(usage)?.parse()?;
    let upstream: SocketAddr = arguments.next().ok_or(usage)?.parse()?;
    let workers = arguments.next().ok_or(usage)?.parse()?;
    let ingress = Ingress::start(Options { workers, ..Options::new(vec![HttpListener::Bind(listen)]) })?;
    ingress.apply(&Table {
        routes: vec![RouteRule { domain: listen.ip().to_string(), path: String::new(), strip_path: false, backend: 0 }],
        ports: Vec::new(),
        backends: vec![Backend {
            deployment: DeploymentName::new("bench")?,
            service: ServiceName::new("upstream")?,
            port: upstream.port(),
            protocol: UpstreamProtocol::Http1,
            endpoints: vec![Endpoint { address: upstream, container: "upstream".to_owned() }],
        }],
    });
    // Until it is killed.
    loop {
        std::thread::park();
    }
}
