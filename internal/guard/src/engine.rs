//! One request to the container engine, without waiting for anything else of it.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// An engine that takes nothing for this long is away; killing does not need it.
const SEND_LIMIT: Duration = Duration::from_secs(2);

/// Has the engine send a container its stop signal, and SIGKILL after the grace (whole seconds, rounded down: the time for it is all
/// there is). Returns when the engine says that it has ended.
///
/// # Errors
/// The engine did not answer, or refused.
pub(crate) fn stop(socket: &Path, container: &str, grace: Duration) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(SEND_LIMIT))?;
    stream.set_read_timeout(Some(grace.saturating_add(Duration::from_secs(5))))?;
    // One line and three headers of HTTP/1.1, of whose answer only the status counts: no client would be less.
    write!(
        stream,
        "POST /containers/{container}/stop?t={} HTTP/1.1\r\nHost: engine\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        grace.as_secs()
    )?;
    let mut head = [0_u8; 12];
    stream.read_exact(&mut head)?;
    match head.get(9..) {
        // Stopped; was not running; is gone.
        Some(b"204" | b"304" | b"404") => Ok(()),
        Some(status) => Err(io::Error::other(format!("the engine answers {}", String::from_utf8_lossy(status)))),
        None => Err(io::Error::other("the engine's answer is no HTTP")),
    }
}
