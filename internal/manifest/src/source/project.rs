//! A whole project: which files it has, and what becomes of them.

use jaco_types::ErrorCode;

use super::documents::{Location, Session, located};
use super::files::Files;
use super::{environment, extends, include, paths, profiles, render};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::interpolate::Variables;
use crate::merge;
use crate::yaml::{Budget, Node, Position, load, quote};

/// Names a compose file is looked for by, in this order.
const COMPOSE_NAMES: [&str; 4] = ["compose.yml", "compose.yaml", "docker-compose.yml", "docker-compose.yaml"];

/// Names of the file that is merged over a compose file found by default; the first one counts.
const OVERRIDE_NAMES: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];

/// Bytes of each of the two texts that are sent at most; the daemon refuses longer ones.
pub const MAX_TEXT_BYTES: usize = 256 * 1024;

/// What to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectRequest {
    /// Path of `jaco.yaml`; without it there is a compose file alone, to be checked.
    pub jaco_path: Option<String>,
    /// Paths of the compose files, later ones over earlier ones; empty means the default names beside `jaco.yaml`.
    pub compose: Vec<String>,
    /// Active profiles; `*` is all of them.
    pub profiles: Vec<String>,
}

/// A project that was read.
#[derive(Debug)]
pub struct Project {
    /// `jaco.yaml` as it is; empty when none was asked for.
    pub jaco_yaml: String,
    /// The path of `jaco.yaml`, for messages.
    pub jaco_path: String,
    /// The compose text to send. Nothing in it refers to a file or a variable.
    pub compose_yaml: String,
    /// The same as a tree whose positions are those of the user's files, finished for the model.
    pub compose: Node,
    /// Notes and warnings.
    pub diagnostics: Diagnostics,
}

/// A failed reading: what was wrong, and as much of the project as could still be read, for further complaints.
pub(crate) struct Failure {
    pub(crate) diagnostics: Diagnostics,
    pub(crate) jaco_yaml: Option<(String, String)>,
    pub(crate) compose: Option<Node>,
}

/// Reads a project.
///
/// # Errors
/// Everything that was found wrong with the files themselves, warnings included. What the keys mean is not looked at here.
pub fn read_project(files: &dyn Files, request: &ProjectRequest) -> Result<Project, Diagnostics> {
    read(files, request).map_err(|failure| failure.diagnostics)
}

pub(crate) fn read(files: &dyn Files, request: &ProjectRequest) -> Result<Project, Box<Failure>> {
    let jaco_path = request.jaco_path.clone().unwrap_or_default();
    let mut session = Session::new(files, String::new());
    let jaco = request.jaco_path.as_ref().and_then(|path| read_jaco(&mut session, path));
    let found = discover(&mut session, request);
    let first = found.first().map(String::as_str).unwrap_or_default();
    session.project_directory = paths::directory(first).to_owned();
    let variables = variables(&mut session, &jaco_path, jaco.as_ref().map(|(_, node)| node), request);
    let locations: Vec<Location> = found.into_iter().map(|path| Location { path, base: String::new() }).collect();
    let mut chain = locations.iter().map(|location| paths::normal(&location.path)).collect();
    let merged = merged(&mut session, &locations, &variables, &mut chain, None);
    let (compose, compose_yaml) = match merged {
        Some(merged) => {
            let (tree, text) = finish(&mut session, merged, &variables, &request.profiles);
            (Some(tree), text)
        }
        None => (None, String::new()),
    };
    let jaco_yaml = jaco.map(|(text, _)| text);
    match compose {
        Some(compose) if !session.diagnostics.has_errors() => Ok(Project {
            jaco_yaml: jaco_yaml.unwrap_or_default(),
            jaco_path,
            compose_yaml,
            compose,
            diagnostics: session.diagnostics,
        }),
        compose => Err(Box::new(Failure {
            diagnostics: session.diagnostics,
            jaco_yaml: jaco_yaml.map(|text| (jaco_path, text)),
            compose,
        })),
    }
}

fn read_jaco(session: &mut Session<'_>, path: &str) -> Option<(String, Node)> {
    let text = session.read(path, "manifest", None)?;
    match load(path, &text, Budget::default()) {
        Ok(_) if text.len() > MAX_TEXT_BYTES => {
            let message = format!("{} has {} bytes; at most {MAX_TEXT_BYTES} are accepted", quote(path), text.len());
            session.too_large(None, &message, MAX_TEXT_BYTES);
            None
        }
        // The loader has seen that it is UTF-8.
        Ok(node) => Some((String::from_utf8(text).ok()?, node)),
        Err(problems) => {
            problems.into_iter().for_each(|problem| session.diagnostics.push(problem));
            None
        }
    }
}

/// The compose files, by name or by default.
fn discover(session: &mut Session<'_>, request: &ProjectRequest) -> Vec<String> {
    if !request.compose.is_empty() {
        return request.compose.clone();
    }
    let directory = request.jaco_path.as_deref().map(paths::directory).unwrap_or_default();
    let present = |names: [&str; 4]| -> Vec<String> {
        let paths = names.iter().map(|name| paths::join(directory, name));
        paths.filter(|path| session.files.exists(path)).collect()
    };
    let mut found = present(COMPOSE_NAMES).into_iter();
    let overrides = present(OVERRIDE_NAMES);
    let Some(compose) = found.next() else {
        let message = format!(
            "no compose file beside {}: looked for {}; pass its path with --compose",
            quote(request.jaco_path.as_deref().unwrap_or("jaco.yaml")),
            COMPOSE_NAMES.join(", ")
        );
        session.diagnostics.push(Diagnostic::new(Severity::Error, ErrorCode::ValidationFailed, message));
        return Vec::new();
    };
    let others: Vec<String> = found.collect();
    if !others.is_empty() {
        let message = format!("{} is used and not {}; --compose chooses another", quote(&compose), others.join(", "));
        session.diagnostics.push(Diagnostic::new(Severity::Warning, ErrorCode::ValidationFailed, message));
    }
    std::iter::once(compose).chain(overrides.into_iter().take(1)).collect()
}

/// The variables of the `environment:` file, or of the `.env` beside the compose file.
fn variables(session: &mut Session<'_>, jaco_path: &str, jaco: Option<&Node>, request: &ProjectRequest) -> Variables {
    let none = |_: &str| None;
    let named = jaco.and_then(|jaco| jaco.get("environment")).filter(|node| !node.is_null());
    if let Some(node) = named {
        let Some(path) = node.as_str().filter(|path| !path.is_empty()) else {
            session.diagnostics.push(located(node.mismatch("the path of a file"), "environment"));
            return Variables::new();
        };
        let path = paths::join(paths::directory(jaco_path), path);
        return environment::read_variables(session, &path, Some(&node.at), &none).unwrap_or_default();
    }
    let default = paths::join(&session.project_directory.clone(), ".env");
    if !session.files.exists(&default) {
        return Variables::new();
    }
    if request.jaco_path.is_some() {
        let message = format!("variables come from {}; `environment:` in jaco.yaml chooses the file", quote(&default));
        session.diagnostics.push(Diagnostic::new(Severity::Note, ErrorCode::ValidationFailed, message));
    }
    environment::read_variables(session, &default, None, &none).unwrap_or_default()
}

/// Documents merged into one.
pub(super) struct Merged {
    pub(super) tree: Node,
    /// The text and the tree before anything happened to it, of a project of one file.
    untouched: Option<(Vec<u8>, Node)>,
}

/// Reads the files of one project, the later over the earlier. Used for the project itself and for included ones.
pub(super) fn merged(
    session: &mut Session<'_>,
    locations: &[Location],
    variables: &Variables,
    chain: &mut Vec<String>,
    at: Option<(&Position, &str)>,
) -> Option<Merged> {
    let mut result: Option<Node> = None;
    let mut untouched = None;
    for location in locations {
        let Some((mut document, text)) = session.document(location, variables, at) else { continue };
        if locations.len() == 1 {
            untouched = load(&location.path, &text, Budget::default()).ok().map(|tree| (text, tree));
        }
        // At once, before other documents with a base of their own are mixed in.
        paths::rebase(&mut document, &location.base);
        include::apply(session, location, &mut document, variables, chain);
        extends::apply(session, location, &mut document, variables);
        result = Some(match result {
            None => document,
            Some(base) => merge::merge(base, document, &mut Vec::new(), &mut session.diagnostics),
        });
    }
    Some(Merged { tree: result?, untouched })
}

/// The last steps, on the merged tree: profiles, files of variables, and the text.
fn finish(session: &mut Session<'_>, merged: Merged, variables: &Variables, active: &[String]) -> (Node, String) {
    let Merged { mut tree, untouched } = merged;
    profiles::apply(&mut tree, active, &mut session.diagnostics);
    environment::apply(session, &mut tree, variables);
    let verbatim = untouched.filter(|(_, before)| *before == tree).and_then(|(text, _)| String::from_utf8(text).ok());
    merge::finish(&mut tree);
    let text = verbatim.unwrap_or_else(|| render::render(&tree));
    let limit = MAX_TEXT_BYTES;
    if text.len() > limit {
        let message = format!("the resolved compose text has {} bytes; at most {limit} are accepted", text.len());
        session.too_large(None, &message, limit);
    }
    (tree, text)
}
