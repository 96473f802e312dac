//! Bodies on their way through: never held, only passed on, with the bookkeeping that hangs on their end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;

use crate::activity::Activity;
use crate::stats::WorkerStats;
use crate::upstream::InFlight;
use crate::worker::Worker;

/// How reading a request's body went.
#[derive(Debug, Default)]
pub(crate) struct Upload(AtomicU8);

impl Upload {
    const BROKEN: u8 = 1;
    const TOO_LARGE: u8 = 2;

    pub(crate) fn is_broken(&self) -> bool {
        self.0.load(Relaxed) == Self::BROKEN
    }

    pub(crate) fn is_too_large(&self) -> bool {
        self.0.load(Relaxed) == Self::TOO_LARGE
    }
}

/// A request's body on its way to an upstream.
pub(crate) enum RequestBody {
    Empty,
    Streamed(Box<Streamed>),
}

pub(crate) struct Streamed {
    incoming: Incoming,
    /// Bytes that may still come.
    left: Option<u64>,
    activity: Arc<Activity>,
    upload: Arc<Upload>,
}

/// Why a request's body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// The client's side broke off.
    #[error("the client's body broke off")]
    Client(#[from] hyper::Error),
    /// More than the limit.
    #[error("the client's body is over the limit")]
    TooLarge,
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, limit: Option<u64>, activity: &Arc<Activity>) -> (Self, Option<Arc<Upload>>) {
        if incoming.is_end_stream() {
            return (RequestBody::Empty, None);
        }
        let upload = Arc::new(Upload::default());
        let streamed = Streamed { incoming, left: limit, activity: Arc::clone(activity), upload: Arc::clone(&upload) };
        (RequestBody::Streamed(Box::new(streamed)), Some(upload))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match self.get_mut() {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Streamed(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Streamed(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Streamed(body) => body.incoming.size_hint(),
        }
    }
}

impl Streamed {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        self.activity.body_awaited(polled.is_pending());
        let Some(frame) = ready!(polled) else { return Poll::Ready(None) };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                self.upload.0.store(Upload::BROKEN, Relaxed);
                return Poll::Ready(Some(Err(error.into())));
            }
        };
        if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
            match left.checked_sub(data.len() as u64) {
                Some(rest) => *left = rest,
                None => {
                    self.upload.0.store(Upload::TOO_LARGE, Relaxed);
                    return Poll::Ready(Some(Err(UploadError::TooLarge)));
                }
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        // Whoever dropped it awaits nothing more of the client.
        self.activity.body_awaited(false);
        if !self.incoming.is_end_stream() {
            self.activity.left_unread();
        }
    }
}

/// A request from its head to the end of its answer; counts it when dropped.
pub(crate) struct Exchange {
    activity: Arc<Activity>,
    worker: usize,
    began: u64,
    pub(crate) status: u16,
}

impl Exchange {
    pub(crate) fn begin(activity: &Arc<Activity>, worker: usize) -> Self {
        // 499, as others call it: the client went away before there was an answer.
        Exchange { activity: Arc::clone(activity), worker, began: activity.request_begins(), status: 499 }
    }

    fn stats(&self) -> Option<&WorkerStats> {
        self.activity.shared.stats.get(self.worker)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let now = self.activity.shared.now_micros();
        self.activity.request_ends(now);
        if let Some(stats) = self.stats() {
            stats.finish(self.status, now.saturating_sub(self.began));
        }
    }
}

/// An upstream's connection while one exchange uses it.
pub(crate) struct Lease {
    pub(crate) worker: Arc<Worker>,
    pub(crate) target: InFlight,
    /// `None` for HTTP/2, whose connections are shared.
    pub(crate) sender: Option<http1::SendRequest<RequestBody>>,
}

impl Lease {
    /// Gives the connection back for the next request. Dropping a lease instead closes it.
    pub(crate) fn give_back(self) {
        if let Some(sender) = self.sender {
            let bound = self.worker.shared.limits.upstream_idle;
            self.target.upstream().put_http1(self.worker.index, sender, Instant::now(), bound);
        }
    }
}

/// An answer's body on its way to the client.
pub(crate) struct ResponseBody {
    source: Source,
    /// Ends with the body.
    exchange: Option<Exchange>,
}

enum Source {
    Text(Option<Bytes>),
    Upstream { incoming: Incoming, lease: Option<Lease> },
}

impl ResponseBody {
    pub(crate) fn text(text: Bytes) -> Self {
        ResponseBody { source: Source::Text(Some(text)), exchange: None }
    }

    pub(crate) fn empty() -> Self {
        ResponseBody { source: Source::Text(None), exchange: None }
    }

    pub(crate) fn upstream(incoming: Incoming, lease: Lease) -> Self {
        let mut lease = Some(lease);
        if incoming.is_end_stream()
            && let Some(lease) = lease.take()
        {
            lease.give_back();
        }
        ResponseBody { source: Source::Upstream { incoming, lease }, exchange: None }
    }

    /// The exchange ends when this body does.
    pub(crate) fn ending(mut self, exchange: Exchange) -> Self {
        self.exchange = Some(exchange);
        self
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.get_mut().source {
            Source::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Upstream { incoming, lease } => {
                let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
                let finished = match &frame {
                    Some(Ok(_)) => incoming.is_end_stream(),
                    Some(Err(_)) => false,
                    None => true,
                };
                if finished && let Some(lease) = lease.take() {
                    lease.give_back();
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Text(text) => text.is_none(),
            Source::Upstream { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Source::Upstream { incoming, .. } => incoming.size_hint(),
        }
    }
}
