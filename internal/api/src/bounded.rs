//! What bounds a connection beside its peer. One that finishes its handshake and then sends nothing would hold its place for ever, as HTTP/2
//! has no deadline for a peer's first bytes. And the HTTP/2 library serves each connection in a task of its own, which goes on when the
//! server itself has ended: what it serves then belongs to a life of the daemon that is over.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

/// Bytes after which a peer counts as one that speaks HTTP/2: the connection preface (RFC 9113, 3.4).
const PREFACE: usize = 24;

/// A connection that breaks when its server says so, and whose first bytes may have a deadline.
pub(crate) struct Bounded<S> {
    inner: S,
    heard: usize,
    /// `None` once the first bytes were there, or where they may take any time.
    deadline: Option<Pin<Box<Sleep>>>,
    /// `None` once it has resolved.
    end: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl<S> Bounded<S> {
    /// Breaks when `end` is cancelled, and when the peer has said too little within the limit.
    pub(crate) fn new(inner: S, limit: Option<Duration>, end: &CancellationToken) -> Self {
        let deadline = limit.map(|limit| Box::pin(tokio::time::sleep(limit)));
        // A child has a lock of its own, so that connections do not meet on it.
        Bounded { inner, heard: 0, deadline, end: Some(Box::pin(end.child_token().cancelled_owned())) }
    }
}

impl<S: Connected> Connected for Bounded<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> S::ConnectInfo {
        self.inner.connect_info()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // A server reads all the time, so it is told here.
        if self.end.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready()) {
            self.end = None;
        }
        if self.end.is_none() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if self.deadline.is_none() {
            return read;
        }
        self.heard += buffer.filled().len() - before;
        if self.heard >= PREFACE {
            self.deadline = None;
        }
        match (&mut self.deadline, &read) {
            (Some(deadline), Poll::Pending) => match deadline.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => read,
            },
            (Some(_) | None, _) => read,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_too_little_is_given_up() {
        let (mut peer, stream) = tokio::io::duplex(64);
        let mut stream = Bounded::new(stream, Some(Duration::from_secs(10)), &CancellationToken::new());
        peer.write_all(b"PRI *").await.unwrap();
        let mut buffer = [0; 5];
        stream.read_exact(&mut buffer).await.unwrap();
        assert_eq!(stream.read_exact(&mut buffer).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_has_spoken_may_be_silent() {
        let (mut peer, stream) = tokio::io::duplex(64);
        let mut stream = Bounded::new(stream, Some(Duration::from_secs(10)), &CancellationToken::new());
        peer.write_all(&[0; PREFACE]).await.unwrap();
        let mut buffer = [0; PREFACE];
        stream.read_exact(&mut buffer).await.unwrap();
        let later = tokio::time::timeout(Duration::from_secs(60), stream.read_exact(&mut buffer)).await;
        assert!(later.is_err(), "{later:?}");
    }
}
