use super::*;

fn surroundings() -> Surroundings {
    Surroundings {
        system_hostname: "node-a".into(),
        interfaces: vec![Interface { name: "eth0".into(), address: [192, 168, 1, 5].into() }],
        log_override: None,
    }
}

fn problems(text: &str) -> Vec<String> {
    Config::parse(text, &surroundings()).unwrap_err()
}

#[test]
fn a_missing_file_means_the_defaults() {
    let config = Config::load(Path::new("/nonexistent/jacod.yaml"), &surroundings()).unwrap();
    assert_eq!(config.data_dir, Path::new("/var/lib/jaco"));
    assert_eq!(config.listen_addr, "192.168.1.5:7000".parse().unwrap());
    assert_eq!(config.cluster_addr, "192.168.1.5:7001".parse().unwrap());
    assert_eq!(config.http_addr, "0.0.0.0:80".parse().unwrap());
    assert_eq!(config.hostname.as_str(), "node-a");
    assert_eq!(config.node_down_after, Duration::from_secs(10));
}

#[test]
fn what_is_in_force_reads_back_as_itself() {
    let config =
        Config::parse("hostname: other\ndns:\n  forwarders: [9.9.9.9, '1.1.1.1:5353']\n", &surroundings()).unwrap();
    assert_eq!(Config::parse(&config.to_yaml(), &surroundings()).unwrap(), config);
}

#[test]
fn each_rule_names_its_key() {
    for (text, key) in [
        ("data_dir: relative", "data_dir"),
        ("listen_addr: nonsense", "listen_addr"),
        ("listen_addr: 10.0.0.1:7000\ncluster_addr: 10.0.0.1:7000", "cluster_addr"),
        ("wg_port: 0", "wg_port"),
        ("wg_port: 65536", "wg_port"),
        ("log_level: loud", "log_level"),
        ("ipam_pool: 10.0.0.0/24", "ipam_pool"),
        ("ipam_pool: 10.1.2.3/16", "ipam_pool"),
        ("ipam_pool: 10.0.0.0/8", "mesh_cidr"),
        ("node_status_interval: 1s", "node_status_interval"),
        ("node_down_after: 1s", "node_down_after"),
        ("acme_ca: http://plain", "acme_ca"),
        ("dns: {forwarders: [127.0.0.11]}", "dns.forwarders"),
        ("dns: {forwarders: [10.244.3.1]}", "dns.forwarders"),
        ("dns: {forwarders: [somewhere]}", "dns.forwarders"),
        ("hostname: 'not a host'", "hostname"),
        ("metrics_addr: 0.0.0.0:9100", "metrics_addr"),
    ] {
        let found = problems(text);
        assert!(found.iter().any(|problem| problem.starts_with(&format!("{key}:"))), "{text}: {found:?}");
    }
}

#[test]
fn an_unknown_key_is_named() {
    assert!(problems("data_dri: /x").join(" ").contains("data_dri"));
    assert!(problems("dns: {forwarder: []}").join(" ").contains("forwarder"));
}

#[test]
fn all_problems_are_told_at_once() {
    assert_eq!(problems("wg_port: 0\nlog_level: loud\nacme_ca: x").len(), 3);
}

#[test]
fn the_environment_overrides_the_level() {
    let mut around = surroundings();
    around.log_override = Some("debug".into());
    assert_eq!(Config::parse("log_level: error", &around).unwrap().log_level, LogLevel::Debug);
}

#[test]
fn private_lan_before_overlay_and_never_public() {
    let interface = |name: &str, address: [u8; 4]| Interface { name: name.into(), address: address.into() };
    let choose = |list: &[Interface]| choose_address(list);
    assert_eq!(
        choose(&[
            interface("tailscale0", [100, 100, 1, 1]),
            interface("eth1", [10, 0, 0, 2]),
            interface("eth0", [10, 0, 0, 1])
        ]),
        Some([10, 0, 0, 1].into())
    );
    assert_eq!(choose(&[interface("wg0", [10, 9, 0, 1])]), Some([10, 9, 0, 1].into()));
    assert_eq!(choose(&[interface("eth0", [8, 8, 8, 8]), interface("lo", [127, 0, 0, 1])]), None);
    assert_eq!(choose(&[interface("docker0", [172, 17, 0, 1]), interface("jaco0", [10, 243, 0, 1])]), None);
    assert_eq!(choose(&[interface("eth0", [169, 254, 1, 1])]), None);
}

#[test]
fn no_address_says_which_keys_to_set() {
    let around = Surroundings { interfaces: Vec::new(), ..surroundings() };
    let found = Config::parse("", &around).unwrap_err();
    assert!(found[0].contains("listen_addr and cluster_addr"), "{found:?}");
    assert!(Config::parse("listen_addr: 127.0.0.1:7000", &around).is_ok());
}

#[test]
fn a_file_that_disagrees_with_the_cluster_is_told_by_key() {
    let config = Config::parse("node_down_after: 30s", &surroundings()).unwrap();
    let mut cluster = jaco_types::ClusterMeta {
        cluster_id: "id".into(),
        name: "name".into(),
        incarnation: 1,
        feature_level: 1,
        created_at_ms: 0,
        ipam_pool: config.ipam_pool,
        mesh_cidr: config.mesh_cidr,
        node_down_after_ms: 30_000,
    };
    assert!(config.disagreements(&cluster).is_empty());
    cluster.node_down_after_ms = 10_000;
    cluster.ipam_pool = "10.0.0.0/12".parse().unwrap();
    let found = config.disagreements(&cluster);
    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("ipam_pool: the file says 10.244.0.0/16"), "{found:?}");
}
