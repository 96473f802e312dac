//! `ports`, `expose`, `volumes`, `tmpfs`.

use jaco_types::{Mount, Protocol};

use super::{check, web};

/// (host, target, protocol) of what `web` publishes.
fn published(keys: &str) -> Vec<(u16, u16, Protocol)> {
    web(keys).ports.iter().map(|p| (p.host_port, p.target, p.protocol)).collect()
}

#[test]
fn ports_in_every_form() {
    use Protocol::{Tcp, Udp};
    for (keys, expected) in [
        ("ports: ['8080:80']", vec![(8080, 80, Tcp)]),
        ("ports: [8080:80]", vec![(8080, 80, Tcp)]),
        ("ports: [2222:22]", vec![(2222, 22, Tcp)]),
        ("ports: ['53:53/udp', '53:53']", vec![(53, 53, Tcp), (53, 53, Udp)]),
        ("ports: ['8080:80/TCP']", vec![(8080, 80, Tcp)]),
        ("ports: ['9000-9002:8000-8002']", vec![(9000, 8000, Tcp), (9001, 8001, Tcp), (9002, 8002, Tcp)]),
        ("ports: [':2283:2283']", vec![(2283, 2283, Tcp)]),
        ("ports: ['0.0.0.0:8080:80', '[::]:8080:80']", vec![(8080, 80, Tcp)]),
        ("ports: ['8080:80', '8080:80']", vec![(8080, 80, Tcp)]),
        ("ports: [{target: 80, published: 8080}]", vec![(8080, 80, Tcp)]),
        ("ports: [{target: 53, published: '5353', protocol: udp, mode: ingress}]", vec![(5353, 53, Udp)]),
        ("ports: [{target: 80-81, published: 8080-8081}]", vec![(8080, 80, Tcp), (8081, 81, Tcp)]),
        ("ports:", vec![]),
    ] {
        assert_eq!(published(keys), expected, "{keys}");
    }
}

#[test]
fn ports_that_open_nothing_are_exposed_and_told() {
    for (keys, exposed, said) in [
        ("ports: [80]", "80/tcp", "note:ports.container_only"),
        ("ports: ['3000-3005/udp']", "3000-3005/udp", "note:ports.container_only"),
        ("ports: ['127.0.0.1::80']", "80/tcp", "note:ports.container_only"),
        ("ports: [{target: 80}]", "80/tcp", "note:ports.container_only"),
        ("ports: [{target: 80, published: 0}]", "80/tcp", "note:ports.container_only"),
        ("ports: ['127.0.0.1:8080:80']", "80/tcp", "warning:ports.host_ip"),
        ("ports: ['[::1]:8080:80']", "80/tcp", "warning:ports.host_ip"),
        ("ports: [{target: 80, published: 8080, host_ip: 10.0.0.1}]", "80/tcp", "warning:ports.host_ip"),
    ] {
        assert_eq!(published(keys), [], "{keys}");
        assert_eq!(web(keys).container.expose, [exposed], "{keys}");
        check(&[(keys, &[said])]);
    }
    assert_eq!(web("expose: [80, '81', 90-92/udp, '80']").container.expose, ["80/tcp", "81/tcp", "90-92/udp"]);
}

#[test]
fn bad_ports_are_refused_by_name() {
    check(&[
        ("ports: ['[::]8080:80']", &["validation_failed"]),
        ("ports: ['80:80']", &["reserved_port"]),
        ("ports: ['443:8443/udp']", &["reserved_port"]),
        ("ports: ['79-81:79-81']", &["reserved_port"]),
        ("ports: [{target: 8000, published: 443}]", &["reserved_port"]),
        ("ports: ['8080:80', '8080:81']", &["port_conflict"]),
        ("ports: ['8080:0']", &["validation_failed"]),
        ("ports: ['8080:70000']", &["validation_failed"]),
        ("ports: ['8080:80/sctp']", &["validation_failed"]),
        ("ports: ['8000-8010:80']", &["validation_failed"]),
        ("ports: ['8002-8000:2-0']", &["validation_failed"]),
        ("ports: ['a:80']", &["validation_failed"]),
        ("ports: ['::1:8080:80']", &["warning:ports.host_ip"]),
        ("ports: ['host:8080:80']", &["validation_failed"]),
        ("ports: [{published: 8080}]", &["validation_failed"]),
        ("ports: [{target: 80, mode: both}]", &["validation_failed"]),
        ("ports: [{target: 80, published: 8080, mode: host}]", &["note:ports.mode_host"]),
        ("ports: [{target: 80, published: 8080, app_protocol: http}]", &["note:ports.app_protocol"]),
        ("ports: {a: b}", &["validation_failed"]),
        ("expose: [http]", &["validation_failed"]),
    ]);
}

#[test]
fn volumes_in_every_form() {
    let volume = |read_only, nocopy| Mount::Volume {
        source: "data".parse().unwrap(),
        target: "/data".into(),
        read_only,
        nocopy,
        subpath: None,
    };
    let bind = |source: &str, read_only, create_host_path, propagation: Option<&str>| Mount::Bind {
        source: source.into(),
        target: "/x".into(),
        read_only,
        create_host_path,
        propagation: propagation.map(str::to_owned),
    };
    for (entry, expected) in [
        ("'data:/data'", volume(false, false)),
        ("'data:/data:ro'", volume(true, false)),
        ("'data:/data/:rw,nocopy'", volume(false, true)),
        ("{type: volume, source: data, target: /data, read_only: true}", volume(true, false)),
        ("{type: volume, source: data, target: /data, volume: {nocopy: true}}", volume(false, true)),
        ("'/srv/x:/x'", bind("/srv/x", false, false, None)),
        ("'/srv//x/:/x:ro,rslave'", bind("/srv/x", true, false, Some("rslave"))),
        ("{type: bind, source: /srv/x, target: /x}", bind("/srv/x", false, false, None)),
        (
            "{type: bind, source: /srv/x, target: /x, bind: {create_host_path: true, propagation: shared}}",
            bind("/srv/x", false, true, Some("shared")),
        ),
        ("/x", Mount::Anonymous { target: "/x".into(), read_only: false }),
        ("{type: volume, target: /x}", Mount::Anonymous { target: "/x".into(), read_only: false }),
        (
            "{type: tmpfs, target: /x, tmpfs: {size: 64m, mode: 1777}}",
            Mount::Tmpfs(jaco_types::TmpfsMount {
                target: "/x".into(),
                size: Some(64 << 20),
                mode: Some(0o1777),
                read_only: false,
            }),
        ),
    ] {
        assert_eq!(web(&format!("volumes: [{entry}]")).container.mounts, [expected], "{entry}");
    }
    let twice = web("volumes: ['data:/x', '/srv:/x']").container.mounts;
    assert_eq!(twice, [bind("/srv", false, false, None)], "the later entry for a target counts");
}

#[test]
fn volumes_that_are_noted_warned_about_or_refused() {
    check(&[
        ("volumes: ['data:/data:z']", &["note:volumes.options"]),
        ("volumes: ['data:/data:rwz']", &["note:volumes.options"]),
        ("volumes: ['/srv:/srv:cached']", &["note:volumes.options"]),
        ("volumes: ['/var/run/docker.sock:/var/run/docker.sock:ro']", &["warning:bind.docker"]),
        ("volumes: ['/var/lib/docker/containers:/x']", &["warning:bind.docker"]),
        ("volumes: ['/proc:/host/proc:ro', '/:/rootfs:ro']", &[]),
        ("volumes: ['./a:/a']", &["not_yet:bind.relative"]),
        ("volumes: ['.:/a']", &["not_yet:bind.relative"]),
        ("volumes: ['../a:/a']", &["not_yet:bind.parent"]),
        ("volumes: ['~/a:/a']", &["not_yet:bind.home"]),
        ("volumes: [{type: bind, source: ./a, target: /a}]", &["not_yet:bind.relative"]),
        ("volumes: ['/a/../b:/a']", &["validation_failed"]),
        ("volumes: ['other:/a']", &["validation_failed"]),
        ("volumes: ['data/sub:/a']", &["validation_failed"]),
        ("volumes: [':/a']", &["validation_failed"]),
        ("volumes: ['data:a']", &["validation_failed"]),
        ("volumes: ['a:/b:ro:x']", &["validation_failed"]),
        ("volumes: [{type: npipe, source: a, target: /a}]", &["refused:volumes.npipe"]),
        ("volumes: [{type: cluster, source: a, target: /a}]", &["refused:volumes.cluster"]),
        ("volumes: [{type: image, source: a, target: /a}]", &["refused:volumes.image"]),
        ("volumes: [{type: bind, target: /a}]", &["validation_failed"]),
        ("volumes: [{source: data, target: /a}]", &["validation_failed"]),
        ("volumes: [{type: volume, source: data}]", &["validation_failed"]),
        ("volumes: [{type: bind, source: /a, target: /a, bind: {selinux: z}}]", &["note:volumes.bind.selinux"]),
        (
            "volumes: [{type: bind, source: /a, target: /a, bind: {recursive: disabled}}]",
            &["not_yet:volumes.bind.recursive"],
        ),
        ("volumes: [{type: bind, source: /a, target: /a, consistency: cached}]", &["note:volumes.consistency"]),
        ("volumes: [{type: volume, target: /a, volume: {labels: {a: b}}}]", &["not_yet:volumes.volume.labels"]),
        ("volumes: [{type: tmpfs, target: /a, tmpfs: {mode: 9}}]", &["validation_failed"]),
        ("tmpfs: [/a]\nvolumes: ['data:/a']", &["validation_failed"]),
        ("tmpfs: run", &["validation_failed"]),
        ("volumes_from: ['container:x']", &["refused:volumes_from.container"]),
        ("volumes_from: [nobody]", &["unknown_depends_on_service"]),
        ("volumes_from: ['db:rx']", &["validation_failed"]),
    ]);
}

#[test]
fn options_of_another_kind_of_mount_are_told() {
    check(&[
        ("volumes: [{type: bind, source: /a, target: /b, volume: {nocopy: true}}]", &["warning:volumes.other_type"]),
        (
            "volumes: [{type: tmpfs, source: /a, target: /b, bind: {propagation: shared}}]",
            &["warning:volumes.other_type", "warning:volumes.other_type"],
        ),
        ("volumes: [{type: volume, target: /b, volume: {subpath: c}}]", &["warning:volumes.other_type"]),
        ("volumes: [{type: bind, source: /a, target: /b, bind: {propagation: shared}, tmpfs: {}}]", &[]),
        ("volumes: ['/a:/b:nocopy']", &["note:volumes.options"]),
    ]);
}

#[test]
fn a_word_of_a_command_is_a_text() {
    check(&[
        ("command: [echo, ~]", &["validation_failed"]),
        ("healthcheck: {test: [CMD, ~]}", &["validation_failed"]),
        ("command: [sleep, 10]", &[]),
    ]);
}
