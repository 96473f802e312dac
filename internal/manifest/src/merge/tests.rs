use super::*;
use crate::yaml::{Budget, emit, load};

fn read(text: &str) -> Node {
    load("x", text.as_bytes(), Budget::default()).unwrap_or_else(|problems| panic!("{text}: {problems:?}"))
}

/// Merges documents in order; the result, and the errors.
fn merged(texts: &[&str]) -> (Node, Vec<String>) {
    let mut diagnostics = Diagnostics::default();
    let mut documents = texts.iter().map(|text| read(text));
    let first = documents.next().unwrap();
    let mut result = documents.fold(first, |base, over| merge(base, over, &mut Vec::new(), &mut diagnostics));
    finish(&mut result);
    (result, diagnostics.iter().map(ToString::to_string).collect())
}

/// The service `s` of each text, merged, compared with a service.
fn check(name: &str, services: &[&str], expected: &str) {
    let wrap = |service: &&str| format!("services: {{s: {service}}}");
    let texts: Vec<String> = services.iter().map(wrap).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (result, errors) = merged(&texts);
    assert!(errors.is_empty(), "{name}: {errors:?}");
    assert_eq!(emit(&result), emit(&read(&wrap(&expected))), "{name}");
}

#[test]
fn the_rule_of_each_key() {
    let table = [
        ("scalar", "{image: a}", "{image: b}", "{image: b}"),
        ("null keeps", "{image: a}", "{image: }", "{image: a}"),
        ("new key", "{image: a}", "{init: true}", "{image: a, init: true}"),
        ("command is replaced", "{command: [a, b]}", "{command: c}", "{command: c}"),
        ("command list over list", "{command: [a, b]}", "{command: [c]}", "{command: [c]}"),
        ("entrypoint", "{entrypoint: a}", "{entrypoint: []}", "{entrypoint: []}"),
        (
            "healthcheck test alone is replaced",
            "{healthcheck: {test: [CMD, a], retries: 1}}",
            "{healthcheck: {test: b}}",
            "{healthcheck: {test: b, retries: 1}}",
        ),
        ("lists are appended", "{cap_add: [A, B]}", "{cap_add: [B, C]}", "{cap_add: [A, B, C]}"),
        ("dns string and list", "{dns: 1.1.1.1}", "{dns: [8.8.8.8, 1.1.1.1]}", "{dns: [1.1.1.1, 8.8.8.8]}"),
        ("tmpfs by path", "{tmpfs: [/a, /b]}", "{tmpfs: '/a:size=1'}", "{tmpfs: ['/a:size=1', /b]}"),
        (
            "environment maps",
            "{environment: {A: 1, B: 2}}",
            "{environment: {B: 3, C: 4}}",
            "{environment: {A: 1, B: 3, C: 4}}",
        ),
        (
            "environment lists",
            "{environment: [A=1, B=2]}",
            "{environment: [B=3, C]}",
            "{environment: {A: '1', B: '3', C: }}",
        ),
        ("environment list over map", "{environment: {A: 1}}", "{environment: [A=2]}", "{environment: {A: '2'}}"),
        ("environment map over list", "{environment: [A=1]}", "{environment: {A: }}", "{environment: {A: }}"),
        ("labels", "{labels: [a=1, b]}", "{labels: {a: 2}}", "{labels: {a: 2, b: ''}}"),
        ("deploy labels", "{deploy: {labels: {a: 1}}}", "{deploy: {labels: [a=2]}}", "{deploy: {labels: {a: '2'}}}"),
        ("sysctls", "{sysctls: {a: 1}}", "{sysctls: [b=2]}", "{sysctls: {a: 1, b: '2'}}"),
        (
            "extra hosts",
            "{extra_hosts: ['a:1', 'b:2']}",
            "{extra_hosts: ['b:2', 'a:3']}",
            "{extra_hosts: ['a:1', 'b:2', 'a:3']}",
        ),
        (
            "depends_on list and map",
            "{depends_on: [a]}",
            "{depends_on: {b: {condition: service_healthy}}}",
            "{depends_on: {a: {condition: service_started, required: true}, b: {condition: service_healthy}}}",
        ),
        (
            "depends_on maps",
            "{depends_on: {a: {condition: service_healthy}}}",
            "{depends_on: {a: {required: false}}}",
            "{depends_on: {a: {condition: service_healthy, required: false}}}",
        ),
        (
            "networks list and map",
            "{networks: [a, b]}",
            "{networks: {b: {aliases: [x]}}}",
            "{networks: {a: , b: {aliases: [x]}}}",
        ),
        (
            "networks null keeps",
            "{networks: {a: {aliases: [x]}}}",
            "{networks: [a]}",
            "{networks: {a: {aliases: [x]}}}",
        ),
        (
            "aliases",
            "{networks: {a: {aliases: [x]}}}",
            "{networks: {a: {aliases: [x, y]}}}",
            "{networks: {a: {aliases: [x, y]}}}",
        ),
        ("build string under map", "{build: ./a}", "{build: {target: t}}", "{build: {context: ./a, target: t}}"),
        ("build args", "{build: {args: [A=1]}}", "{build: {args: {A: 2}}}", "{build: {args: {A: 2}}}"),
        (
            "logging of the same driver",
            "{logging: {driver: local, options: {a: 1}}}",
            "{logging: {options: {b: 2}}}",
            "{logging: {driver: local, options: {a: 1, b: 2}}}",
        ),
        (
            "logging of another driver",
            "{logging: {driver: local, options: {a: 1}}}",
            "{logging: {driver: json-file}}",
            "{logging: {driver: json-file}}",
        ),
        ("ulimits number over map", "{ulimits: {n: {soft: 1, hard: 2}}}", "{ulimits: {n: 3}}", "{ulimits: {n: 3}}"),
        (
            "ulimits map over map",
            "{ulimits: {n: {soft: 1, hard: 2}}}",
            "{ulimits: {n: {soft: 2}}}",
            "{ulimits: {n: {soft: 2, hard: 2}}}",
        ),
        ("ports", "{ports: ['80:80', '443']}", "{ports: ['80:80', '81:80']}", "{ports: ['80:80', '443', '81:80']}"),
        (
            "ports, short and long",
            "{ports: ['8080:80/tcp']}",
            "{ports: [{target: 80, published: 8080, mode: host}]}",
            "{ports: [{target: 80, published: 8080, mode: host}]}",
        ),
        (
            "ports of another protocol",
            "{ports: ['53:53']}",
            "{ports: ['53:53/udp']}",
            "{ports: ['53:53', '53:53/udp']}",
        ),
        ("ports of another address", "{ports: ['53:53']}", "{ports: ['::1:53:53']}", "{ports: ['53:53', '::1:53:53']}"),
        (
            "volumes by target",
            "{volumes: ['a:/x', 'b:/y/']}",
            "{volumes: ['c:/y:ro']}",
            "{volumes: ['a:/x', 'c:/y:ro']}",
        ),
        (
            "volumes, short and long",
            "{volumes: ['a:/x']}",
            "{volumes: [{type: tmpfs, target: /x}]}",
            "{volumes: [{type: tmpfs, target: /x}]}",
        ),
        ("anonymous volume", "{volumes: [/x]}", "{volumes: ['a:/x']}", "{volumes: ['a:/x']}"),
        ("devices", "{devices: ['/dev/a:/dev/x']}", "{devices: [/dev/x]}", "{devices: [/dev/x]}"),
        (
            "secrets",
            "{secrets: [a, b]}",
            "{secrets: [{source: c, target: a}]}",
            "{secrets: [{source: c, target: a}, b]}",
        ),
        ("configs", "{configs: [a]}", "{configs: [{source: b, target: /a}]}", "{configs: [{source: b, target: /a}]}"),
        (
            "env_file",
            "{env_file: a.env}",
            "{env_file: [b.env, {path: a.env, required: false}]}",
            "{env_file: [{path: a.env, required: false}, b.env]}",
        ),
        ("expose", "{expose: [80]}", "{expose: ['80', 81]}", "{expose: ['80', 81]}"),
        ("profiles", "{profiles: [a]}", "{profiles: [b]}", "{profiles: [a, b]}"),
        ("long form over a word", "{gpus: all}", "{gpus: [{count: 1}]}", "{gpus: [{count: 1}]}"),
        // Tags.
        ("reset", "{ports: ['80'], image: a}", "{ports: !reset []}", "{image: a}"),
        ("reset of nothing", "{image: a}", "{ports: !reset }", "{image: a}"),
        ("reset inside", "{environment: {A: 1, B: 2}}", "{environment: {A: !reset }}", "{environment: {B: 2}}"),
        ("override", "{ports: ['80', '81']}", "{ports: !override ['82']}", "{ports: ['82']}"),
        ("override of a map", "{environment: {A: 1}}", "{environment: !override {B: 2}}", "{environment: {B: 2}}"),
        ("override by another type", "{environment: {A: 1}}", "{environment: !override [B=2]}", "{environment: [B=2]}"),
    ];
    for (name, base, over, expected) in table {
        check(name, &[base, over], expected);
    }
}

#[test]
fn three_documents() {
    check("reset, then set", &["{ports: ['1']}", "{ports: !reset }", "{ports: ['2']}"], "{ports: ['2']}");
    check(
        "override, then append",
        &["{ports: ['1']}", "{ports: !override ['2']}", "{ports: ['3']}"],
        "{ports: ['2', '3']}",
    );
    check("set, then reset", &["{ports: ['1']}", "{ports: ['2']}", "{ports: !reset }"], "{}");
}

#[test]
fn one_document_keeps_the_last_of_repeated_entries() {
    check("environment", &["{environment: [A=1, B=2, A=3]}"], "{environment: [A=3, B=2]}");
    check("volumes", &["{volumes: ['a:/x', 'b:/x']}"], "{volumes: ['b:/x']}");
    check("reset in a single file", &["{image: a, ports: !reset ['80']}"], "{image: a}");
}

#[test]
fn other_sections() {
    let (result, errors) = merged(&[
        "name: a\nvolumes: {v: }\nnetworks: {n: {ipam: {config: [{subnet: 1.0.0.0/8, gateway: 1.0.0.1}]}, labels: [a=1]}}",
        "name: b\nvolumes: {v: {external: true}, w: }\n\
         networks: {n: {ipam: {config: [{subnet: 1.0.0.0/8, ip_range: 1.1.0.0/16}, {subnet: 2.0.0.0/8}]}, labels: {a: 2}}}",
    ]);
    assert!(errors.is_empty());
    let expected = "name: b\nvolumes: {v: {external: true}, w: }\n\
         networks: {n: {ipam: {config: [{subnet: 1.0.0.0/8, gateway: 1.0.0.1, ip_range: 1.1.0.0/16}, {subnet: 2.0.0.0/8}]}, labels: {a: 2}}}";
    assert_eq!(emit(&result), emit(&read(expected)));
}

#[test]
fn what_cannot_be_merged() {
    let (_, errors) = merged(&["services: {s: {cap_add: [A]}}", "services: {s: {cap_add: {b: 1}}}"]);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("services.s.cap_add: a map cannot be merged over a list (x:1)"), "{errors:?}");
    let (_, errors) = merged(&["services: {s: {image: a}}", "services: [s]"]);
    assert!(errors[0].contains("a list cannot be merged over a map"), "{errors:?}");
    let (_, errors) = merged(&["services: {s: {environment: {A: 1}}}", "services: {s: {environment: hello}}"]);
    assert_eq!(errors.len(), 1, "{errors:?}");
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn service() -> impl Strategy<Value = String> {
        let value = prop_oneof![
            Just("a".to_owned()),
            Just("[a=1, b, 'c:/x', '80:80']".to_owned()),
            Just("{a: 1, b: {c: [1]}}".to_owned()),
            Just("[{target: 1}, x]".to_owned()),
            Just("!reset x".to_owned()),
            Just("!override [x]".to_owned()),
            Just("".to_owned()),
        ];
        let keys = [
            "environment",
            "ports",
            "volumes",
            "command",
            "depends_on",
            "networks",
            "build",
            "logging",
            "ulimits",
            "deploy",
            "dns",
            "x",
            "secrets",
            "tmpfs",
            "env_file",
        ];
        prop::collection::btree_map(prop::sample::select(keys.to_vec()), value, 0..6).prop_map(|map| {
            let entries: Vec<String> = map.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
            format!("services: {{s: {{{}}}}}", entries.join(", "))
        })
    }

    proptest! {
        #[test]
        fn merging_never_panics_and_keeps_keys_unique(a in service(), b in service(), c in service()) {
            let (result, _) = merged(&[&a, &b, &c]);
            prop_assert!(load("x", emit(&result).as_bytes(), Budget::default()).is_ok());
        }

        #[test]
        fn finishing_twice_changes_nothing(a in service(), b in service()) {
            let (mut result, _) = merged(&[&a, &b]);
            let before = emit(&result);
            finish(&mut result);
            prop_assert_eq!(before, emit(&result));
        }
    }
}
