//! Takes connections in, and ends a worker when its last one is done.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::admission::ClientGuard;
use crate::connection;
use crate::reply::TOO_MANY_CONNECTIONS;
use crate::worker::Worker;

/// Time between two looks for idle upstream connections to close.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Pause after the system had no descriptor or memory for a new connection.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Serves until stopped: then ends when the last client is done, or at once when killed.
pub(crate) async fn run(worker: Arc<Worker>, listeners: Vec<TcpListener>) {
    let accepting = TaskTracker::new();
    for listener in listeners {
        let worker = Arc::clone(&worker);
        accepting.spawn(async move {
            tokio::select! {
                () = worker.draining.cancelled() => {}
                () = accept(&worker, &listener) => {}
            }
        });
    }
    tokio::select! {
        () = worker.draining.cancelled() => {}
        () = sweep(&worker) => {}
    }
    accepting.close();
    accepting.wait().await;
    worker.clients.close();
    tokio::select! {
        () = worker.clients.wait() => {}
        () = worker.shared.stop.killed.cancelled() => {}
    }
}

async fn sweep(worker: &Worker) {
    let max_idle = worker.shared.limits.upstream_idle_timeout;
    let mut tick = tokio::time::interval(SWEEP_EVERY.min(max_idle));
    loop {
        tick.tick().await;
        let upstreams = worker.shared.state().registry.all();
        for upstream in upstreams {
            upstream.sweep(worker.index, max_idle);
        }
    }
}

async fn accept(worker: &Arc<Worker>, listener: &TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => take(worker, stream, client),
            // The client was gone before it was accepted.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
            }
            Err(error) => {
                tracing::warn!(%error, "the ingress cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

fn take(worker: &Arc<Worker>, stream: TcpStream, client: SocketAddr) {
    let stats = worker.stats();
    let Some(guard) = ClientGuard::enter(&worker.shared.clients, client.ip(), &worker.shared.limits) else {
        if let Some(stats) = stats {
            stats.refused.fetch_add(1, Relaxed);
        }
        // Into an empty socket buffer; a client that cannot take even that gets nothing.
        let _written = stream.try_write(TOO_MANY_CONNECTIONS);
        return;
    };
    if let Some(stats) = stats {
        stats.opened.fetch_add(1, Relaxed);
    }
    let serving = Arc::clone(worker);
    worker.clients.spawn(async move {
        if let Err(error) = connection::serve(serving, stream, client, guard).await {
            tracing::debug!(%client, %error, "client connection ended");
        }
    });
}
