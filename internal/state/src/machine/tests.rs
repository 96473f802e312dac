//! Tables for apply. The properties are in `tests/properties.rs`.

use jaco_types::{NodeSchedulability, RevisionCounter};

use super::*;
use crate::audit::AUDIT_LIMIT;
use crate::fixture::{apply, command, counter, raw_put, request, schedulability};
use crate::request::REQUEST_WINDOW;
use crate::transaction::Check;

fn committed(outcome: Outcome) -> (Commit, Option<Batch>) {
    match outcome {
        Outcome::Committed { commit, batch } => (commit, batch),
        other => panic!("not committed: {other:?}"),
    }
}

#[test]
fn versions_are_the_indexes_that_wrote_and_an_equal_put_writes_again() {
    let mut machine = StateMachine::new();
    committed(apply(&mut machine, |transaction| {
        transaction.put(counter("a", 1));
    }));
    let (_, batch) = committed(apply(&mut machine, |transaction| {
        transaction.put(counter("a", 1));
    }));
    let view = machine.view();
    assert_eq!(view.version::<RevisionCounter>("a"), Some(2));
    let change = &batch.unwrap().changes[0];
    assert_eq!((change.before.as_ref().unwrap().version, change.after.as_ref().unwrap().version), (1, 2));
    assert_eq!(change.before::<RevisionCounter>(), change.after::<RevisionCounter>());
}

#[test]
fn the_first_failed_check_refuses_everything() {
    let mut machine = StateMachine::new();
    committed(apply(&mut machine, |transaction| {
        transaction.put(counter("a", 1));
    }));
    let cases: [(Check, bool); 9] = [
        (Check::Absent { kind: jaco_types::Kind::RevisionCounter, key: "a".to_owned() }, false),
        (Check::Absent { kind: jaco_types::Kind::RevisionCounter, key: "b".to_owned() }, true),
        (Check::Absent { kind: jaco_types::Kind::Deployment, key: "a".to_owned() }, true),
        (Check::Version { kind: jaco_types::Kind::RevisionCounter, key: "a".to_owned(), version: 1 }, true),
        (Check::Version { kind: jaco_types::Kind::RevisionCounter, key: "a".to_owned(), version: 2 }, false),
        (Check::Version { kind: jaco_types::Kind::RevisionCounter, key: "b".to_owned(), version: 0 }, false),
        (Check::Term(1), true),
        (Check::Term(0), false),
        (Check::Term(2), false),
    ];
    for (check, holds) in cases {
        let mut attempt = machine.clone();
        let before: Vec<_> = attempt.view().records().cloned().collect();
        let outcome = apply(&mut attempt, |transaction| {
            transaction.check_term(1).check(check.clone()).put(counter("z", 1)).audit("apply", [("a", "b")]);
        });
        if holds {
            committed(outcome);
        } else {
            assert_eq!(outcome, Outcome::Refused { failed: 1 }, "{check}");
            let view = attempt.view();
            assert_eq!(view.records().cloned().collect::<Vec<_>>(), before, "{check}");
            assert_eq!((view.index(), view.audit().count()), (2, 0), "{check}");
        }
    }
}

#[test]
fn a_refusal_names_the_check_to_its_proposer() {
    let refused = command(|transaction| {
        transaction.check_term(5);
    });
    let error = Outcome::Refused { failed: 0 }.into_result(&refused, 9);
    assert_eq!(error, Err(ProposeError::Refused { failed: Check::Term(5), index: 9 }));
    assert_eq!(Outcome::Refused { failed: 1 }.into_result(&refused, 9), Err(ProposeError::OutcomeUnknown));
}

#[test]
fn two_writes_to_a_key_are_one_change_and_the_later_counts() {
    let mut machine = StateMachine::new();
    committed(apply(&mut machine, |transaction| {
        transaction.put(counter("a", 1)).put(schedulability(1, true));
    }));
    let (_, batch) = committed(apply(&mut machine, |transaction| {
        transaction
            .put(counter("b", 1))
            .put(counter("b", 2))
            .delete::<RevisionCounter>("a")
            .put(counter("a", 5))
            .put(counter("c", 1))
            .delete::<RevisionCounter>("c")
            .delete::<NodeSchedulability>("0000000000000001")
            .delete::<NodeSchedulability>("0000000000000001");
    }));
    let batch = batch.unwrap();
    let seen: Vec<_> = batch
        .changes
        .iter()
        .map(|change| {
            let highest = |record: Option<&RevisionCounter>| record.map(|record| record.highest);
            (&*change.key, highest(change.before()), highest(change.after()), change.after.is_some())
        })
        .collect();
    assert_eq!(
        seen,
        [("0000000000000001", None, None, false), ("a", Some(1), Some(5), true), ("b", None, Some(2), true),]
    );
    assert!(batch.touches(jaco_types::Kind::RevisionCounter) && !batch.touches(jaco_types::Kind::Route));
    assert_eq!(machine.view().count::<NodeSchedulability>(), 0);
}

#[test]
fn a_transaction_that_changes_nothing_leaves_no_batch() {
    let mut machine = StateMachine::new();
    let (commit, batch) = committed(apply(&mut machine, |transaction| {
        transaction.delete::<RevisionCounter>("a").reply("nothing");
    }));
    assert_eq!((commit.index, commit.reply.as_ref(), batch), (1, b"nothing".as_slice(), None));
}

#[test]
fn cluster_time_never_goes_back() {
    let mut machine = StateMachine::new();
    for (index, stamp, expected) in [(1, 500, 500), (2, 400, 500), (3, 501, 501)] {
        let meta = EntryMeta { index, term: 1, time_ms: stamp };
        let (commit, batch) = committed(machine.apply(
            meta,
            &command(|transaction| {
                transaction.put(counter("a", 1));
            }),
        ));
        assert_eq!((commit.time_ms, batch.unwrap().time_ms, machine.view().now_ms()), (expected, expected, expected));
    }
}

#[test]
fn a_repeated_request_gets_the_first_answer_and_writes_nothing() {
    let mut machine = StateMachine::new();
    machine.advance(10, 1);
    let (first, _) = committed(apply(&mut machine, |transaction| {
        transaction.request_id(request(10, 1)).check_absent::<RevisionCounter>("a").put(counter("a", 1)).reply("first");
    }));
    let again = apply(&mut machine, |transaction| {
        transaction
            .request_id(request(10, 1))
            .check_absent::<RevisionCounter>("a")
            .put(counter("a", 2))
            .reply("second");
    });
    assert_eq!(again, Outcome::Repeated(Commit { repeated: true, ..first }));
    assert_eq!(machine.view().get::<RevisionCounter>("a").map(|counter| counter.highest), Some(1));
}

#[test]
fn a_refused_request_is_not_remembered() {
    let mut machine = StateMachine::new();
    let send = |machine: &mut StateMachine, term: u64| {
        apply(machine, |transaction| {
            transaction.request_id(request(0, 1)).check_term(term).put(counter("a", 1));
        })
    };
    assert_eq!(send(&mut machine, 9), Outcome::Refused { failed: 0 });
    assert!(!committed(send(&mut machine, 1)).0.repeated);
}

#[test]
fn a_request_is_remembered_for_the_window_and_refused_below_it() {
    let mut machine = StateMachine::new();
    machine.advance(100, 1);
    let send = |machine: &mut StateMachine, base: u64, token: u8| {
        apply(machine, |transaction| {
            transaction.request_id(request(base, token)).put(counter("a", 1));
        })
    };
    let first = committed(send(&mut machine, 100, 1)).0.index;
    assert_eq!(first, 101);
    // The last entry that still has the first commit above its horizon.
    machine.advance(first + REQUEST_WINDOW - 2, 1);
    assert!(matches!(send(&mut machine, 100, 1), Outcome::Repeated(commit) if commit.index == first));
    // One later it is forgotten, and just then its id is below the horizon.
    assert_eq!(send(&mut machine, 100, 1), Outcome::RequestTooOld);
    assert_eq!(machine.view().index(), first + REQUEST_WINDOW);
    // An id made at the horizon itself can still be judged.
    let horizon = machine.view().index() + 1 - REQUEST_WINDOW;
    committed(send(&mut machine, horizon, 2));
}

#[test]
fn a_request_id_from_the_future_is_refused() {
    let mut machine = StateMachine::new();
    machine.advance(10, 1);
    let send = |machine: &mut StateMachine, base: u64| {
        apply(machine, |transaction| {
            transaction.request_id(request(base, 1)).put(counter("a", 1));
        })
    };
    assert_eq!(send(&mut machine, 11), Outcome::RequestTooOld);
    committed(send(&mut machine, 11));
}

#[test]
fn the_audit_log_keeps_the_newest() {
    let mut machine = StateMachine::new();
    for round in 0..6 {
        let (_, batch) = committed(apply(&mut machine, |transaction| {
            for number in 0..2_000 {
                transaction.audit("apply", [("number", format!("{}", round * 2_000 + number))]);
            }
        }));
        assert_eq!(batch.unwrap().audit.len(), 2_000);
    }
    let view = machine.view();
    let numbers: Vec<_> = view.audit().map(|event| event.payload["number"].parse::<usize>().unwrap()).collect();
    assert_eq!(numbers, (2_000..2_000 + AUDIT_LIMIT).collect::<Vec<_>>());
    let newest = view.audit().last().unwrap();
    assert_eq!(
        (newest.raft_index, newest.sequence, newest.time_ms, newest.identity.as_str(), newest.event.as_str()),
        (6, 1_999, 6_000, "tester", "apply")
    );
    assert_eq!(view.audit_after(5).count(), 2_000);
    assert_eq!(view.audit_after(6).count(), 0);
}

#[test]
fn unknown_kinds_and_bodies_keep_their_bytes() {
    let mut machine = StateMachine::new();
    let kind = jaco_types::Kind::RevisionCounter as u32;
    for (number, put) in
        [raw_put(9_999, "x", b"\x00\xff"), raw_put(kind, "a", br#"{"deployment":"a","highest":"many"}"#)]
            .iter()
            .enumerate()
    {
        committed(machine.apply(EntryMeta { index: number as u64 + 1, term: 1, time_ms: 0 }, put));
    }
    let view = machine.view();
    assert_eq!(
        view.record(9_999, "x").map(|record| (&record.body[..], record.entity.is_none())),
        Some((&b"\x00\xff"[..], true))
    );
    assert_eq!(view.get::<RevisionCounter>("a"), None);
    assert_eq!(view.version::<RevisionCounter>("a"), Some(2));
    assert_eq!(view.list::<RevisionCounter>().count(), 0);
    // A newer body may not be put over unseen either.
    let outcome = apply(&mut machine, |transaction| {
        transaction.check_absent::<RevisionCounter>("a").put(counter("a", 1));
    });
    assert_eq!(outcome, Outcome::Refused { failed: 0 });
}

#[test]
fn a_view_stays_as_it_was() {
    let mut machine = StateMachine::new();
    committed(apply(&mut machine, |transaction| {
        transaction.put(counter("a", 1)).put(counter("b", 1));
    }));
    let old = machine.view();
    committed(apply(&mut machine, |transaction| {
        transaction
            .put(counter("a", 2))
            .delete::<RevisionCounter>("b")
            .put(counter("c", 1))
            .put(schedulability(1, true));
    }));
    assert_eq!(old.list::<RevisionCounter>().map(|counter| counter.highest).collect::<Vec<_>>(), [1, 1]);
    let changes = machine.view().changes_since(&old);
    let seen: Vec<_> =
        changes.iter().map(|change| (&*change.key, change.before.is_some(), change.after.is_some())).collect();
    assert_eq!(seen, [("0000000000000001", false, true), ("a", true, true), ("b", true, false), ("c", false, true)]);
    assert!(old.changes_since(&old).is_empty());
}

#[test]
fn lists_are_in_key_order_and_cut_by_prefix() {
    let mut machine = StateMachine::new();
    committed(apply(&mut machine, |transaction| {
        for name in ["b", "ab", "a", "aa", "ba"] {
            transaction.put(counter(name, 1));
        }
    }));
    let view = machine.view();
    let names =
        |list: Vec<&RevisionCounter>| list.iter().map(|c| c.deployment.to_string()).collect::<Vec<_>>().join(" ");
    assert_eq!(names(view.list().collect()), "a aa ab b ba");
    assert_eq!(names(view.list_prefix("a").collect()), "a aa ab");
    assert_eq!(names(view.list_prefix("c").collect()), "");
    assert_eq!(names(view.list_prefix("").collect()), "a aa ab b ba");
    assert_eq!(view.count::<RevisionCounter>(), 5);
}
