//! An answer's body on its way to the client, with the bookkeeping that hangs on its end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;

use crate::activity::Activity;
use crate::request_body::RequestBody;
use crate::upstream::InFlight;
use crate::worker::Worker;

/// A request from its head to the end of its answer; counts it when dropped.
pub(crate) struct Exchange {
    activity: Arc<Activity>,
    worker: Arc<Worker>,
    began: u64,
    pub(crate) status: u16,
}

impl Exchange {
    pub(crate) fn begin(activity: &Arc<Activity>, worker: &Arc<Worker>) -> Self {
        let began = activity.request_begins();
        // 499, as others call it: the client went away before there was an answer.
        Exchange { activity: Arc::clone(activity), worker: Arc::clone(worker), began, status: 499 }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let now = self.worker.shared.clock.now_micros();
        self.activity.request_ends(now);
        if let Some(stats) = self.worker.stats() {
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
