//! Tests of what the user is told.

use super::*;

#[test]
fn each_error_has_its_code_and_says_what_to_do() {
    let check = Check::Version { kind: Kind::Deployment, key: "web".to_owned(), version: 7 };
    let cases = [
        (ProposeError::Refused { failed: check, index: 9 }, ErrorCode::Conflict),
        (ProposeError::RequestTooOld, ErrorCode::Conflict),
        (ProposeError::TooLarge { unit: "writes", size: 10_001, limit: 10_000 }, ErrorCode::RequestTooLarge),
        (
            ProposeError::Unencodable { kind: Kind::Route, key: "a".to_owned(), reason: "no".to_owned() },
            ErrorCode::Internal,
        ),
        (ProposeError::NoLeader, ErrorCode::NoLeader),
        (ProposeError::QuorumLost, ErrorCode::QuorumLost),
        (ProposeError::DiskFull, ErrorCode::DiskFull),
        (ProposeError::NotPermitted { reason: "revoked".to_owned() }, ErrorCode::PermissionDenied),
        (ProposeError::NodeRemoved, ErrorCode::NodeRemoved),
        (ProposeError::OutcomeUnknown, ErrorCode::OutcomeUnknown),
        (ProposeError::Stopped, ErrorCode::Unreachable),
    ];
    for (error, code) in cases {
        let told = error.user_error();
        assert_eq!(told.code, code, "{error:?}");
        assert!(!told.message.contains('\n') && told.message.len() > 20, "{told}");
    }
}

#[test]
fn details_carry_the_facts() {
    let check = Check::Absent { kind: Kind::Claim, key: "port:tcp/80".to_owned() };
    let told = ProposeError::Refused { failed: check, index: 9 }.user_error();
    assert_eq!(told.details.get("index").map(String::as_str), Some("9"));
    assert_eq!(told.details.get("check").map(String::as_str), Some("Claim \"port:tcp/80\" must not exist"));
    let told = ProposeError::TooLarge { unit: "bytes", size: 2, limit: 1 }.user_error();
    assert_eq!(told.details.get("limit").map(String::as_str), Some("1"));
}
