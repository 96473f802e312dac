//! The TLS side of the fake daemon: an authority of its own, and one node's certificate.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use jaco_identity::{
    Acceptor, Authority, Certificate, CertificateRequest, Credential, LiveCredential, NodeGrant, PrivateKey,
    RequestNames, ServerOptions, SystemWallClock, TlsStream, WallClock,
};
use jaco_types::{Hostname, NodeId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::server::Connected;

/// A new authority's certificate, and the acceptor of a node that it has signed.
pub fn acceptor() -> (Certificate, Acceptor) {
    let now_ms = SystemWallClock.now_ms();
    let authority = Authority::generate("c0ffee", now_ms).unwrap();
    let key = PrivateKey::generate().unwrap();
    let request = CertificateRequest::new(&key, &RequestNames::default()).unwrap();
    let grant = NodeGrant {
        node_id: NodeId(1),
        incarnation: 1,
        hostname: Hostname::new("n1").unwrap(),
        addresses: Vec::new(),
        validity: Duration::from_secs(3600),
    };
    let certificate = authority.sign_node(&request, &grant, now_ms).unwrap();
    let credential = Credential::new(&certificate, &key, authority.certificate()).unwrap();
    let acceptor = Acceptor::api(ServerOptions {
        authority: authority.certificate().clone(),
        credential: LiveCredential::new(credential),
        clock: Arc::new(SystemWallClock),
        handshake_timeout: Duration::from_secs(5),
    });
    (authority.certificate().clone(), acceptor.unwrap())
}

/// A connection after its handshake; one that failed ends at its first use.
pub async fn accept(acceptor: Acceptor, stream: io::Result<TcpStream>) -> io::Result<Secured> {
    Ok(Secured(acceptor.accept(stream?).await.ok()))
}

pub struct Secured(Option<TlsStream<TcpStream>>);

impl Connected for Secured {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().map_or_else(gone, |stream| Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().map_or_else(gone, |stream| Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().map_or_else(gone, |stream| Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().map_or_else(gone, |stream| Pin::new(stream).poll_shutdown(cx))
    }
}
