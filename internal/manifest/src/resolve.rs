//! From texts or files to the deployment: the front end and the model, one after the other.

use std::collections::HashSet;

use jaco_types::DeploymentSpec;

use crate::diagnostic::{Diagnostics, Severity};
use crate::jaco_yaml::{self, JacoFile};
use crate::model::{self, Options};
use crate::source::{self, Files, Project, ProjectRequest};
use crate::yaml::{Budget, Node, load};

/// The names that messages give the two texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceNames {
    /// Of the deployment's own file.
    pub jaco: String,
    /// Of the compose text.
    pub compose: String,
}

impl Default for SourceNames {
    fn default() -> Self {
        SourceNames { jaco: "jaco.yaml".to_owned(), compose: "compose.yaml".to_owned() }
    }
}

/// The deployment, and what there is to say about it.
#[derive(Debug, Default)]
pub struct Resolution {
    /// The deployment; `None` exactly when something was refused, or when there is no `jaco.yaml` to name it.
    pub spec: Option<DeploymentSpec>,
    /// Errors, warnings and notes, in the order found.
    pub diagnostics: Diagnostics,
}

/// A project that was read and judged.
#[derive(Debug, Default)]
pub struct Checked {
    /// The texts to send; `None` when the files themselves could not be read.
    pub project: Option<Project>,
    /// The deployment and every diagnostic, those of the reading first.
    pub resolution: Resolution,
}

/// Turns two final texts into the deployment. Nothing is interpolated and no file is read.
pub fn resolve(jaco_yaml: &str, compose_yaml: &str, names: &SourceNames, options: &Options) -> Resolution {
    let mut diagnostics = Diagnostics::default();
    let compose = match load(&names.compose, compose_yaml.as_bytes(), Budget::default()) {
        Ok(mut compose) => {
            source::finish_received(&mut compose, &mut diagnostics);
            Some(compose)
        }
        Err(problems) => {
            problems.into_iter().for_each(|problem| diagnostics.push(problem));
            None
        }
    };
    let jaco = read_jaco(&names.jaco, jaco_yaml, &mut diagnostics);
    let spec = build(jaco.as_ref(), compose.as_ref(), options, &mut diagnostics);
    Resolution { spec, diagnostics }
}

/// Reads a project and judges it: what `apply` does before it sends, and all that `validate` does. Reading goes on after a problem,
/// so that all are told at once.
pub fn check(files: &dyn Files, request: &ProjectRequest, options: &Options) -> Checked {
    match source::read(files, request) {
        Ok(mut project) => {
            let mut diagnostics = std::mem::take(&mut project.diagnostics);
            let jaco = match &request.jaco_path {
                Some(path) => read_jaco(path, &project.jaco_yaml, &mut diagnostics),
                None => Some(JacoFile::default()),
            };
            let spec = build(jaco.as_ref(), Some(&project.compose), options, &mut diagnostics);
            Checked { project: Some(project), resolution: Resolution { spec, diagnostics } }
        }
        Err(failure) => {
            let mut diagnostics = failure.diagnostics;
            let mut more = Diagnostics::default();
            let jaco = match &failure.jaco_yaml {
                Some((path, text)) => read_jaco(path, text, &mut more),
                None if request.jaco_path.is_none() => Some(JacoFile::default()),
                None => None,
            };
            build(jaco.as_ref(), failure.compose.as_ref(), options, &mut more);
            add_unrelated(&mut diagnostics, more);
            Checked { project: None, resolution: Resolution { spec: None, diagnostics } }
        }
    }
}

fn read_jaco(name: &str, text: &str, diagnostics: &mut Diagnostics) -> Option<JacoFile> {
    match load(name, text.as_bytes(), Budget::default()) {
        Ok(node) => jaco_yaml::read(&node, diagnostics),
        Err(problems) => {
            problems.into_iter().for_each(|problem| diagnostics.push(problem));
            None
        }
    }
}

/// The deployment, when both files could be read. A compose file alone is judged even when `jaco.yaml` is wrong.
fn build(
    jaco: Option<&JacoFile>,
    compose: Option<&Node>,
    options: &Options,
    diagnostics: &mut Diagnostics,
) -> Option<DeploymentSpec> {
    let compose = compose?;
    match jaco {
        Some(jaco) => model::build(jaco, compose, options, diagnostics),
        None => {
            model::build(&JacoFile::default(), compose, options, diagnostics);
            None
        }
    }
    .filter(|_| !diagnostics.has_errors())
}

/// Adds what is not a consequence of an error already told: a value that could not be resolved is wrong for its field, too.
fn add_unrelated(diagnostics: &mut Diagnostics, more: Diagnostics) {
    let told: HashSet<(String, usize, usize)> = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .filter_map(|diagnostic| diagnostic.at.as_ref())
        .map(|at| (at.file.to_string(), at.line, at.column))
        .collect();
    for diagnostic in more.into_vec() {
        let at = diagnostic.at.as_ref();
        if at.is_none_or(|at| !told.contains(&(at.file.to_string(), at.line, at.column))) {
            diagnostics.push(diagnostic);
        }
    }
}
