//! Saying what is wrong at a place of the tree.

use std::collections::BTreeSet;

use jaco_types::ErrorCode;

use super::keys::{Table, Verdict};
use super::spelling::nearest;
use crate::{Diagnostic, Diagnostics, Entry, Severity, Value};

pub(crate) use super::place::{Field, Place, Spot};

/// Most remarks of one weight that are kept: a hostile file must not fill memory with them, and nobody reads more.
const MAX_REMARKS: usize = 1_000;

/// Most misspelt words for which the nearest one is looked for.
const MAX_HINTS: usize = 100;

/// Most items of one list.
pub(crate) const MAX_ITEMS: usize = 2_000;

/// Collects remarks, with what is known about where they come from.
pub(crate) struct Report<'d> {
    diagnostics: &'d mut Diagnostics,
    service: Option<String>,
    /// Features a note was made about: a note is said once.
    noted: BTreeSet<String>,
    /// Whether the part being read is used by nobody: what would be refused is only noted then.
    unused: bool,
    /// Whether keys that begin with `x-` are passed over without a word.
    ignores_extensions: bool,
    errors: usize,
    warnings: usize,
    hints: usize,
    /// Host ports that may still be published.
    ports_left: usize,
}

impl<'d> Report<'d> {
    /// An empty report.
    pub(crate) fn new(diagnostics: &'d mut Diagnostics) -> Self {
        Report {
            diagnostics,
            service: None,
            noted: BTreeSet::new(),
            unused: false,
            ignores_extensions: false,
            errors: 0,
            warnings: 0,
            hints: 0,
            ports_left: super::MAX_PORTS,
        }
    }

    /// Keys that begin with `x-` are passed over without a note.
    pub(crate) fn ignore_extensions(&mut self) {
        self.ignores_extensions = true;
    }

    /// Sets the service the next remarks concern.
    pub(crate) fn set_service(&mut self, service: Option<&str>) {
        self.service = service.map(str::to_owned);
    }

    /// Sets whether the next part is used by a service.
    pub(crate) fn set_unused(&mut self, unused: bool) {
        self.unused = unused;
    }

    /// Whether anything was refused so far.
    pub(crate) fn has_errors(&self) -> bool {
        self.diagnostics.has_errors()
    }

    /// An error with any code.
    pub(crate) fn error(&mut self, code: ErrorCode, place: &impl Place, message: impl Into<String>) {
        self.push(Severity::Error, code, None, place, message.into());
    }

    /// The note about a variable without a value. The client has told it with its place; the daemon has the text alone.
    pub(crate) fn unset_variable(&mut self, place: &impl Place, name: &str) {
        let feature = "environment.unset";
        let told = |diagnostic: &Diagnostic| {
            diagnostic.severity == Severity::Note && diagnostic.details.contains_key("variable")
        };
        if !self.noted.contains(feature) && self.diagnostics.iter().any(told) {
            self.noted.insert(feature.to_owned());
        }
        let name = shorten(name);
        self.note(
            feature,
            place,
            format!(
                "`{name}` has no value and is not set: values come from this file and the `environment:` file only"
            ),
        );
    }

    /// Takes host ports out of what a deployment may publish; `false`, and an error, when there are not enough left.
    pub(crate) fn take_ports(&mut self, place: &impl Place, count: usize) -> bool {
        match self.ports_left.checked_sub(count) {
            Some(left) => self.ports_left = left,
            None => {
                self.too_large(place, "published host ports", super::MAX_PORTS);
                return false;
            }
        }
        true
    }

    /// `; did you mean …?`, or nothing.
    pub(crate) fn hint<'k>(&mut self, word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
        if self.hints >= MAX_HINTS {
            return String::new();
        }
        self.hints += 1;
        nearest(word, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
    }

    /// A plain mistake.
    pub(crate) fn invalid(&mut self, place: &impl Place, message: impl Into<String>) {
        self.error(ErrorCode::ValidationFailed, place, message);
    }

    /// A value of the wrong kind.
    pub(crate) fn wrong_type(&mut self, field: &Field<'_>, wanted: &str) {
        let given = match &field.node.value {
            // The value of a variable may be a secret.
            Value::Scalar(scalar) if scalar.interpolated => "what the variables make of it".to_owned(),
            Value::Scalar(_) if field.is_null() => "nothing".to_owned(),
            Value::Scalar(scalar) => format!("{:?}", shorten(&scalar.text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        };
        self.invalid(field, format!("must be {wanted}, not {given}"));
    }

    /// An error with a code, and the feature's name for programs.
    pub(crate) fn refused_as(
        &mut self,
        code: ErrorCode,
        feature: &str,
        place: &impl Place,
        message: impl Into<String>,
    ) {
        self.refuse(code, feature, place, message.into());
    }

    /// A feature that is refused for good.
    pub(crate) fn refused(&mut self, feature: &str, place: &impl Place, message: impl Into<String>) {
        self.refuse(ErrorCode::ValidationFailed, feature, place, message.into());
    }

    /// A feature that a later version has.
    pub(crate) fn not_yet(&mut self, feature: &str, place: &impl Place, way_out: impl Into<String>) {
        self.refuse(ErrorCode::NotSupportedYet, feature, place, format!("not supported yet: {}", way_out.into()));
    }

    /// Accepted without effect; said once for each feature.
    pub(crate) fn note(&mut self, feature: &str, place: &impl Place, message: impl Into<String>) {
        if self.noted.insert(feature.to_owned()) {
            self.push(Severity::Note, ErrorCode::ValidationFailed, Some(feature), place, message.into());
        }
    }

    /// Accepted, and something is not as a user may expect.
    pub(crate) fn warn(&mut self, feature: &str, place: &impl Place, message: impl Into<String>) {
        self.push(Severity::Warning, ErrorCode::ValidationFailed, Some(feature), place, message.into());
    }

    /// A key outside a closed set.
    pub(crate) fn unknown_key<'k>(&mut self, place: &impl Place, key: &str, known: impl IntoIterator<Item = &'k str>) {
        let hint = match self.hint(key, known) {
            _ if key == "compose_service" => {
                "; write `service` in a route, and `name` in an entry of services".to_owned()
            }
            none if none.is_empty() => "; remove it, or write it as `x-…` if it is a note to yourself".to_owned(),
            hint => hint,
        };
        self.invalid(place, format!("unknown key `{}`{hint}", shorten(key)));
    }

    /// The entries of a mapping whose keys are known, each judged by the table; what is returned is to be acted on.
    pub(crate) fn keyed<'a>(&mut self, field: &Field<'a>, table: &'static Table) -> Vec<(&'static str, Field<'a>)> {
        let mut supported = Vec::new();
        for entry in self.entries(field) {
            let child = field.child(entry);
            if entry.key.starts_with("x-") {
                if !self.ignores_extensions {
                    self.note("x-*", &child, "keys that begin with `x-` have no effect");
                }
                continue;
            }
            let Some(key) = table.find(&entry.key) else {
                self.unknown_key(&child, &entry.key, table.names());
                continue;
            };
            match key.verdict {
                Verdict::Supported => supported.push((key.name, child)),
                _ if child.is_off() => {}
                Verdict::Note(why) => self.note(&table.feature(key.name), &child, why),
                Verdict::Refused(why) => self.refused(&table.feature(key.name), &child, why),
                Verdict::NotYet(way_out) => self.not_yet(&table.feature(key.name), &child, way_out),
                Verdict::Legacy(modern) => self.legacy(&child, key.name, modern),
                Verdict::Client(code) => self.refused_as(
                    code,
                    &table.feature(key.name),
                    &child,
                    format!(
                        "`{}` is resolved by the `jaco` client, and this text still has it; apply the file with `jaco apply`",
                        key.name
                    ),
                ),
            }
        }
        supported
    }

    /// The entries of a mapping; nothing when it is null.
    pub(crate) fn entries<'a>(&mut self, field: &Field<'a>) -> &'a [Entry] {
        match &field.node.value {
            Value::Map(entries) => entries,
            _ if field.is_null() => &[],
            Value::Scalar(_) | Value::List(_) => {
                self.wrong_type(field, "a mapping");
                &[]
            }
        }
    }

    /// The items of a list; nothing when it is null.
    pub(crate) fn items<'a>(&mut self, field: &Field<'a>) -> Vec<Field<'a>> {
        match &field.node.value {
            Value::List(items) if items.len() > MAX_ITEMS => {
                self.too_large(field, "items in one list", MAX_ITEMS);
                Vec::new()
            }
            Value::List(items) => items.iter().enumerate().map(|(i, node)| field.item(i, node)).collect(),
            _ if field.is_null() => Vec::new(),
            Value::Scalar(_) | Value::Map(_) => {
                self.wrong_type(field, "a list");
                Vec::new()
            }
        }
    }

    fn legacy(&mut self, place: &impl Place, name: &str, modern: &'static str) {
        let mut diagnostic = self.diagnostic(
            Severity::Error,
            ErrorCode::LegacyComposeField,
            Some(name),
            place,
            format!("`{name}` belongs to an old file format; use {modern}"),
        );
        diagnostic.details.insert("modern_equivalent".to_owned(), modern.to_owned());
        self.add(diagnostic);
    }

    fn refuse(&mut self, code: ErrorCode, feature: &str, place: &impl Place, message: String) {
        if self.unused {
            self.note(&format!("unused.{feature}"), place, "no service uses this, so it has no effect");
        } else {
            self.push(Severity::Error, code, Some(feature), place, message);
        }
    }

    fn push(
        &mut self,
        severity: Severity,
        code: ErrorCode,
        feature: Option<&str>,
        place: &impl Place,
        message: String,
    ) {
        let diagnostic = self.diagnostic(severity, code, feature, place, message);
        self.add(diagnostic);
    }

    /// Keeps a remark, unless there are too many of its weight. Notes are bounded by the number of features.
    fn add(&mut self, diagnostic: Diagnostic) {
        let count = match diagnostic.severity {
            Severity::Note => return self.diagnostics.push(diagnostic),
            Severity::Warning => &mut self.warnings,
            Severity::Error => &mut self.errors,
        };
        *count += 1;
        if *count <= MAX_REMARKS {
            self.diagnostics.push(diagnostic);
        }
    }

    fn diagnostic(
        &self,
        severity: Severity,
        code: ErrorCode,
        feature: Option<&str>,
        place: &impl Place,
        message: String,
    ) -> Diagnostic {
        let mut diagnostic = Diagnostic::new(severity, code, message).at(place.at());
        if !place.path().is_empty() {
            diagnostic = diagnostic.field(place.path());
        }
        if let Some(service) = &self.service {
            diagnostic = diagnostic.service(service);
        }
        if let Some(feature) = feature {
            diagnostic.details.insert("feature".to_owned(), feature.to_owned());
        }
        diagnostic
    }

    /// A list or count over its limit.
    pub(crate) fn too_large(&mut self, place: &impl Place, what: &str, limit: usize) {
        let message = format!("more than {limit} {what}; split the deployment");
        let mut diagnostic = self.diagnostic(Severity::Error, ErrorCode::RequestTooLarge, None, place, message);
        diagnostic.details.insert("limit".to_owned(), limit.to_string());
        self.add(diagnostic);
    }
}

/// The first 80 characters: a message stays readable whatever the file holds.
pub(crate) fn shorten(text: &str) -> String {
    if text.chars().count() <= 80 { text.to_owned() } else { text.chars().take(79).chain(['…']).collect() }
}
