//! Operators: tokens, contexts, and the way in over the network.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;

use crate::fake::{Fake, Remote};
use crate::run::{jaco, jaco_at, run};

const TOKEN: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

#[test]
fn a_token_is_made_here_and_only_its_hash_is_sent() {
    let fake = Fake::start();
    let issue = ["token", "issue", "--name", "ci", "--role", "deployer", "--allow-privileged"];
    let end = run(&mut jaco_at(&fake.socket(), &issue));
    let token = end.stdout.strip_prefix("Token for ci (save this; not recoverable): ").unwrap().trim_end();
    assert_eq!(token.len(), 64);
    let request = fake.script.issued.lock().unwrap().clone().unwrap();
    assert!(request.allows_privileged && request.role == 2 && request.token_hash.len() == 64);
    assert!(!format!("{request:?}").contains(token));
    let end = run(&mut jaco_at(&fake.socket(), &["token", "issue", "--name", "ops", "-o", "json"]));
    let json = end.json();
    assert_eq!(
        (&json["identity"], &json["role"], &json["allows_privileged"], &json["issued_at"]),
        (&"ops".into(), &"admin".into(), &false.into(), &"2023-11-14T22:13:20Z".into())
    );
    let end = run(&mut jaco_at(&fake.socket(), &["token", "issue"]));
    assert!(end.code == 2 && end.stderr.contains("--name"), "{end:?}");
}

#[test]
fn a_client_certificate_comes_with_its_key_in_files_for_their_owner() {
    let fake = Fake::start();
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("ci");
    let issue = ["token", "issue", "--name", "ci", "--certificate", folder.to_str().unwrap()];
    let end = run(&mut jaco_at(&fake.socket(), &issue));
    assert!(end.code == 0 && end.stdout.contains(folder.to_str().unwrap()), "{end:?}");
    for (name, part) in [("client.crt", "THE CERTIFICATE"), ("client.key", "PRIVATE KEY"), ("ca.crt", "THE CA")] {
        let path = folder.join(name);
        assert!(fs::read_to_string(&path).unwrap().contains(part), "{name}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let end = run(&mut jaco_at(&fake.socket(), &issue));
    assert!(end.code == 2 && end.stderr.contains("client.key"), "a key is never overwritten: {end:?}");
}

#[test]
fn tokens_are_listed_and_revoked() {
    let fake = Fake::start();
    let end = run(&mut jaco_at(&fake.socket(), &["token", "list"]));
    assert_eq!(
        end.stdout,
        "IDENTITY   ISSUED                 REVOKED                PRIVILEGED   ROLE\n\
         ci         2023-11-14T22:13:20Z   2023-11-14T22:13:21Z   no           DEPLOYER\n\
         ops        2023-11-14T22:13:20Z   -                      yes          ADMIN\n"
    );
    let json = run(&mut jaco_at(&fake.socket(), &["token", "list", "-o", "json"])).json();
    assert_eq!(json["tokens"][1].get("revoked_at"), None);
    let end = run(&mut jaco_at(&fake.socket(), &["token", "revoke", "ci"]));
    assert_eq!(end.stdout, "Revoked token for ci\n");
    let json = run(&mut jaco_at(&fake.socket(), &["token", "revoke", "ci", "-o", "json"])).json();
    assert_eq!(json, json!({"identity": "ci", "revoked_at": "2023-11-14T22:13:20Z"}));
}

/// A command line to a remote node, with the token in the environment.
fn remote(remote: &Remote, arguments: &[&str]) -> Command {
    let mut command = jaco(arguments);
    command.env("JACO_SERVER", remote.address.to_string()).env("JACO_TOKEN", TOKEN);
    command
}

#[test]
fn commands_work_over_the_network_with_a_token() {
    let fake = Fake::start();
    let server = Remote::start(&fake);
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.crt");
    fs::write(&ca, &server.authority).unwrap();
    let end = run(remote(&server, &["cluster", "status"]).env("JACO_CA_CERT", &ca));
    assert!(end.code == 0 && end.stdout.contains("initialized"), "{end:?}");
    assert_eq!(fake.script.authorizations.lock().unwrap().pop().unwrap().unwrap(), format!("Bearer {TOKEN}"));
    let flags = [
        "--server",
        &format!("127.0.0.1:1,{}", server.address),
        "--token",
        TOKEN,
        "--ca-fingerprint",
        &server.fingerprint,
        "node",
        "list",
    ];
    let end = run(&mut jaco(&flags));
    assert!(end.code == 0 && end.stdout.starts_with("n1\t"), "{end:?}");
    let end = run(remote(&server, &["status"]).env("JACO_CA_FINGERPRINT", &server.fingerprint));
    assert_eq!(end.code, 0, "{end:?}");
}

#[test]
fn no_connection_is_made_unverified() {
    let fake = Fake::start();
    let (server, other) = (Remote::start(&fake), Remote::start(&fake));
    let directory = tempfile::tempdir().unwrap();
    let wrong = directory.path().join("ca.crt");
    fs::write(&wrong, &other.authority).unwrap();
    let garbage = directory.path().join("garbage.crt");
    fs::write(&garbage, "no certificate").unwrap();
    for path in ["", "/nonexistent/ca.crt", garbage.to_str().unwrap()] {
        let end = run(&mut remote(&server, &["status", "--ca-cert", path]));
        assert_eq!(end.code, 2, "{end:?}");
        for part in [format!("{path:?}").as_str(), "--ca-cert", "JACO_CA_CERT"] {
            assert!(end.stderr.contains(part), "{part} in {end:?}");
        }
    }
    for trust in [["--ca-cert", wrong.to_str().unwrap()], ["--ca-fingerprint", &other.fingerprint]] {
        let end = run(remote(&server, &["status"]).args(trust));
        assert!(end.code == 5 && end.stderr.starts_with("Error: ca_fingerprint_mismatch: "), "{end:?}");
    }
    assert!(fake.script.authorizations.lock().unwrap().is_empty(), "no token was sent");
    let end = run(jaco(&["status"]).env("JACO_SERVER", server.address.to_string()));
    assert!(end.code == 5 && end.stderr.starts_with("Error: token_invalid: "), "{end:?}");
    assert!(end.stderr.contains("JACO_TOKEN"), "{end:?}");
    let end = run(remote(&server, &["status", "--token", "short", "--ca-fingerprint", &server.fingerprint])
        .env_remove("JACO_TOKEN"));
    assert!(end.code == 5 && !end.stderr.contains("short"), "{end:?}");
    let end = run(jaco(&["status", "--server", "nowhere", "--token", TOKEN]).env_remove("JACO_SERVER"));
    assert!(end.code == 2 && end.stderr.contains("host:port"), "{end:?}");
}

#[test]
fn contexts_are_imported_listed_and_used() {
    let fake = Fake::start();
    let server = Remote::start(&fake);
    let home = tempfile::tempdir().unwrap();
    let at_home = |arguments: &[&str]| {
        let mut command = jaco(arguments);
        command.env("HOME", home.path());
        run(&mut command)
    };
    assert_eq!(at_home(&["context", "list", "-o", "json"]).json(), json!({"contexts": []}));
    for name in ["prod", "test"] {
        let file = json!({
            "name": name,
            "server_addrs": [server.address.to_string()],
            "ca_cert": server.authority,
            "token": TOKEN,
        });
        let path = home.path().join("import.yaml");
        fs::write(&path, file.to_string()).unwrap();
        let end = at_home(&["context", "import", path.to_str().unwrap()]);
        assert!(end.code == 0 && end.stdout.starts_with(&format!("Imported context {name} ")), "{end:?}");
    }
    let path = home.path().join(".config/jaco/clusters.yaml");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let end = at_home(&["context", "list"]);
    assert!(end.stdout.contains("prod*") && end.stdout.contains("test ") && !end.stdout.contains(TOKEN), "{end:?}");
    assert_eq!(at_home(&["context", "use", "test"]).stdout, "Using context test\n");
    let end = at_home(&["context", "use", "nope"]);
    assert!(end.code == 2 && end.stderr.contains("prod, test"), "{end:?}");
    assert_eq!(at_home(&["node", "list"]).code, 0, "the current context");
    assert_eq!(at_home(&["node", "list", "--context", "prod"]).code, 0);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let end = at_home(&["node", "list"]);
    assert!(end.code == 5 && end.stderr.contains("chmod 600"), "{end:?}");
    let end = at_home(&["version"]);
    assert_eq!(end.code, 0, "what needs no cluster does not read it: {end:?}");
}
