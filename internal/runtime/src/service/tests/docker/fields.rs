//! Every field of a container's spec, set, sent to a real engine, and read back from its own description of the container.

use std::collections::BTreeMap;
use std::time::Duration;

use jaco_types::{
    ContainerSpec, DeviceMapping, DeviceRequest, HealthTest, Healthcheck, Logging, Mount, NetworkAttachment,
    NetworkMode, NetworkName, Resources, ServiceName, ServiceSpec, TmpfsMount, Ulimit, VolumeName, VolumesFrom,
};
use serde_json::{Value, json};

use super::*;
use crate::container::{CreateInput, config};
use crate::engine::ApiVersion;

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}

fn pairs(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn peer() -> ServiceName {
    ServiceName::new("peer").unwrap()
}

fn network(name: &str) -> NetworkName {
    NetworkName::new(name).unwrap()
}

/// No `..Default`: a new field does not compile until it is set here, and does not pass until the table has it.
fn everything(lab: &Lab) -> ContainerSpec {
    let attachment = |aliases: &[&str], priority| NetworkAttachment {
        aliases: texts(aliases),
        ipv4_address: None,
        ipv6_address: None,
        priority,
    };
    ContainerSpec {
        image: lab.image.clone(),
        container_name: Some(format!("{}-named", lab.deployment)),
        command: Some(texts(&["1000"])),
        entrypoint: Some(texts(&["sleep"])),
        environment: pairs(&[("A", "1"), ("B", "x=y $Z")]),
        user: Some("0:0".to_owned()),
        working_dir: Some("/tmp".to_owned()),
        hostname: Some("box".to_owned()),
        domainname: Some("example.org".to_owned()),
        labels: pairs(&[("mine", "yes")]),
        annotations: pairs(&[("note", "1")]),
        healthcheck: Some(Healthcheck {
            test: HealthTest::Command(texts(&["true"])),
            interval: Some(Duration::from_secs(7)),
            timeout: Some(Duration::from_secs(2)),
            start_period: Some(Duration::from_secs(3)),
            start_interval: Some(Duration::from_secs(1)),
            retries: Some(4),
        }),
        mounts: vec![
            Mount::Volume {
                source: VolumeName::new("data").unwrap(),
                target: "/data".to_owned(),
                read_only: true,
                nocopy: true,
                subpath: None,
            },
            Mount::Bind {
                source: "/dev/null".to_owned(),
                target: "/bound".to_owned(),
                read_only: true,
                create_host_path: false,
                propagation: Some("rprivate".to_owned()),
            },
            Mount::Bind {
                source: "/tmp".to_owned(),
                target: "/made".to_owned(),
                read_only: true,
                create_host_path: true,
                propagation: None,
            },
            Mount::Anonymous { target: "/anonymous".to_owned(), read_only: false },
            Mount::Tmpfs(TmpfsMount {
                target: "/memory".to_owned(),
                size: Some(1 << 20),
                mode: Some(0o1777),
                read_only: false,
            }),
        ],
        tmpfs: pairs(&[("/run", "size=64k")]),
        volumes_from: vec![VolumesFrom { service: peer(), read_only: true }],
        network_mode: NetworkMode::Networks,
        networks: BTreeMap::from([
            (network("back"), attachment(&["other"], 0)),
            (network("front"), attachment(&["www"], 5)),
        ]),
        links: vec![(peer(), "friend".to_owned())],
        expose: texts(&["80", "90-91/udp"]),
        cap_add: texts(&["NET_ADMIN"]),
        cap_drop: texts(&["MKNOD"]),
        devices: vec![DeviceMapping {
            host: "/dev/zero".to_owned(),
            container: "/dev/nought".to_owned(),
            permissions: "r".to_owned(),
        }],
        device_cgroup_rules: texts(&["c 1:3 mr"]),
        device_requests: vec![DeviceRequest {
            driver: "nvidia".to_owned(),
            count: -1,
            device_ids: Vec::new(),
            capabilities: vec![texts(&["gpu"])],
            options: pairs(&[("o", "1")]),
        }],
        dns: texts(&["192.0.2.1"]),
        dns_search: texts(&["example.org"]),
        dns_options: texts(&["ndots:2"]),
        extra_hosts: texts(&["gate:192.0.2.2"]),
        group_add: texts(&["4"]),
        init: Some(true),
        ipc: Some("private".to_owned()),
        pid: Some("host".to_owned()),
        // A host UTS namespace and a host name of its own exclude each other; the second container has it.
        uts: None,
        userns_mode: Some("host".to_owned()),
        cgroup: Some("private".to_owned()),
        cgroup_parent: Some("/jaco-test".to_owned()),
        privileged: false,
        security_opt: texts(&["no-new-privileges:true"]),
        read_only: true,
        runtime: Some("runc".to_owned()),
        shm_size: Some(1 << 20),
        stop_signal: Some("SIGUSR1".to_owned()),
        stop_grace_period: Some(Duration::from_millis(2_500)),
        sysctls: pairs(&[("net.ipv4.ip_default_ttl", "32")]),
        ulimits: BTreeMap::from([("nofile".to_owned(), Ulimit { soft: 100, hard: 200 })]),
        tty: true,
        stdin_open: true,
        logging: Some(Logging { driver: Some("local".to_owned()), options: pairs(&[("max-size", "1m")]) }),
        platform: Some("linux/amd64".to_owned()),
        resources: Resources {
            // Excludes period and quota; the second container has it.
            nano_cpus: None,
            reserved_nano_cpus: Some(1),
            memory: Some(64 << 20),
            memory_reservation: Some(32 << 20),
            memory_swap: Some(128 << 20),
            memory_swappiness: Some(10),
            pids: Some(50),
            cpu_shares: Some(100),
            cpuset: Some("0".to_owned()),
            cpu_period: Some(50_000),
            cpu_quota: Some(25_000),
            oom_score_adj: Some(100),
        },
    }
}

/// What excludes something in [`everything`].
fn the_rest(lab: &Lab) -> ContainerSpec {
    ContainerSpec {
        image: lab.image.clone(),
        command: Some(texts(&["sleep", "1000"])),
        network_mode: NetworkMode::Service(peer()),
        pid: Some("service:peer".to_owned()),
        ipc: Some("service:peer".to_owned()),
        uts: Some("host".to_owned()),
        privileged: true,
        resources: Resources { nano_cpus: Some(500_000_000), ..Default::default() },
        ..Default::default()
    }
}

type Row = (&'static str, &'static str, Value);

/// Field of the first container, place in the engine's description, what must be there.
fn table(lab: &Lab) -> Vec<Row> {
    vec![
        ("image", "/Config/Image", json!(lab.image)),
        ("container_name", "/Name", json!(format!("/{}-named", lab.deployment))),
        ("command", "/Config/Cmd", json!(["1000"])),
        ("entrypoint", "/Config/Entrypoint", json!(["sleep"])),
        ("user", "/Config/User", json!("0:0")),
        ("working_dir", "/Config/WorkingDir", json!("/tmp")),
        ("hostname", "/Config/Hostname", json!("box")),
        ("domainname", "/Config/Domainname", json!("example.org")),
        ("labels", "/Config/Labels/mine", json!("yes")),
        ("healthcheck", "/Config/Healthcheck/Test", json!(["CMD", "true"])),
        ("healthcheck", "/Config/Healthcheck/Interval", json!(7_000_000_000_u64)),
        ("healthcheck", "/Config/Healthcheck/Timeout", json!(2_000_000_000_u64)),
        ("healthcheck", "/Config/Healthcheck/StartPeriod", json!(3_000_000_000_u64)),
        ("healthcheck", "/Config/Healthcheck/Retries", json!(4)),
        ("tmpfs", "/HostConfig/Tmpfs", json!({"/run": "size=64k"})),
        (
            "devices",
            "/HostConfig/Devices",
            json!([{"PathOnHost": "/dev/zero", "PathInContainer": "/dev/nought", "CgroupPermissions": "r"}]),
        ),
        ("device_cgroup_rules", "/HostConfig/DeviceCgroupRules", json!(["c 1:3 mr"])),
        ("device_requests", "/HostConfig/DeviceRequests/0/Driver", json!("nvidia")),
        ("device_requests", "/HostConfig/DeviceRequests/0/Count", json!(-1)),
        ("device_requests", "/HostConfig/DeviceRequests/0/Capabilities", json!([["gpu"]])),
        ("dns", "/HostConfig/Dns", json!(["192.0.2.1"])),
        ("dns_search", "/HostConfig/DnsSearch", json!(["example.org"])),
        ("dns_options", "/HostConfig/DnsOptions", json!(["ndots:2"])),
        ("extra_hosts", "/HostConfig/ExtraHosts", json!(["gate:192.0.2.2"])),
        ("group_add", "/HostConfig/GroupAdd", json!(["4"])),
        ("init", "/HostConfig/Init", json!(true)),
        ("ipc", "/HostConfig/IpcMode", json!("private")),
        ("pid", "/HostConfig/PidMode", json!("host")),
        ("userns_mode", "/HostConfig/UsernsMode", json!("host")),
        ("cgroup", "/HostConfig/CgroupnsMode", json!("private")),
        ("cgroup_parent", "/HostConfig/CgroupParent", json!("/jaco-test")),
        ("read_only", "/HostConfig/ReadonlyRootfs", json!(true)),
        ("runtime", "/HostConfig/Runtime", json!("runc")),
        ("shm_size", "/HostConfig/ShmSize", json!(1 << 20)),
        ("stop_signal", "/Config/StopSignal", json!("SIGUSR1")),
        ("stop_grace_period", "/Config/StopTimeout", json!(3)),
        ("sysctls", "/HostConfig/Sysctls", json!({"net.ipv4.ip_default_ttl": "32"})),
        ("ulimits", "/HostConfig/Ulimits", json!([{"Name": "nofile", "Soft": 100, "Hard": 200}])),
        ("tty", "/Config/Tty", json!(true)),
        ("stdin_open", "/Config/OpenStdin", json!(true)),
        ("logging", "/HostConfig/LogConfig", json!({"Type": "local", "Config": {"max-size": "1m"}})),
        ("resources", "/HostConfig/Memory", json!(64 << 20)),
        ("resources", "/HostConfig/MemoryReservation", json!(32 << 20)),
        ("resources", "/HostConfig/MemorySwap", json!(128 << 20)),
        ("resources", "/HostConfig/MemorySwappiness", json!(10)),
        ("resources", "/HostConfig/PidsLimit", json!(50)),
        ("resources", "/HostConfig/CpuShares", json!(100)),
        ("resources", "/HostConfig/CpusetCpus", json!("0")),
        ("resources", "/HostConfig/CpuPeriod", json!(50_000)),
        ("resources", "/HostConfig/CpuQuota", json!(25_000)),
        ("resources", "/HostConfig/OomScoreAdj", json!(100)),
        ("restart policy", "/HostConfig/RestartPolicy/Name", json!("no")),
    ]
}

/// Rows whose order or names the engine chooses.
fn loose(found: &Value, lab: &Lab, peer: &str) -> Vec<(&'static str, bool)> {
    let has = |place: &str, value: Value| {
        found.pointer(place).and_then(Value::as_array).is_some_and(|list| list.contains(&value))
    };
    let mounts = found["Mounts"].as_array().cloned().unwrap_or_default();
    let mount =
        |target: &str, key: &str, value: Value| mounts.iter().any(|m| m["Destination"] == target && m[key] == value);
    let joined = &found["NetworkSettings"]["Networks"];
    let alias = |key: &str, name: &str| {
        let endpoint = &joined[format!("jaco_{}_{key}", lab.deployment)];
        endpoint["Aliases"].as_array().is_some_and(|list| list.contains(&json!(name)))
    };
    let specs = found["HostConfig"]["Mounts"].as_array().cloned().unwrap_or_default();
    let spec = |target: &str, place: &str, value: Value| {
        specs.iter().any(|m| m["Target"] == target && m.pointer(place) == Some(&value))
    };
    vec![
        ("environment", has("/Config/Env", json!("A=1")) && has("/Config/Env", json!("B=x=y $Z"))),
        // With the host's pid namespace the engine adds one of its own.
        ("security_opt", has("/HostConfig/SecurityOpt", json!("no-new-privileges:true"))),
        // Newer engines write the names with their prefix.
        ("cap_add", has("/HostConfig/CapAdd", json!("NET_ADMIN")) || has("/HostConfig/CapAdd", json!("CAP_NET_ADMIN"))),
        ("cap_drop", has("/HostConfig/CapDrop", json!("MKNOD")) || has("/HostConfig/CapDrop", json!("CAP_MKNOD"))),
        (
            "expose",
            ["80/tcp", "90/udp", "91/udp"].iter().all(|port| {
                let ports = &found["Config"]["ExposedPorts"];
                ports.get(port).is_some() || ports.as_array().is_some_and(|list| list.contains(&json!(port)))
            }),
        ),
        (
            "mounts volume",
            mount("/data", "Name", json!(format!("jaco_{}_data", lab.deployment)))
                && mount("/data", "RW", json!(false)),
        ),
        ("mounts volume nocopy", spec("/data", "/VolumeOptions/NoCopy", json!(true))),
        ("mounts bind", mount("/bound", "Source", json!("/dev/null")) && mount("/bound", "RW", json!(false))),
        ("mounts bind propagation", spec("/bound", "/BindOptions/Propagation", json!("rprivate"))),
        ("mounts bind create_host_path", has("/HostConfig/Binds", json!("/tmp:/made:ro"))),
        ("mounts anonymous", mount("/anonymous", "Type", json!("volume")) && mount("/anonymous", "RW", json!(true))),
        (
            "mounts tmpfs",
            spec("/memory", "/TmpfsOptions/SizeBytes", json!(1 << 20))
                && spec("/memory", "/TmpfsOptions/Mode", json!(0o1777)),
        ),
        ("volumes_from", has("/HostConfig/VolumesFrom", json!(format!("{peer}:ro")))),
        ("networks", alias("back", "other") && alias("front", "www")),
        (
            "networks service and container name",
            alias("back", "web") && alias("back", &format!("{}-named", lab.deployment)),
        ),
        ("networks priority", found["HostConfig"]["NetworkMode"] == json!(format!("jaco_{}_front", lab.deployment))),
        ("links", joined[format!("jaco_{}_front", lab.deployment)]["Links"] == json!(["peer:friend"])),
    ]
}

#[tokio::test]
async fn every_field_reaches_the_engine() {
    let Some(lab) = Lab::new("every_field_reaches_the_engine").await else { return };
    let bench = lab.bench();
    let body = bollard::models::ContainerCreateBody {
        image: Some(lab.image.clone()),
        labels: Some([(jaco_types::label::CLUSTER_ID.to_owned(), lab.cluster.clone())].into()),
        host_config: Some(bollard::models::HostConfig { ipc_mode: Some("shareable".to_owned()), ..Default::default() }),
        ..Default::default()
    };
    let other = lab.engine.create_container(&format!("{}-peer", lab.deployment), None, body).await.unwrap();
    lab.engine.start(&other).await.unwrap();

    let make = async |spec: ContainerSpec, start: bool| {
        let service = ServiceSpec { container: spec, ..testing::service(&lab.image) };
        let mut deployment = testing::deployment(&lab.deployment, [("web", service.clone())]);
        deployment.volumes.insert(VolumeName::new("data").unwrap(), Default::default());
        let desired = testing::desired(&lab.deployment, "web", &service);
        let peers = BTreeMap::from([(peer(), other.clone())]);
        let api = ApiVersion(1, 41);
        let cluster = testing::cluster(&lab.cluster, &lab.pool);
        let request = config(CreateInput {
            epoch: None,
            cluster_id: &lab.cluster,
            desired: &desired,
            raft_index: 5,
            deployment: &deployment,
            service: &service,
            peers: &peers,
            api,
        })
        .unwrap();
        let store: Arc<dyn Store> = bench.store.clone();
        let networks = Networks::new(lab.engine.clone(), store, NODE, 1420);
        for key in crate::container::joined_networks(&service.container).keys() {
            let asked = crate::network::Asked {
                cluster: &cluster,
                deployment: &desired.deployment,
                key,
                spec: &Default::default(),
            };
            networks.ensure(asked).await.unwrap();
        }
        let id = lab.engine.create_container(&request.name, request.platform.as_deref(), request.body).await.unwrap();
        for (network, endpoint) in request.connect {
            lab.engine.connect(&network, &id, endpoint).await.unwrap();
        }
        if start {
            lab.engine.start(&id).await.unwrap();
        }
        (lab.inspect(&id).await, request.left_out, id)
    };

    let data = format!("jaco_{}_data", lab.deployment);
    let request = bollard::models::VolumeCreateRequest {
        name: Some(data.clone()),
        labels: Some([(jaco_types::label::CLUSTER_ID.to_owned(), lab.cluster.clone())].into()),
        ..Default::default()
    };
    lab.engine.create_volume(request).await.unwrap();

    let spec = everything(&lab);
    let (found, left_out, first) = make(spec.clone(), false).await;
    assert_eq!(left_out, ["annotations", "healthcheck.start_interval"]);
    let mut wrong = Vec::new();
    let mut seen: Vec<&str> = vec!["annotations", "platform", "mounts"];
    for (field, place, wanted) in table(&lab) {
        if found.pointer(place) != Some(&wanted) {
            wrong.push(format!("{field} at {place} is {:?}", found.pointer(place)));
        }
        seen.push(field);
    }
    for (field, holds) in loose(&found, &lab, &other) {
        if !holds {
            wrong.push(field.to_owned());
        }
        seen.push(field);
    }
    assert!(wrong.is_empty(), "{wrong:#?} in {found:#}");
    let fields = serde_json::to_value(&spec).unwrap();
    for field in fields.as_object().unwrap().keys() {
        assert!(seen.contains(&field.as_str()), "{field} has no row");
    }
    // The same container without the GPU this machine has not, started: the engine can really do all of it.
    let anonymous =
        found["Mounts"].as_array().unwrap().iter().find(|mount| mount["Destination"] == "/anonymous").unwrap();
    let anonymous = anonymous["Name"].as_str().unwrap();
    assert!(lab.engine.volume(anonymous).await.unwrap().is_some());
    lab.engine.remove(&first).await.unwrap();
    assert!(lab.engine.volume(anonymous).await.unwrap().is_none(), "an anonymous volume goes with its container");
    assert!(lab.engine.volume(&data).await.unwrap().is_some(), "a named one stays");
    let (found, _, first) = make(ContainerSpec { device_requests: Vec::new(), ..spec }, true).await;
    assert_eq!(found["State"]["Running"], true);
    let net =
        |key: &str| found["NetworkSettings"]["Networks"][format!("jaco_{}_{key}", lab.deployment)]["IPAddress"].clone();
    assert!(
        net("front").as_str().is_some_and(|ip| !ip.is_empty()) && net("back").as_str().is_some_and(|ip| !ip.is_empty())
    );
    lab.engine.remove(&first).await.unwrap();

    let (found, _, last) = make(the_rest(&lab), false).await;
    for (field, place, wanted) in [
        ("network_mode", "/HostConfig/NetworkMode", json!(format!("container:{other}"))),
        ("pid service", "/HostConfig/PidMode", json!(format!("container:{other}"))),
        ("ipc service", "/HostConfig/IpcMode", json!(format!("container:{other}"))),
        ("uts", "/HostConfig/UTSMode", json!("host")),
        ("privileged", "/HostConfig/Privileged", json!(true)),
        ("resources.nano_cpus", "/HostConfig/NanoCpus", json!(500_000_000)),
        (
            "logging, default",
            "/HostConfig/LogConfig",
            json!({"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}),
        ),
    ] {
        assert_eq!(found.pointer(place), Some(&wanted), "{field} at {place}");
    }
    // Started without full privileges: a machine that lacks one of them itself cannot start a container with all.
    lab.engine.remove(&last).await.unwrap();
    let (found, _, _) = make(ContainerSpec { privileged: false, ..the_rest(&lab) }, true).await;
    assert_eq!(found["State"]["Running"], true);
}
