//! Values of one service, in each form the specification allows.

use std::collections::BTreeMap;
use std::time::Duration;

use jaco_types::{HealthTest, PullPolicy, Ulimit};

use super::{check, said, web};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn environment_and_labels_take_lists_and_maps() {
    for keys in ["environment: [A=1, 'B=x=y', C=]", "environment: {A: 1, B: x=y, C: ''}"] {
        assert_eq!(web(keys).container.environment, map(&[("A", "1"), ("B", "x=y"), ("C", "")]), "{keys}");
    }
    assert_eq!(
        web("environment: {A: true, B: 1.10, C: no}").container.environment,
        map(&[("A", "true"), ("B", "1.10"), ("C", "no")])
    );
    assert_eq!(web("environment: [A=1, A=2]").container.environment, map(&[("A", "2")]), "the later entry counts");
    assert_eq!(web("environment:").container.environment, map(&[]));
    assert_eq!(web("labels: [a, b=c]").container.labels, map(&[("a", ""), ("b", "c")]));
    check(&[
        ("environment: {A: , B: 1}", &["note:environment.unset"]),
        ("environment: [A]", &["note:environment.unset"]),
        ("environment: {A: [1]}", &["validation_failed"]),
        ("environment: A=1", &["validation_failed"]),
        ("environment: ['=x']", &["validation_failed"]),
        ("labels: {jaco.service: x}", &["note:labels.own"]),
    ]);
}

#[test]
fn commands_are_words_or_a_line_and_may_clear_the_images_own() {
    for (keys, expected) in [
        ("command: sh -c 'a b'", Some(vec!["sh", "-c", "a b"])),
        ("command: [sh, -c, a b, 1, true]", Some(vec!["sh", "-c", "a b", "1", "true"])),
        ("command: []", Some(vec![])),
        ("command: ''", Some(vec![])),
        ("command:", None),
        ("command: null", None),
    ] {
        let expected: Option<Vec<String>> = expected.map(|words| words.into_iter().map(str::to_owned).collect());
        assert_eq!(web(keys).container.command, expected, "{keys}");
        assert_eq!(web(&keys.replace("command", "entrypoint")).container.entrypoint, expected, "{keys}");
    }
    check(&[("command: sh -c 'open", &["validation_failed"]), ("command: [[a]]", &["validation_failed"])]);
}

#[test]
fn health_checks() {
    let test = |keys: &str| web(keys).container.healthcheck.map(|h| h.test);
    let words = |words: &[&str]| Some(HealthTest::Command(words.iter().map(|w| (*w).to_owned()).collect()));
    assert_eq!(test("healthcheck: {test: curl -f localhost}"), Some(HealthTest::Shell("curl -f localhost".into())));
    assert_eq!(test("healthcheck: {test: [CMD, a, b]}"), words(&["a", "b"]));
    assert_eq!(test("healthcheck: {test: [CMD-SHELL, a || b]}"), Some(HealthTest::Shell("a || b".into())));
    assert_eq!(test("healthcheck: {test: [CMD-SHELL, 'a $0', b]}"), words(&["/bin/sh", "-c", "a $0", "b"]));
    assert_eq!(test("healthcheck: {test: [NONE]}"), Some(HealthTest::None));
    assert_eq!(test("healthcheck: {test: NONE}"), Some(HealthTest::None));
    assert_eq!(test("healthcheck: {disable: true}"), Some(HealthTest::None));
    assert_eq!(test("healthcheck: {disable: false}"), None, "the image's own check stays");
    assert_eq!(test("healthcheck: {interval: 5s}"), Some(HealthTest::Image));
    let check_times = web(
        "healthcheck: {test: a, interval: 1m30s, timeout: 500ms, retries: '3', start_period: 1h, start_interval: 1s}",
    );
    let times = check_times.container.healthcheck.unwrap();
    assert_eq!(
        (times.interval, times.timeout, times.retries, times.start_period, times.start_interval),
        (
            Some(Duration::from_secs(90)),
            Some(Duration::from_millis(500)),
            Some(3),
            Some(Duration::from_secs(3600)),
            Some(Duration::from_secs(1))
        )
    );
    check(&[
        ("healthcheck: {test: [curl, a]}", &["validation_failed"]),
        ("healthcheck: {test: [CMD]}", &["validation_failed"]),
        ("healthcheck: {test: a, disable: true}", &["validation_failed"]),
        ("healthcheck: {interval: 30}", &["validation_failed"]),
        ("healthcheck: {interval: 10us}", &["validation_failed"]),
        ("healthcheck: {retries: many}", &["validation_failed"]),
    ]);
}

#[test]
fn restart_and_pull_policies() {
    check(&[
        ("restart: unless-stopped", &[]),
        ("restart: always", &[]),
        ("restart: ''", &[]),
        ("restart: no", &["not_yet:restart.no"]),
        ("restart: 'no'", &["not_yet:restart.no"]),
        ("restart: on-failure", &["not_yet:restart.on-failure"]),
        ("restart: on-failure:5", &["not_yet:restart.on-failure"]),
        ("restart: sometimes", &["validation_failed"]),
        ("pull_policy: daily", &["refused:pull_policy.by_age"]),
        ("pull_policy: weekly", &["refused:pull_policy.by_age"]),
        ("pull_policy: every_12h", &["refused:pull_policy.by_age"]),
        ("pull_policy: now", &["validation_failed"]),
    ]);
    for (keys, expected) in [
        ("", PullPolicy::PreferRemote),
        ("pull_policy: always", PullPolicy::Always),
        ("pull_policy: missing", PullPolicy::Missing),
        ("pull_policy: if_not_present", PullPolicy::Missing),
        ("pull_policy: build", PullPolicy::Missing),
        ("pull_policy: never", PullPolicy::Never),
    ] {
        assert_eq!(web(keys).pull_policy, expected, "{keys}");
    }
}

#[test]
fn types_are_lenient_where_the_specification_is() {
    let spec = web(
        "init: 'true'\nread_only: yes\nuser: 1000\nshm_size: 67108864\nmem_limit: '1.5gb'\ndeploy: {replicas: '2'}",
    );
    assert_eq!((spec.container.init, spec.container.read_only), (Some(true), true));
    assert_eq!(spec.container.user.as_deref(), Some("1000"));
    assert_eq!((spec.container.shm_size, spec.container.resources.memory), (Some(64 << 20), Some(3 << 29)));
    assert_eq!(spec.replicas, 2);
    check(&[
        ("platform: ''\nuser: ''\nhostname: ''\nmem_limit: ''", &[]),
        ("init: perhaps", &["validation_failed"]),
        ("shm_size: large", &["validation_failed"]),
        ("mem_limit: -1m", &["validation_failed"]),
        ("user: [a]", &["validation_failed"]),
        ("cgroup: other", &["validation_failed"]),
        ("mem_swappiness: 101", &["validation_failed"]),
        ("scale: -1", &["validation_failed"]),
        ("stop_grace_period: 10", &["validation_failed"]),
        ("dns: resolver.example.org", &["validation_failed"]),
    ]);
}

#[test]
fn ulimits_sysctls_and_hosts() {
    let spec = web("ulimits: {nproc: 65535, nofile: {soft: 20000, hard: '40000'}, memlock: {soft: -1, hard: -1}}");
    assert_eq!(spec.container.ulimits["nproc"], Ulimit { soft: 65535, hard: 65535 });
    assert_eq!(spec.container.ulimits["nofile"], Ulimit { soft: 20000, hard: 40000 });
    assert_eq!(spec.container.ulimits["memlock"], Ulimit { soft: -1, hard: -1 });
    for keys in ["sysctls: {net.core.somaxconn: 1024}", "sysctls: [net.core.somaxconn=1024]"] {
        assert_eq!(web(keys).container.sysctls, map(&[("net.core.somaxconn", "1024")]));
    }
    for (keys, expected) in [
        ("extra_hosts: ['a:1.2.3.4', 'b=host-gateway']", vec!["a:1.2.3.4", "b:host-gateway"]),
        ("extra_hosts: {a: 1.2.3.4}", vec!["a:1.2.3.4"]),
        ("extra_hosts: {a: [1.2.3.4, '::1']}", vec!["a:1.2.3.4", "a:::1"]),
        ("extra_hosts: ['a:[::1]', 'b:::1']", vec!["a:::1", "b:::1"]),
    ] {
        assert_eq!(web(keys).container.extra_hosts, expected, "{keys}");
    }
    check(&[
        ("ulimits: {nofile: {soft: 10, hard: 5}}", &["validation_failed"]),
        ("extra_hosts: [a]", &["validation_failed"]),
        ("extra_hosts: ['a:b']", &["validation_failed"]),
    ]);
}

#[test]
fn logging_runtime_and_platform() {
    check(&[
        ("logging: {driver: json-file, options: {max-size: 10m, max-file: 3}}", &[]),
        ("logging: {driver: none}", &[]),
        ("logging: {options: {max-size: 10m}}", &[]),
        ("logging: {driver: loki}", &["refused:logging.driver"]),
        ("logging: {driver: syslog}", &["refused:logging.driver"]),
        ("runtime: io.containerd.wasmedge.v1", &["refused:runtime.wasm"]),
        ("platform: wasi/wasm", &["refused:platform.wasm"]),
        ("platform: windows/amd64", &["refused:platform.other"]),
        ("platform: linux/arm64/v8", &["note:platform"]),
    ]);
    let logging = web("logging: {options: {max-size: 10m, max-file: 3}}").container.logging.unwrap();
    assert_eq!((logging.driver, logging.options), (None, map(&[("max-file", "3"), ("max-size", "10m")])));
    assert_eq!(web("platform: linux/x86_64").container.platform.as_deref(), Some("linux/amd64"));
    assert_eq!(web("platform: linux/arm64/v8").container.platform.as_deref(), Some("linux/arm64/v8"));
}

#[test]
fn resources_in_both_spellings() {
    let spec = web(
        "deploy: {resources: {limits: {cpus: '0.50', memory: 50M, pids: 5}, reservations: {memory: 20M, cpus: 0.25}}}",
    );
    let resources = spec.container.resources;
    assert_eq!((resources.nano_cpus, resources.memory, resources.pids), (Some(500_000_000), Some(50 << 20), Some(5)));
    assert_eq!((resources.memory_reservation, resources.reserved_nano_cpus), (Some(20 << 20), Some(250_000_000)));
    check(&[
        ("mem_limit: 1g\ndeploy: {resources: {limits: {memory: 1024m}}}", &[]),
        ("mem_limit: 1g\ndeploy: {resources: {limits: {memory: 2g}}}", &["refused:limits.conflict"]),
        ("mem_limit: 1g\ndeploy: {resources: {limits: {cpus: 1}}}", &["warning:limits.overridden"]),
        ("cpu_shares: 5\ndeploy: {resources: {limits: {cpus: 1}}}", &["warning:limits.overridden"]),
        ("deploy: {resources: {reservations: {memory: 1g}}}", &["note:deploy.resources.reservations"]),
        (
            "deploy: {resources: {reservations: {generic_resources: [{discrete_resource_spec: {kind: a, value: 1}}]}}}",
            &["not_yet:deploy.resources.reservations.generic_resources"],
        ),
    ]);
    let old_wins =
        web("mem_limit: 1g\ndeploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: 1}]}}}");
    assert_eq!(old_wins.container.resources.memory, Some(1 << 30), "a GPU reservation says nothing about memory");
    let overridden = web("mem_limit: 1g\ndeploy: {resources: {limits: {cpus: 1}}}");
    assert_eq!(overridden.container.resources.memory, None);
}

#[test]
fn devices_and_gpus() {
    let request = |keys: &str| web(keys).container.device_requests[0].clone();
    let gpu =
        request("deploy: {resources: {reservations: {devices: [{driver: nvidia, count: all, capabilities: [gpu]}]}}}");
    assert_eq!((gpu.driver.as_str(), gpu.count, gpu.capabilities), ("nvidia", -1, vec![vec!["gpu".to_owned()]]));
    let by_id = request("gpus: [{driver: nvidia, device_ids: ['0']}]");
    assert_eq!(
        (by_id.count, by_id.device_ids, by_id.capabilities),
        (0, vec!["0".to_owned()], vec![vec!["gpu".to_owned()]])
    );
    assert_eq!(request("gpus: [{count: 2}]").count, 2);
    let devices = web("devices: ['/dev/a:/dev/b:r', '/dev/c:rw', {source: /dev/d, permissions: m}]").container.devices;
    let all: Vec<_> = devices.iter().map(|d| (d.host.as_str(), d.container.as_str(), d.permissions.as_str())).collect();
    assert_eq!(all, [("/dev/a", "/dev/b", "r"), ("/dev/c", "/dev/c", "rw"), ("/dev/d", "/dev/d", "m")]);
    check(&[
        ("devices: [vendor.com/class=name]", &["refused:devices.cdi"]),
        ("devices: [dev/a]", &["validation_failed"]),
        ("devices: ['/dev/a:/dev/a:x']", &["validation_failed"]),
        ("gpus: some", &["validation_failed"]),
        ("deploy: {resources: {reservations: {devices: [{count: 1}]}}}", &["validation_failed"]),
        ("gpus: [{count: 1, device_ids: ['0']}]", &["validation_failed"]),
    ]);
}

#[test]
fn deploy_modes_counts_and_what_is_not_there_yet() {
    assert_eq!(web("deploy: {mode: global}").placement, jaco_types::Placement::Global);
    assert_eq!(web("deploy: {replicas: 0}").replicas, 0);
    assert_eq!(web("scale: 4\ndeploy: {replicas: 4}").replicas, 4);
    check(&[
        ("scale: 3\ndeploy: {replicas: 4}", &["validation_failed"]),
        ("deploy: {mode: global, replicas: 2}", &["validation_failed"]),
        ("deploy: {mode: replicated-job}", &["not_yet:deploy.mode.job"]),
        ("deploy: {mode: some}", &["validation_failed"]),
        ("deploy: {labels: {a: b}}", &["not_yet:deploy.labels"]),
        ("deploy: {endpoint_mode: vip}", &["not_yet:deploy.endpoint_mode"]),
        ("deploy: {placement: {constraints: [node.role == manager]}}", &["not_yet:deploy.placement"]),
        ("deploy: {restart_policy: {condition: any}}", &["not_yet:deploy.restart_policy"]),
        ("deploy: {update_config: {order: start-first}}", &["not_yet:deploy.update_config"]),
        ("deploy: {rollback_config: {order: start-first}}", &["not_yet:deploy.rollback_config"]),
        ("deploy: {replicas: }", &[]),
        ("deploy:", &[]),
    ]);
}

#[test]
fn build_without_an_image_waits_for_building() {
    let (_, diagnostics) = super::compose("services: {web: {build: {context: .}}}");
    assert_eq!(super::tags(&diagnostics), ["not_yet:build".to_owned()].into());
    let (_, diagnostics) = super::compose("services: {web: {command: a}}");
    assert_eq!(super::tags(&diagnostics), ["validation_failed".to_owned()].into());
    assert_eq!(said("container_name: 'a b'"), ["validation_failed".to_owned()].into());
}
