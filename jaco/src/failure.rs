//! The one place that turns the end of a command into text on standard error and an exit code.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use jaco_types::UserError;
use serde::Serialize;

use crate::text::one_line;

/// How a command ends when it does not simply succeed.
#[derive(Debug)]
pub enum Failure {
    /// Errors to report; the first decides the exit code. Never empty.
    Errors(Vec<UserError>),
    /// Everything was said on standard output; only the exit code is left.
    Code(u8),
    /// The reader of standard output went away: nothing to report.
    BrokenPipe,
    /// SIGINT.
    Interrupted,
}

impl From<UserError> for Failure {
    fn from(error: UserError) -> Self {
        Failure::Errors(vec![error])
    }
}

/// Only for errors of writing to standard output; everything else has a code of its own.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::BrokenPipe;
        }
        UserError::internal("standard output cannot be written to", error).into()
    }
}

/// The exit code of an interrupted command: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

#[derive(Serialize)]
struct ErrorObject<'a> {
    code: &'a str,
    message: String,
    details: BTreeMap<&'a str, &'a str>,
    exit_code: u8,
    retryable: bool,
}

/// How errors are reported.
#[derive(Debug, Clone, Copy)]
pub struct Reporting {
    /// As one JSON object.
    pub json: bool,
    /// `JACO_EXIT_COMPAT=1`: every failure but an interruption exits with 1.
    pub compat: bool,
}

impl Reporting {
    /// Reports and gives the exit code of the process.
    pub fn exit(self, result: &Result<(), Failure>) -> ExitCode {
        let code = self.exit_code(result);
        if let Err(Failure::Errors(errors)) = result {
            complain(&self.render(errors));
        }
        ExitCode::from(code)
    }

    fn exit_code(self, result: &Result<(), Failure>) -> u8 {
        match result {
            Ok(()) | Err(Failure::BrokenPipe) => 0,
            Err(Failure::Interrupted) => INTERRUPTED,
            Err(Failure::Code(code)) => self.fold(*code),
            Err(Failure::Errors(errors)) => self.fold(errors.first().map_or(1, |error| error.code.exit_code())),
        }
    }

    fn fold(self, code: u8) -> u8 {
        if self.compat && code != 0 { 1 } else { code }
    }

    /// One line per error; in JSON one object, whose details count the errors when there are several.
    fn render(self, errors: &[UserError]) -> String {
        if !self.json {
            let line = |error: &UserError| format!("Error: {}: {}", error.code, one_line(&error.message));
            return errors.iter().map(line).collect::<Vec<_>>().join("\n");
        }
        let Some(first) = errors.first() else { return String::new() };
        let count = errors.len().to_string();
        let mut details: BTreeMap<&str, &str> =
            first.details.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut message = first.message.clone();
        if errors.len() > 1 {
            details.insert("errors", &count);
            message = errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; ");
        }
        let object = ErrorObject {
            code: first.code.as_str(),
            message,
            details,
            exit_code: self.fold(first.code.exit_code()),
            retryable: first.code.retryable(),
        };
        serde_json::json!({ "error": object }).to_string()
    }
}

/// Writes lines to standard error. There is nobody left to tell when that fails.
pub fn complain(text: &str) {
    let mut line = text.trim_end().to_owned();
    line.push('\n');
    io::stderr().write_all(line.as_bytes()).ok();
}

#[cfg(test)]
mod tests {
    use jaco_types::ErrorCode;

    use super::*;

    const TEXT: Reporting = Reporting { json: false, compat: false };
    const JSON: Reporting = Reporting { json: true, compat: false };
    const COMPAT: Reporting = Reporting { json: false, compat: true };

    #[test]
    fn text_is_one_line_per_error() {
        let errors = [UserError::new(ErrorCode::NoLeader, "an election\nis running")];
        assert_eq!(TEXT.render(&errors), "Error: no_leader: an election is running");
    }

    #[test]
    fn json_is_one_object_with_everything() {
        let errors = [UserError::new(ErrorCode::PortConflict, "port 5432 is taken").with("port", 5432)];
        assert_eq!(
            JSON.render(&errors),
            r#"{"error":{"code":"port_conflict","details":{"port":"5432"},"exit_code":7,"message":"port 5432 is taken","retryable":false}}"#
        );
    }

    #[test]
    fn several_errors_are_one_json_object_that_counts_them() {
        let errors =
            [UserError::new(ErrorCode::ValidationFailed, "one"), UserError::new(ErrorCode::UnknownService, "two")];
        let value: serde_json::Value = serde_json::from_str(&JSON.render(&errors)).unwrap();
        assert_eq!(value["error"]["message"], "one; two");
        assert_eq!(value["error"]["details"]["errors"], "2");
        assert_eq!(TEXT.render(&errors).lines().count(), 2);
    }

    #[test]
    fn exit_codes_come_from_the_code_and_fold_to_one_in_compatible_mode() {
        for code in ErrorCode::ALL {
            let result = Err(Failure::from(UserError::new(*code, "m")));
            assert_eq!(TEXT.exit_code(&result), code.exit_code());
            assert_eq!(COMPAT.exit_code(&result), 1);
        }
        assert_eq!(TEXT.exit_code(&Err(Failure::Code(10))), 10);
        assert_eq!(COMPAT.exit_code(&Err(Failure::Code(10))), 1);
        assert_eq!(COMPAT.exit_code(&Err(Failure::Interrupted)), 130);
        assert_eq!(TEXT.exit_code(&Err(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)))), 0);
        assert_eq!(TEXT.exit_code(&Ok(())), 0);
    }
}
