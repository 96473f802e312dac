use std::net::UdpSocket;

use super::*;

#[test]
fn a_bound_socket_has_its_mode_and_a_stale_one_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/jaco.sock");
    drop(bind_control(&path).unwrap());
    assert!(path.exists(), "a socket file stays behind a process that was killed");
    let listener = bind_control(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, CONTROL_MODE);
    assert!(matches!(bind_control(&path), Err(SocketError::InUse { .. })));
    drop(listener);
}

#[test]
fn a_folder_that_cannot_be_made_names_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = bind_control(&file.join("below/jaco.sock")).unwrap_err();
    assert!(error.to_string().contains("jaco.sock"), "{error}");
}

#[test]
fn a_port_is_known_by_its_name() {
    for (protocol, port, name) in [
        (Protocol::Tcp, 8080, "port-tcp-8080"),
        (Protocol::Udp, 53, "port-udp-53"),
        (Protocol::Tcp, u16::MAX, "port-tcp-65535"),
    ] {
        assert_eq!(port_name(protocol, port), name);
        assert_eq!(protocol_of(name), Some(protocol));
    }
    for other in [
        "ingress-http",
        "jaco.socket",
        "control",
        "stored",
        "",
        "port-tcp-",
        "port-tcp-65536",
        "port-tcp-080",
        "port-tcp-+80",
        "port-sctp-80",
        "Port-tcp-80",
        "x-port-tcp-80",
    ] {
        assert_eq!(protocol_of(other), None, "{other}");
    }
}

#[test]
fn inherited_descriptors_are_sorted_by_name() {
    let tcp = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (http, web, other) = (tcp(), tcp(), tcp());
    let dns = UdpSocket::bind("127.0.0.1:0").unwrap();
    let [http_address, web_address] = [&http, &web].map(|listener| listener.local_addr().unwrap());
    let dns_address = dns.local_addr().unwrap();
    let by_name = BTreeMap::from([
        (HTTP.to_owned(), vec![OwnedFd::from(http)]),
        (port_name(Protocol::Tcp, web_address.port()), vec![web.into()]),
        (port_name(Protocol::Udp, dns_address.port()), vec![dns.into()]),
        ("stored".to_owned(), vec![other.into()]),
    ]);
    let mut inherited = Inherited { by_name };
    let ports: Vec<_> =
        inherited.ports().iter().map(|socket| (socket.protocol(), socket.local_addr().unwrap())).collect();
    assert_eq!(ports, [(Protocol::Tcp, web_address), (Protocol::Udp, dns_address)]);
    assert!(inherited.ports().is_empty());
    assert_eq!(inherited.http(http_address).len(), 1);
    assert_eq!(inherited.by_name.len(), 1, "the one without a known name");
}

#[test]
fn kept_listeners_of_another_address_are_taken_out_of_service() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let old = listener.local_addr().unwrap();
    let at_the_manager = listener.try_clone().unwrap();
    let mut inherited = Inherited { by_name: BTreeMap::from([(HTTP.to_owned(), vec![OwnedFd::from(listener)])]) };
    assert!(inherited.http(SocketAddr::from(([127, 0, 0, 2], old.port()))).is_empty());
    assert!(TcpStream::connect(old).is_err(), "it still takes connections");
    TcpListener::bind(old).expect("it is in the way of a new one");
    drop(at_the_manager);
}
