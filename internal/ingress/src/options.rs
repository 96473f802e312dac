//! What the ingress is started with.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::limits::Limits;
use crate::listen::HttpListener;
use crate::ports::{NoKeeper, PortKeeper, PortSocket};
use crate::render::Reach;

/// How to start an [`Ingress`](crate::Ingress).
#[derive(Debug)]
pub struct Options {
    /// Where HTTP is served.
    pub http: Vec<HttpListener>,
    /// Threads that serve HTTP; 0 counts as 1.
    pub workers: usize,
    /// Whose containers are upstreams.
    pub reach: Reach,
    /// Where the last known table is kept, `<data_dir>/ingress/cache/routes.json`; `None` keeps none.
    pub cache_file: Option<PathBuf>,
    /// Address that published ports listen on.
    pub port_address: IpAddr,
    /// Sockets of published ports that the process before had open. Each serves as soon as a table names its protocol and port, the
    /// cached one included; those that the first [`Ingress::apply`](crate::Ingress::apply) leaves unnamed are closed for good.
    pub ports: Vec<PortSocket>,
    /// Who keeps the sockets of published ports for the next process.
    pub port_keeper: Arc<dyn PortKeeper>,
    /// Bounds.
    pub limits: Limits,
}

impl Options {
    /// Two workers, no cache, published ports on every IPv4 address, none of them inherited or kept, default limits.
    pub fn new(http: Vec<HttpListener>) -> Self {
        Options {
            http,
            workers: 2,
            reach: Reach::Cluster,
            cache_file: None,
            port_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ports: Vec::new(),
            port_keeper: Arc::new(NoKeeper),
            limits: Limits::default(),
        }
    }
}
