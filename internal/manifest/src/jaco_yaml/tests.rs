//! The closed schema of `jaco.yaml`.

use std::collections::BTreeSet;

use jaco_types::RouteTls;

use super::{JacoFile, read};
use crate::yaml::{Budget, load};
use crate::{Diagnostic, Diagnostics};

fn file(text: &str) -> (JacoFile, Vec<Diagnostic>) {
    let mut diagnostics = Diagnostics::default();
    let node = load("jaco.yaml", text.as_bytes(), Budget::default()).unwrap();
    let file = read(&node, &mut diagnostics).unwrap_or_default();
    (file, diagnostics.into_vec())
}

/// The codes said about a file with a name and the given lines.
fn codes(text: &str) -> BTreeSet<&'static str> {
    file(&format!("deployment: shop\n{text}")).1.iter().map(|d| d.code.as_str()).collect()
}

#[test]
fn a_whole_file() {
    let (file, said) = file(
        "deployment: shop.v1\nenvironment: prod.env\nacme: on\nacme_email: ops@example.org\nx-note: hi\n\
         routes:\n  - {domain: Shop.Example.ORG, service: web, port: 8080, tls: off, x-note: hi}\n\
         \x20 - {domain: shop.example.org, service: api, port: '80', tls: off, path: /api/*, strip_path: true}\n\
         services:\n  - {name: web, replicas: 0, placement: pack}\n",
    );
    assert_eq!(said, []);
    assert_eq!(file.deployment.unwrap().as_str(), "shop.v1");
    assert_eq!(file.environment.unwrap().0, "prod.env");
    assert_eq!(file.acme_email.as_deref(), Some("ops@example.org"));
    let routes: Vec<_> = file.routes.iter().map(|r| &r.spec).collect();
    assert_eq!(
        (routes[0].domain.as_str(), routes[0].path.as_str(), routes[0].tls),
        ("shop.example.org", "", RouteTls::Off)
    );
    assert_eq!((routes[1].path.as_str(), routes[1].port, routes[1].strip_path), ("/api", 80, true));
    assert_eq!(file.services[0].replicas, Some(0));
}

#[test]
fn paths_of_one_prefix_are_equal() {
    for (written, path) in
        [("/api", "/api"), ("/api/", "/api"), ("/api/*", "/api"), ("/", ""), ("/*", ""), ("''", ""), ("", "")]
    {
        let (file, said) =
            file(&format!("deployment: a\nroutes: [{{domain: a.b, service: w, port: 1, path: {written}}}]"));
        assert_eq!(said, [], "{written}");
        assert_eq!(file.routes[0].spec.path, path, "{written}");
    }
    for written in ["api", "/a b", "/a?b", "/a*", "/a//b", "/a/../b", "[a]"] {
        let text = format!("routes: [{{domain: a.b, service: w, port: 1, path: '{written}'}}]").replace("'[a]'", "[a]");
        assert_eq!(codes(&text), ["validation_failed"].into(), "{written}");
    }
}

#[test]
fn acme_off_means_plain_routes_and_an_unchecked_address() {
    let (file, said) =
        file("deployment: a\nacme: off\nacme_email: nobody\nroutes: [{domain: a.b, service: w, port: 1}]");
    assert_eq!(said, []);
    assert_eq!(file.routes[0].spec.tls, RouteTls::Off);
    assert_eq!(codes("acme_email: nobody"), ["validation_failed"].into());
    assert_eq!(codes("acme: perhaps"), ["validation_failed"].into());
}

#[test]
fn mistakes_have_their_codes() {
    let route = |rest: &str| {
        format!("routes: [{{domain: a.b, service: w, port: 1}}, {{domain: A.B, service: w, port: 1{rest}}}]")
    };
    for (text, expected) in [
        (route(""), "route_multiple_catchall"),
        (route(", path: /"), "route_multiple_catchall"),
        (route(", path: /x, tls: off"), "route_tls_mixed"),
        (
            "routes: [{domain: a.b, service: w, port: 1, path: /x}, {domain: a.b, service: v, port: 2, path: /x/}]"
                .into(),
            "validation_failed",
        ),
        ("routes: [{domain: a.b, service: w}]".into(), "validation_failed"),
        ("routes: [{service: w, port: 1}]".into(), "validation_failed"),
        ("routes: [{domain: a.b, port: 1}]".into(), "validation_failed"),
        ("routes: [{domain: a.b, service: w, port: 0}]".into(), "validation_failed"),
        ("routes: [{domain: a.b, service: w, port: 65536}]".into(), "validation_failed"),
        ("routes: [{domain: 'a b', service: w, port: 1}]".into(), "validation_failed"),
        ("routes: [{domain: a.b, service: w, port: 1, tls: maybe}]".into(), "validation_failed"),
        ("routes: {a: b}".into(), "validation_failed"),
        ("services: [{replicas: 1}]".into(), "validation_failed"),
        ("services: [{name: a}, {name: a}]".into(), "validation_failed"),
        ("services: [{name: a, replicas: -1}]".into(), "validation_failed"),
        ("services: [{name: a, placement: anywhere}]".into(), "validation_failed"),
        ("services: [{name: a, placement: hosts}]".into(), "validation_failed"),
        ("services: [{name: a, placement: hosts, hosts: []}]".into(), "validation_failed"),
        ("services: [{name: a, placement: hosts, hosts: [n, n]}]".into(), "validation_failed"),
        ("services: [{name: a, hosts: [n]}]".into(), "validation_failed"),
        ("services: [{name: a, placement: global, replicas: 1}]".into(), "validation_failed"),
        ("services: [{name: a, reschedule: sometimes}]".into(), "validation_failed"),
        ("services: [{name: a, exclusive: perhaps}]".into(), "validation_failed"),
    ] {
        assert_eq!(codes(&text), [expected].into(), "{text}");
    }
}

#[test]
fn the_schema_is_closed_at_every_level() {
    for (text, field, hint) in [
        ("deploymnt: x", "deploymnt", "deployment"),
        ("routes: [{domain: a.b, service: w, port: 1, pth: /}]", "routes[0].pth", "path"),
        ("services: [{name: a, replica: 1}]", "services[0].replica", "replicas"),
        ("services: [{compose_service: a, name: b}]", "services[0].compose_service", "name"),
        ("routes: [{compose_service: a, domain: a.b, service: w, port: 1}]", "routes[0].compose_service", "service"),
    ] {
        let (_, said) = file(&format!("deployment: shop\n{text}"));
        assert_eq!(said.len(), 1, "{text}");
        assert_eq!(said[0].to_user_error().details["field"], field);
        assert!(said[0].message.contains(&format!("`{hint}`")), "{}", said[0].message);
    }
}

#[test]
fn a_file_needs_a_valid_name() {
    for text in ["{}", "deployment:", "deployment: -x", "deployment: 'a b'", "deployment: [a]", "[]", ""] {
        let (file, said) = file(text);
        assert!(file.deployment.is_none() && !said.is_empty(), "{text}");
    }
    let long = "a".repeat(64);
    assert!(!file(&format!("deployment: {long}")).1.is_empty());
}
