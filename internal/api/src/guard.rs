//! Stands before every handler: finds out who calls, asks the table, and goes on asking while an answer streams.
//!
//! - A call is judged by the view of its moment. A revocation that this node has applied counts from the next call on.
//! - An answer that is still on its way is judged again at every change of an operator's or node's record, every minute (certificates
//!   end), and when this node has had no leader for five seconds (it may have missed a revocation by then).
//! - The control socket is exempt: its permissions are those of a file, and nobody revokes them.
//! - A node that has been without a majority for five seconds answers what needs one with `quorum_lost` at once, and says with every
//!   read that it may be old. Before that it may be an election, and the same is called `no_leader`: clients then try again.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Frame;
use jaco_identity::{OperatorToken, PeerIdentity};
use jaco_proto::{STALE_HEADER, from_status, to_status};
use jaco_state::{Clock, Event, Leadership, ProposeError, Store, SystemClock, WatchFrom};
use jaco_types::{ErrorCode, Kind, UserError};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::access::{self, Credentials, Need, Rule};
use crate::caller::{Caller, Peer};
use crate::facilities::Consensus;
use crate::tls_listener::TlsPeer;

/// How long a node may be out of touch with a majority before it counts as cut off: no election takes longer. Operators' streams go on
/// for so long, and no read is called old before (contract: 5 s).
pub const CUT_OFF_AFTER: Duration = Duration::from_secs(5);
/// How often it is looked whether there is a leader.
const LEADER_CHECK: Duration = Duration::from_secs(1);
/// How often open streams are judged whatever happens.
const RECHECK: Duration = Duration::from_secs(60);

/// The guard of one listener. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Guard {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    consensus: Arc<dyn Consensus>,
    clock: Arc<dyn Clock>,
    /// Counts the reasons to judge open streams again.
    reasons: watch::Sender<u64>,
    /// Since when no leader is known.
    leaderless_since: Mutex<Option<Instant>>,
}

/// A call that may go on.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) caller: Caller,
    credentials: Credentials,
    rule: Rule,
    need: Need,
}

impl Guard {
    pub(crate) fn new(store: Arc<dyn Store>, consensus: Arc<dyn Consensus>) -> Guard {
        Guard::with_clock(store, consensus, Arc::new(SystemClock::default()))
    }

    pub(crate) fn with_clock(store: Arc<dyn Store>, consensus: Arc<dyn Consensus>, clock: Arc<dyn Clock>) -> Guard {
        let inner = Inner { store, consensus, clock, reasons: watch::channel(0).0, leaderless_since: Mutex::default() };
        Guard { inner: Arc::new(inner) }
    }

    /// Has open streams judged again when there is a reason, until the store stops. To be run beside the listener.
    pub(crate) async fn run(&self) {
        let mut watcher = self.inner.store.watch(WatchFrom::Now);
        let mut minute = tokio::time::interval(RECHECK);
        let mut second = tokio::time::interval(LEADER_CHECK);
        loop {
            let again = tokio::select! {
                event = watcher.next() => match event {
                    None => return,
                    Some(Event::Snapshot(_)) => true,
                    Some(Event::Batch(batch)) => batch.changes.iter().any(|change| is_about_access(change.kind)),
                },
                _ = minute.tick() => true,
                _ = second.tick() => self.is_cut_off(),
            };
            if again {
                self.inner.reasons.send_modify(|reasons| *reasons = reasons.wrapping_add(1));
            }
        }
    }

    fn knows_leader(&self) -> bool {
        match self.inner.store.leadership() {
            Leadership::Leader { .. } | Leadership::Follower { leader: Some(_) } => true,
            Leadership::Follower { leader: None } => false,
        }
    }

    /// Whether there is a leader, and this node has heard of its majority a short while ago: one that is cut off goes on naming the
    /// leader it last followed.
    fn has_leader(&self) -> bool {
        self.knows_leader() && !self.is_cut_off()
    }

    /// How long this node has known no leader, or has not heard that it is on the side of a majority.
    fn out_of_touch(&self) -> Duration {
        let mut since = self.inner.leaderless_since.lock().unwrap_or_else(PoisonError::into_inner);
        let leaderless = if self.knows_leader() {
            *since = None;
            Duration::ZERO
        } else {
            since.get_or_insert_with(Instant::now).elapsed()
        };
        leaderless.max(self.inner.consensus.since_majority())
    }

    fn is_cut_off(&self) -> bool {
        self.out_of_touch() > CUT_OFF_AFTER
    }

    /// Judges a call before its handler sees it.
    pub(crate) fn admit<B>(&self, request: &http::Request<B>) -> Result<Admitted, Status> {
        let path = request.uri().path();
        let rule = access::rule(path).ok_or_else(|| Status::unimplemented(format!("there is no call {path}")))?;
        let need = access::need(path, rule);
        let judged = credentials(request).and_then(|credentials| {
            let caller = self.judge(&credentials, rule)?;
            self.check_majority(need)?;
            Ok(Admitted { caller, credentials, rule, need })
        });
        judged.map_err(|error| {
            let from = request.extensions().get::<TlsPeer>().map(|peer| peer.address);
            tracing::debug!(path, ?from, code = %error.code, "a call was refused");
            to_status(&error)
        })
    }

    fn judge(&self, credentials: &Credentials, rule: Rule) -> Result<Caller, UserError> {
        // Nothing that a joiner shows counts, and a removed node is free to join again.
        if rule == Rule::Anyone && matches!(credentials, Credentials::Certificate(_) | Credentials::Nothing) {
            let view = self.inner.store.view();
            let judged = access::judge(&view, credentials, self.inner.clock.now_ms());
            return Ok(judged.unwrap_or(Caller::Stranger));
        }
        let caller = access::judge(&self.inner.store.view(), credentials, self.inner.clock.now_ms())?;
        if let (Credentials::Certificate(identity), false) = (credentials, rule == Rule::Node)
            && matches!(**identity, PeerIdentity::Node { expired: true, .. })
        {
            let text = "this node's certificate has expired: it may renew it, and nothing else";
            return Err(UserError::new(ErrorCode::PermissionDenied, text));
        }
        access::permit(rule, &caller)?;
        if !access::is_answered_without_leader(rule, &caller) && !self.has_leader() {
            return Err(self.without_leader());
        }
        Ok(caller)
    }

    /// What needs a majority is not even begun on a node that is cut off.
    fn check_majority(&self, need: Need) -> Result<(), UserError> {
        let may_begin = match need {
            Need::Nothing | Need::View => true,
            Need::Majority => self.inner.store.view().cluster().is_none() || !self.is_cut_off(),
        };
        if may_begin { Ok(()) } else { Err(ProposeError::QuorumLost.user_error()) }
    }

    /// Puts into an answer what this node's side of the cluster means for it.
    fn finish(&self, need: Need, mut answer: http::Response<Body>) -> http::Response<Body> {
        match need {
            Need::Nothing => answer,
            Need::View => {
                let silence = self.out_of_touch();
                if silence > CUT_OFF_AFTER && self.inner.store.view().cluster().is_some() {
                    let millis = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
                    answer.headers_mut().insert(STALE_HEADER, millis.into());
                }
                answer
            }
            Need::Majority => {
                let refusal = Status::from_header_map(answer.headers()).map(|status| from_status(&status));
                match refusal.and_then(|error| reworded(&error, self.is_cut_off())) {
                    Some(error) => to_status(&error).into_http(),
                    None => answer,
                }
            }
        }
    }

    fn without_leader(&self) -> UserError {
        let code = if self.is_cut_off() { ErrorCode::QuorumLost } else { ErrorCode::NoLeader };
        UserError::new(
            code,
            "this node knows no leader, so it cannot tell whether this identity is still good: it answers reads only, and everything on its control socket",
        )
    }

    /// Judges an open stream once more.
    fn judge_again(&self, credentials: &Credentials, rule: Rule) -> Result<(), UserError> {
        let caller = self.judge(credentials, rule)?;
        let operator = matches!(caller, Caller::Known(_));
        if operator && self.is_cut_off() {
            // Not `no_leader`: a client would open the stream again, and again it would end at once.
            return Err(UserError::new(
                ErrorCode::QuorumLost,
                "this node has lost its leader, so it cannot tell whether this identity is still good: the stream ends",
            ));
        }
        Ok(())
    }

    /// Waits until a stream has to end, and says why.
    async fn ended(self, admitted: Admitted) -> UserError {
        let mut reasons = self.inner.reasons.subscribe();
        loop {
            if let Err(error) = self.judge_again(&admitted.credentials, admitted.rule) {
                return error;
            }
            if reasons.changed().await.is_err() {
                // The sender is part of `self`.
                return UserError::new(ErrorCode::Unreachable, "the daemon stops");
            }
        }
    }
}

/// The other word for a call that found no majority, when the one that was used is not true: until a node counts as cut off it is an
/// election. Pure.
fn reworded(error: &UserError, is_cut_off: bool) -> Option<UserError> {
    match (error.code, is_cut_off) {
        (ErrorCode::NoLeader, true) => Some(ProposeError::QuorumLost.user_error()),
        (ErrorCode::QuorumLost, false) => Some(ProposeError::NoLeader.user_error()),
        _ => None,
    }
}

/// Whether a record of this kind says who may come in.
fn is_about_access(kind: u32) -> bool {
    [Kind::Token, Kind::Node, Kind::Tombstone, Kind::ClusterMeta].into_iter().any(|access| access as u32 == kind)
}

/// What the caller showed. A bearer token goes before a certificate: it was given for this call.
fn credentials<B>(request: &http::Request<B>) -> Result<Credentials, UserError> {
    if let Some(peer) = request.extensions().get::<Peer>() {
        return socket(peer);
    }
    let Some(peer) = request.extensions().get::<TlsPeer>() else { return Ok(Credentials::Nothing) };
    match bearer(request.headers())? {
        Some(token) => Ok(Credentials::Bearer(token.hash())),
        None if *peer.identity == PeerIdentity::None => Ok(Credentials::Nothing),
        None => Ok(Credentials::Certificate(peer.identity.clone())),
    }
}

fn socket(peer: &Peer) -> Result<Credentials, UserError> {
    match peer {
        Peer { over_limit: Some(limit), .. } => Err(UserError::new(
            ErrorCode::RequestTooLarge,
            format!("this node already serves {limit} sessions; end some of them first"),
        )
        .with("limit", limit)
        .with("unit", "sessions")),
        Peer { has_credentials: true, over_limit: None } => Ok(Credentials::Socket),
        Peer { has_credentials: false, over_limit: None } => {
            Err(UserError::new(ErrorCode::PermissionDenied, "the kernel does not say who is at the other end"))
        }
    }
}

/// The token in `authorization: Bearer <64 hex>`.
fn bearer(headers: &HeaderMap) -> Result<Option<OperatorToken>, UserError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let invalid = || {
        UserError::new(ErrorCode::TokenInvalid, "the authorization is not of the form: Bearer <64 hexadecimal digits>")
    };
    let text = value.to_str().map_err(|_| invalid())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(invalid)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(invalid());
    }
    OperatorToken::parse(token).map(Some).map_err(|error| error.user_error())
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.clone(), inner }
    }
}

/// The services behind their guard.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let admitted = match self.guard.admit(&request) {
            Ok(admitted) => admitted,
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        request.extensions_mut().insert(admitted.caller.clone());
        let goes_on = access::STREAMS.contains(&request.uri().path());
        let answer = self.inner.call(request);
        let guard = self.guard.clone();
        Box::pin(async move {
            let answer = guard.finish(admitted.need, answer.await?);
            if !goes_on || matches!(admitted.credentials, Credentials::Socket) {
                return Ok(answer);
            }
            Ok(answer.map(|body| Body::new(Judged { body, ended: Some(Box::pin(guard.ended(admitted))) })))
        })
    }
}

/// An answer that ends, with the reason as its status, once its caller may not have it any more.
struct Judged {
    body: Body,
    /// `None` once it has ended.
    ended: Option<Pin<Box<dyn Future<Output = UserError> + Send>>>,
}

impl http_body::Body for Judged {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(ended) = &mut self.ended else { return Poll::Ready(None) };
        if let Poll::Ready(error) = ended.as_mut().poll(cx) {
            self.ended = None;
            // Ends what the handler is still reading for it.
            self.body = Body::empty();
            let mut trailers = HeaderMap::new();
            return Poll::Ready(Some(to_status(&error).add_header(&mut trailers).map(|()| Frame::trailers(trailers))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.ended.is_none() || self.body.is_end_stream()
    }
}
