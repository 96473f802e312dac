//! Whether a failed call is tried again, and when: pure.

use std::time::Duration;

use jaco_types::ErrorCode;

/// How long an election may last before the user hears of it (contract: 15 s).
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// What sending a call twice does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It changes nothing.
    Read,
    /// It changes nothing, and its answer goes on: only the beginning has a deadline.
    Stream,
    /// It carries a request id: the change happens once.
    Identified,
    /// It may change something twice, or fail because it was done already.
    Once,
}

/// Whether a call that failed with `code` may be sent again while there is patience left.
pub(crate) fn is_worth_repeating(repeat: Repeat, code: ErrorCode) -> bool {
    match repeat {
        // The daemon answers no_leader before it does anything.
        Repeat::Read | Repeat::Stream | Repeat::Once => code == ErrorCode::NoLeader,
        Repeat::Identified => matches!(code, ErrorCode::NoLeader | ErrorCode::Unreachable | ErrorCode::OutcomeUnknown),
    }
}

/// The pause before the n-th repetition (from 0): 100 ms, half as much again each time, one second at most. An election takes a
/// second or two, so most are over after a few short pauses.
pub(crate) fn pause(attempt: u32) -> Duration {
    let millis = 100.0 * 1.5_f64.powi(attempt.min(10) as i32);
    Duration::from_millis(millis as u64).min(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_with_an_id_is_sent_again_when_its_outcome_is_unknown() {
        assert!(is_worth_repeating(Repeat::Identified, ErrorCode::OutcomeUnknown));
        assert!(!is_worth_repeating(Repeat::Once, ErrorCode::OutcomeUnknown));
        assert!(!is_worth_repeating(Repeat::Once, ErrorCode::Unreachable));
        for repeat in [Repeat::Read, Repeat::Stream, Repeat::Identified, Repeat::Once] {
            assert!(is_worth_repeating(repeat, ErrorCode::NoLeader));
            assert!(!is_worth_repeating(repeat, ErrorCode::ValidationFailed));
            assert!(!is_worth_repeating(repeat, ErrorCode::QuorumLost));
        }
    }

    #[test]
    fn pauses_grow_to_a_second() {
        assert_eq!(pause(0), Duration::from_millis(100));
        assert!(pause(1) > pause(0));
        assert_eq!(pause(50), Duration::from_secs(1));
    }
}
