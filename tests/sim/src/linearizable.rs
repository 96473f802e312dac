//! Whether a history of concurrent operations on one key could have happened one at a time.
//!
//! The search of Wing and Gong ("Testing and verifying concurrent objects", 1993) with Lowe's memory of states already tried ("Testing
//! for linearizability", 2017): take any operation that no other one wholly precedes as the next one, see whether its result fits, go on;
//! when stuck, take another one. A pair of (operations taken, value) that led nowhere is not entered twice.
//!
//! An operation whose outcome nobody knows may have taken effect at any time after its call, or never.

use std::collections::HashSet;

#[cfg(test)]
mod tests;

/// What a register holds; every value is written once. `None`: nothing yet.
pub type Value = Option<u64>;

/// What was asked of the register, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It was read and held this.
    Read(Value),
    /// This was written.
    Write(u64),
    /// It held the first and was given the second.
    Swapped(Value, u64),
    /// It was to be given something if it held this, and did not hold it.
    NotSwapped(Value),
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// What it did.
    pub action: Action,
    /// When it was called; all times of a history are different.
    pub called: u64,
    /// When it returned; `None` when its outcome is not known.
    pub returned: Option<u64>,
}

/// What the search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none. No order got beyond this operation, whose turn it was with this value.
    NotLinearizable {
        /// The operation.
        stuck: Option<Operation>,
        /// What the register would have held.
        value: Value,
    },
    /// The search was given up after so many steps as it was allowed.
    Undecided,
}

/// The value after an action, if its result fits.
fn apply(action: Action, value: Value) -> Option<Value> {
    match action {
        Action::Read(seen) => (seen == value).then_some(value),
        Action::Write(new) => Some(Some(new)),
        Action::Swapped(expected, new) => (expected == value).then_some(Some(new)),
        Action::NotSwapped(expected) => (expected != value).then_some(value),
    }
}

/// Operations taken so far, as bits.
type Taken = Vec<u64>;

fn is_taken(taken: &Taken, operation: usize) -> bool {
    taken.get(operation / 64).is_some_and(|word| word >> (operation % 64) & 1 == 1)
}

fn toggle(taken: &mut Taken, operation: usize) {
    if let Some(word) = taken.get_mut(operation / 64) {
        *word ^= 1 << (operation % 64);
    }
}

/// A choice that was made: which operation, and the value before it.
struct Choice {
    operation: usize,
    before: Value,
}

/// Searches for an order, in at most so many steps.
pub fn check(operations: &[Operation], steps: u64) -> Verdict {
    let mut operations = operations.to_vec();
    // Those that returned first, then by call: the likeliest order first.
    operations.sort_by_key(|operation| (operation.returned.unwrap_or(u64::MAX), operation.called));
    let known = operations.iter().filter(|operation| operation.returned.is_some()).count();
    let mut taken: Taken = vec![0; operations.len().div_ceil(64)];
    let mut tried: HashSet<(Taken, Value)> = HashSet::new();
    let (mut value, mut left, mut from): (Value, usize, usize) = (None, known, 0);
    let mut choices: Vec<Choice> = Vec::new();
    let mut deepest: (usize, Option<Operation>, Value) = (usize::MAX, None, None);
    for _ in 0..steps {
        if left == 0 {
            return Verdict::Linearizable;
        }
        // The first to return of those that are left bounds who may be next: what was called after it comes after it.
        let mut waiting = operations.iter().enumerate().filter(|(place, _)| !is_taken(&taken, *place));
        let first = waiting.next().map(|(_, first)| *first);
        let bound = first.and_then(|first| first.returned).unwrap_or(u64::MAX);
        if left < deepest.0 {
            deepest = (left, first, value);
        }
        let next = (from..operations.len()).find_map(|place| {
            let operation = operations.get(place).filter(|_| !is_taken(&taken, place))?;
            let after = apply(operation.action, value).filter(|_| operation.called < bound)?;
            toggle(&mut taken, place);
            let is_new = tried.insert((taken.clone(), after));
            toggle(&mut taken, place);
            is_new.then_some((place, operation.returned.is_some(), after))
        });
        match next {
            Some((place, is_known, after)) => {
                choices.push(Choice { operation: place, before: value });
                toggle(&mut taken, place);
                left -= usize::from(is_known);
                (value, from) = (after, 0);
            }
            None => {
                let Some(last) = choices.pop() else {
                    return Verdict::NotLinearizable { stuck: deepest.1, value: deepest.2 };
                };
                toggle(&mut taken, last.operation);
                let undone = operations.get(last.operation);
                left += usize::from(undone.is_some_and(|operation| operation.returned.is_some()));
                (value, from) = (last.before, last.operation + 1);
            }
        }
    }
    Verdict::Undecided
}
