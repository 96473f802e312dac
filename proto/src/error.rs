//! How a typed error travels: as the details of the gRPC status, the same way for every call.

use std::collections::BTreeMap;

use jaco_types::{ErrorCode, UserError};
use prost::Message;
use tonic::{Code, Status};

use crate::v1::ErrorDetail;

/// Bytes of a message, and of all details together, that are sent. A status travels in HTTP/2 headers, and both sides refuse a
/// header list of more than 16 KiB: a longer error would arrive as a broken connection.
const TEXT_BYTES: usize = 2048;
const DETAILS_BYTES: usize = 4096;

/// Packs an error into a status. The status code is for programs that know gRPC only; ours read the details. Texts that a header
/// cannot carry are cut.
pub fn to_status(error: &UserError) -> Status {
    let mut left = DETAILS_BYTES;
    let mut details = BTreeMap::new();
    for (name, value) in &error.details {
        let value = cut(value, TEXT_BYTES.min(left.saturating_sub(name.len())));
        if name.len() + value.len() > left {
            break;
        }
        left -= name.len() + value.len();
        details.insert(name.clone(), value);
    }
    let detail =
        ErrorDetail { code: error.code.as_str().to_owned(), message: cut(&error.message, TEXT_BYTES), details };
    Status::with_details(grpc_code(error.code), cut(&error.message, STATUS_BYTES), detail.encode_to_vec().into())
}

/// Bytes of the message for programs that know gRPC only; each may take three in the header.
const STATUS_BYTES: usize = 512;

/// A text of at most so many bytes; one that was cut ends in `…`.
fn cut(text: &str, bytes: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes.saturating_sub(MARK.len()));
    let mut cut = text.get(..end).unwrap_or_default().to_owned();
    if end > 0 {
        cut.push_str(MARK);
    }
    cut
}

/// Unpacks a status: the typed error, or for one that carries none (a transport failure, a foreign server) the nearest code.
pub fn from_status(status: &Status) -> UserError {
    if let Ok(detail) = ErrorDetail::decode(status.details())
        && !detail.code.is_empty()
    {
        return match ErrorCode::parse(&detail.code) {
            Some(code) => UserError { code, message: detail.message, details: detail.details },
            None => UserError { code: ErrorCode::Internal, message: detail.message, details: detail.details }.with(
                "reason",
                format!("the daemon answered with code {:?}, which this version does not know", detail.code),
            ),
        };
    }
    let message = if status.message().is_empty() { status.code().description() } else { status.message() };
    let code = match status.code() {
        Code::Unavailable | Code::Cancelled | Code::Unknown => ErrorCode::Unreachable,
        Code::DeadlineExceeded => ErrorCode::OutcomeUnknown,
        Code::ResourceExhausted | Code::OutOfRange => ErrorCode::RequestTooLarge,
        Code::Unimplemented => ErrorCode::VersionIncompatible,
        Code::PermissionDenied => ErrorCode::PermissionDenied,
        Code::Unauthenticated => ErrorCode::TokenInvalid,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Internal
        | Code::DataLoss => ErrorCode::Internal,
    };
    UserError::new(code, message).with("reason", format!("gRPC status {:?}", status.code()))
}

/// The gRPC code by exit class, so that a new error code needs no line here.
fn grpc_code(code: ErrorCode) -> Code {
    match (code, code.exit_code()) {
        (ErrorCode::RequestTooLarge, _) => Code::ResourceExhausted,
        (ErrorCode::OutcomeUnknown, _) => Code::DeadlineExceeded,
        (ErrorCode::NotSupportedYet, _) => Code::Unimplemented,
        (_, 2 | 3) => Code::InvalidArgument,
        (_, 4) => Code::NotFound,
        (_, 5) => Code::PermissionDenied,
        (_, 6) => Code::Unavailable,
        (_, 7) => Code::FailedPrecondition,
        (_, 8) => Code::DeadlineExceeded,
        (_, 9) => Code::Aborted,
        (_, _) => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_way_over_the_wire() {
        for code in ErrorCode::ALL {
            let error = UserError::new(*code, "what happened").with("field", "a.b");
            assert_eq!(from_status(&to_status(&error)), error);
        }
    }

    #[test]
    fn an_error_too_long_for_a_header_is_cut_and_keeps_its_code() {
        let error = UserError::new(ErrorCode::ValidationFailed, "ä".repeat(100_000))
            .with("a", "x".repeat(100_000))
            .with("b", "y".repeat(100_000))
            .with("z", "end");
        let status = to_status(&error);
        assert!(status.details().len() <= TEXT_BYTES + DETAILS_BYTES + 200, "{}", status.details().len());
        assert!(status.message().len() <= STATUS_BYTES);
        let read = from_status(&status);
        assert_eq!(read.code, error.code);
        assert!(read.message.starts_with("ää") && read.message.ends_with('…'));
        assert_eq!(read.details["a"].len(), TEXT_BYTES);
    }

    #[test]
    fn a_status_without_details_gets_the_nearest_code() {
        assert_eq!(from_status(&Status::unavailable("connection refused")).code, ErrorCode::Unreachable);
        assert_eq!(from_status(&Status::out_of_range("message too long")).code, ErrorCode::RequestTooLarge);
        assert_eq!(from_status(&Status::internal("")).code, ErrorCode::Internal);
    }

    #[test]
    fn a_code_of_a_newer_daemon_keeps_its_text() {
        let detail = ErrorDetail { code: "from_the_future".into(), message: "m".into(), details: Default::default() };
        let error = from_status(&Status::with_details(Code::Internal, "m", detail.encode_to_vec().into()));
        assert_eq!(error.code, ErrorCode::Internal);
        assert!(error.details["reason"].contains("from_the_future"));
    }
}
