//! The key table is complete, and every key has its verdict.

use std::collections::BTreeSet;

use super::{check, compose, said, with_web};
use crate::reading::keys::{self, Verdict};

/// The service keys of the compose specification's JSON schema.
const SPECIFICATION: &str = "annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs \
    container_name cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset credential_spec \
    depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint env_file environment expose \
    extends external_links extra_hosts gpus group_add healthcheck hostname image init ipc isolation label_file labels links logging \
    mac_address mem_limit mem_reservation mem_swappiness memswap_limit models network_mode networks oom_kill_disable oom_score_adj \
    pid pids_limit platform ports post_start pre_stop privileged profiles provider pull_policy pull_refresh_after read_only restart \
    runtime scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits \
    use_api_socket user userns_mode uts volumes volumes_from working_dir";

#[test]
fn the_table_has_every_key_of_the_specification_and_the_legacy_ones_only() {
    let specification: BTreeSet<&str> = SPECIFICATION.split_whitespace().collect();
    assert_eq!(specification.len(), 92);
    let table: BTreeSet<&str> = keys::SERVICE.names().collect();
    assert_eq!(table.len(), keys::SERVICE.keys.len(), "a key is listed twice");
    let missing: Vec<_> = specification.difference(&table).collect();
    assert!(missing.is_empty(), "no verdict for {missing:?}");
    let legacy: BTreeSet<&str> = table.difference(&specification).copied().collect();
    assert_eq!(legacy, BTreeSet::from(["log_driver", "log_opt", "net", "volume_driver", "dockerfile"]));
}

/// A harmless value of each supported key, and what the spec then says as JSON; empty where nothing of the container changes.
const SUPPORTED: &[(&str, &str, &str)] = &[
    ("annotations", "{a: b}", r#""annotations":{"a":"b"}"#),
    ("build", ".", ""),
    ("cap_add", "[NET_ADMIN]", r#""cap_add":["NET_ADMIN"]"#),
    ("cap_drop", "[ALL]", r#""cap_drop":["ALL"]"#),
    ("cgroup", "private", r#""cgroup":"private""#),
    ("cgroup_parent", "/slice", r#""cgroup_parent":"/slice""#),
    ("command", "run it", r#""command":["run","it"]"#),
    ("container_name", "box", r#""container_name":"box""#),
    ("cpu_period", "100ms", r#""cpu_period":100000"#),
    ("cpu_quota", "50000", r#""cpu_quota":50000"#),
    ("cpu_shares", "512", r#""cpu_shares":512"#),
    ("cpus", "0.5", r#""nano_cpus":500000000"#),
    ("cpuset", "0-1", r#""cpuset":"0-1""#),
    ("depends_on", "[db]", r#""depends_on":{"db":{"condition":"started","required":true}}"#),
    ("deploy", "{replicas: 3}", r#""replicas":3"#),
    ("device_cgroup_rules", "['c 1:3 mr']", r#""device_cgroup_rules":["c 1:3 mr"]"#),
    ("devices", "[/dev/a]", r#"{"host":"/dev/a","container":"/dev/a","permissions":"rwm"}"#),
    ("dns", "1.1.1.1", r#""dns":["1.1.1.1"]"#),
    ("dns_opt", "[rotate]", r#""dns_options":["rotate"]"#),
    ("dns_search", "example.org", r#""dns_search":["example.org"]"#),
    ("domainname", "example.org", r#""domainname":"example.org""#),
    ("entrypoint", "[/run]", r#""entrypoint":["/run"]"#),
    ("environment", "{A: 1}", r#""environment":{"A":"1"}"#),
    ("expose", "[80]", r#""expose":["80/tcp"]"#),
    ("extra_hosts", "['a:1.2.3.4']", r#""extra_hosts":["a:1.2.3.4"]"#),
    ("gpus", "all", r#""device_requests":[{"count":-1,"capabilities":[["gpu"]]}]"#),
    ("group_add", "[100, mail]", r#""group_add":["100","mail"]"#),
    ("healthcheck", "{test: [CMD, 'true']}", r#""healthcheck":{"test":{"command":["true"]}}"#),
    ("hostname", "web1", r#""hostname":"web1""#),
    ("image", "caddy", r#""image":"caddy""#),
    ("init", "false", r#""init":false"#),
    ("ipc", "shareable", r#""ipc":"shareable""#),
    ("labels", "[a=b]", r#""labels":{"a":"b"}"#),
    ("links", "['db:base']", r#""links":[["db","base"]]"#),
    ("logging", "{driver: local}", r#""logging":{"driver":"local"}"#),
    ("mem_limit", "64m", r#""memory":67108864"#),
    ("mem_reservation", "32m", r#""memory_reservation":33554432"#),
    ("mem_swappiness", "10", r#""memory_swappiness":10"#),
    ("memswap_limit", "-1", r#""memory_swap":-1"#),
    ("network_mode", "''", ""),
    ("networks", "[default]", r#""networks":{"default":{}}"#),
    ("oom_score_adj", "-500", r#""oom_score_adj":-500"#),
    ("pid", "host", r#""pid":"host""#),
    ("pids_limit", "100", r#""pids":100"#),
    ("platform", "linux/amd64", r#""platform":"linux/amd64""#),
    ("ports", "['8080:80']", r#""ports":[{"protocol":"tcp","host_port":8080,"target":80}]"#),
    ("pull_policy", "never", r#""pull_policy":"never""#),
    ("read_only", "true", r#""read_only":true"#),
    ("restart", "always", ""),
    ("runtime", "nvidia", r#""runtime":"nvidia""#),
    ("scale", "2", r#""replicas":2"#),
    ("shm_size", "1m", r#""shm_size":1048576"#),
    ("stdin_open", "true", r#""stdin_open":true"#),
    ("stop_grace_period", "1m30s", r#""stop_grace_period":90000000000"#),
    ("stop_signal", "SIGINT", r#""stop_signal":"SIGINT""#),
    ("sysctls", "{net.core.somaxconn: 1024}", r#""sysctls":{"net.core.somaxconn":"1024"}"#),
    ("tmpfs", "'/tmp:size=1m'", r#""tmpfs":{"/tmp":"size=1m"}"#),
    ("tty", "true", r#""tty":true"#),
    ("ulimits", "{nofile: 10}", r#""ulimits":{"nofile":{"soft":10,"hard":10}}"#),
    ("user", "1000", r#""user":"1000""#),
    ("userns_mode", "host", r#""userns_mode":"host""#),
    ("uts", "host", r#""uts":"host""#),
    ("volumes", "['data:/data']", r#"{"type":"volume","source":"data","target":"/data"}"#),
    ("volumes_from", "['db:ro']", r#""volumes_from":[{"service":"db","read_only":true}]"#),
    ("working_dir", "/srv", r#""working_dir":"/srv""#),
];

#[test]
fn every_supported_key_has_a_reader_that_acts() {
    let tested: BTreeSet<&str> = SUPPORTED.iter().map(|(key, _, _)| *key).collect();
    let supported: BTreeSet<&str> =
        keys::SERVICE.keys.iter().filter(|key| key.verdict == Verdict::Supported).map(|key| key.name).collect();
    assert_eq!(tested, supported);
    for (key, value, expected) in SUPPORTED {
        let text = with_web("").replace("    image: nginx\n", "");
        let image = if *key == "image" { "" } else { "    image: nginx\n" };
        let text = text.replace("  web:\n", &format!("  web:\n{image}    {key}: {value}\n"));
        let (spec, diagnostics) = compose(&text);
        let spec = spec.unwrap_or_else(|| panic!("{key}: {}", super::lines(&diagnostics)));
        let json = serde_json::to_string(&spec.services["web"]).unwrap();
        assert!(json.contains(expected), "{key}: {expected} is not in {json}");
    }
}

#[test]
fn keys_that_are_not_acted_on_say_so() {
    check(&[
        ("attach: false", &[]),
        ("attach: true", &["note:attach"]),
        ("develop: {watch: []}", &["note:develop"]),
        ("build: .", &["note:build.with_image"]),
        ("x-mine: 1", &["note:x-*"]),
        ("blkio_config: {weight: 10}", &["refused:blkio_config"]),
        ("configs: [a]", &["not_yet:configs"]),
        ("cpu_count: 2", &["refused:cpu_count"]),
        ("cpu_percent: 50", &["refused:cpu_percent"]),
        ("cpu_rt_period: 100", &["refused:cpu_rt_period"]),
        ("cpu_rt_runtime: 100", &["refused:cpu_rt_runtime"]),
        ("credential_spec: {file: a}", &["refused:credential_spec"]),
        ("env_file: a.env", &["env_file_unresolved"]),
        ("extends: {service: db}", &["refused:extends"]),
        ("external_links: [a]", &["refused:external_links"]),
        ("isolation: hyperv", &["refused:isolation"]),
        ("label_file: a", &["refused:label_file"]),
        ("mac_address: 02:42:ac:11:65:43", &["refused:mac_address"]),
        ("models: [a]", &["refused:models"]),
        ("oom_kill_disable: true", &["refused:oom_kill_disable"]),
        ("oom_kill_disable: false", &[]),
        ("post_start: [{command: a}]", &["not_yet:post_start"]),
        ("pre_stop: [{command: a}]", &["not_yet:pre_stop"]),
        ("privileged: true", &["not_yet:privileged"]),
        ("privileged: false", &[]),
        ("profiles: [debug]", &["refused:profiles"]),
        ("provider: {type: a}", &["refused:provider"]),
        ("pull_refresh_after: 1d", &["refused:pull_refresh_after"]),
        ("secrets: [a]", &["not_yet:secrets"]),
        ("security_opt: ['no-new-privileges:true']", &["not_yet:security_opt"]),
        ("security_opt: []", &[]),
        ("storage_opt: {size: 1G}", &["refused:storage_opt"]),
        ("use_api_socket: true", &["refused:use_api_socket"]),
        ("log_driver: syslog", &["legacy_compose_field"]),
        ("log_opt: {a: b}", &["legacy_compose_field"]),
        ("net: host", &["legacy_compose_field"]),
        ("volume_driver: local", &["legacy_compose_field"]),
        ("dockerfile: a", &["legacy_compose_field"]),
    ]);
    let tested = [
        "attach",
        "develop",
        "blkio_config",
        "configs",
        "cpu_count",
        "cpu_percent",
        "cpu_rt_period",
        "cpu_rt_runtime",
        "credential_spec",
        "env_file",
        "extends",
        "external_links",
        "isolation",
        "label_file",
        "mac_address",
        "models",
        "oom_kill_disable",
        "post_start",
        "pre_stop",
        "privileged",
        "profiles",
        "provider",
        "pull_refresh_after",
        "secrets",
        "security_opt",
        "storage_opt",
        "use_api_socket",
        "log_driver",
        "log_opt",
        "net",
        "volume_driver",
        "dockerfile",
    ];
    let rest: BTreeSet<&str> =
        keys::SERVICE.keys.iter().filter(|key| key.verdict != Verdict::Supported).map(|key| key.name).collect();
    assert_eq!(BTreeSet::from(tested), rest, "the table above has a line for each key that is not supported");
}

#[test]
fn an_unknown_key_is_an_error_with_the_nearest_spelling_and_its_place() {
    let (spec, diagnostics) = compose(&with_web("enviroment: {A: b}"));
    assert!(spec.is_none());
    let [only] = diagnostics.as_slice() else { panic!("{}", super::lines(&diagnostics)) };
    let error = only.to_user_error();
    assert!(error.message.contains("did you mean `environment`?"), "{error}");
    assert!(error.message.starts_with("compose.yaml:6:5: services.web.enviroment: "), "{error}");
    let detail = |key: &str| error.details.get(key).map(String::as_str);
    assert_eq!(
        (detail("file"), detail("line"), detail("column"), detail("service"), detail("field")),
        (Some("compose.yaml"), Some("6"), Some("5"), Some("web"), Some("services.web.enviroment"))
    );
}

#[test]
fn a_legacy_key_names_its_modern_equivalent() {
    for (key, modern) in [
        ("log_driver", "logging.driver"),
        ("log_opt", "logging.options"),
        ("net", "network_mode"),
        ("dockerfile", "build.dockerfile"),
    ] {
        let (_, diagnostics) = compose(&with_web(&format!("{key}: x")));
        assert_eq!(diagnostics[0].details["modern_equivalent"], modern);
    }
}

#[test]
fn unknown_keys_are_found_at_every_level() {
    for keys in [
        "build: {contxt: .}",
        "deploy: {replica: 2}",
        "deploy: {resources: {limit: {}}}",
        "deploy: {resources: {limits: {memry: 1g}}}",
        "deploy: {resources: {reservations: {device: []}}}",
        "gpus: [{cont: 1}]",
        "devices: [{source: /dev/a, targt: /dev/b}]",
        "depends_on: {db: {conditon: service_started}}",
        "healthcheck: {tst: a}",
        "logging: {drver: local}",
        "networks: {default: {alias: [a]}}",
        "ports: [{target: 80, publish: 8080}]",
        "volumes: [{type: volume, target: /a, readonly: true}]",
        "volumes: [{type: bind, source: /a, target: /a, bind: {create: true}}]",
        "volumes: [{type: volume, source: data, target: /a, volume: {nocpy: true}}]",
        "volumes: [{type: tmpfs, target: /a, tmpfs: {sise: 1}}]",
        "ulimits: {nofile: {sof: 1, hard: 2}}",
    ] {
        assert!(said(keys).contains("validation_failed"), "{keys}: {:?}", said(keys));
    }
}
