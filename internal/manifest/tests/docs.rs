//! The compose reference names every key with its verdict, so that nobody is told something the code does not do.

#![allow(clippy::unwrap_used, clippy::panic)] // A test ends where it fails.

use std::collections::BTreeMap;
use std::path::Path;

use jaco_manifest::reading::keys::{self, Table, Verdict};

/// Every table of keys, by the name of its marker in the page.
const TABLES: &[(&str, &Table)] = &[
    ("TOP", &keys::TOP),
    ("SERVICE", &keys::SERVICE),
    ("BUILD", &keys::BUILD),
    ("DEPLOY", &keys::DEPLOY),
    ("RESOURCES", &keys::RESOURCES),
    ("LIMITS", &keys::LIMITS),
    ("RESERVATIONS", &keys::RESERVATIONS),
    ("DEVICE_REQUEST", &keys::DEVICE_REQUEST),
    ("DEVICE", &keys::DEVICE),
    ("DEPENDENCY", &keys::DEPENDENCY),
    ("HEALTHCHECK", &keys::HEALTHCHECK),
    ("LOGGING", &keys::LOGGING),
    ("ATTACHMENT", &keys::ATTACHMENT),
    ("PORT", &keys::PORT),
    ("MOUNT", &keys::MOUNT),
    ("MOUNT_BIND", &keys::MOUNT_BIND),
    ("MOUNT_VOLUME", &keys::MOUNT_VOLUME),
    ("MOUNT_TMPFS", &keys::MOUNT_TMPFS),
    ("ULIMIT", &keys::ULIMIT),
    ("NETWORK", &keys::NETWORK),
    ("VOLUME", &keys::VOLUME),
    ("SECRET", &keys::SECRET),
    ("CONFIG", &keys::CONFIG),
];

type Rows = BTreeMap<String, String>;

/// Key and verdict of each row, by the marker `<!-- keys: NAME -->` above its table.
fn documented(page: &str) -> BTreeMap<String, Rows> {
    let mut tables: BTreeMap<String, Rows> = BTreeMap::new();
    let mut current: Option<&mut Rows> = None;
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("<!-- keys: ").and_then(|rest| rest.strip_suffix(" -->")) {
            assert!(!tables.contains_key(name), "two tables are marked {name}");
            current = Some(tables.entry(name.to_owned()).or_default());
        } else if line.starts_with('#') {
            current = None;
        } else if let Some(rows) = current.as_deref_mut()
            && let Some((key, rest)) = line.strip_prefix("| `").and_then(|line| line.split_once("` | "))
        {
            let verdict = rest.split(" |").next().unwrap_or_default().trim();
            let known = rows.insert(key.to_owned(), verdict.to_owned());
            assert!(known.is_none(), "`{key}` stands twice in one table");
        }
    }
    tables
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Supported => "supported",
        Verdict::Note(_) => "no effect",
        Verdict::Refused(_) => "refused",
        Verdict::NotYet(_) => "not yet",
        Verdict::Legacy(_) => "old format",
        Verdict::Client(_) => "client",
    }
}

#[test]
fn the_compose_reference_has_every_key_with_its_verdict() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manifests/compose.md");
    let documented = documented(&std::fs::read_to_string(path).unwrap());
    let expected: BTreeMap<String, Rows> = TABLES
        .iter()
        .map(|(name, table)| {
            let row = |key: &keys::Key| (key.name.to_owned(), word(key.verdict).to_owned());
            ((*name).to_owned(), table.keys.iter().map(row).collect())
        })
        .collect();
    let mut wrong = Vec::new();
    for name in expected.keys().chain(documented.keys()) {
        let empty = Rows::new();
        let (page, code) = (documented.get(name).unwrap_or(&empty), expected.get(name).unwrap_or(&empty));
        for key in page.keys().chain(code.keys()) {
            if page.get(key) != code.get(key) {
                wrong.push(format!("{name} `{key}`: the page says {:?}, the code {:?}", page.get(key), code.get(key)));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "docs/manifests/compose.md:\n{}", wrong.join("\n"));
}

#[test]
fn no_table_of_keys_is_left_out_of_the_comparison() {
    let sources = [include_str!("../src/reading/keys.rs"), include_str!("../src/reading/keys/parts.rs")];
    let tables: usize = sources.iter().map(|source| source.matches("pub static ").count()).sum();
    assert_eq!(tables, TABLES.len(), "a table was added or removed: bring TABLES and the page up to date");
}
