mod env_files;
mod extends;
mod include;
mod projects;
mod received;

use super::*;
use crate::yaml::{Budget, emit, load};

/// A project of files in memory: `jaco.yaml` is there unless given, compose files by default name.
struct Case {
    files: Vec<(String, String)>,
    request: ProjectRequest,
}

impl Case {
    fn new(files: &[(&str, &str)]) -> Case {
        let mut files: Vec<(String, String)> = files.iter().map(|(n, c)| ((*n).to_owned(), (*c).to_owned())).collect();
        if files.iter().all(|(name, _)| name != "jaco.yaml") {
            let environment =
                if files.iter().any(|(name, _)| name == "vars.env") { "environment: vars.env\n" } else { "" };
            files.push(("jaco.yaml".to_owned(), format!("deployment: d\n{environment}")));
        }
        Case { files, request: ProjectRequest { jaco_path: Some("jaco.yaml".to_owned()), ..ProjectRequest::default() } }
    }

    fn compose(mut self, paths: &[&str]) -> Case {
        self.request.compose = paths.iter().map(|path| (*path).to_owned()).collect();
        self
    }

    fn profiles(mut self, profiles: &[&str]) -> Case {
        self.request.profiles = profiles.iter().map(|profile| (*profile).to_owned()).collect();
        self
    }

    fn read(&self) -> Result<Project, Vec<String>> {
        let files = MapFiles::new(self.files.clone());
        read_project(&files, &self.request).map_err(|found| found.iter().map(ToString::to_string).collect())
    }

    fn ok(&self) -> Project {
        self.read().unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    fn errors(&self) -> Vec<String> {
        match self.read() {
            Ok(project) => panic!("accepted:\n{}", project.compose_yaml),
            Err(problems) => problems,
        }
    }

    /// Asserts the tree that comes out, and that the text says the same.
    fn becomes(&self, expected: &str) {
        let project = self.ok();
        let expected = load("expected", expected.as_bytes(), Budget::default()).unwrap();
        assert_eq!(emit(&project.compose), emit(&expected));
        assert_eq!(emit(&received(&project.compose_yaml)), emit(&expected), "{}", project.compose_yaml);
    }

    /// Asserts one error that contains a text.
    fn fails(&self, expected: &str) {
        let errors = self.errors();
        assert!(errors.len() == 1 && errors[0].contains(expected), "wanted {expected:?}: {errors:#?}");
    }
}

/// What the daemon makes of a text.
fn received(text: &str) -> crate::Node {
    let mut node =
        load("sent", text.as_bytes(), Budget::default()).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
    let mut diagnostics = crate::Diagnostics::default();
    finish_received(&mut node, &mut diagnostics);
    assert!(!diagnostics.has_errors(), "{diagnostics:?}");
    node
}

fn warnings(project: &Project) -> Vec<String> {
    project.diagnostics.iter().map(ToString::to_string).collect()
}
