//! What reading a manifest has to say: errors, and the three kinds of remarks that let the apply go on.

use std::collections::BTreeMap;
use std::fmt;

use jaco_types::{ErrorCode, UserError};

use crate::yaml::Position;

/// How much a diagnostic weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Accepted, without effect; said once. An error under `--strict`.
    Note,
    /// Accepted, and something cannot be kept as a user may expect. An error under `--strict`.
    Warning,
    /// Refused.
    Error,
}

/// Bytes of a dotted path that are kept.
const MAX_FIELD: usize = 256;

/// Problems that one step of reading keeps: a hostile file must not fill memory with them, and nobody reads more.
pub(crate) const MAX_PROBLEMS: usize = 1_000;

/// One remark about a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// Its weight.
    pub severity: Severity,
    /// Stable code; notes and warnings have one too, for programs.
    pub code: ErrorCode,
    /// What, and the way out.
    pub message: String,
    /// Where; absent for problems of a whole file.
    pub at: Option<Position>,
    /// The service it concerns.
    pub service: Option<String>,
    /// Dotted path of the key: `services.web.ports[0]`.
    pub field: Option<String>,
    /// More facts.
    pub details: BTreeMap<String, String>,
}

impl Diagnostic {
    /// A diagnostic without place and facts.
    pub fn new(severity: Severity, code: ErrorCode, message: impl Into<String>) -> Self {
        Diagnostic {
            severity,
            code,
            message: message.into(),
            at: None,
            service: None,
            field: None,
            details: BTreeMap::new(),
        }
    }

    /// Sets the place.
    #[must_use]
    pub fn at(mut self, at: &Position) -> Self {
        self.at = Some(at.clone());
        self
    }

    /// Sets the dotted path. A path of more than [`MAX_FIELD`] bytes is cut: keys may be as long as the file.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        let mut field = field.into();
        if field.len() > MAX_FIELD {
            field.truncate(field.floor_char_boundary(MAX_FIELD));
            field.push('…');
        }
        self.field = Some(field);
        self
    }

    /// Sets the service.
    #[must_use]
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = Some(service.into());
        self
    }

    /// The user-visible triple.
    pub fn to_user_error(&self) -> UserError {
        let mut error = UserError::new(self.code, self.to_string());
        error.details = self.details.clone();
        if let Some(at) = &self.at {
            error = error.with("file", &at.file).with("line", at.line).with("column", at.column);
        }
        if let Some(service) = &self.service {
            error = error.with("service", service);
        }
        if let Some(field) = &self.field {
            error = error.with("field", field);
        }
        error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.at {
            write!(f, "{}:{}:{}: ", at.file, at.line, at.column)?;
        }
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Everything found while reading, in the order found. Reading goes on after an error, so that all problems are told at once.
#[derive(Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// All, in the order found.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Whether anything was refused.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    /// `--strict`: notes and warnings become errors.
    pub fn make_strict(&mut self) {
        for diagnostic in &mut self.list {
            diagnostic.severity = Severity::Error;
        }
    }

    /// The list itself.
    pub fn into_vec(self) -> Vec<Diagnostic> {
        self.list
    }
}
