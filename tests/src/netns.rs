//! A UDP server inside a container's network, as the test image has none.

use std::fs::File;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Sends every datagram back with a word in front, until it is dropped.
pub struct UdpEcho {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl UdpEcho {
    /// Serves a port in the network namespace of a process.
    pub fn start(process: u32, port: u16, word: &str) -> anyhow::Result<UdpEcho> {
        let namespace = File::open(format!("/proc/{process}/ns/net")).context("the container's network")?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, word) = (Arc::clone(&stop), word.to_owned());
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            // Only this thread moves; the socket stays in that network.
            let bound =
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network))
                    .map_err(std::io::Error::from)
                    .and_then(|()| UdpSocket::bind(("0.0.0.0", port)));
            match bound {
                Ok(socket) => {
                    let _ = sender.send(Ok(()));
                    echo(&socket, &word, &stopped);
                }
                Err(error) => {
                    let _ = sender.send(Err(error));
                }
            }
        });
        receiver.recv().context("the echo server's thread ended")?.context("the echo server")?;
        Ok(UdpEcho { stop, thread: Some(thread) })
    }
}

fn echo(socket: &UdpSocket, word: &str, stop: &AtomicBool) {
    let _ = socket.set_read_timeout(Some(Duration::from_millis(100)));
    let mut bytes = [0_u8; 2048];
    while !stop.load(Ordering::Acquire) {
        if let Ok((length, peer)) = socket.recv_from(&mut bytes) {
            let mut answer = word.as_bytes().to_vec();
            answer.extend(bytes.get(..length).unwrap_or_default());
            let _ = socket.send_to(&answer, peer);
        }
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
