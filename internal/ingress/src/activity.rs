//! What a client connection is doing, kept cheaply enough to be updated with every request, so that one timer per connection can tell a
//! slow client from a busy one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::clock::Clock;
use crate::limits::Limits;
use crate::small_writes::SmallWrites;

/// Times are microseconds of its [`Clock`]; 0 is "not now".
pub(crate) struct Activity {
    limits: Arc<Limits>,
    clock: Clock,
    /// HTTP/2 frames arrive at any time, so bytes between requests say nothing there.
    multiplexed: bool,
    in_flight: AtomicU32,
    served: AtomicU32,
    idle_since: AtomicU64,
    head_since: AtomicU64,
    write_blocked_since: AtomicU64,
    body_awaited_since: AtomicU64,
    /// A request was answered before all of its body was read.
    unread: AtomicBool,
    lingers_since: AtomicU64,
}

/// What the connection's timer is to do.
pub(crate) enum Verdict {
    /// Look again then.
    Until(Instant),
    /// Close: the client is too slow, or idle for too long.
    Close,
}

impl Activity {
    pub(crate) fn new(limits: Arc<Limits>, clock: Clock, multiplexed: bool) -> Self {
        let now = clock.now_micros();
        Activity {
            limits,
            clock,
            multiplexed,
            in_flight: AtomicU32::new(0),
            served: AtomicU32::new(0),
            idle_since: AtomicU64::new(now),
            head_since: AtomicU64::new(0),
            write_blocked_since: AtomicU64::new(0),
            body_awaited_since: AtomicU64::new(0),
            unread: AtomicBool::new(false),
            lingers_since: AtomicU64::new(0),
        }
    }

    /// A request head is complete. Returns when the request began.
    pub(crate) fn request_begins(&self) -> u64 {
        self.in_flight.fetch_add(1, Relaxed);
        self.served.store(1, Relaxed);
        match self.head_since.swap(0, Relaxed) {
            0 => self.clock.now_micros(),
            since => since,
        }
    }

    pub(crate) fn request_ends(&self, now: u64) {
        self.idle_since.store(now, Relaxed);
        self.in_flight.fetch_sub(1, Relaxed);
        self.body_awaited_since.store(0, Relaxed);
    }

    /// The request body is awaited from the client, or has just moved on.
    pub(crate) fn body_awaited(&self, awaited: bool) {
        mark(&self.body_awaited_since, awaited, self.clock);
    }

    /// A request's body was given up before its end.
    pub(crate) fn left_unread(&self) {
        self.unread.store(true, Relaxed);
    }

    fn read(&self) {
        if !self.multiplexed && self.in_flight.load(Relaxed) == 0 && self.head_since.load(Relaxed) == 0 {
            self.head_since.store(self.clock.now_micros(), Relaxed);
        }
    }

    /// Judges the connection at `now`.
    pub(crate) fn verdict(&self, now: Instant) -> Verdict {
        let limits = &self.limits;
        let mut next = now + limits.stall_timeout.min(limits.idle_timeout).min(limits.header_timeout);
        let idle = self.in_flight.load(Relaxed) == 0;
        let first = self.served.load(Relaxed) == 0;
        let head_since = self.head_since.load(Relaxed);
        let patience = if first && !self.multiplexed { limits.header_timeout } else { limits.idle_timeout };
        let bounds: [(bool, u64, Duration); 5] = [
            (idle && head_since == 0, self.idle_since.load(Relaxed), patience),
            (idle, head_since, limits.header_timeout),
            (true, self.write_blocked_since.load(Relaxed), limits.stall_timeout),
            (!idle, self.body_awaited_since.load(Relaxed), limits.stall_timeout),
            (true, self.lingers_since.load(Relaxed), limits.header_timeout),
        ];
        for (applies, since, bound) in bounds {
            if applies && since != 0 {
                let end = self.clock.instant(since) + bound;
                if end <= now {
                    return Verdict::Close;
                }
                next = next.min(end);
            }
        }
        Verdict::Until(next)
    }
}

fn mark(since: &AtomicU64, set: bool, clock: Clock) {
    let marked = since.load(Relaxed) != 0;
    if set && !marked {
        since.store(clock.now_micros(), Relaxed);
    } else if !set && marked {
        since.store(0, Relaxed);
    }
}

/// A client's socket that reports to an [`Activity`], with what was read of it before it was known which protocol it speaks.
pub(crate) struct ClientStream {
    stream: SmallWrites<TcpStream>,
    prefix: Bytes,
    activity: Arc<Activity>,
}

impl ClientStream {
    pub(crate) fn new(stream: TcpStream, prefix: Bytes, activity: Arc<Activity>) -> Self {
        if !prefix.is_empty() {
            activity.read();
        }
        ClientStream { stream: SmallWrites(stream), prefix, activity }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.prefix.has_remaining() {
            let length = self.prefix.len().min(buf.remaining());
            buf.put_slice(&self.prefix.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_ready() && buf.filled().len() > before {
            self.activity.read();
        }
        polled
    }
}

impl ClientStream {
    fn wrote<T>(&self, polled: Poll<T>) -> Poll<T> {
        mark(&self.activity.write_blocked_since, polled.is_pending(), self.activity.clock);
        polled
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Ends the connection. Closing a socket with unread bytes resets it, and the reset may overtake the answer on its way to the client
    /// (RFC 9112, 9.6): so what a client still sends of a body that nobody wants is read and thrown away, until it stops or the
    /// connection's timer ends it.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.activity.lingers_since.load(Relaxed) == 0 {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !self.activity.unread.load(Relaxed) {
                return Poll::Ready(Ok(()));
            }
            mark(&self.activity.lingers_since, true, self.activity.clock);
        }
        let mut waste = [0; 8 * 1024];
        loop {
            let mut buf = ReadBuf::new(&mut waste);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
