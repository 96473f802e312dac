//! A connection that has to say something soon: one that finishes its handshake and then sends nothing would hold its place for ever,
//! as HTTP/2 has no deadline for a peer's first bytes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tonic::transport::server::Connected;

/// Bytes after which a peer counts as one that speaks HTTP/2: the connection preface (RFC 9113, 3.4).
const PREFACE: usize = 24;

/// A connection whose first bytes have a deadline.
pub(crate) struct Prompt<S> {
    inner: S,
    heard: usize,
    /// `None` once the first bytes were there.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Prompt<S> {
    pub(crate) fn new(inner: S, limit: Duration) -> Self {
        Prompt { inner, heard: 0, deadline: Some(Box::pin(tokio::time::sleep(limit))) }
    }
}

impl<S: Connected> Connected for Prompt<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> S::ConnectInfo {
        self.inner.connect_info()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prompt<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Prompt<S> {
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
        let mut stream = Prompt::new(stream, Duration::from_secs(10));
        peer.write_all(b"PRI *").await.unwrap();
        let mut buffer = [0; 5];
        stream.read_exact(&mut buffer).await.unwrap();
        assert_eq!(stream.read_exact(&mut buffer).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_has_spoken_may_be_silent() {
        let (mut peer, stream) = tokio::io::duplex(64);
        let mut stream = Prompt::new(stream, Duration::from_secs(10));
        peer.write_all(&[0; PREFACE]).await.unwrap();
        let mut buffer = [0; PREFACE];
        stream.read_exact(&mut buffer).await.unwrap();
        let later = tokio::time::timeout(Duration::from_secs(60), stream.read_exact(&mut buffer)).await;
        assert!(later.is_err(), "{later:?}");
    }
}
