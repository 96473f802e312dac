use proptest::prelude::*;

use super::{InvalidJoinToken, InvalidToken, JoinToken, OperatorToken, TokenHash};
use crate::hash::Fingerprint;
use crate::hexadecimal::InvalidHex;

const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const PRINT: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

const GOLDEN_HASH: &str = "2a8abfa8cb9906290437854193ca6bca41d4d4e26d1d454bd66a35158095e737";

/// The stored hash of a known token: `printf %s <token> | sha256sum`.
#[test]
fn golden_hash() {
    let token = OperatorToken::parse(SECRET).unwrap();
    assert_eq!(token.hash(), OperatorToken::parse(&SECRET.to_uppercase()).unwrap().hash());
    assert_eq!(token.hash().to_string(), GOLDEN_HASH);
    assert!(token.hash().matches(&GOLDEN_HASH.parse::<TokenHash>().unwrap()));
    assert!(!token.hash().matches(&OperatorToken::generate().unwrap().hash()));
}

#[test]
fn a_token_comes_back_from_its_text() {
    let token = OperatorToken::generate().unwrap();
    assert_eq!(token.reveal().len(), 64);
    let padded = format!(" {}\n", token.reveal().as_str());
    assert_eq!(OperatorToken::parse(&padded).unwrap().hash(), token.hash());
    let print: Fingerprint = PRINT.parse().unwrap();
    let join = JoinToken::generate(print).unwrap();
    let read = JoinToken::parse(&join.reveal()).unwrap();
    assert_eq!((read.fingerprint(), read.secret().hash()), (print, join.secret().hash()));
}

#[test]
fn nothing_but_a_token_is_one() {
    let bad = |text: &str| OperatorToken::parse(text).unwrap_err();
    assert_eq!(bad(&SECRET[..63]), InvalidToken(InvalidHex::Length { expected: 64, found: 63 }));
    assert_eq!(bad(""), InvalidToken(InvalidHex::Length { expected: 64, found: 0 }));
    assert_eq!(bad(&format!("{SECRET}00")), InvalidToken(InvalidHex::Length { expected: 64, found: 66 }));
    assert_eq!(bad(&SECRET.replace('3', "x")), InvalidToken(InvalidHex::Digit { position: 7 }));
    assert_eq!(bad("é").user_error().code.as_str(), "token_invalid");
}

#[test]
fn a_truncated_join_token_says_what_is_missing() {
    let whole = format!("{SECRET}.{PRINT}");
    for length in 0..whole.len() {
        let error = JoinToken::parse(&whole[..length]).unwrap_err();
        let expected = if length <= 64 { "form" } else { "fingerprint" };
        match error {
            InvalidJoinToken::Form => assert_eq!(expected, "form"),
            InvalidJoinToken::Fingerprint(InvalidHex::Length { expected: 64, .. }) => {
                assert_eq!(expected, "fingerprint")
            }
            other => panic!("{length}: {other}"),
        }
    }
    assert_eq!(JoinToken::parse(&format!("{whole}.")).unwrap_err(), InvalidJoinToken::Form);
    let short = JoinToken::parse(&whole[1..]).unwrap_err();
    assert_eq!(short, InvalidJoinToken::Secret(InvalidHex::Length { expected: 64, found: 63 }));
    assert_eq!(short.user_error().code.as_str(), "join_token_invalid");
}

#[test]
fn neither_debug_nor_errors_show_a_secret() {
    let whole = format!("{SECRET}.{PRINT}");
    let token = JoinToken::parse(&whole).unwrap();
    let mut shown = format!("{token:?} {:?} {:?}", token.secret(), OperatorToken::parse(SECRET).unwrap());
    for wrong in [format!("{SECRET}0"), format!("{SECRET}g"), SECRET.replace("ff", "zz")] {
        let operator = OperatorToken::parse(&wrong).unwrap_err();
        let join = JoinToken::parse(&format!("{wrong}.{PRINT}")).unwrap_err();
        shown.push_str(&format!("{operator} {operator:?} {join} {join:?} {}", join.user_error()));
    }
    assert!(!shown.contains("00112233") && !shown.contains("aabbcc"), "{shown}");
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "\\PC{0,200}", digits in "[0-9a-fA-F.]{0,140}") {
        for text in [text, digits] {
            let _ = JoinToken::parse(&text);
            let _ = OperatorToken::parse(&text);
            let _ = text.parse::<TokenHash>();
        }
    }
}
