//! Commands that need no daemon.

use crate::run::{jaco, project, run, small_project};

#[test]
fn version_is_bare_everywhere() {
    let version = concat!(env!("CARGO_PKG_VERSION"), "\n");
    for arguments in [&["version"][..], &["--version"], &["-V"], &["--server", "h:1", "version"]] {
        let end = run(&mut jaco(arguments));
        assert_eq!((end.code, end.stdout.as_str(), end.stderr.as_str()), (0, version, ""), "{arguments:?}");
    }
    let json = run(&mut jaco(&["version", "-o", "json"])).json();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert!(json["commit"].is_string() && json["built_at"].as_str().unwrap().ends_with('Z'), "{json}");
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let end = run(&mut jaco(&["completions", shell]));
        assert!(end.code == 0 && end.stdout.contains("rollback"), "{shell}: {end:?}");
    }
}

#[test]
fn validate_is_silent_about_what_is_right() {
    let (_directory, manifest) = small_project();
    let end = run(&mut jaco(&["validate", "--jaco", manifest.to_str().unwrap()]));
    assert_eq!((end.code, end.stdout.as_str(), end.stderr.as_str()), (0, "", ""));
    let json = run(&mut jaco(&["validate", "--jaco", manifest.to_str().unwrap(), "-o", "json"])).json();
    assert_eq!(
        (&json["valid"], &json["errors"], &json["warnings"]),
        (&true.into(), &serde_json::json!([]), &serde_json::json!([]))
    );
}

#[test]
fn validate_reports_every_problem() {
    let (_directory, manifest) =
        project("deployment: shop\nnonsense: 1\n", "services:\n  web:\n    image: web:1\n    imagee: web:2\n");
    let path = manifest.to_str().unwrap();
    let end = run(&mut jaco(&["validate", "--jaco", path]));
    assert_eq!((end.code, end.stdout.as_str()), (3, ""));
    assert!(end.stderr.contains("nonsense") && end.stderr.contains("imagee"), "{end:?}");
    assert!(end.stderr.lines().all(|line| line.starts_with("Error: validation_failed: ")), "{end:?}");
    let end = run(&mut jaco(&["validate", "--jaco", path, "-o", "json"]));
    assert_eq!(end.code, 3);
    let json = end.json();
    assert_eq!((&json["valid"], json["errors"].as_array().unwrap().len()), (&false.into(), 2), "{json}");
    assert_eq!(end.error()["details"]["errors"], "2");
}

#[test]
fn a_missing_manifest_is_told_and_nothing_is_dialled() {
    let end = run(&mut jaco(&["apply", "/nonexistent/jaco.yaml"]));
    assert!(end.code == 3 && end.stderr.contains("/nonexistent/jaco.yaml"), "{end:?}");
}

#[test]
fn doctor_reports_every_check_and_exits_by_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let config = directory.path().join("jacod.yaml");
    std::fs::write(&config, "http_addr: 127.0.0.1:18080\ndocker_socket: /elsewhere/d.sock\n").unwrap();
    let mut doctor = jaco(&["doctor", "-o", "json", "--data-dir", path]);
    let end = run(doctor.env("JACO_CONFIG", &config));
    let json = end.json();
    assert_eq!((end.code, &json["healthy"]), (1, &false.into()), "{json}");
    assert_eq!(end.stderr, "");
    let names: Vec<&str> =
        json["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    let expected = [
        "config",
        "engine",
        "apparmor",
        "cgroup",
        "port 18080",
        "port 443",
        "port 7000",
        "port 7001",
        "port 7002",
        "fsync",
        "clock",
        "disk space",
        "tun",
        "nft",
    ];
    assert_eq!(names, expected);
    assert_eq!(json["checks"][1]["result"], "missing");
    assert!(json["checks"][1]["details"].as_str().unwrap().contains("/elsewhere/d.sock"), "{json}");
    let table = run(&mut jaco(&["doctor", "--data-dir", path, "--docker-socket", "/nonexistent/d.sock"]));
    assert!(table.code == 1 && table.stdout.starts_with("CHECK ") && table.stdout.contains("What to do:"), "{table:?}");
}

#[test]
fn completions_honour_the_format() {
    let plain = run(&mut jaco(&["completions", "bash"]));
    let json = run(&mut jaco(&["completions", "bash", "-o", "json"])).json();
    assert_eq!((&json["shell"], json["script"].as_str().unwrap()), (&"bash".into(), plain.stdout.as_str()));
}
