use jaco_runtime::engine::ProcessState;

use super::*;

fn container() -> Container {
    let labels = [
        (label::REPLICA_ID, "shop-web-0"),
        ("traefik.basicauth", "admin:PLANTED"),
        ("jaco.io/note", "PLANTED"),
        ("jaco.password", "PLANTED"),
    ];
    Container {
        id: "abc".into(),
        name: "shop-web-0".into(),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        image: "web:1".into(),
        created_at_ms: 1,
        state: ProcessState::Exited,
        health: None,
        last_health_at_ms: None,
        exit_code: 127,
        oom_killed: false,
        error: "exec: \"--password=PLANTED\": executable file not found".into(),
        started_at_ms: Some(2),
        finished_at_ms: Some(3),
        stop_grace: None,
        networks: [("jaco_shop__default".to_owned(), None)].into(),
        shares: Vec::new(),
        tty: false,
    }
}

#[test]
fn a_container_is_described_by_what_is_ours() {
    let described = describe(&container());
    assert!(!described.to_string().contains("PLANTED"), "{described:#}");
    assert_eq!(described["labels"][label::REPLICA_ID], "shop-web-0");
    assert_eq!((&described["state"], &described["exit_code"]), (&"exited".into(), &127.into()));
    assert_eq!(described["has_start_error"], true);
}

#[test]
fn a_file_is_bounded_and_says_so() {
    let large = file("log.jsonl", vec![b'x'; LARGEST + 5]);
    assert!(large.data.len() < LARGEST + 100 && large.data.ends_with(b"(cut off here)\n"));
    assert_eq!(file("a", b"b".to_vec()).data, b"b");
}

#[test]
fn the_machine_is_described() {
    let described = host(Path::new("/"));
    assert!(described["kernel"].is_string() && described["processors"].is_number(), "{described:#}");
    assert!(described["data_disk"]["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{described:#}");
}
