//! Small messages in one plain write.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Up to so many bytes, copying is cheaper than handing the kernel a list of buffers.
const COPIED_BYTES: usize = 2048;

/// A stream whose short lists of buffers are written as one.
pub(crate) struct SmallWrites<S>(pub(crate) S);

impl<S: AsyncRead + Unpin> AsyncRead for SmallWrites<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SmallWrites<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs {
            return Pin::new(&mut self.0).poll_write(cx, only);
        }
        if bufs.iter().map(|buf| buf.len()).sum::<usize>() > COPIED_BYTES {
            return Pin::new(&mut self.0).poll_write_vectored(cx, bufs);
        }
        let mut copied = [0; COPIED_BYTES];
        let mut length = 0;
        for buf in bufs {
            if let Some(place) = copied.get_mut(length..length + buf.len()) {
                place.copy_from_slice(buf);
                length += buf.len();
            }
        }
        Pin::new(&mut self.0).poll_write(cx, copied.get(..length).unwrap_or_default())
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes what it is asked to write: the bytes, and of how many buffers.
    #[derive(Default)]
    struct Noted(Vec<(usize, Vec<u8>)>);

    impl AsyncWrite for Noted {
        fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push((1, buf.to_vec()));
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let whole: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
            let length = whole.len();
            self.0.push((bufs.len(), whole));
            Poll::Ready(Ok(length))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn short_lists_are_one_write_and_long_ones_are_not_copied() {
        let head = [b'h'; 100];
        let rest = COPIED_BYTES - head.len();
        for (body, buffers) in [(1, 1), (rest, 1), (rest + 1, 2)] {
            let body = vec![b'b'; body];
            let mut stream = SmallWrites(Noted::default());
            let bufs = [IoSlice::new(&head), IoSlice::new(&body)];
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let written = Pin::new(&mut stream).poll_write_vectored(&mut cx, &bufs);
            let whole = [&head[..], &body].concat();
            assert!(matches!(written, Poll::Ready(Ok(length)) if length == whole.len()));
            assert!(stream.0.0 == [(buffers, whole)]);
        }
    }
}
