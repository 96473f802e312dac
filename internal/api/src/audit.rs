//! `Audit`: the audit log, and its events as they come.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use jaco_proto::v1::audit_server::Audit;
use jaco_proto::{to_status, v1};
use jaco_state::{AuditRecord, Clock, Event, Store, SystemClock, View, WatchFrom, Watcher};
use jaco_types::{ErrorCode, UserError, audit_type};
use tonic::{Request, Response, Status};

use crate::Api;
use crate::caller::identity;

/// Events in one message; a message stays far below the size limit.
const CHUNK: usize = 64;

#[tonic::async_trait]
impl Audit for Api {
    type QueryStream = Pin<Box<dyn Stream<Item = Result<v1::AuditQueryResponse, Status>> + Send>>;

    async fn query(&self, request: Request<v1::AuditQueryRequest>) -> Result<Response<Self::QueryStream>, Status> {
        identity(&request)?;
        let request = request.into_inner();
        let view = self.view()?;
        let selection = Selection::new(&request, SystemClock::default().now_ms()).map_err(|error| to_status(&error))?;
        // A watcher begins with the view of its own moment.
        let (view, watcher) = if request.follow {
            let watcher = self.parts().store.watch_client(WatchFrom::Now);
            (None, Some(watcher.map_err(|error| to_status(&error.user_error()))?))
        } else {
            (Some(view), None)
        };
        let reader = Reader { store: self.parts().store.clone(), selection, view, watcher };
        let messages = futures_util::stream::unfold(reader, |mut reader| async move {
            reader.next().await.map(|message| (Ok(message), reader))
        });
        Ok(Response::new(Box::pin(messages)))
    }
}

/// Which events are asked for, and how far the log was looked through.
struct Selection {
    types: BTreeSet<&'static str>,
    since_ms: u64,
    reached: Option<(u64, u32)>,
}

impl Selection {
    fn new(request: &v1::AuditQueryRequest, now_ms: u64) -> Result<Self, UserError> {
        let mut types = BTreeSet::new();
        for name in &request.types {
            types.insert(audit_type(name).ok_or_else(|| {
                UserError::new(ErrorCode::Usage, format!("{name:?} is no type of audit event")).with("type", name)
            })?);
        }
        Ok(Selection {
            types,
            since_ms: request.since_ms.map_or(0, |since| now_ms.saturating_sub(since)),
            reached: request.after.map(|place| (place.raft_index, place.sequence)),
        })
    }

    /// The index before the first transaction that may have events not looked at yet.
    fn first_index(&self) -> u64 {
        self.reached.map_or(0, |(index, _)| index.saturating_sub(1))
    }

    /// The next wanted ones of a view's events, and whether there may be more.
    fn page(&mut self, view: &View) -> (v1::AuditQueryResponse, bool) {
        self.take(view.audit_after(self.first_index()))
    }

    /// The first wanted ones of these events.
    fn take<'a>(&mut self, events: impl Iterator<Item = &'a AuditRecord>) -> (v1::AuditQueryResponse, bool) {
        let mut wanted = Vec::new();
        let mut more = false;
        for event in events {
            let place = (event.raft_index, event.sequence);
            if self.reached.is_some_and(|reached| place <= reached) {
                continue;
            }
            if wanted.len() >= CHUNK {
                more = true;
                break;
            }
            self.reached = Some(place);
            let type_fits = self.types.is_empty() || self.types.contains(event.event.as_str());
            if type_fits && event.time_ms >= self.since_ms {
                wanted.push(wire_event(event));
            }
        }
        let reached = self.reached.map(|(raft_index, sequence)| v1::AuditPlace { raft_index, sequence });
        (v1::AuditQueryResponse { events: wanted, reached }, more)
    }
}

fn wire_event(event: &AuditRecord) -> v1::AuditEvent {
    v1::AuditEvent {
        r#type: event.event.clone(),
        identity: event.identity.clone(),
        ts_ms: event.time_ms,
        raft_index: event.raft_index,
        sequence: event.sequence,
        payload: event.payload.clone(),
    }
}

/// What a stream reads next.
struct Reader {
    store: Arc<dyn Store>,
    selection: Selection,
    /// A view whose events were not all sent.
    view: Option<View>,
    /// Tells of events to come, when they are wanted.
    watcher: Option<Watcher>,
}

impl Reader {
    /// The next message; a watcher that lost its place finds it again in the log itself. Cost in memory: one message.
    async fn next(&mut self) -> Option<v1::AuditQueryResponse> {
        loop {
            if let Some(view) = self.view.take() {
                let (message, more) = self.selection.page(&view);
                if more {
                    self.view = Some(view);
                } else {
                    // What comes from now on is not old.
                    self.selection.since_ms = 0;
                }
                return Some(message);
            }
            match self.watcher.as_mut()?.next().await? {
                Event::Snapshot(view) => self.view = Some(view),
                Event::Batch(batch) if batch.audit.is_empty() => {}
                Event::Batch(batch) => {
                    let (message, more) = self.selection.take(batch.audit.iter().map(AsRef::as_ref));
                    if more {
                        // The rest of a transaction with more events than a message holds is in the log.
                        self.view = Some(self.store.view());
                    }
                    if !message.events.is_empty() {
                        return Some(message);
                    }
                }
            }
        }
    }
}
