//! What a real engine is not needed for; the table of fields against a real engine is in `service/tests/docker.rs`.

use super::*;
use crate::testing;

fn request(service: &ServiceSpec, api: ApiVersion) -> Result<CreateRequest, CreateError> {
    let deployment = testing::deployment("shop", [("web", service.clone())]);
    let desired = testing::desired("shop", "web", service);
    let peers = BTreeMap::from([(ServiceName::new("db").unwrap(), "cafe".to_owned())]);
    config(CreateInput {
        cluster_id: "c1",
        desired: &desired,
        raft_index: 7,
        deployment: &deployment,
        service,
        epoch: None,
        peers: &peers,
        api,
    })
}

fn service(change: impl FnOnce(&mut ContainerSpec)) -> ServiceSpec {
    let mut service = testing::service("image");
    change(&mut service.container);
    service
}

const OLD: ApiVersion = ApiVersion(1, 41);
const NEW: ApiVersion = ApiVersion(1, 50);

#[test]
fn our_labels_win_and_the_users_stay() {
    let service = service(|spec| {
        spec.labels = [("mine", "1"), (label::CLUSTER_ID, "forged")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    });
    let labels = request(&service, OLD).unwrap().body.labels.unwrap();
    assert_eq!(labels["mine"], "1");
    assert_eq!(labels[label::CLUSTER_ID], "c1");
    assert_eq!(labels[label::REPLICA_ID], "shop-web-0");
    assert_eq!(labels[label::RAFT_INDEX], "7");
    assert_eq!(labels[label::SPEC_HASH], service.hash().as_str());
}

#[test]
fn several_networks_by_api_version_in_the_order_of_priority() {
    let service = service(|spec| {
        for (name, priority) in [("a", 0), ("b", 10), ("c", 0)] {
            let attachment = NetworkAttachment { priority, ..Default::default() };
            spec.networks.insert(NetworkName::new(name).unwrap(), attachment);
        }
    });
    let names = |request: &CreateRequest| {
        let mut names: Vec<_> =
            request.body.networking_config.clone().unwrap().endpoints_config.unwrap().into_keys().collect();
        names.sort();
        names
    };
    let old = request(&service, OLD).unwrap();
    assert_eq!(names(&old), ["jaco_shop_b"]);
    assert_eq!(old.connect.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["jaco_shop_a", "jaco_shop_c"]);
    let new = request(&service, NEW).unwrap();
    assert_eq!(names(&new), ["jaco_shop_a", "jaco_shop_b", "jaco_shop_c"]);
    assert!(new.connect.is_empty());
    for request in [old, new] {
        assert_eq!(request.body.host_config.unwrap().network_mode.as_deref(), Some("jaco_shop_b"));
    }
}

#[test]
fn fields_of_newer_engines_are_named_or_refused_on_older_ones() {
    let timed = service(|spec| {
        spec.annotations.insert("a".to_owned(), "b".to_owned());
        spec.healthcheck =
            Some(Healthcheck { start_interval: Some(std::time::Duration::from_secs(1)), ..Default::default() });
    });
    assert_eq!(request(&timed, OLD).unwrap().left_out, ["annotations", "healthcheck.start_interval"]);
    let new = request(&timed, NEW).unwrap();
    assert!(new.left_out.is_empty());
    assert_eq!(new.body.healthcheck.unwrap().start_interval, Some(1_000_000_000));
    assert!(new.body.host_config.unwrap().annotations.is_some());

    let subpath = service(|spec| {
        spec.mounts.push(jaco_types::Mount::Volume {
            source: jaco_types::VolumeName::new("data").unwrap(),
            target: "/data".to_owned(),
            read_only: false,
            nocopy: false,
            subpath: Some("x".to_owned()),
        });
    });
    assert!(matches!(request(&subpath, OLD), Err(CreateError::EngineTooOld { field: "volumes.subpath", .. })));
    let mounts = request(&subpath, NEW).unwrap().body.host_config.unwrap().mounts.unwrap();
    assert_eq!(mounts[0].source.as_deref(), Some("jaco_shop_data"));
    assert_eq!(mounts[0].volume_options.as_ref().unwrap().subpath.as_deref(), Some("x"));
}

#[test]
fn shared_namespaces_need_their_peer() {
    let follows =
        |name: &str| service(|spec| spec.network_mode = NetworkMode::Service(ServiceName::new(name).unwrap()));
    let host = request(&follows("db"), OLD).unwrap().body.host_config.unwrap();
    assert_eq!(host.network_mode.as_deref(), Some("container:cafe"));
    let missing = request(&follows("cache"), OLD).unwrap_err();
    assert_eq!(missing, CreateError::PeerMissing { service: ServiceName::new("cache").unwrap() });
}

#[test]
fn unknown_words_are_errors() {
    let odd = service(|spec| spec.cgroup = Some("weird".to_owned()));
    assert!(matches!(request(&odd, OLD), Err(CreateError::UnknownWord { field: "cgroup", .. })));
}

#[test]
fn exposed_port_ranges_are_spelled_out() {
    let ports = exposed_ports(&["80".to_owned(), "90-92/udp".to_owned()]).unwrap();
    assert_eq!(ports, ["80/tcp", "90/udp", "91/udp", "92/udp"]);
    assert_eq!(exposed_ports(&[]), None);
}

#[test]
fn an_exclusive_container_knows_its_epoch_and_no_user_can_forge_it() {
    let service = service(|spec| {
        spec.labels = [(label::EPOCH.to_owned(), "999".to_owned())].into();
        spec.environment = [("JACO_EPOCH", "999"), ("MODE", "a")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    });
    let deployment = testing::deployment("shop", [("web", service.clone())]);
    let desired = testing::desired("shop", "web", &service);
    let body = |epoch| {
        let input = CreateInput {
            cluster_id: "c1",
            desired: &desired,
            raft_index: 7,
            epoch,
            deployment: &deployment,
            service: &service,
            peers: &BTreeMap::new(),
            api: OLD,
        };
        config(input).unwrap().body
    };
    let exclusive = body(Some(12));
    assert_eq!(exclusive.labels.unwrap()[label::EPOCH], "12");
    assert_eq!(exclusive.env.unwrap(), ["MODE=a", "JACO_EPOCH=12"]);
    assert!(!body(None).labels.unwrap().contains_key(label::EPOCH), "it would be taken for exclusive");
}
