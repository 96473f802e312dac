//! The lines of a dry run.

use jaco_types::DeploymentSpec;

use super::{Side, SpecDiff};
use crate::model::{Options, build};
use crate::yaml::{Budget, load};
use crate::{Diagnostics, jaco_yaml};

fn spec(jaco: &str, compose: &str) -> DeploymentSpec {
    let mut diagnostics = Diagnostics::default();
    let jaco = load("jaco.yaml", format!("deployment: shop\n{jaco}").as_bytes(), Budget::default()).unwrap();
    let compose = load("compose.yaml", compose.as_bytes(), Budget::default()).unwrap();
    let jaco = jaco_yaml::read(&jaco, &mut diagnostics).unwrap();
    build(&jaco, &compose, &Options::default(), &mut diagnostics).unwrap()
}

/// Without the texts the specs were made of.
fn diff(old: Option<&DeploymentSpec>, new: &DeploymentSpec) -> SpecDiff {
    super::diff(old.map(|spec| Side { spec, compose_yaml: "" }), Side { spec: new, compose_yaml: "" })
}

const OLD: &str = "services:\n  web: {image: 'nginx:1', environment: {LEVEL: info, API_TOKEN: a}, ports: ['8080:80']}\n  old: {image: a}\n";
const NEW: &str = "services:\n  web: {image: 'nginx:2', environment: {LEVEL: debug, API_TOKEN: b, EXTRA: 'x'}, deploy: {replicas: 2}}\n  \
                   new: {image: a, volumes: ['data:/d']}\nvolumes: {data: }\n";

#[test]
fn equal_specs_have_no_changes() {
    let same = spec("", OLD);
    let nothing = diff(Some(&same), &same);
    assert!(nothing.is_empty() && nothing.restarts.is_empty());
    assert_eq!(nothing.to_string(), "No changes\n");
}

#[test]
fn a_first_revision_adds_everything() {
    assert_eq!(
        diff(None, &spec("routes: [{domain: a.b, service: web, port: 80, path: /x}]", OLD)).to_string(),
        "+ deployment/shop\n+ network/default\n+ route/a.b/x\n+ service/old\n+ service/web\n"
    );
}

#[test]
fn changes_are_told_by_field_and_secrets_are_not_shown() {
    let old = spec("routes: [{domain: a.b, service: web, port: 80}]", OLD);
    let new = spec("routes: [{domain: a.b, service: new, port: 80, tls: off}]", NEW);
    let difference = diff(Some(&old), &new);
    assert_eq!(
        difference.to_string(),
        "+ service/new\n\
         + volume/data\n\
         ~ route/a.b/ service: web -> new\n\
         ~ route/a.b/ tls: auto -> off\n\
         ~ service/web environment.API_TOKEN: (hidden) -> (hidden)\n\
         ~ service/web environment.EXTRA: (none) -> x\n\
         ~ service/web environment.LEVEL: info -> debug\n\
         ~ service/web image: nginx:1 -> nginx:2\n\
         ~ service/web ports: [{\"host_port\":8080,\"protocol\":\"tcp\",\"target\":80}] -> (none)\n\
         ~ service/web replicas: 1 -> 2\n\
         - service/old\n"
    );
    assert_eq!(difference.restarts.iter().map(|s| s.as_str()).collect::<Vec<_>>(), ["web"]);
}

#[test]
fn scaling_restarts_nothing_and_placement_is_shown() {
    let old = spec("", "services: {web: {image: a}}");
    let new =
        spec("services: [{name: web, replicas: 2, placement: hosts, hosts: [n1, n2]}]", "services: {web: {image: a}}");
    let difference = diff(Some(&old), &new);
    assert_eq!(difference.restarts, []);
    assert_eq!(
        difference.to_string(),
        "~ service/web placement: spread -> hosts n1,n2\n~ service/web replicas: 1 -> 2\n"
    );
}

#[test]
fn variables_from_an_environment_file_are_hidden_whatever_their_name() {
    let mut old = spec("", "services: {web: {image: a, environment: {PLAIN: x}}}");
    let mut new = spec("", "services: {web: {image: a, environment: {PLAIN: y}}}");
    for side in [&mut old, &mut new] {
        side.services.values_mut().for_each(|s| s.hidden_environment = vec!["PLAIN".to_owned()]);
    }
    assert_eq!(diff(Some(&old), &new).to_string(), "~ service/web environment.PLAIN: (hidden) -> (hidden)\n");
}

/// A project as the client sends it, and its spec as the daemon reads it.
fn sent(compose: &str, variables: &str) -> (DeploymentSpec, String) {
    let files = crate::MapFiles::new([
        ("jaco.yaml", "deployment: shop\nenvironment: vars.env\n"),
        ("compose.yml", compose),
        ("vars.env", variables),
    ]);
    let request = crate::ProjectRequest { jaco_path: Some("jaco.yaml".to_owned()), ..Default::default() };
    let project = crate::read_project(&files, &request).unwrap();
    let names = crate::SourceNames::default();
    let resolution = crate::resolve(&project.jaco_yaml, &project.compose_yaml, &names, &Options::default());
    (resolution.spec.unwrap(), project.compose_yaml)
}

#[test]
fn a_secret_that_a_variable_puts_into_a_command_is_not_shown() {
    let compose = "services:\n  db:\n    image: redis:${TAG}\n    command: redis-server --requirepass ${PASS}\n    \
                   healthcheck: {test: 'redis-cli -a ${PASS} ping'}\n    labels: {plain: a, who: '${PASS}'}\n";
    let (old, old_text) = sent(compose, "TAG=7\nPASS=hunter2\n");
    let (new, new_text) = sent(compose, "TAG=8\nPASS=correcthorse\n");
    let difference =
        super::diff(Some(Side { spec: &old, compose_yaml: &old_text }), Side { spec: &new, compose_yaml: &new_text })
            .to_string();
    assert!(!difference.contains("hunter2") && !difference.contains("correcthorse"), "{difference}");
    assert!(difference.contains("~ service/db image: redis:7 -> redis:8\n"), "{difference}");
    assert!(difference.contains("~ service/db command: (hidden) -> (hidden)\n"), "{difference}");
}

#[test]
fn labels_with_telling_names_are_not_shown() {
    let label = |value: &str| {
        spec(
            "",
            &format!("services:\n  a: {{image: a, labels: {{'proxy.basic-auth.users': {value}, note: {value}}}}}\n"),
        )
    };
    let text = diff(Some(&label("old")), &label("new")).to_string();
    assert_eq!(
        text,
        "~ service/a labels.note: old -> new\n~ service/a labels.proxy.basic-auth.users: (hidden) -> (hidden)\n"
    );
}
