//! Tables of compose texts and what the model makes of them.

mod cross;
mod hostile;
mod key_table;
mod ports_and_mounts;
mod settings;
mod top_level;

use std::collections::BTreeSet;

use jaco_types::{DeploymentSpec, ErrorCode, ServiceSpec};

use super::{Options, build};
use crate::yaml::{Budget, load};
use crate::{Diagnostic, Diagnostics, Severity, jaco_yaml};

/// Builds from two texts.
fn build_with(jaco: &str, compose: &str, options: &Options) -> (Option<DeploymentSpec>, Vec<Diagnostic>) {
    let mut diagnostics = Diagnostics::default();
    let jaco = load("jaco.yaml", jaco.as_bytes(), Budget::default()).expect("the jaco.yaml of the test is YAML");
    let compose =
        load("compose.yaml", compose.as_bytes(), Budget::default()).expect("the compose file of the test is YAML");
    let file = jaco_yaml::read(&jaco, &mut diagnostics).expect("the jaco.yaml of the test is a mapping");
    let spec = build(&file, &compose, options, &mut diagnostics);
    (spec, diagnostics.into_vec())
}

/// Builds a compose text beside the smallest `jaco.yaml`.
fn compose(text: &str) -> (Option<DeploymentSpec>, Vec<Diagnostic>) {
    build_with("deployment: shop", text, &Options::default())
}

/// A compose text of one service `web` with an image and the given keys, and a service `db`.
fn with_web(keys: &str) -> String {
    let keys: String = keys.lines().map(|line| format!("    {line}\n")).collect();
    format!("services:\n  db:\n    image: postgres\n  web:\n    image: nginx\n{keys}volumes:\n  data:\n")
}

/// The service `web` with the given keys, which must be accepted.
fn web(keys: &str) -> ServiceSpec {
    let (spec, diagnostics) = compose(&with_web(keys));
    let mut spec = spec.unwrap_or_else(|| panic!("{keys}\n{}", lines(&diagnostics)));
    spec.services.remove("web").expect("there is a service web")
}

/// What is said about `web` with the given keys: `not_yet:privileged`, `validation_failed`, …
fn said(keys: &str) -> BTreeSet<String> {
    tags(&compose(&with_web(keys)).1)
}

/// The verdicts in short: kind and feature, or the code of an error without a feature.
fn tags(diagnostics: &[Diagnostic]) -> BTreeSet<String> {
    let tag = |diagnostic: &Diagnostic| {
        let feature = diagnostic.details.get("feature").cloned();
        match (diagnostic.severity, feature) {
            (Severity::Note, feature) => format!("note:{}", feature.unwrap_or_default()),
            (Severity::Warning, feature) => format!("warning:{}", feature.unwrap_or_default()),
            (Severity::Error, Some(feature)) if diagnostic.code == ErrorCode::NotSupportedYet => {
                format!("not_yet:{feature}")
            }
            (Severity::Error, Some(feature)) if diagnostic.code == ErrorCode::ValidationFailed => {
                format!("refused:{feature}")
            }
            (Severity::Error, _) => diagnostic.code.as_str().to_owned(),
        }
    };
    diagnostics.iter().map(tag).collect()
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|d| format!("{d}\n")).collect()
}

/// Asserts that each text gets exactly these verdicts.
fn check(table: &[(&str, &[&str])]) {
    for (keys, expected) in table {
        let expected: BTreeSet<String> = expected.iter().map(|tag| (*tag).to_owned()).collect();
        assert_eq!(said(keys), expected, "{keys}\n{}", lines(&compose(&with_web(keys)).1));
    }
}
