//! Several proposals in one message, each with a result of its own.

use prost::Message;

use super::message::{ProposalAnswer, ProposalRequest, Refusal};

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
