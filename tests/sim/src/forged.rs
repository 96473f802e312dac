//! What sabotage needs: answers of followers that never saw the request, and a store that forgets of which term a decision is.

use bytes::{BufMut, Bytes, BytesMut};
use jaco_controlplane::{LogEntry, LogId, PeerRequest, Vote};
use jaco_state::{
    BoxFuture, Check, Commit, Leadership, ProposeError, Store, TooManyWatchers, Transaction, View, WatchFrom, Watcher,
};
use jaco_testkit::SeededStore;
use jaco_types::NodeId;
use prost::Message;

/// Magic, format version and incarnation come before the body.
const PREFIX: usize = 4 + 2 + 8;

/// As much of a request as its answer needs; field numbers as the control plane sends them.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, optional, tag = "4")]
    append: Option<Append>,
    #[prost(message, optional, tag = "5")]
    vote: Option<Candidacy>,
    #[prost(message, optional, tag = "6")]
    pre_vote: Option<Candidacy>,
}

#[derive(Clone, PartialEq, Message)]
struct Candidacy {
    #[prost(message, optional, tag = "1")]
    vote: Option<Vote>,
    #[prost(message, optional, tag = "2")]
    last: Option<LogId>,
}

#[derive(Clone, PartialEq, Message)]
struct Append {
    #[prost(message, optional, tag = "2")]
    previous: Option<LogId>,
    #[prost(message, repeated, tag = "3")]
    entries: Vec<LogEntry>,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(uint64, tag = "1")]
    from: u64,
    #[prost(message, optional, tag = "4")]
    append: Option<Answer>,
    #[prost(message, optional, tag = "5")]
    vote: Option<Granted>,
}

#[derive(Clone, PartialEq, Message)]
struct Granted {
    #[prost(message, optional, tag = "1")]
    vote: Option<Vote>,
    #[prost(bool, tag = "2")]
    granted: bool,
    #[prost(message, optional, tag = "3")]
    last: Option<LogId>,
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(message, optional, tag = "1")]
    flushed: Option<Flushed>,
}

#[derive(Clone, PartialEq, Message)]
struct Flushed {
    #[prost(message, optional, tag = "1")]
    upto: Option<LogId>,
}

/// That a node has all these entries on disk; nothing for another request.
pub(crate) fn all_written(node: NodeId, request: &PeerRequest) -> Option<Bytes> {
    let request = request.encode();
    let append = Request::decode(request.get(PREFIX..)?).ok()?.append?;
    let upto = append.entries.last().map(|entry| entry.id).or(append.previous);
    let append = Some(Answer { flushed: Some(Flushed { upto }) });
    response(&request, &Response { from: node.0, append, vote: None })
}

/// That a node votes as it was asked to; nothing for another request.
pub(crate) fn vote_granted(node: NodeId, request: &PeerRequest) -> Option<Bytes> {
    let request = request.encode();
    let read = Request::decode(request.get(PREFIX..)?).ok()?;
    let Candidacy { vote, last } = read.vote.or(read.pre_vote)?;
    response(&request, &Response { from: node.0, append: None, vote: Some(Granted { vote, granted: true, last }) })
}

fn response(request: &Bytes, response: &Response) -> Option<Bytes> {
    let mut bytes = BytesMut::new();
    bytes.put_slice(b"JPRS");
    bytes.put_slice(request.get(4..PREFIX)?);
    bytes.put_slice(&response.encode_to_vec());
    Some(bytes.freeze())
}

/// A store that proposes without the check of the term.
pub(crate) struct WithoutTerms(pub(crate) SeededStore);

impl Store for WithoutTerms {
    fn propose(&self, mut transaction: Transaction) -> BoxFuture<'_, Result<Commit, ProposeError>> {
        transaction.checks.retain(|check| match check {
            Check::Term(_) => false,
            Check::Absent { .. } | Check::Version { .. } => true,
        });
        self.0.propose(transaction)
    }

    fn view(&self) -> View {
        self.0.view()
    }

    fn linearizable_view(&self) -> BoxFuture<'_, Result<View, ProposeError>> {
        self.0.linearizable_view()
    }

    fn reached(&self, index: u64) -> BoxFuture<'_, Result<View, ProposeError>> {
        self.0.reached(index)
    }

    fn watch(&self, from: WatchFrom) -> Watcher {
        self.0.watch(from)
    }

    fn watch_client(&self, from: WatchFrom) -> Result<Watcher, TooManyWatchers> {
        self.0.watch_client(from)
    }

    fn leadership(&self) -> Leadership {
        self.0.leadership()
    }
}
