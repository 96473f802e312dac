//! What each fuzz target does with its input. Beside not panicking, each checks what must hold for every input.

use jaco_manifest::envfile::{self, Format};
use jaco_manifest::interpolate::{EXPANSION_BYTES, Template};
use jaco_manifest::model::Options;
use jaco_manifest::yaml::{Budget, emit, load, same};
use jaco_manifest::{MapFiles, ProjectRequest, SourceNames, check, resolve};

/// The line that begins a file of a project; its path follows.
const FILE: &str = "=== ";

/// A document that loads is written and loaded again as it was.
pub(crate) fn yaml(data: &[u8]) {
    if let Ok(node) = load("fuzz", data, Budget::default()) {
        let text = emit(&node);
        let budget = Budget { text_bytes: usize::MAX, ..Budget::default() };
        match load("fuzz", text.as_bytes(), budget) {
            Ok(again) => assert!(same(&node, &again), "another tree: {text}"),
            Err(problems) => panic!("what was written does not load: {problems:?}\n{text}"),
        }
    }
}

/// A text whose dollar signs are doubled comes out as it was.
pub(crate) fn interpolate(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lookup = |name: &str| if name.len().is_multiple_of(2) { Some(name.to_lowercase()) } else { None };
    if let Ok(template) = Template::parse(&text) {
        let _expanded = template.expand(&lookup, EXPANSION_BYTES);
    }
    let literal = Template::parse(&text.replace('$', "$$")).and_then(|t| t.expand(&lookup, EXPANSION_BYTES));
    assert_eq!(literal.map(|expanded| expanded.text).as_deref(), Ok(&*text));
}

/// Both formats.
pub(crate) fn envfile(data: &[u8]) {
    let outer = |name: &str| (name == "OUTER").then(|| "outside".to_owned());
    for format in [Format::Dotenv, Format::Raw] {
        if let Ok(file) = envfile::parse("fuzz", data, format, &outer) {
            assert!(file.variables.iter().all(|variable| !variable.name.is_empty() && variable.line > 0));
        }
    }
}

/// A project of several files: what the client makes of them is what the daemon makes of the texts it is sent.
pub(crate) fn project(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut files: Vec<(String, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        match line.strip_prefix(FILE) {
            Some(path) => files.push((path.trim().to_owned(), String::new())),
            None => match files.last_mut() {
                Some((_, content)) => content.push_str(line),
                None => files.push(("compose.yml".to_owned(), line.to_owned())),
            },
        }
    }
    if files.iter().all(|(path, _)| path != "jaco.yaml") {
        files.push(("jaco.yaml".to_owned(), "deployment: fuzz\n".to_owned()));
    }
    let request = ProjectRequest {
        jaco_path: Some("jaco.yaml".to_owned()),
        compose: Vec::new(),
        profiles: vec!["on".to_owned()],
    };
    let options = Options::default();
    let checked = check(&MapFiles::new(files), &request, &options);
    if let Some(project) = checked.project {
        let received = resolve(&project.jaco_yaml, &project.compose_yaml, &SourceNames::default(), &options);
        assert_eq!(checked.resolution.spec, received.spec, "sent: {}", project.compose_yaml);
    }
}

/// The two texts that a daemon receives, divided by a line `=== `.
pub(crate) fn received(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (jaco, compose) = text.split_once(FILE).unwrap_or(("deployment: fuzz\n", &text));
    let compose = compose.split_once('\n').map_or(compose, |(_, compose)| compose);
    let resolution = resolve(jaco, compose, &SourceNames::default(), &Options::default());
    assert!(resolution.spec.is_none() || !resolution.diagnostics.has_errors());
}
