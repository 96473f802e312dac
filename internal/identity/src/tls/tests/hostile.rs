//! Peers that speak something else, too slowly, or not at all.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{future, io};

use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

use super::{Rig, TIMEOUT};
use crate::Fingerprint;
use crate::tls::{AcceptError, Acceptor, ConnectError, ExpectedNode, Trust};

/// A stream that notes what is written to it.
struct Recorder {
    stream: DuplexStream,
    written: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Recorder {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Recorder {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            self.written.lock().unwrap().extend_from_slice(&bytes[..*count]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Types and lengths of the TLS records in some bytes.
fn records(bytes: &[u8]) -> Vec<(u8, usize)> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let [kind, _, _, high, low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        found.push((*kind, length));
        rest = &after[length..];
    }
    found
}

/// A joiner with the wrong fingerprint sends its hello and an alert: no certificate, no data.
#[tokio::test]
async fn a_mismatch_sends_nothing() {
    let rig = Rig::new();
    let connector = rig.trusting(Trust::Pinned(Fingerprint::of_der(b"another")), Some(rig.operator()));
    let (near, far) = tokio::io::duplex(64 * 1024);
    let written = Arc::new(Mutex::new(Vec::new()));
    let recorder = Recorder { stream: near, written: Arc::clone(&written) };
    let acceptor = rig.api();
    let (server, client) = tokio::join!(acceptor.accept(far), connector.connect(recorder, ExpectedNode::Any));
    assert!(matches!(client.err(), Some(ConnectError::FingerprintMismatch { .. })));
    assert!(matches!(server.err(), Some(AcceptError::Protocol { .. } | AcceptError::Io(_))));
    let records = records(&written.lock().unwrap());
    let (hello, rest) = records.split_first().unwrap();
    assert_eq!(hello.0, 22, "a handshake record: {records:?}");
    for (kind, length) in rest {
        // Change-cipher-spec of one byte, and an alert: 2 bytes, or 2 + 1 + 16 when it is encrypted.
        let harmless = (*kind == 20 && *length == 1) || (*kind == 21 && *length == 2) || (*kind == 23 && *length == 19);
        assert!(harmless, "{records:?}");
    }
}

/// A hello of TLS 1.2, complete in itself: ECDHE-ECDSA with AES-128-GCM, P-256, no `supported_versions`.
fn tls12_hello() -> Vec<u8> {
    let extensions: &[u8] = &[
        0, 10, 0, 4, 0, 2, 0, 23, // supported groups: P-256
        0, 11, 0, 2, 1, 0, // point formats: uncompressed
        0, 13, 0, 4, 0, 2, 4, 3, // signatures: ECDSA with SHA-256
    ];
    let mut body = vec![3, 3];
    body.extend_from_slice(&[0x5a; 32]);
    body.extend_from_slice(&[0, 0, 2, 0xc0, 0x2b, 1, 0]);
    body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    body.extend_from_slice(extensions);
    let mut handshake = vec![1, 0];
    handshake.extend_from_slice(&(body.len() as u16).to_be_bytes());
    handshake.extend_from_slice(&body);
    let mut record = vec![22, 3, 1];
    record.extend_from_slice(&(handshake.len() as u16).to_be_bytes());
    record.extend_from_slice(&handshake);
    record
}

/// What a server answers to some bytes, and how it judges them.
async fn answer(acceptor: &Acceptor, bytes: &[u8]) -> (Vec<u8>, AcceptError) {
    let (mut near, far) = tokio::io::duplex(1024 * 1024);
    near.write_all(bytes).await.unwrap();
    near.shutdown().await.unwrap();
    let error = acceptor.accept(far).await.err().unwrap();
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    (answer, error)
}

#[tokio::test]
async fn tls_1_2_is_refused_on_both_ports() {
    let rig = Rig::new();
    for acceptor in [rig.api(), rig.members()] {
        let (answer, error) = answer(&acceptor, &tls12_hello()).await;
        assert!(matches!(error, AcceptError::Protocol { .. }), "{error:?}");
        // A fatal alert, `protocol_version`.
        assert_eq!((answer[0], &answer[5..]), (21, &[2, 70][..]), "{error}");
    }
}

#[tokio::test]
async fn a_server_of_tls_1_2_is_refused() {
    let rig = Rig::new();
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let server = async {
        let mut hello = [0; 5];
        far.read_exact(&mut hello).await.unwrap();
        let mut body = vec![0; usize::from(u16::from_be_bytes([hello[3], hello[4]]))];
        far.read_exact(&mut body).await.unwrap();
        // Server hello of TLS 1.2: version, random, no session, ECDHE-ECDSA with AES-128-GCM, no compression.
        let mut answer = vec![22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3];
        answer.extend_from_slice(&[0x5a; 32]);
        answer.extend_from_slice(&[0, 0xc0, 0x2b, 0]);
        far.write_all(&answer).await.unwrap();
        far
    };
    let connector = rig.client(None);
    let (_far, client) = tokio::join!(server, connector.connect(near, ExpectedNode::Any));
    assert!(matches!(client, Err(ConnectError::Protocol { .. })), "{client:?}");
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let rig = Rig::new();
    let (_, error) = answer(&rig.api(), b"GET / HTTP/1.1\r\nhost: alpha\r\n\r\n").await;
    assert!(matches!(error, AcceptError::Protocol { .. }), "{error:?}");
    let (_, error) = answer(&rig.api(), b"").await;
    assert!(matches!(error, AcceptError::Io(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_given_up() {
    let rig = Rig::new();
    let (near, far) = tokio::io::duplex(1024);
    let accepted = rig.members().accept(far).await;
    assert!(matches!(accepted, Err(AcceptError::Timeout { after }) if after == TIMEOUT));
    drop(near);
    let (near, _far) = tokio::io::duplex(1024);
    let connected = rig.client(None).connect(near, ExpectedNode::Any).await;
    assert!(matches!(connected, Err(ConnectError::Timeout { .. })), "{connected:?}");
}

/// A byte a second of a hello that would be a valid beginning for hours: the limit is for the whole handshake.
#[tokio::test(start_paused = true)]
async fn a_slow_loris_is_given_up() {
    let rig = Rig::new();
    let (mut near, far) = tokio::io::duplex(1024);
    let acceptor = rig.api();
    let drip = async {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        for byte in tls12_hello() {
            second.tick().await;
            near.write_all(&[byte]).await.unwrap();
        }
        future::pending::<()>().await;
    };
    tokio::select! {
        accepted = acceptor.accept(far) => {
            assert!(matches!(accepted, Err(AcceptError::Timeout { after }) if after == TIMEOUT));
        }
        () = drip => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn garbage_ends_in_an_error(noise in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..90, to: u8) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let acceptor = Rig::new().api();
        let mut hello = tls12_hello();
        let length = hello.len();
        hello[at % length] = to;
        for bytes in [noise, hello] {
            let (_, error) = runtime.block_on(answer(&acceptor, &bytes));
            prop_assert!(matches!(error, AcceptError::Protocol { .. } | AcceptError::Io(_)), "{error:?}");
        }
    }
}
