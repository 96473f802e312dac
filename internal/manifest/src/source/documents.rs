//! Reading one document, and what all documents of a project share: what was told, and what may still be used up.

use jaco_types::ErrorCode;

use super::files::{Files, ReadError};
use super::paths;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::interpolate::{Interpolator, Variables};
use crate::yaml::{Budget, Node, Position, Value, load, quote};

/// Files that a project may consist of, variable files included.
const FILES: usize = 256;

/// State of reading one project.
pub(super) struct Session<'a> {
    pub(super) files: &'a dyn Files,
    /// The directory that relative paths of the first compose file start at, as the user would write it.
    pub(super) project_directory: String,
    pub(super) diagnostics: Diagnostics,
    interpolator: Interpolator,
    files_left: usize,
    values_left: usize,
    exhausted: bool,
}

/// Where a document stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    /// The path to read it by, which messages show.
    pub(super) path: String,
    /// The directory its own relative paths start at, seen from the project's; empty for the project's own.
    pub(super) base: String,
}

impl<'a> Session<'a> {
    pub(super) fn new(files: &'a dyn Files, project_directory: String) -> Session<'a> {
        Session {
            files,
            project_directory,
            diagnostics: Diagnostics::default(),
            interpolator: Interpolator::default(),
            files_left: FILES,
            values_left: Budget::default().nodes,
            exhausted: false,
        }
    }

    pub(super) fn error(&mut self, at: &Position, field: &str, message: impl Into<String>) {
        let error = Diagnostic::new(Severity::Error, ErrorCode::ValidationFailed, message);
        self.diagnostics.push(located(error.at(at), field));
    }

    /// A path of a document, as [`Files`] knows it.
    pub(super) fn real_path(&self, base: &str, path: &str) -> String {
        paths::join(&self.project_directory, &paths::join(base, path))
    }

    /// Reads a file that the project names at `at`; `what` says what it is for.
    pub(super) fn read(&mut self, path: &str, what: &str, at: Option<(&Position, &str)>) -> Option<Vec<u8>> {
        let Some(left) = self.files_left.checked_sub(1) else {
            self.too_large(at.map(|(at, _)| at), &format!("a project may consist of {FILES} files"), FILES);
            return None;
        };
        self.files_left = left;
        match self.files.read(path) {
            Ok(content) => Some(content),
            Err(error) => {
                self.unreadable(path, what, &error, at);
                None
            }
        }
    }

    fn unreadable(&mut self, path: &str, what: &str, error: &ReadError, at: Option<(&Position, &str)>) {
        let message = format!("the {what} {}: {error}", quote(path));
        let mut diagnostic = Diagnostic::new(Severity::Error, ErrorCode::ValidationFailed, message);
        diagnostic.details.insert("path".to_owned(), path.to_owned());
        if let Some((at, field)) = at {
            diagnostic = located(diagnostic.at(at), field);
        }
        self.diagnostics.push(diagnostic);
    }

    /// Reads, parses and interpolates a document; an empty one is an empty map.
    pub(super) fn document(
        &mut self,
        location: &Location,
        variables: &Variables,
        at: Option<(&Position, &str)>,
    ) -> Option<(Node, Vec<u8>)> {
        let text = self.read(&location.path, "compose file", at)?;
        let mut node = match load(&location.path, &text, Budget::default()) {
            Ok(node) => node,
            Err(problems) => {
                problems.into_iter().for_each(|problem| self.diagnostics.push(problem));
                return None;
            }
        };
        if node.is_null() {
            node = Node::map(Vec::new(), &node.at);
        }
        if node.as_map().is_none() {
            let found = node.mismatch("a map with `services`");
            self.diagnostics.push(found);
            return None;
        }
        self.interpolator.apply(&mut node, variables, &mut self.diagnostics);
        Some((node, text))
    }

    /// Counts values that a reference multiplies. False, and told once, when there are too many.
    pub(super) fn charge(&mut self, values: usize, at: &Position) -> bool {
        if self.exhausted {
            return false;
        }
        match self.values_left.checked_sub(values) {
            Some(left) => {
                self.values_left = left;
                true
            }
            None => {
                self.exhausted = true;
                let limit = Budget::default().nodes;
                self.too_large(
                    Some(at),
                    &format!("the project has more than {limit} values once all is resolved"),
                    limit,
                );
                false
            }
        }
    }

    pub(super) fn too_large(&mut self, at: Option<&Position>, message: &str, limit: usize) {
        let mut diagnostic = Diagnostic::new(Severity::Error, ErrorCode::RequestTooLarge, message);
        diagnostic.details.insert("limit".to_owned(), limit.to_string());
        diagnostic.at = at.cloned();
        self.diagnostics.push(diagnostic);
    }
}

/// A diagnostic with its field and, when the field is a service's, the service.
pub(super) fn located(diagnostic: Diagnostic, field: &str) -> Diagnostic {
    let service = field.strip_prefix("services.").and_then(|rest| rest.split(['.', '[']).next());
    let diagnostic = match service {
        Some(service) => diagnostic.service(service),
        None => diagnostic,
    };
    if field.is_empty() { diagnostic } else { diagnostic.field(field) }
}

/// Values in a tree.
pub(super) fn count(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 1,
        Value::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|entry| count(&entry.value)).sum::<usize>(),
    }
}
