//! `extends`: a service over another one, of this file or of another.

use std::collections::HashMap;
use std::sync::Arc;

use super::documents::{Location, Session, count};
use super::paths;
use crate::interpolate::Variables;
use crate::merge::merge;
use crate::yaml::{Entry, Node, Position, Value, quote};

/// Services that may extend each other in one chain.
const CHAIN: usize = 32;

/// A loaded file, by the path it is read by.
#[derive(Clone)]
struct File {
    location: Location,
    services: Arc<Node>,
}

/// What one `extends` says.
struct Reference {
    service: String,
    file: Option<String>,
    at: Position,
}

struct Resolver<'s, 'a> {
    session: &'s mut Session<'a>,
    variables: &'s Variables,
    files: HashMap<String, Option<File>>,
    resolved: HashMap<(String, String), Node>,
    chain: Vec<(String, String)>,
}

/// Resolves every `extends` of a document.
pub(super) fn apply(session: &mut Session<'_>, location: &Location, document: &mut Node, variables: &Variables) {
    let Some(services) = document.get("services") else { return };
    let names: Vec<String> = services
        .entries()
        .iter()
        .filter(|service| service.value.get("extends").is_some())
        .map(|service| service.key.clone())
        .collect();
    if names.is_empty() {
        return;
    }
    let file = File { location: location.clone(), services: Arc::new(services.clone()) };
    let mut resolver =
        Resolver { session, variables, files: HashMap::new(), resolved: HashMap::new(), chain: Vec::new() };
    for name in names {
        let merged = resolver.resolve(&file, &name);
        if let (Some(merged), Some(service)) = (merged, document.get_mut("services").and_then(|s| s.get_mut(&name))) {
            *service = merged;
        }
        // A service that could not be resolved is judged by what it says itself.
        if let Some(service) = document.get_mut("services").and_then(|services| services.get_mut(&name)) {
            service.remove("extends");
        }
    }
}

impl Resolver<'_, '_> {
    /// The service with all it extends; `None` when that is refused (and told).
    fn resolve(&mut self, file: &File, name: &str) -> Option<Node> {
        let identity = (paths::normal(&file.location.path), name.to_owned());
        if let Some(done) = self.resolved.get(&identity) {
            return Some(done.clone());
        }
        let mut service = file.services.get(name)?.clone();
        let Some(extends) = service.remove("extends") else {
            return Some(service);
        };
        let field = format!("services.{name}.extends");
        let reference = self.reference(&extends, &field)?;
        if let Some(begin) = self.chain.iter().position(|known| *known == identity) {
            let chain = self.chain.iter().skip(begin).map(|(_, name)| name.as_str());
            let names: Vec<&str> = chain.chain([name]).collect();
            let message = format!("services extend each other in a circle: {}", names.join(" -> "));
            self.session.error(&reference.at, &field, message);
            return None;
        }
        if self.chain.len() >= CHAIN {
            self.session.error(
                &reference.at,
                &field,
                format!("more than {CHAIN} services extend each other in a chain"),
            );
            return None;
        }
        let base_file = match &reference.file {
            None => file.clone(),
            Some(path) => self.open(file, path, &reference.at, &field)?,
        };
        if base_file.services.get(&reference.service).is_none() {
            let path = &base_file.location.path;
            let message = format!("there is no service {} in {path}", quote(&reference.service));
            self.session.error(&reference.at, &field, message);
            return None;
        }
        self.chain.push(identity.clone());
        let base = self.resolve(&base_file, &reference.service);
        self.chain.pop();
        let base = base?;
        if !self.session.charge(count(&base), &reference.at) {
            return None;
        }
        let mut path = vec!["services".to_owned(), name.to_owned()];
        let merged = merge(base, service, &mut path, &mut self.session.diagnostics);
        self.resolved.insert(identity, merged.clone());
        Some(merged)
    }

    fn reference(&mut self, extends: &Entry, field: &str) -> Option<Reference> {
        let value = &extends.value;
        if let Some(name) = value.as_str() {
            return Some(Reference { service: name.to_owned(), file: None, at: value.at.clone() });
        }
        let Some(entries) = value.as_map() else {
            let mismatch = value.mismatch("a service name, or a map with `service` and `file`");
            self.session.diagnostics.push(super::documents::located(mismatch, field));
            return None;
        };
        let mut service = None;
        let mut file = None;
        for entry in entries {
            let slot = match entry.key.as_str() {
                "service" => &mut service,
                "file" => &mut file,
                key if key.starts_with("x-") => continue,
                key => {
                    let message = format!("the key {} is not known here; `service` and `file` are", quote(key));
                    self.session.error(&entry.at, &format!("{field}.{key}"), message);
                    continue;
                }
            };
            match entry.value.as_str() {
                Some(text) => *slot = Some(text.to_owned()),
                None => {
                    let mismatch = entry.value.mismatch("a string");
                    let field = format!("{field}.{}", entry.key);
                    self.session.diagnostics.push(super::documents::located(mismatch, &field));
                    return None;
                }
            }
        }
        let Some(service) = service else {
            self.session.error(&extends.at, field, "`service` is missing: which service is extended?");
            return None;
        };
        Some(Reference { service, file, at: value.at.clone() })
    }

    /// The services of another file, their paths made the project's.
    fn open(&mut self, from: &File, path: &str, at: &Position, field: &str) -> Option<File> {
        if paths::is_remote(path) {
            let message = "a file from git or a registry is not fetched; vendor the file into the project";
            self.session.error(at, field, message);
            return None;
        }
        let real = self.session.real_path(&from.location.base, path);
        if paths::normal(&real) == paths::normal(&from.location.path) {
            return Some(from.clone());
        }
        if let Some(known) = self.files.get(&paths::normal(&real)) {
            return known.clone();
        }
        let base = paths::directory(&paths::join(&from.location.base, path)).to_owned();
        let location = Location { path: real.clone(), base };
        let opened = self.session.document(&location, self.variables, Some((at, field))).map(|(mut document, _)| {
            paths::rebase(&mut document, &location.base);
            let services = document.remove("services").map(|entry| entry.value);
            let services = services.filter(|services| matches!(services.value, Value::Map(_)));
            let services = services.unwrap_or_else(|| Node::map(Vec::new(), &document.at));
            File { location, services: Arc::new(services) }
        });
        self.files.insert(paths::normal(&real), opened.clone());
        opened
    }
}
