use clap::CommandFactory;

use super::*;

fn parsed(line: &str) -> Cli {
    let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
    parse(&words).unwrap_or_else(|end| panic!("{line}: {end:?}"))
}

fn refused(line: &str) -> String {
    let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
    match parse(&words) {
        Err(ParseEnd::Usage { error, .. }) => {
            assert_eq!(error.code, ErrorCode::Usage);
            assert!(!error.message.contains('\n'), "{}", error.message);
            error.message
        }
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_global_flag_works_before_and_after_the_command() {
    let flags = [
        "-o json",
        "-ojson",
        "--output json",
        "--output=json",
        "--format json",
        "--context c",
        "--server h:1",
        "--token t",
        "--ca-cert p",
        "--ca-fingerprint f",
        "--socket /s",
        "--timeout 5s",
        "-q",
        "--quiet",
        "-v",
        "--verbose",
        "--log-level info",
    ];
    for flag in flags {
        let forms = [
            format!("jaco {flag} get deployments"),
            format!("jaco get {flag} deployments"),
            format!("jaco get deployments {flag}"),
        ];
        let results: Vec<String> = forms.iter().map(|line| format!("{:?}", parsed(line).global)).collect();
        assert_ne!(results[0], format!("{:?}", parsed("jaco get deployments").global), "{flag} does nothing");
        assert!(results.iter().all(|result| *result == results[0]), "{flag}: {results:#?}");
    }
}

#[test]
fn every_command_of_the_contract_parses() {
    let lines = [
        "jaco cluster init --name prod --no-systemd-enable --socket /s",
        "jaco cluster status",
        "jaco apply jaco.yaml --compose a.yml --compose b.yml --profile p --profile q --strict --wait",
        "jaco apply jaco.yaml --dry-run --exit-code",
        "jaco status",
        "jaco status shop/web -w",
        "jaco status --watch",
        "jaco get deployments",
        "jaco get deployment shop --revision 3",
        "jaco get replicas --deployment shop --service web",
        "jaco get replica shop-web-0",
        "jaco get routes --domain a.example",
        "jaco get route a.example",
        "jaco history shop",
        "jaco rollback shop --to 3 --wait",
        "jaco rollback shop --dry-run",
        "jaco delete shop --wait",
        "jaco logs shop/web -f --since 1h30m --tail 10",
        "jaco validate --jaco jaco.yaml",
        "jaco validate --compose compose.yml",
        "jaco version",
        "jaco completions bash",
        "jaco node status",
        "jaco node status n1",
        "jaco node log-level debug",
        "jaco node issue-join-token --show-ca --ttl 1h",
        "jaco node join --peer h:7000 --token t --no-systemd-enable --socket /s",
        "jaco node list",
        "jaco node drain n1 --no-wait",
        "jaco node uncordon n1",
        "jaco node remove n1 --force --no-wait",
        "jaco token issue --name ci --role viewer --allow-privileged --certificate dir",
        "jaco token revoke ci",
        "jaco token list",
        "jaco context list",
        "jaco context use prod",
        "jaco context import prod.yaml",
        "jaco cluster init --context-file prod.yaml",
        "jaco doctor",
    ];
    for line in lines {
        parsed(line);
    }
}

#[test]
fn wrong_command_lines_are_one_line_usage_errors() {
    assert!(refused("jaco -o xml status").contains("xml"));
    assert!(refused("jaco status --timeout 5").contains("not a duration"));
    assert!(refused("jaco aply x").contains("apply"));
    assert!(refused("jaco apply").contains("JACO_YAML"));
    assert!(refused("jaco apply a --exit-code").contains("--dry-run"));
    assert!(refused("jaco apply a --dry-run --wait").contains("--wait"));
    assert!(refused("jaco rollback d --dry-run --wait").contains("--wait"));
    assert!(refused("jaco logs shop").contains("deployment/service"));
    assert!(refused("jaco status a/b/c").contains("a/b/c"));
    assert!(refused("jaco completions tcsh").contains("tcsh"));
    assert!(refused("jaco node log-level loud").contains("loud"));
    assert!(refused("jaco validate").contains("--jaco"));
    assert!(refused("jaco token issue").contains("--name"));
    assert!(refused("jaco token issue --name a --role root").contains("root"));
    assert!(refused("jaco node join").contains("--peer"));
    assert!(refused("jaco status --server a:1 --context b").contains("--context"));
    assert!(refused("jaco").contains("command"));
}

#[test]
fn help_and_version_are_no_errors() {
    let words = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>();
    assert!(matches!(parse(&words("jaco --help")), Err(ParseEnd::Print(text)) if text.contains("Usage:")));
    for line in ["jaco --version", "jaco -V"] {
        assert!(matches!(parse(&words(line)), Err(ParseEnd::Print(text)) if text == format!("{VERSION}\n")), "{line}");
    }
}

#[test]
fn json_is_recognised_on_a_broken_line() {
    let json = |line: &str| asks_for_json(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>());
    assert!(json("jaco -o json nonsense") && json("jaco nonsense --format=json") && json("jaco -ojson x"));
    assert!(!json("jaco -o yaml nonsense") && !json("jaco json"));
}
