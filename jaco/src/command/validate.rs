//! `validate`: the manifests, on this machine alone.

use std::collections::BTreeMap;

use clap::Args;
use jaco_manifest::ProjectRequest;
use jaco_types::UserError;
use serde::Serialize;

use super::manifest::read;
use super::say_remarks;
use crate::failure::Failure;
use crate::printer::{Format, View};
use crate::session::Session;
use crate::view::remark::Remark;

/// Arguments of `validate`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("files").required(true).multiple(true))]
pub struct Arguments {
    /// The deployment's file.
    #[arg(long, value_name = "PATH", group = "files")]
    jaco: Option<String>,
    /// A compose file, later ones over earlier ones [default: the one beside jaco.yaml, with its override file].
    #[arg(long, value_name = "PATH", group = "files")]
    compose: Vec<String>,
    /// Take in the services of this compose profile.
    #[arg(long, value_name = "NAME")]
    profile: Vec<String>,
    /// Refuse what would only be noted or warned of.
    #[arg(long)]
    strict: bool,
}

/// A finding in the result.
#[derive(Debug, Serialize)]
struct Finding {
    code: String,
    message: String,
    details: BTreeMap<String, String>,
}

impl From<&UserError> for Finding {
    fn from(error: &UserError) -> Self {
        Finding { code: error.code.as_str().to_owned(), message: error.message.clone(), details: error.details.clone() }
    }
}

impl From<&Remark> for Finding {
    fn from(remark: &Remark) -> Self {
        Finding { code: remark.code.clone(), message: remark.message.clone(), details: remark.details.clone() }
    }
}

/// The verdict.
#[derive(Debug, Serialize)]
struct Verdict {
    valid: bool,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    notes: Vec<Finding>,
}

impl View for Verdict {
    /// Silent: what is wrong goes to standard error.
    fn table(&self) -> String {
        String::new()
    }

    fn quiet(&self) -> String {
        String::new()
    }
}

pub fn run(arguments: &Arguments, session: &Session<'_>) -> Result<(), Failure> {
    let project = ProjectRequest {
        jaco_path: arguments.jaco.clone(),
        compose: arguments.compose.clone(),
        profiles: arguments.profile.clone(),
    };
    let reading = read(&project, arguments.strict);
    let of = |severity: &str| reading.remarks.iter().filter(|r| r.severity == severity).map(Finding::from).collect();
    let verdict = Verdict {
        valid: reading.errors.is_empty(),
        errors: reading.errors.iter().map(Finding::from).collect(),
        warnings: of("warning"),
        notes: of("note"),
    };
    session.printer().show(&verdict)?;
    if session.format() == Format::Table {
        say_remarks(session, &reading.remarks);
    }
    if reading.errors.is_empty() { Ok(()) } else { Err(Failure::Errors(reading.errors)) }
}
