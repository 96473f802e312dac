//! Rules of the workspace that no compiler checks: who may depend on whom, licences, one page for each error code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test ends where it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use jaco_types::ErrorCode;
use serde_json::Value;

/// The allowed directions: a crate, and the crates of ours it may use. What is not written is forbidden.
const DIRECTIONS: &[(&str, &[&str])] = &[
    // Stands in for a library below openraft (docs/adr/0006).
    ("base2histogram", &[]),
    ("jaco-types", &[]),
    ("jaco-task", &[]),
    // Runs apart from everything else, so that it needs nothing else to be right.
    ("jaco-guard", &[]),
    ("jaco-state", &["jaco-types"]),
    ("jaco-manifest", &["jaco-types"]),
    ("jaco-proto", &["jaco-types"]),
    ("jaco-identity", &["jaco-types"]),
    ("jaco-scheduler", &["jaco-state", "jaco-types"]),
    ("jaco-client", &["jaco-identity", "jaco-proto", "jaco-types"]),
    (
        "jaco-controlplane",
        &["jaco-scheduler", "jaco-state", "jaco-identity", "jaco-client", "jaco-proto", "jaco-task", "jaco-types"],
    ),
    ("jaco-runtime", &["jaco-state", "jaco-task", "jaco-types"]),
    ("jaco-ingress", &["jaco-identity", "jaco-state", "jaco-task", "jaco-types"]),
    ("jaco-api", &["jaco-controlplane", "jaco-state", "jaco-manifest", "jaco-identity", "jaco-proto", "jaco-types"]),
    ("jaco", &["jaco-client", "jaco-manifest", "jaco-proto", "jaco-types"]),
    (
        "jacod",
        &[
            "jaco-api",
            "jaco-client",
            "jaco-controlplane",
            "jaco-guard",
            "jaco-identity",
            "jaco-ingress",
            "jaco-manifest",
            "jaco-proto",
            "jaco-runtime",
            "jaco-scheduler",
            "jaco-state",
            "jaco-task",
            "jaco-types",
        ],
    ),
];

/// Crates that may be used in one place only, with the place.
const CONFINED: &[(&str, &[&str])] = &[
    ("openraft", &["jaco-controlplane"]),
    ("raft-log", &["jaco-controlplane"]),
    ("bollard", &["jaco-runtime", "jaco"]),
    ("hyper", &["jaco-ingress", "jacod"]),
    ("mimalloc", &["jacod", "jaco-bench"]),
    ("saphyr-parser", &["jaco-manifest"]),
];

/// What TLS configurations and certificates are made with: one crate, in tests too, so that nowhere is there a connection
/// whose peer is not verified.
const TLS: &[&str] = &["rcgen", "rustls", "tokio-rustls", "x509-parser"];
/// Texts that only the one place may have: configurations made, verifiers of one's own, and the TLS of the RPC library, which
/// cannot take our rules.
const TLS_TEXTS: &str = "ServerConfig::builder|ClientConfig::builder|\\.dangerous\\(\\)|CertVerified::assertion|ClientTlsConfig|ServerTlsConfig";

/// What must build without an async runtime, a server or an engine's client.
const PURE: &[&str] = &["jaco-types", "jaco-manifest", "jaco-scheduler"];
const IMPURE_CRATES: &[&str] = &["tonic", "openraft", "bollard", "hyper"];

/// Licences that may be linked into the programs; any one of the alternatives is enough.
const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
    "0BSD",
    "CC0-1.0",
    "MIT-0",
    "BSL-1.0",
    "MPL-2.0",
    "MPL-2.0+",
];

fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(workspace_root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Packages of the workspace with their dependencies of the given kinds ("normal", "dev", "build").
fn members(metadata: &Value) -> BTreeMap<String, Vec<(String, String)>> {
    let ids: BTreeSet<&str> = metadata["workspace_members"].as_array().unwrap().iter().map(text).collect();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| ids.contains(text(&package["id"])))
        .map(|package| {
            let dependencies = package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .map(|dependency| {
                    let kind = dependency["kind"].as_str().unwrap_or("normal");
                    (text(&dependency["name"]).to_owned(), kind.to_owned())
                })
                .collect();
            (text(&package["name"]).to_owned(), dependencies)
        })
        .collect()
}

#[test]
fn crates_depend_only_in_the_allowed_directions() {
    let members = members(&metadata());
    let allowed: BTreeMap<&str, &[&str]> = DIRECTIONS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (name, dependencies) in &members {
        if ["jaco-testkit", "jaco-e2e", "jaco-bench", "jaco-lab", "jaco-sim"].contains(&name.as_str()) {
            continue;
        }
        let Some(allowed) = allowed.get(name.as_str()) else {
            wrong.push(format!("{name} has no row in DIRECTIONS: say what it may use"));
            continue;
        };
        for (dependency, kind) in dependencies {
            let ours = members.contains_key(dependency);
            if dependency == "jaco-testkit" && kind != "dev" {
                wrong.push(format!("{name} uses jaco-testkit outside its tests"));
            } else if ours && kind != "dev" && !allowed.contains(&dependency.as_str()) {
                wrong.push(format!("{name} may not depend on {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn confined_crates_stay_where_they_are() {
    let mut wrong = Vec::new();
    for (name, dependencies) in members(&metadata()) {
        for (dependency, kind) in &dependencies {
            let place = CONFINED.iter().find(|(confined, _)| confined == dependency);
            if kind == "normal" && place.is_some_and(|(_, places)| !places.contains(&name.as_str())) {
                wrong.push(format!("{name} uses {dependency}, which is confined to {:?}", place.unwrap().1));
            }
            if PURE.contains(&name.as_str()) && kind == "normal" && IMPURE_CRATES.contains(&dependency.as_str()) {
                wrong.push(format!("{name} is pure and may not use {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_identity_uses_tls_crates() {
    let mut wrong = Vec::new();
    for (name, dependencies) in members(&metadata()) {
        for (dependency, kind) in &dependencies {
            if TLS.contains(&dependency.as_str()) && name != "jaco-identity" {
                wrong
                    .push(format!("{name} has {dependency} as a {kind} dependency: it belongs to jaco-identity alone"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tls_is_configured_in_one_place() {
    let output = Command::new("git")
        .args(["grep", "--untracked", "-nE", TLS_TEXTS, "--", "*.rs"])
        .args([":!internal/identity/src/tls*", ":!tests/tests/policy.rs"])
        .current_dir(workspace_root())
        .output()
        .unwrap();
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(found.is_empty(), "a TLS configuration outside internal/identity/src/tls:\n{found}");
}

/// Whether a licence expression can be met by [`LICENCES`]: every `AND` part needs one allowed `OR` alternative.
fn licence_allowed(expression: &str) -> bool {
    expression
        .replace(['(', ')'], " ")
        .replace('/', " OR ")
        .split(" AND ")
        .all(|part| part.split(" OR ").any(|alternative| LICENCES.contains(&alternative.trim())))
}

#[test]
fn every_linked_crate_has_an_allowed_licence() {
    let metadata = metadata();
    let wrong: Vec<String> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| !licence_allowed(text(&package["license"])))
        .map(|package| format!("{} {}: {:?}", text(&package["name"]), text(&package["version"]), package["license"]))
        .collect();
    assert!(wrong.is_empty(), "licences outside the policy:\n{}", wrong.join("\n"));
}

#[test]
fn a_licence_is_judged_by_its_alternatives() {
    assert!(licence_allowed("MIT OR GPL-3.0"));
    assert!(licence_allowed("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(licence_allowed("MIT/Apache-2.0"));
    assert!(!licence_allowed("GPL-3.0-or-later"));
    assert!(!licence_allowed("MIT AND GPL-2.0"));
    assert!(!licence_allowed(""));
}

#[test]
fn every_error_code_has_its_page_and_every_page_its_code() {
    let folder = workspace_root().join("docs/errors");
    let pages: BTreeSet<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .map(|name| name.trim_end_matches(".md").to_owned())
        .collect();
    let codes: BTreeSet<String> = ErrorCode::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    let missing: Vec<_> = codes.difference(&pages).collect();
    let stray: Vec<_> = pages.difference(&codes).collect();
    assert!(
        missing.is_empty() && stray.is_empty(),
        "codes without a page: {missing:?}; pages without a code: {stray:?}"
    );
    for code in ErrorCode::ALL {
        let page = std::fs::read_to_string(folder.join(format!("{code}.md"))).unwrap();
        let exit = format!("Exit code: {}", code.exit_code());
        assert!(page.contains(&exit), "docs/errors/{code}.md does not say `{exit}`");
    }
}

#[test]
fn no_tracked_text_holds_a_path_of_a_build_machine() {
    let output = Command::new("git")
        .args(["grep", "-nIE", "/(work|farm)/(main|shared|\\.library)", "--", ".", ":!tests/tests/policy.rs"])
        .current_dir(workspace_root())
        .output()
        .unwrap();
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(found.is_empty(), "{found}");
}

#[test]
fn the_histogram_below_openraft_is_ours() {
    let metadata = metadata();
    let sources: Vec<&Value> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| text(&package["name"]) == "base2histogram")
        .map(|package| &package["source"])
        .collect();
    assert_eq!(sources, [&Value::Null], "docs/adr/0006: another one is linked than internal/base2histogram");
}
