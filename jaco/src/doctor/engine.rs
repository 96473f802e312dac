//! Asks the engine for its version: one request of HTTP/1.0, for which the client needs no engine library.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::facts::Engine;

/// How long the engine may take for each read.
const PATIENCE: Duration = Duration::from_secs(5);

/// Its answer has a few kilobytes.
const LONGEST_ANSWER: u64 = 1024 * 1024;

/// Asks the engine behind this socket.
pub fn ask(socket: &Path) -> Engine {
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::NotFound => return Engine::NoSocket(socket.to_owned()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Engine::Denied(socket.to_owned()),
        Err(error) => return Engine::NoAnswer(socket.to_owned(), error.to_string()),
    };
    match exchange(&mut stream) {
        Ok(answer) => understand(&answer).unwrap_or_else(|reason| Engine::NoAnswer(socket.to_owned(), reason)),
        Err(error) => Engine::NoAnswer(socket.to_owned(), error.to_string()),
    }
}

fn exchange(stream: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // Version 1.0, so that the answer is neither chunked nor kept open.
    stream.write_all(b"GET /version HTTP/1.0\r\nHost: engine\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}

fn understand(answer: &[u8]) -> Result<Engine, String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or("it does not speak HTTP")?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status != "200" {
        return Err(format!("it answers with status {status:?}"));
    }
    let value: serde_json::Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let field = |name: &str| value.get(name).and_then(|v| v.as_str()).map(str::to_owned);
    let api = field("ApiVersion").ok_or("it names no ApiVersion")?;
    Ok(Engine::Answers { version: field("Version").unwrap_or_else(|| "of unknown version".to_owned()), api })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read() {
        let answer = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"Version\":\"20.10.24\",\"ApiVersion\":\"1.41\"}";
        assert_eq!(understand(answer), Ok(Engine::Answers { version: "20.10.24".into(), api: "1.41".into() }));
    }

    #[test]
    fn nonsense_is_told() {
        for answer in [
            &b"SSH-2.0-x"[..],
            b"HTTP/1.0 500 no\r\n\r\n{}",
            b"HTTP/1.0 200 OK\r\n\r\nno",
            b"HTTP/1.0 200 OK\r\n\r\n{}",
        ] {
            assert!(understand(answer).is_err());
        }
    }

    #[test]
    fn no_socket_is_told() {
        let path = Path::new("/nonexistent/engine.sock");
        assert_eq!(ask(path), Engine::NoSocket(path.to_owned()));
    }
}
