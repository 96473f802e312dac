//! Good histories pass, bad ones do not.

use super::Action::{NotSwapped, Read, Swapped, Write};
use super::*;

fn operation(action: Action, called: u64, returned: u64) -> Operation {
    Operation { action, called, returned: Some(returned) }
}

fn unknown(action: Action, called: u64) -> Operation {
    Operation { action, called, returned: None }
}

fn verdict(operations: &[Operation]) -> Verdict {
    check(operations, 1_000_000)
}

#[test]
fn one_after_the_other() {
    assert_eq!(verdict(&[]), Verdict::Linearizable);
    let history = [
        operation(Read(None), 1, 2),
        operation(Write(7), 3, 4),
        operation(Read(Some(7)), 5, 6),
        operation(Swapped(Some(7), 8), 7, 8),
        operation(NotSwapped(Some(7)), 9, 10),
        operation(Read(Some(8)), 11, 12),
    ];
    assert_eq!(verdict(&history), Verdict::Linearizable);
}

#[test]
fn bad_histories_are_rejected() {
    let cases: &[(&str, &[Operation])] = &[
        ("a read of nothing after a write", &[operation(Write(1), 1, 2), operation(Read(None), 3, 4)]),
        ("a value nobody wrote", &[operation(Read(Some(1)), 1, 2)]),
        ("a stale read", &[operation(Write(1), 1, 2), operation(Write(2), 3, 4), operation(Read(Some(1)), 5, 6)]),
        (
            "two readers that disagree about the order of concurrent writes",
            &[
                operation(Write(1), 1, 10),
                operation(Write(2), 2, 11),
                operation(Read(Some(1)), 12, 13),
                operation(Read(Some(2)), 14, 15),
            ],
        ),
        (
            "a read that goes back while a write is under way",
            &[operation(Write(1), 1, 20), operation(Read(Some(1)), 2, 3), operation(Read(None), 4, 5)],
        ),
        (
            "two swaps from the same value",
            &[operation(Write(1), 1, 2), operation(Swapped(Some(1), 2), 3, 9), operation(Swapped(Some(1), 3), 4, 10)],
        ),
        ("a swap refused though it fits", &[operation(Write(1), 1, 2), operation(NotSwapped(Some(1)), 3, 4)]),
        (
            "a write without an answer that takes effect twice",
            &[
                unknown(Write(1), 1),
                operation(Read(Some(1)), 2, 3),
                operation(Write(2), 4, 5),
                operation(Read(Some(1)), 6, 7),
            ],
        ),
        (
            "a write without an answer seen before it was called",
            &[operation(Read(Some(1)), 1, 2), unknown(Write(1), 3)],
        ),
    ];
    for (what, history) in cases {
        assert!(matches!(verdict(history), Verdict::NotLinearizable { .. }), "{what}");
    }
}

#[test]
fn what_overlaps_may_have_any_order() {
    let writes = [operation(Write(1), 1, 10), operation(Write(2), 2, 11)];
    for seen in [1, 2] {
        let history = [writes[0], writes[1], operation(Read(Some(seen)), 12, 13)];
        assert_eq!(verdict(&history), Verdict::Linearizable);
    }
    let history = [operation(Write(1), 1, 20), operation(Read(None), 2, 3), operation(Read(Some(1)), 4, 5)];
    assert_eq!(verdict(&history), Verdict::Linearizable);
}

#[test]
fn an_unknown_outcome_is_late_or_never() {
    for seen in [None, Some(1)] {
        let history = [unknown(Write(1), 1), operation(Read(None), 2, 3), operation(Read(seen), 9, 10)];
        assert_eq!(verdict(&history), Verdict::Linearizable, "{seen:?}");
    }
    let refused = [operation(Write(1), 1, 2), unknown(Write(2), 3), operation(NotSwapped(Some(1)), 4, 5)];
    assert_eq!(verdict(&refused), Verdict::Linearizable, "the write without an answer explains it");
}

/// Histories made by running operations one at a time, each with a span around the moment it ran.
#[test]
fn histories_of_a_real_register_pass_and_with_one_wrong_read_they_do_not() {
    let random = crate::random::Random::new(5);
    for _ in 0..100 {
        let mut value = None;
        let mut history = Vec::new();
        for step in 1..=60u64 {
            let at = step * 100;
            let action = match random.below(3) {
                0 => Read(value),
                1 => Write(step),
                _ if random.below(2) == 0 => Swapped(value, step),
                _ => NotSwapped(Some(1_000)),
            };
            value = apply(action, value).unwrap();
            let (called, returned) = (at - random.below(250).min(at - 1), at + 1 + random.below(250));
            history.push(operation(action, called * 100 + step, returned * 100 + step));
        }
        assert_eq!(verdict(&history), Verdict::Linearizable);
        history.push(operation(Read(Some(1_000)), 0, 1_000_000));
        assert!(matches!(verdict(&history), Verdict::NotLinearizable { .. }));
    }
}
