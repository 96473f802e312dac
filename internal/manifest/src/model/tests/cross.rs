//! Checks over several services, and between `jaco.yaml` and the compose file.

use std::collections::BTreeSet;

use jaco_types::{DependencyCondition, Placement};

use super::{Options, build_with, check, compose, tags, web, with_web};

const TWO: &str = "services: {web: {image: a}, db: {image: b}}\nnetworks: {front: , back: {internal: true}}";

/// What is said about a `jaco.yaml` beside two plain services.
fn jaco(text: &str) -> BTreeSet<String> {
    tags(&build_with(&format!("deployment: shop\n{text}"), TWO, &Options::default()).1)
}

#[test]
fn dependencies() {
    let spec = web("depends_on: {db: {condition: service_healthy, required: false}}");
    let dependency = spec.depends_on["db"];
    assert_eq!((dependency.condition, dependency.required), (DependencyCondition::Healthy, false));
    check(&[
        ("depends_on: [db]", &[]),
        ("depends_on: {db: {condition: service_started, restart: true}}", &["note:depends_on.restart"]),
        ("depends_on: {db: {condition: service_started, restart: false}}", &[]),
        (
            "depends_on: {db: {condition: service_completed_successfully}}",
            &["not_yet:depends_on.completed_successfully"],
        ),
        ("depends_on: {db: {condition: service_ready}}", &["unsupported_depends_on_condition"]),
        ("depends_on: [nobody]", &["unknown_depends_on_service"]),
        ("depends_on: [web]", &["invalid_depends_on"]),
        ("links: [nobody]", &["unknown_depends_on_service"]),
        ("pid: service:nobody", &["unknown_depends_on_service"]),
        ("ipc: container:a", &["refused:ipc.container"]),
        ("pid: private", &["validation_failed"]),
    ]);
}

#[test]
fn a_cycle_is_named() {
    let (_, diagnostics) = compose(
        "services: {a: {image: i, depends_on: [b]}, b: {image: i, links: [c]}, c: {image: i, depends_on: [a, d]}, d: {image: i}}",
    );
    let [only] = diagnostics.as_slice() else { panic!("{}", super::lines(&diagnostics)) };
    assert_eq!(only.code, jaco_types::ErrorCode::InvalidDependsOn);
    assert!(only.message.ends_with("a -> b -> c -> a"), "{}", only.message);
    let chain: String = (0..999).map(|i| format!("  s{i}: {{image: i, depends_on: [s{}]}}\n", i + 1)).collect();
    let (spec, _) = compose(&format!("services:\n{chain}  s999: {{image: i}}\n"));
    assert!(spec.is_some(), "a long chain is no cycle");
}

#[test]
fn a_required_dependency_must_exist_and_an_optional_one_must_too() {
    check(&[("depends_on: {nobody: {condition: service_started, required: false}}", &["unknown_depends_on_service"])]);
}

#[test]
fn container_names() {
    let names = |text: &str| tags(&compose(text).1);
    assert!(names("services: {a: {image: i, container_name: x, deploy: {replicas: 1}}}").is_empty());
    assert_eq!(
        names("services: {a: {image: i, container_name: x, deploy: {replicas: 2}}}"),
        ["refused:container_name.replicas".to_owned()].into()
    );
    assert_eq!(
        names("services: {a: {image: i, container_name: x, deploy: {mode: global}}}"),
        ["refused:container_name.replicas".to_owned()].into()
    );
    assert_eq!(
        names("services: {a: {image: i, container_name: x}, b: {image: i, container_name: x}}"),
        ["name_conflict".to_owned()].into()
    );
    assert_eq!(
        names("services: {a: {image: i}, b: {image: i, container_name: shop-a-0}}"),
        ["name_conflict".to_owned()].into()
    );
}

#[test]
fn ports_are_unique_in_the_file_and_not_the_daemons() {
    let conflict = compose("services: {a: {image: i, ports: ['8080:80']}, b: {image: i, ports: ['8080:81']}}").1;
    assert_eq!(tags(&conflict), ["port_conflict".to_owned()].into());
    let apart = compose("services: {a: {image: i, ports: ['53:53']}, b: {image: i, ports: ['53:53/udp']}}").1;
    assert!(apart.is_empty());
    let options = Options { daemon_ports: [7000].into(), ..Options::default() };
    let (_, daemon) = build_with("deployment: shop", &with_web("ports: ['7000:80']"), &options);
    assert_eq!(tags(&daemon), ["reserved_port".to_owned()].into());
}

#[test]
fn overrides_from_jaco_yaml() {
    let (spec, _) = build_with(
        "deployment: shop\nservices: [{name: web, replicas: 3, placement: hosts, hosts: [n1, n2, n3], networks: [back], \
         exclusive: true, reschedule: never}]",
        TWO,
        &Options::default(),
    );
    let spec = spec.unwrap();
    let service = &spec.services["web"];
    let hosts = ["n1", "n2", "n3"].map(|h| h.parse().unwrap()).to_vec();
    assert_eq!((service.replicas, &service.placement), (3, &Placement::Hosts(hosts)));
    assert_eq!((service.exclusive, service.reschedule), (true, jaco_types::Reschedule::Never));
    assert_eq!(service.container.networks.keys().map(|n| n.as_str()).collect::<Vec<_>>(), ["back"]);
    assert!(spec.networks["back"].internal);
    assert!(spec.networks.contains_key("default"), "db is still in the implicit network");
    assert!(!spec.networks.contains_key("front"), "nobody uses it");
    for (text, expected) in [
        ("services: [{name: wbe}]", "unknown_service"),
        ("services: [{name: web, networks: [other]}]", "unknown_network"),
        ("services: [{name: web, replicas: 2, placement: hosts, hosts: [n1]}]", "replicas_exceed_pinned_hosts"),
        ("routes: [{domain: a.example, service: wbe, port: 80, tls: off}]", "unknown_service"),
        ("services: [{name: web, replicas: 100000}]", "request_too_large"),
    ] {
        assert_eq!(jaco(text), [expected.to_owned()].into(), "{text}");
    }
}

#[test]
fn routes_reach_services_with_networks_and_say_when_there_is_no_tls() {
    let jaco = "deployment: shop\nroutes: [{domain: a.example, service: web, port: 80}]";
    let options = Options { plain_http_only: true, ..Options::default() };
    let (spec, said) = build_with(jaco, TWO, &options);
    assert_eq!(spec.unwrap().routes.len(), 1);
    assert_eq!(tags(&said), ["note:jaco.routes.tls".to_owned()].into());
    let (_, said) = build_with(jaco, "services: {web: {image: a, network_mode: none}}", &Options::default());
    assert_eq!(tags(&said), ["not_yet:network_mode.none".to_owned(), "validation_failed".to_owned()].into());
}

#[test]
fn limits_on_counts_have_their_own_code() {
    let many: String = (0..1001).map(|i| format!("  s{i}: {{image: i}}\n")).collect();
    let (_, said) = compose(&format!("services:\n{many}"));
    assert!(tags(&said).contains("request_too_large"), "{}", super::lines(&said[..1]));
    assert_eq!(said[0].details["limit"], "1000");
    let (_, said) = compose(&with_web("deploy: {replicas: 10001}"));
    assert_eq!(tags(&said), ["request_too_large".to_owned()].into());
    let (_, said) = compose(&with_web("ports: ['20000-29999:20000-29999']"));
    assert_eq!(tags(&said), ["request_too_large".to_owned()].into());
}

#[test]
fn everything_is_told_at_once() {
    let (spec, said) = compose(
        "version: '3'\nservices:\n  a: {image: i, privileged: true, ports: ['80:80'], depends_on: [x]}\n  b: {imag: i, networks: [n]}\n",
    );
    assert!(spec.is_none());
    let expected = [
        "note:top.version",
        "not_yet:privileged",
        "reserved_port",
        "unknown_depends_on_service",
        "unknown_network",
        "validation_failed",
    ];
    assert_eq!(tags(&said), expected.map(str::to_owned).into());
}
