//! Proposals on their way to the leader, one or several in a message, and what became of each.

use bytes::Bytes;
use prost::Message;

use super::refusal::Refusal;

/// A transaction that the sender has no right to propose itself.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProposalRequest {
    /// The stored form of an entry, with a stamp that the leader replaces.
    #[prost(bytes = "bytes", tag = "1")]
    pub entry: Bytes,
    /// How often it has been sent on, this time included.
    #[prost(uint32, tag = "2")]
    pub hops: u32,
}

/// The transaction was committed.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Committed {
    #[prost(uint64, tag = "1")]
    pub index: u64,
    #[prost(uint64, tag = "2")]
    pub time_ms: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub reply: Bytes,
    #[prost(bool, tag = "4")]
    pub repeated: bool,
}

/// A check did not hold.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct FailedPosition {
    /// Which one.
    #[prost(uint64, tag = "1")]
    pub position: u64,
    /// Where it was judged.
    #[prost(uint64, tag = "2")]
    pub index: u64,
}

/// What became of a transaction.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum ProposalOutcome {
    #[prost(message, tag = "1")]
    Committed(Committed),
    #[prost(message, tag = "2")]
    Refused(FailedPosition),
    #[prost(bool, tag = "3")]
    RequestTooOld(bool),
    #[prost(bool, tag = "4")]
    OutcomeUnknown(bool),
}

/// The answer to a transaction.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProposalAnswer {
    #[prost(oneof = "ProposalOutcome", tags = "1, 2, 3, 4")]
    pub outcome: Option<ProposalOutcome>,
}

/// Transactions that the sender has no right to propose itself.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProposalsRequest {
    #[prost(message, repeated, tag = "1")]
    pub proposals: Vec<ProposalRequest>,
}

/// What became of one of them.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum ProposalResult {
    #[prost(message, tag = "1")]
    Answered(ProposalAnswer),
    /// It had no effect.
    #[prost(message, tag = "2")]
    Refused(Refusal),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProposalOfMany {
    #[prost(oneof = "ProposalResult", tags = "1, 2")]
    pub result: Option<ProposalResult>,
}

/// The results, in the order of the proposals.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProposalsAnswer {
    #[prost(message, repeated, tag = "1")]
    pub results: Vec<ProposalOfMany>,
}

impl FromIterator<Result<ProposalAnswer, Refusal>> for ProposalsAnswer {
    fn from_iter<I: IntoIterator<Item = Result<ProposalAnswer, Refusal>>>(results: I) -> Self {
        let result = |result| match result {
            Ok(answer) => ProposalResult::Answered(answer),
            Err(refusal) => ProposalResult::Refused(refusal),
        };
        let results = results.into_iter().map(|one| ProposalOfMany { result: Some(result(one)) });
        ProposalsAnswer { results: results.collect() }
    }
}

impl ProposalOfMany {
    pub(crate) fn into_result(self) -> Result<ProposalAnswer, Refusal> {
        match self.result {
            Some(ProposalResult::Answered(answer)) => Ok(answer),
            Some(ProposalResult::Refused(refusal)) => Err(refusal),
            // Nothing says that it had no effect.
            None => Ok(ProposalAnswer::default()),
        }
    }
}
