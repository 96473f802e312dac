//! `include`: another project's services, networks and volumes beside this one's.

use super::documents::{Location, Session, located};
use super::{environment, paths, project};
use crate::interpolate::Variables;
use crate::yaml::{Node, Position, Value, quote, same};

/// Projects that may include each other in one chain.
const CHAIN: usize = 16;

/// The sections an included project adds to.
const SECTIONS: [&str; 6] = ["services", "networks", "volumes", "configs", "secrets", "models"];

/// One entry of `include`.
struct Reference {
    paths: Vec<String>,
    project_directory: Option<String>,
    env_files: Option<Vec<String>>,
    at: Position,
}

/// Takes `include` out of a document and puts the included resources into it. `chain` holds the files on the way here.
pub(super) fn apply(
    session: &mut Session<'_>,
    location: &Location,
    document: &mut Node,
    variables: &Variables,
    chain: &mut Vec<String>,
) {
    let Some(include) = document.remove("include") else { return };
    if include.value.is_null() {
        return;
    }
    let Some(items) = include.value.as_list() else {
        session.diagnostics.push(located(include.value.mismatch("a list of files"), "include"));
        return;
    };
    for (index, item) in items.iter().enumerate() {
        let field = format!("include[{index}]");
        let Some(reference) = reference(session, item, &field) else { continue };
        if let Some(included) = load(session, location, &reference, variables, (chain, &field)) {
            import(session, document, included, &reference, &field);
        }
    }
}

fn reference(session: &mut Session<'_>, item: &Node, field: &str) -> Option<Reference> {
    let mut reference = Reference { paths: Vec::new(), project_directory: None, env_files: None, at: item.at.clone() };
    if let Some(path) = item.as_str() {
        reference.paths.push(path.to_owned());
        return Some(reference);
    }
    let Some(entries) = item.as_map() else {
        session.diagnostics.push(located(item.mismatch("a path, or a map with `path`"), field));
        return None;
    };
    for entry in entries {
        let field = format!("{field}.{}", entry.key);
        match entry.key.as_str() {
            "path" => reference.paths = strings(session, &entry.value, &field)?,
            "env_file" => reference.env_files = Some(strings(session, &entry.value, &field)?),
            "project_directory" => match entry.value.as_str() {
                Some(path) => reference.project_directory = Some(path.to_owned()),
                None => session.diagnostics.push(located(entry.value.mismatch("a path"), &field)),
            },
            key if key.starts_with("x-") => {}
            key => {
                let known = "`path`, `project_directory` and `env_file` are";
                session.error(&entry.at, &field, format!("the key {} is not known here; {known}", quote(key)));
            }
        }
    }
    if reference.paths.is_empty() {
        session.error(&item.at, field, "`path` is missing: which file is included?");
        return None;
    }
    Some(reference)
}

/// One string or a list of them.
fn strings(session: &mut Session<'_>, node: &Node, field: &str) -> Option<Vec<String>> {
    let single = std::slice::from_ref(node);
    let items = node.as_list().unwrap_or(single);
    let mut result = Vec::with_capacity(items.len());
    for item in items {
        match item.as_str() {
            Some(text) => result.push(text.to_owned()),
            None => {
                session.diagnostics.push(located(item.mismatch("a path"), field));
                return None;
            }
        }
    }
    Some(result)
}

fn load(
    session: &mut Session<'_>,
    from: &Location,
    reference: &Reference,
    variables: &Variables,
    (chain, field): (&mut Vec<String>, &str),
) -> Option<Node> {
    if reference.paths.iter().any(|path| paths::is_remote(path)) {
        let message = "a project from git or a registry is not fetched; vendor the file into this project";
        session.error(&reference.at, field, message);
        return None;
    }
    let first = reference.paths.first()?;
    let base = match &reference.project_directory {
        Some(directory) => paths::join(&from.base, directory),
        None => paths::directory(&paths::join(&from.base, first)).to_owned(),
    };
    let locations: Vec<Location> = reference
        .paths
        .iter()
        .map(|path| Location { path: session.real_path(&from.base, path), base: base.clone() })
        .collect();
    for location in &locations {
        let path = paths::normal(&location.path);
        if chain.contains(&path) {
            let names = [chain.as_slice(), &[path]].concat().join(" -> ");
            session.error(&reference.at, field, format!("files include each other in a circle: {names}"));
            return None;
        }
    }
    if chain.len() >= CHAIN {
        session.error(&reference.at, field, format!("more than {CHAIN} files include each other in a chain"));
        return None;
    }
    let variables = included_variables(session, from, reference, &base, variables);
    let depth = chain.len();
    chain.extend(locations.iter().map(|location| paths::normal(&location.path)));
    let included = project::merged(session, &locations, &variables, chain, Some((&reference.at, field)));
    chain.truncate(depth);
    included.map(|included| included.tree)
}

/// The variables of the including project, and below them those of the included one's `env_file`, or of the `.env` in its
/// directory.
fn included_variables(
    session: &mut Session<'_>,
    from: &Location,
    reference: &Reference,
    base: &str,
    variables: &Variables,
) -> Variables {
    let files: Vec<String> = match &reference.env_files {
        Some(files) => files.iter().map(|file| session.real_path(&from.base, file)).collect(),
        None => {
            let default = session.real_path(base, ".env");
            let own = paths::normal(base) == paths::normal(&from.base);
            if !own && session.files.exists(&default) { vec![default] } else { Vec::new() }
        }
    };
    let mut result = Variables::new();
    for file in files {
        let outer = |name: &str| variables.get(name).cloned();
        if let Some(read) = environment::read_variables(session, &file, Some(&reference.at), &outer) {
            result.extend(read);
        }
    }
    result.extend(variables.iter().map(|(name, value)| (name.clone(), value.clone())));
    result
}

/// Adds the included resources; the same name with another content is a conflict.
fn import(session: &mut Session<'_>, document: &mut Node, included: Node, reference: &Reference, field: &str) {
    let Value::Map(sections) = included.value else { return };
    for section in sections {
        if !SECTIONS.contains(&section.key.as_str()) {
            continue;
        }
        let Value::Map(resources) = section.value.value else { continue };
        if document.get(&section.key).is_none_or(Node::is_null) {
            document.set(&section.key, &section.at, Node::map(Vec::new(), &section.at));
        }
        for resource in resources {
            let Some(target) = document.get_mut(&section.key) else { continue };
            match target.entry(&resource.key) {
                None => {
                    if let Value::Map(entries) = &mut target.value {
                        entries.push(resource);
                    }
                }
                Some(known) if same(&known.value, &resource.value) => {}
                Some(known) => {
                    let name = quote(&resource.key);
                    let (here, there) = (&known.at, &resource.at);
                    let message = format!(
                        "{} {name} is in this project ({}:{}) and differently in the included one ({}:{}); rename one, or change \
                         the included one in an override file",
                        section.key, here.file, here.line, there.file, there.line
                    );
                    session.error(&reference.at, field, message);
                }
            }
        }
    }
}
