//! A published TCP port: each connection goes to the next replica in turn, or the one after it when that cannot be reached.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::port::Port;
use crate::listen::prepare;
use crate::upstream::InFlight;

/// Pause after the system had no descriptor or memory for a new connection.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Bytes held per connection and direction.
const BUFFER_BYTES: usize = 32 * 1024;

pub(super) async fn serve(port: Port, listener: Arc<TcpListener>) {
    let mut connections: JoinSet<()> = JoinSet::new();
    loop {
        let full = connections.len() >= port.shared.limits.tcp_connections;
        tokio::select! {
            // First: a listener that is closed answers every accept with an error.
            biased;
            () = port.closed.cancelled() => break,
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept(), if !full => match accepted {
                Ok((client, _address)) => {
                    connections.spawn(forward(port.clone(), client));
                }
                Err(error) => {
                    tracing::debug!(port = port.key.1, %error, "a published port cannot accept");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            },
        }
    }
    drop(listener);
    // Connections still open after that are ended by dropping the set.
    let finished = async { while connections.join_next().await.is_some() {} };
    let _in_time = timeout(port.shared.limits.port_linger, finished).await;
}

async fn forward(port: Port, mut client: TcpStream) {
    let Some((mut upstream, _in_flight)) = connect(&port).await else {
        tracing::debug!(port = port.key.1, "no replica of a published port can be reached");
        return;
    };
    let prepared = prepare(&client).and_then(|()| prepare(&upstream));
    let copied = match prepared {
        // A half-closed direction is passed on; the other goes on.
        Ok(()) => copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER_BYTES, BUFFER_BYTES).await,
        Err(error) => Err(error),
    };
    if let Err(error) = copied {
        tracing::debug!(port = port.key.1, %error, "connection through a published port ended");
    }
}

async fn connect(port: &Port) -> Option<(TcpStream, InFlight)> {
    let set = port.shared.table.load().ports.get(&port.key).cloned()?;
    for upstream in set.in_turn(port.shared.clock.now_ms()) {
        let Some(in_flight) = InFlight::take(&upstream) else { continue };
        match timeout(port.shared.limits.connect_timeout, TcpStream::connect(upstream.key.address)).await {
            Ok(Ok(stream)) => return Some((stream, in_flight)),
            Ok(Err(_)) | Err(_) => upstream.eject(port.shared.clock.now_ms(), port.shared.limits.eject_for),
        }
    }
    None
}
