//! The user's files, read on this side: what `apply` sends and `validate` judges.

use jaco_manifest::model::Options;
use jaco_manifest::{Diagnostic, Disk, ProjectRequest, Severity, check};
use jaco_types::UserError;

use crate::view::remark::Remark;

/// What reading the files came to.
#[derive(Debug, Default)]
pub struct Reading {
    /// The texts to send; `None` when something was refused.
    pub texts: Option<Texts>,
    /// Everything refused, in the order found.
    pub errors: Vec<UserError>,
    /// Notes and warnings.
    pub remarks: Vec<Remark>,
}

/// A project ready to be sent: nothing in it refers to a file or a variable.
#[derive(Debug)]
pub struct Texts {
    pub jaco_yaml: String,
    pub compose_yaml: String,
}

/// Reads and judges a project. With `strict`, notes and warnings are errors.
pub fn read(request: &ProjectRequest, strict: bool) -> Reading {
    let checked = check(&Disk::new("."), request, &Options::default());
    let mut diagnostics = checked.resolution.diagnostics;
    if strict {
        diagnostics.make_strict();
    }
    let mut reading = Reading::default();
    for diagnostic in diagnostics.iter() {
        match diagnostic.severity {
            Severity::Error => reading.errors.push(diagnostic.to_user_error()),
            Severity::Warning => reading.remarks.push(remark("warning", diagnostic)),
            Severity::Note => reading.remarks.push(remark("note", diagnostic)),
        }
    }
    reading.texts = checked
        .project
        .filter(|_| reading.errors.is_empty())
        .map(|project| Texts { jaco_yaml: project.jaco_yaml, compose_yaml: project.compose_yaml });
    reading
}

fn remark(severity: &'static str, diagnostic: &Diagnostic) -> Remark {
    let error = diagnostic.to_user_error();
    Remark { severity, code: error.code.as_str().to_owned(), message: error.message, details: error.details }
}
