//! A request's body on its way to an upstream: never held, only passed on.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::activity::Activity;

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
