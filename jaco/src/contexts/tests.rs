use std::fs;

use super::*;

fn context(name: &str) -> Context {
    Context {
        name: name.into(),
        server_addrs: vec!["a:7000".into(), "b:7000".into()],
        ca_cert_path: Some("/ca.crt".into()),
        token: Some("secret".into()),
        client_cert_path: None,
        client_key_path: None,
    }
}

fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("clusters.yaml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    (directory, path)
}

fn refused<T>(result: Result<T, UserError>) -> UserError {
    result.err().expect("it was accepted")
}

#[test]
fn what_is_written_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jaco/clusters.yaml");
    assert!(Clusters::read(&path).unwrap().contexts.is_empty(), "no file is an empty one");
    let mut clusters = Clusters { current_context: Some("prod".into()), contexts: vec![context("prod")] };
    clusters.put(context("test"));
    clusters.put(Context { token: None, ..context("prod") });
    clusters.write(&path).unwrap();
    let read = Clusters::read(&path).unwrap();
    assert_eq!(read.current_context.as_deref(), Some("prod"));
    let rows: Vec<(&str, &str)> = read.contexts.iter().map(|c| (c.name.as_str(), c.login())).collect();
    assert_eq!(rows, [("prod", "none"), ("test", "token")]);
    assert_eq!(read.find("test", &path).unwrap().choice().servers, "a:7000,b:7000");
    let error = refused(read.find("nope", &path));
    assert!(error.code == ErrorCode::Usage && error.message.contains("prod, test"), "{error}");
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    for mode in [0o644, 0o640, 0o400, 0o700] {
        let (_directory, path) = file("contexts: []\n", mode);
        let error = refused(Clusters::read(&path));
        assert_eq!(error.code, ErrorCode::PermissionDenied, "{mode:o}");
        assert!(error.message.contains("chmod 600") && error.message.contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn an_error_names_the_line_and_repeats_nothing() {
    for text in [
        "contexts:\n- name: a\n  server_addrs: [x:1]\n  tokn: sesame\n",
        "contexts: sesame\n",
        "contexts: [sesame\n",
        "sesame",
        "contexts:\n- name: sesame2\n",
    ] {
        let (_directory, path) = file(text, 0o600);
        let error = refused(Clusters::read(&path));
        assert_eq!(error.code, ErrorCode::ValidationFailed);
        assert!(!error.message.contains("sesame") && error.message.contains("line"), "{error}");
    }
    let (_directory, path) = file("contexts:\n- name: a\n  server_addrs: []\n", 0o600);
    assert!(refused(Clusters::read(&path)).message.contains("server_addrs"));
}

#[test]
fn a_context_file_becomes_files_and_a_context() {
    let directory = tempfile::tempdir().unwrap();
    let whole = ContextFile {
        name: "prod".into(),
        server_addrs: vec!["a:7000".into()],
        ca_cert: "CA\n".into(),
        token: None,
        client_cert: Some("CERT\n".into()),
        client_key: Some("KEY\n".into()),
    };
    let path = directory.path().join("prod.yaml");
    whole.write(&path).unwrap();
    let context = ContextFile::read(&path).unwrap().unpack(directory.path()).unwrap();
    assert_eq!(context.login(), "certificate");
    assert_eq!(fs::read_to_string(context.ca_cert_path.as_ref().unwrap()).unwrap(), "CA\n");
    let key = context.client_key_path.clone().unwrap();
    assert_eq!(fs::read_to_string(&key).unwrap(), "KEY\n");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(context.choice().certificate.is_some());
    for wrong in [
        ContextFile { name: "../x".into(), ..whole.clone() },
        ContextFile { server_addrs: vec![], ..whole.clone() },
        ContextFile { client_key: None, ..whole },
    ] {
        wrong.write(&path).unwrap();
        assert_eq!(refused(ContextFile::read(&path)).code, ErrorCode::ValidationFailed);
    }
}

#[test]
fn the_file_is_below_the_configuration_directory() {
    let both = |name: &str| match name {
        "XDG_CONFIG_HOME" => Some("/x".to_owned()),
        "HOME" => Some("/h".to_owned()),
        _ => None,
    };
    assert_eq!(default_path(&both), Some("/x/jaco/clusters.yaml".into()));
    let home = |name: &str| (name == "HOME").then(|| "/h".to_owned());
    assert_eq!(default_path(&home), Some("/h/.config/jaco/clusters.yaml".into()));
    let relative = |name: &str| (name == "XDG_CONFIG_HOME").then(|| "x".to_owned());
    assert_eq!(default_path(&relative), None);
}
