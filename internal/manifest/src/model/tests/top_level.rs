//! The document's own keys: networks, volumes and the rest.

use std::collections::BTreeSet;

use super::{check, compose, tags, web};

/// What is said about a top-level text beside one service that uses `net` and `vol`.
fn top(text: &str) -> BTreeSet<String> {
    tags(&compose(&format!("services: {{a: {{image: i, networks: [net], volumes: ['vol:/v']}}}}\n{text}")).1)
}

fn expect(text: &str, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|tag| (*tag).to_owned()).collect();
    assert_eq!(top(text), expected, "{text}");
}

#[test]
fn networks() {
    for (network, expected) in [
        ("", &[][..]),
        ("{driver: bridge}", &[]),
        ("{driver: overlay, attachable: true}", &["note:network.attachable"]),
        ("{driver: macvlan}", &["refused:network.driver"]),
        ("{driver: ipvlan}", &["refused:network.driver"]),
        ("{driver: host}", &["refused:network.driver"]),
        ("{driver_opts: {com.docker.network.bridge.name: br0}}", &["note:network.driver_opts"]),
        ("{driver_opts: {encrypted: 'true'}}", &["not_yet:network.driver_opts.other"]),
        ("{internal: true, labels: {a: b}}", &[]),
        ("{external: true}", &["not_yet:network.external"]),
        ("{external: false}", &[]),
        ("{enable_ipv6: true}", &["not_yet:network.enable_ipv6"]),
        ("{enable_ipv6: false}", &[]),
        ("{enable_ipv4: false}", &["not_yet:network.enable_ipv4"]),
        ("{ipam: {config: [{subnet: 10.1.0.0/16}]}}", &["not_yet:network.ipam"]),
        ("{ipam: {driver: default}}", &[]),
        ("{name: shared}", &["note:network.name"]),
        ("{nam: shared}", &["validation_failed"]),
    ] {
        expect(&format!("volumes: {{vol: }}\nnetworks: {{net: {network}}}"), expected);
    }
    let twice = "volumes: {vol: }\nnetworks: {net: {name: x}, other: {name: x}}";
    expect(twice, &["note:network.name", "note:unused.network.name.twice"]);
    expect("volumes: {vol: }", &["unknown_network"]);
    expect("volumes: {vol: }\nnetworks: {net: , idle: {external: true}}", &["note:unused.network.external"]);
}

#[test]
fn networks_of_a_service() {
    let text =
        "services: {a: {image: i, networks: {net: {aliases: [x, y], priority: 10}, default: }}}\nnetworks: {net: }";
    let spec = compose(text).0.unwrap();
    let joined = &spec.services["a"].container.networks;
    assert_eq!(joined["net"].aliases, ["x", "y"]);
    assert_eq!((joined["net"].priority, joined.len(), spec.networks.len()), (10, 2, 2));
    assert!(web("networks: [_default]").container.networks.contains_key("default"));
    assert!(web("").container.networks.contains_key("default"));
    check(&[
        ("networks: {default: {ipv4_address: 10.0.0.5}}", &["not_yet:networks.ipv4_address"]),
        ("networks: {default: {ipv6_address: '::5'}}", &["not_yet:networks.ipv6_address"]),
        ("networks: {default: {mac_address: a}}", &["refused:networks.mac_address"]),
        ("networks: {default: {gw_priority: 1}}", &["not_yet:networks.gw_priority"]),
        ("networks: {default: {driver_opts: {com.docker.network.x: 1}}}", &["note:networks.driver_opts"]),
        ("networks: [other]", &["unknown_network"]),
        ("network_mode: none", &["not_yet:network_mode.none"]),
        ("network_mode: host", &["not_yet:network_mode.host"]),
        ("network_mode: service:db", &["not_yet:network_mode.service"]),
        ("network_mode: container:db", &["refused:network_mode.container"]),
        ("network_mode: bridge", &["refused:network_mode.other"]),
        ("network_mode: host\nnetworks: [default]", &["not_yet:network_mode.host", "validation_failed"]),
    ]);
}

#[test]
fn volumes() {
    for (volume, expected) in [
        ("", &[][..]),
        ("{driver: local}", &[]),
        ("{driver: rexray}", &["refused:volume.driver"]),
        ("{driver_opts: {type: nfs, o: addr=1.2.3.4}}", &["not_yet:volume.driver_opts"]),
        ("{driver_opts: {type: '', o: }}", &[]),
        ("{external: true}", &[]),
        ("{external: {name: x}}", &[]),
        ("{external: true, driver: local}", &["validation_failed"]),
        ("{name: x, labels: [a=b]}", &[]),
        ("{name: 'a/b'}", &["validation_failed"]),
        ("{drivr: local}", &["validation_failed"]),
    ] {
        expect(&format!("networks: {{net: }}\nvolumes: {{vol: {volume}}}"), expected);
    }
    let spec = |volume: &str| {
        let text = format!("services: {{a: {{image: i, volumes: ['vol:/v']}}}}\nvolumes: {{vol: {volume}}}");
        compose(&text).0.unwrap().volumes["vol"].clone()
    };
    assert_eq!((spec("").literal_name, spec("").external), (None, false));
    assert_eq!(spec("{name: x}").literal_name.as_deref(), Some("x"));
    assert_eq!(
        (spec("{external: true}").literal_name.as_deref(), spec("{external: true}").external),
        (Some("vol"), true)
    );
    assert_eq!(spec("{external: {name: x}}").literal_name.as_deref(), Some("x"));
    assert_eq!(spec("{external: true, name: y}").literal_name.as_deref(), Some("y"));
    let unused = compose("services: {a: {image: i}}\nvolumes: {v: {driver: rexray}}").1;
    assert_eq!(tags(&unused), ["note:unused.volume.driver".to_owned()].into());
}

#[test]
fn secrets_in_use_are_told_at_the_service_alone() {
    let said = compose("services: {a: {image: i, secrets: [s]}}\nsecrets: {s: {file: a}}").1;
    assert_eq!(tags(&said), ["not_yet:secrets".to_owned()].into());
}

#[test]
fn the_rest_of_the_document() {
    let plain = "services: {a: {image: i}}";
    for (text, expected) in [
        (format!("version: '3.8'\n{plain}"), &["note:top.version"][..]),
        (format!("name: shop\n{plain}"), &["note:top.name"]),
        (format!("x-common: {{a: b}}\n{plain}"), &["note:x-*"]),
        (format!("include: [a.yaml]\n{plain}"), &["refused:top.include"]),
        (format!("models: {{m: {{model: x}}}}\n{plain}"), &["refused:top.models"]),
        (format!("secrets: {{s: {{file: a}}}}\n{plain}"), &["note:unused.secret"]),
        (format!("configs: {{s: {{content: a}}}}\n{plain}"), &["note:unused.config"]),
        (format!("secrets: {{s: {{fil: a}}}}\n{plain}"), &["note:unused.secret", "validation_failed"]),
        (format!("service: {{}}\n{plain}"), &["validation_failed"]),
        ("services: {}".to_owned(), &["validation_failed"]),
        ("version: '3'".to_owned(), &["note:top.version", "validation_failed"]),
        ("services: {a: }".to_owned(), &["validation_failed"]),
        ("services: [a]".to_owned(), &["validation_failed"]),
        ("services: {'a b': {image: i}}".to_owned(), &["validation_failed"]),
        ("[a]".to_owned(), &["validation_failed"]),
    ] {
        let expected: BTreeSet<String> = expected.iter().map(|tag| (*tag).to_owned()).collect();
        assert_eq!(tags(&compose(&text).1), expected, "{text}");
    }
}
