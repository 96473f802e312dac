//! No tree makes the model panic, or take long.

use std::time::Duration;

use proptest::prelude::*;

use super::{compose, lines};
use crate::jaco_yaml::JacoFile;
use crate::model::{Options, build, keys};
use crate::{Diagnostics, Entry, MergeTag, Node, Position, Scalar, Value, jaco_yaml};

const TEXTS: &[&str] = &[
    "",
    "~",
    "null",
    "true",
    "false",
    "0",
    "-1",
    "80",
    "8080:80",
    "99999999999999999999",
    "1.5",
    "1g",
    "1m30s",
    "-",
    ":",
    "::",
    "a:b:c:d",
    "/",
    "//",
    "/a/../b",
    "./a",
    "~",
    "=",
    "a=b",
    "web",
    "db",
    "service:web",
    "container:x",
    "all",
    "host",
    "[::1]:80:80",
    "[",
    "]",
    "1-2",
    "2-1",
    "0-65535:0-65535",
    "1-65535:1-65535",
    "x-a",
    "é",
    "\u{0}",
    "'",
    "\"",
    "\\",
    "CMD",
    "NONE",
    "on-failure:x",
    "local",
];

fn node(value: Value) -> Node {
    Node { value, at: Position { file: "f".into(), line: 1, column: 1 }, tag: MergeTag::None }
}

fn map(entries: Vec<(String, Node)>) -> Node {
    let mut unique: Vec<Entry> = Vec::new();
    for (key, value) in entries {
        if unique.iter().all(|entry| entry.key != key) {
            unique.push(Entry { key, at: value.at.clone(), value });
        }
    }
    node(Value::Map(unique))
}

/// Every key of every table, and a few that are none.
fn any_key() -> impl Strategy<Value = String> {
    let tables = [
        &keys::TOP,
        &keys::SERVICE,
        &keys::BUILD,
        &keys::DEPLOY,
        &keys::RESOURCES,
        &keys::LIMITS,
        &keys::RESERVATIONS,
        &keys::DEVICE_REQUEST,
        &keys::DEPENDENCY,
        &keys::HEALTHCHECK,
        &keys::LOGGING,
        &keys::ATTACHMENT,
        &keys::PORT,
        &keys::MOUNT,
        &keys::MOUNT_BIND,
        &keys::MOUNT_VOLUME,
        &keys::MOUNT_TMPFS,
        &keys::ULIMIT,
        &keys::NETWORK,
        &keys::VOLUME,
    ];
    let mut names: Vec<&str> = tables.iter().flat_map(|table| table.names()).collect();
    names.extend([
        "web",
        "db",
        "x-a",
        "",
        "default",
        "é",
        "a b",
        "domain",
        "port",
        "path",
        "routes",
        "deployment",
        "hosts",
        "name",
    ]);
    prop::sample::select(names).prop_map(str::to_owned)
}

fn any_node() -> impl Strategy<Value = Node> {
    let scalar =
        (prop::sample::select(TEXTS.to_vec()), any::<bool>(), any::<bool>()).prop_map(|(text, plain, interpolated)| {
            node(Value::Scalar(Scalar { text: text.to_owned(), plain, interpolated }))
        });
    scalar.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| node(Value::List(items))),
            prop::collection::vec((any_key(), inner), 0..5).prop_map(map),
        ]
    })
}

/// A service of known keys with any values.
fn any_service() -> impl Strategy<Value = Node> {
    prop::collection::vec(
        (prop::sample::select(keys::SERVICE.names().collect::<Vec<_>>()).prop_map(str::to_owned), any_node()),
        0..6,
    )
    .prop_map(map)
}

/// A document whose services have known keys, so that readers are reached.
fn any_document() -> impl Strategy<Value = Node> {
    (any_service(), any_service(), any_node(), any_node()).prop_map(|(web, db, networks, volumes)| {
        let services = map(vec![("web".to_owned(), web), ("db".to_owned(), db)]);
        map(vec![("services".to_owned(), services), ("networks".to_owned(), networks), ("volumes".to_owned(), volumes)])
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_is_answered(compose in prop_oneof![any_document(), any_node()], jaco in any_node()) {
        let mut diagnostics = Diagnostics::default();
        let file = jaco_yaml::read(&jaco, &mut diagnostics).unwrap_or_default();
        build(&file, &compose, &Options::default(), &mut diagnostics);
        let mut diagnostics = Diagnostics::default();
        let named = JacoFile { deployment: "a".parse().ok(), ..JacoFile::default() };
        let spec = build(&named, &compose, &Options::default(), &mut diagnostics);
        prop_assert_eq!(spec.is_none(), diagnostics.has_errors());
    }
}

#[test]
fn large_files_of_mistakes_are_answered_quickly_and_briefly() {
    let many = |line: fn(usize) -> String| (0..20_000).map(line).collect::<String>();
    for text in [
        format!("services: {{a: {{image: i}}}}\n{}", many(|i| format!("key{i}: 1\n"))),
        format!("services:\n  a:\n    image: i\n{}", many(|i| format!("    imagee{i}: 1\n"))),
        format!("services:\n  a:\n    image: i\n    environment:\n{}", many(|i| format!("      V{i}:\n"))),
        format!("services:\n  a:\n    image: i\n    volumes:\n{}", many(|i| format!("    - /a{i}:/b{i}\n"))),
        format!("services:\n  a:\n    image: i\n    depends_on:\n{}", many(|i| format!("    - b{i}\n"))),
        format!(
            "services:\n{}",
            (0..999).map(|i| format!("  s{i}: {{image: i, ports: ['1-65535:1-65535']}}\n")).collect::<String>()
        ),
        format!(
            "services:\n{}",
            (0..999)
                .map(|i| format!("  s{i}: {{image: i, depends_on: [s{}, s{}]}}\n", (i + 1) % 999, (i + 7) % 999))
                .collect::<String>()
        ),
    ] {
        let start = crate::effort::Effort::begin();
        let (_, said) = compose(&text);
        assert!(start.spent() < Duration::from_secs(10), "{} took {:?}", &text[..60], start.spent());
        assert!(said.len() <= 2_100, "{} remarks about {}", said.len(), &text[..60]);
        assert!(lines(&said).len() < 1 << 20);
    }
}
