//! Read, decide, propose; and again when the state moved in between.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use jaco_types::UserError;

use crate::propose::ProposeError;
use crate::store::Store;
use crate::transaction::{Commit, Transaction};
use crate::view::View;

/// How often, and how far apart, [`update`] tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Proposals at most, at least 1; 8 by default (design note, "The store").
    pub attempts: u32,
    /// Upper bound of the pause before the second attempt; it doubles with each. 2 ms by default: about one commit.
    pub first_pause: Duration,
    /// Upper bound of every pause; 100 ms by default.
    pub longest_pause: Duration,
    /// Decides the pauses. Writers that run into each other need different ones.
    pub seed: u64,
}

impl Retry {
    /// The usual numbers with this seed: for the simulation, whose runs must repeat.
    pub fn seeded(seed: u64) -> Self {
        Retry { attempts: 8, first_pause: Duration::from_millis(2), longest_pause: Duration::from_millis(100), seed }
    }

    /// A pause between nothing and the bound of this attempt (0 for the first), evenly spread.
    fn pause(&self, attempt: u32) -> Duration {
        let bound = self.first_pause.saturating_mul(1 << attempt.min(16)).min(self.longest_pause);
        // 24 bits of the mixed seed, as a fraction of 1.
        let fraction = (mix(self.seed.wrapping_add(u64::from(attempt))) >> 40) as f64 / f64::from(1u32 << 24);
        bound.mul_f64(fraction)
    }
}

impl Default for Retry {
    /// The usual numbers with a seed from the operating system.
    fn default() -> Self {
        Retry::seeded(RandomState::new().build_hasher().finish())
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): turns neighbouring numbers into unrelated ones.
fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Why [`update`] wrote nothing, or does not know.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError<E> {
    /// The decision was an error.
    #[error(transparent)]
    Plan(E),
    /// The store refused for a reason that another attempt does not help against, or a check did not hold in the last attempt.
    #[error("the change was not committed")]
    Propose(#[source] ProposeError),
}

impl<E: Into<UserError>> UpdateError<E> {
    /// What the user is told.
    pub fn into_user_error(self) -> UserError {
        match self {
            UpdateError::Plan(error) => error.into(),
            UpdateError::Propose(error) => error.user_error(),
        }
    }
}

/// Computes a transaction from a view, proposes it, and begins again when a check did not hold.
///
/// The first view is a linearizable one, and each later one has reached the index at which the attempt before was refused; so
/// `plan` may also refuse, or find nothing to do, for a reason of state. It is called once per attempt and must not have effects.
/// `Ok(None)`: nothing to do. After the last attempt the refusal itself comes back, whose code is `conflict`.
///
/// Cancel safe in that it leaves nothing running; a proposal under way may still commit.
pub async fn update<S, E, F>(store: &S, retry: Retry, mut plan: F) -> Result<Option<Commit>, UpdateError<E>>
where
    S: Store + ?Sized,
    F: FnMut(&View) -> Result<Option<Transaction>, E>,
{
    let mut view = store.linearizable_view().await.map_err(UpdateError::Propose)?;
    let mut attempt = 0;
    loop {
        let Some(transaction) = plan(&view).map_err(UpdateError::Plan)? else { return Ok(None) };
        let (failed, index) = match store.propose(transaction).await {
            Ok(commit) => return Ok(Some(commit)),
            Err(ProposeError::Refused { failed, index }) => (failed, index),
            Err(error) => return Err(UpdateError::Propose(error)),
        };
        if attempt + 1 >= retry.attempts {
            return Err(UpdateError::Propose(ProposeError::Refused { failed, index }));
        }
        tokio::time::sleep(retry.pause(attempt)).await;
        view = store.reached(index).await.map_err(UpdateError::Propose)?;
        attempt += 1;
    }
}

#[cfg(test)]
mod tests;
