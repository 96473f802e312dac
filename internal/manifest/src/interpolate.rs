//! Puts variables into the scalar values of a loaded document: `$V ${V} ${V:-d} ${V-d} ${V:?m} ${V?m} ${V:+a} ${V+a} $$`.
//!
//! It runs once, after YAML parsing and before any typing, on values and never on keys. Variables come from the `environment:`
//! file alone. An unset variable without default is the empty string and one warning for the whole project. A scalar that a
//! variable changed counts as quoted, and carries a mark when a variable's value is part of it.

mod template;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jaco_types::ErrorCode;

pub use template::{Expanded, Problem, Template};

use crate::diagnostic::{Diagnostic, Diagnostics, MAX_PROBLEMS, Severity};
use crate::yaml::{Node, Position, Value, quote};

/// Names and values of the `environment:` file.
pub type Variables = BTreeMap<String, String>;

/// Bytes that all expansions of one project may produce together: a short text can name a long value many times.
pub const EXPANSION_BYTES: usize = 8 << 20;

/// Expands documents, and remembers which unset variables it has already told of.
#[derive(Debug)]
pub struct Interpolator {
    warned: BTreeSet<String>,
    /// Mistakes told so far.
    mistakes: usize,
    bytes_left: usize,
}

impl Default for Interpolator {
    fn default() -> Self {
        Interpolator { warned: BTreeSet::new(), mistakes: 0, bytes_left: EXPANSION_BYTES }
    }
}

impl Interpolator {
    /// Expands every scalar value of `node`. A scalar with a mistake stays as it was, and the mistake is told.
    pub fn apply(&mut self, node: &mut Node, variables: &Variables, diagnostics: &mut Diagnostics) {
        self.walk(node, variables, &mut Vec::new(), diagnostics);
    }

    fn walk(&mut self, node: &mut Node, variables: &Variables, path: &mut Vec<String>, diagnostics: &mut Diagnostics) {
        match &mut node.value {
            Value::Scalar(scalar) => {
                if !scalar.text.contains('$') {
                    return;
                }
                match self.expand(&scalar.text, variables) {
                    Ok(expanded) => {
                        self.warn(&expanded, &node.at, path, diagnostics);
                        scalar.text = expanded.text;
                        scalar.plain &= !expanded.touched;
                        scalar.interpolated |= expanded.from_variable;
                    }
                    Err(problem) => {
                        self.mistakes += 1;
                        if self.mistakes <= MAX_PROBLEMS {
                            diagnostics.push(report(&problem, &node.at, path));
                        }
                    }
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    path.push(format!("[{index}]"));
                    self.walk(item, variables, path, diagnostics);
                    path.pop();
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    path.push(entry.key.clone());
                    self.walk(&mut entry.value, variables, path, diagnostics);
                    path.pop();
                }
            }
        }
    }

    fn expand(&mut self, text: &str, variables: &Variables) -> Result<Expanded, Problem> {
        let expanded = Template::parse(text)?.expand(&|name| variables.get(name).cloned(), self.bytes_left)?;
        self.bytes_left -= expanded.text.len().min(self.bytes_left);
        Ok(expanded)
    }

    fn warn(&mut self, expanded: &Expanded, at: &Position, path: &[String], diagnostics: &mut Diagnostics) {
        for name in &expanded.unset {
            if self.warned.len() < MAX_PROBLEMS && self.warned.insert(name.clone()) {
                let message = format!(
                    "the variable {} is not set and becomes the empty string; set it in the `environment:` file, or write a \
                     default: `${{{name}:-value}}`",
                    quote(name)
                );
                let mut diagnostic = Diagnostic::new(Severity::Warning, ErrorCode::ValidationFailed, message);
                diagnostic.details.insert("variable".to_owned(), name.clone());
                diagnostics.push(diagnostic.at(at).field(dotted(path)));
            }
        }
    }
}

fn report(problem: &Problem, at: &Position, path: &[String]) -> Diagnostic {
    let code = match problem {
        Problem::TooLong { .. } => ErrorCode::RequestTooLarge,
        Problem::Required { .. } | Problem::Syntax { .. } => ErrorCode::ValidationFailed,
    };
    let mut diagnostic = Diagnostic::new(Severity::Error, code, problem.to_string()).at(at).field(dotted(path));
    if let Some(service) = path.get(1).filter(|_| path.first().is_some_and(|first| first == "services")) {
        diagnostic = diagnostic.service(service);
    }
    match problem {
        Problem::Required { name, .. } => {
            diagnostic.details.insert("variable".to_owned(), name.clone());
        }
        Problem::TooLong { limit } => {
            diagnostic.details.insert("limit".to_owned(), limit.to_string());
        }
        Problem::Syntax { .. } => {}
    }
    diagnostic
}

/// `services.web.ports[0]` of the segments `services`, `web`, `ports`, `[0]`.
fn dotted(path: &[String]) -> String {
    let mut text = String::new();
    for segment in path {
        if !text.is_empty() && !segment.starts_with('[') {
            text.push('.');
        }
        text.push_str(segment);
    }
    text
}
