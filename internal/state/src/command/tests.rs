//! Tests of limits and of the entry format.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::fixture::{command, counter, request, stored_bytes, transaction};

fn full() -> Entry {
    let command = command(|transaction| {
        transaction
            .check_absent::<jaco_types::RevisionCounter>("a")
            .check_version::<jaco_types::Node>("0000000000000001", 7)
            .check_term(3)
            .put(counter("a", 1))
            .delete::<jaco_types::Route>("a.test")
            .audit("apply", [("deployment", "a"), ("revision", "1")])
            .reply("done")
            .request_id(request(5, 9));
    });
    Entry { stamp: Stamp { incarnation: 77, time_ms: 1_234 }, command }
}

#[test]
fn an_entry_comes_back_as_it_was() {
    let entry = full();
    let bytes = entry.encode();
    assert_eq!(bytes.len(), entry.encoded_len());
    let back = Entry::decode(bytes.clone()).unwrap();
    assert_eq!(back, entry);
    assert_eq!(back.encode(), bytes);
    assert_eq!(back.command.request_id(), Some(request(5, 9)));
    assert_eq!(back.command.actor(), "tester");
    assert_eq!(
        back.command.written().map(|(kind, key, body)| (kind, key, body.is_some())).collect::<Vec<_>>(),
        [(Kind::RevisionCounter as u32, "a", true), (Kind::Route as u32, "a.test", false)]
    );
    assert_eq!(back.command.checks().count(), 3);
    assert_eq!(back.command.check(2), Some(Check::Term(3)));
    assert_eq!(back.command.check(3), None);
}

#[test]
fn writes_and_bytes_are_limited_and_the_limits_themselves_pass() {
    let deletes = |count: usize| {
        transaction(|transaction| {
            for number in 0..count {
                transaction.delete::<jaco_types::Route>(number.to_string());
            }
        })
    };
    assert_eq!(Command::new(deletes(10_000)).map(|command| command.writes()), Ok(10_000));
    assert_eq!(
        Command::new(deletes(10_001)),
        Err(ProposeError::TooLarge { unit: "writes", size: 10_001, limit: 10_000 })
    );

    let replying = |bytes: usize| Transaction { reply: vec![0; bytes].into(), ..Transaction::new("") };
    // One byte of tag and three of length for a field of this size.
    assert_eq!(Command::new(replying(1_048_576 - 4)).map(|command| command.encoded_len()), Ok(1_048_576));
    assert_eq!(
        Command::new(replying(1_048_576 - 3)),
        Err(ProposeError::TooLarge { unit: "bytes", size: 1_048_577, limit: 1_048_576 })
    );
}

#[test]
fn only_a_command_that_frees_space_counts_as_such() {
    assert!(
        command(|transaction| {
            transaction.delete::<jaco_types::Route>("a");
        })
        .only_deletes()
    );
    assert!(!full().command.only_deletes());
}

#[test]
fn other_bytes_are_refused_by_name() {
    let good = full().encode();
    assert_eq!(Entry::decode(Bytes::new()), Err(EntryError::NotAnEntry));
    assert_eq!(Entry::decode(good.slice(1..)), Err(EntryError::NotAnEntry));
    assert_eq!(Entry::decode(good.slice(..21)), Err(EntryError::NotAnEntry));
    let mut newer = good.to_vec();
    newer[4] = 2;
    assert_eq!(Entry::decode(newer.into()), Err(EntryError::NewerFormat { found: 2, supported: 1 }));
    let mut zero = good.to_vec();
    zero[4] = 0;
    assert!(matches!(Entry::decode(zero.into()), Err(EntryError::Malformed { .. })));
    assert!(matches!(Entry::decode(good.slice(..good.len() - 1)), Err(EntryError::Malformed { .. })));
}

/// Transactions as a newer version might write them.
#[derive(Clone, PartialEq, prost::Message)]
struct Newer {
    #[prost(message, repeated, tag = "3")]
    checks: Vec<NewerCheck>,
    #[prost(message, repeated, tag = "4")]
    writes: Vec<NewerCheck>,
    #[prost(string, tag = "40")]
    field: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NewerCheck {
    #[prost(string, tag = "30")]
    what: String,
}

#[test]
fn what_this_version_cannot_carry_out_wholly_is_refused() {
    let unknown = NewerCheck { what: "quota".to_owned() };
    let check = Newer { checks: vec![unknown.clone()], ..Newer::default() };
    assert_eq!(Entry::decode(stored_bytes(&check)), Err(EntryError::Unknown { what: "check" }));
    let write = Newer { writes: vec![unknown], ..Newer::default() };
    assert_eq!(Entry::decode(stored_bytes(&write)), Err(EntryError::Unknown { what: "write" }));
    let field = Newer { field: "x".to_owned(), ..Newer::default() };
    assert_eq!(Entry::decode(stored_bytes(&field)), Err(EntryError::Unknown { what: "field" }));
    let short = StoredRequestId { base_index: 1, token: Bytes::from_static(b"short") };
    let token = StoredTransaction { request_id: Some(short), ..StoredTransaction::default() };
    assert!(matches!(Entry::decode(stored_bytes(&token)), Err(EntryError::Malformed { .. })));
}

#[test]
fn payloads_are_stored_in_one_order() {
    let event = |pairs: &[(&str, &str)]| {
        let payload: BTreeMap<String, String> = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        command(|transaction| {
            transaction.audit("apply", payload);
        })
    };
    let one = Entry { stamp: Stamp::default(), command: event(&[("a", "1"), ("b", "2"), ("c", "")]) };
    let other = Entry { stamp: Stamp::default(), command: event(&[("c", ""), ("b", "2"), ("a", "1")]) };
    assert_eq!(one.encode(), other.encode());
    assert_eq!(Entry::decode(one.encode()).unwrap(), other);
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), prefixed: bool) {
        let mut input = if prefixed { full().encode()[..22].to_vec() } else { Vec::new() };
        input.extend_from_slice(&bytes);
        if let Ok(entry) = Entry::decode(input.clone().into()) {
            // What is accepted has one form, up to the order of fields, which this writer fixes.
            prop_assert_eq!(entry.encoded_len(), input.len());
        }
    }
}
