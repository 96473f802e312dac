//! A client in the background that asks again and again, to see whether anybody notices a change.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::ensure;

use crate::http::get;

/// What the client saw.
#[derive(Debug, Default)]
struct Seen {
    /// Requests with a good answer.
    good: usize,
    /// Everything else, in words.
    bad: Vec<String>,
}

/// Clients that run until they are asked what they saw.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Seen>>,
}

impl Traffic {
    /// Starts so many clients, each with a new connection for each request.
    pub fn start(clients: usize, address: SocketAddr, domain: &str, path: &str) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..clients)
            .map(|_| {
                let (stop, domain, path) = (Arc::clone(&stop), domain.to_owned(), path.to_owned());
                std::thread::spawn(move || ask(&stop, address, &domain, &path))
            })
            .collect();
        Traffic { stop, clients }
    }

    /// Ends the clients; fails when one of their requests did, or when there were none.
    pub fn end_without_failure(self) -> anyhow::Result<usize> {
        self.stop.store(true, Ordering::Release);
        let mut all = Seen::default();
        for client in self.clients {
            let seen = client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
            all.good += seen.good;
            all.bad.extend(seen.bad);
        }
        let first = all.bad.first().cloned().unwrap_or_default();
        ensure!(
            all.bad.is_empty(),
            "{} of {} requests failed; first: {first}",
            all.bad.len(),
            all.bad.len() + all.good
        );
        ensure!(all.good > 0, "not one request was made");
        Ok(all.good)
    }
}

#[allow(clippy::disallowed_methods)] // The pace of a client, no waiting for anything.
fn ask(stop: &AtomicBool, address: SocketAddr, domain: &str, path: &str) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Acquire) {
        match get(address, domain, path) {
            Ok(reply) if reply.status == 200 => seen.good += 1,
            Ok(reply) => seen.bad.push(format!("status {}: {}", reply.status, reply.body)),
            Err(error) => seen.bad.push(format!("{error:#}")),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    seen
}
