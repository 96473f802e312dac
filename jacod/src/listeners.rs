//! The daemon's own TCP ports, bound once for all of its lives.
//!
//! They are bound before anything else is built, member or not: a port that somebody else has is told at the start, and not when the node
//! has just been made a member and can no longer serve. As long as the node is no member, connections to the two ports of the cluster are
//! closed at once.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// Pause after a connection that could not be accepted: the process may be out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Listening sockets, not blocking. Connections wait in their queues between two lives.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// `cluster_addr`: members among themselves.
    pub(crate) members: TcpListener,
    /// `listen_addr`: operators and joining nodes.
    pub(crate) api: TcpListener,
    /// `metrics_addr`.
    pub(crate) metrics: TcpListener,
}

impl Listeners {
    /// Binds all of them.
    ///
    /// Errors: the key of the configuration and its address, when the port is taken or the address is not one of this host.
    pub(crate) fn bind(config: &Config) -> anyhow::Result<Listeners> {
        Ok(Listeners {
            members: bind("cluster_addr", config.cluster_addr)?,
            api: bind("listen_addr", config.listen_addr)?,
            metrics: bind("metrics_addr", config.metrics_addr)?,
        })
    }

    /// The same sockets once more, for one life.
    pub(crate) fn try_clone(&self) -> std::io::Result<Listeners> {
        Ok(Listeners {
            members: self.members.try_clone()?,
            api: self.api.try_clone()?,
            metrics: self.metrics.try_clone()?,
        })
    }
}

fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("{key} {address} cannot be bound"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Closes each connection at once, until cancelled.
pub(crate) async fn refuse(listener: tokio::net::TcpListener, shutdown: CancellationToken) {
    let closing = async {
        loop {
            match listener.accept().await {
                Ok((stream, client)) => {
                    drop(stream);
                    tracing::debug!(%client, "a connection was closed: this node belongs to no cluster");
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = closing => {}
        () = shutdown.cancelled() => {}
    }
}
