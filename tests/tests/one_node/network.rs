//! Published ports, names inside networks, routes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::ensure;
use jaco_e2e::{Node, Project, UdpEcho, WEB_IMAGE, eventually, free_ports, web_compose, web_jaco};

fn ask_tcp(port: u16) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    ask().map_err(|error| error.to_string())
}

fn ask_udp(port: u16, text: &str) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        socket.send_to(text.as_bytes(), (Ipv4Addr::LOCALHOST, port))?;
        let mut bytes = [0_u8; 2048];
        let (length, _) = socket.recv_from(&mut bytes)?;
        Ok(String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned())
    };
    ask().map_err(|error| error.to_string())
}

pub(crate) fn published_ports_carry_tcp_and_udp(node: &mut Node) -> anyhow::Result<()> {
    let ports = free_ports(2)?;
    let (tcp, udp) = (ports[0], ports[1]);
    let with_ports = web_compose("one") + &format!("    ports:\n      - \"{tcp}:8080\"\n      - \"{udp}:9000/udp\"\n");
    let project = Project::new(&web_jaco("ports", 1), &with_ports)?;
    node.apply(&project)?;
    let answer = eventually(Duration::from_secs(10), "the published TCP port answers", || ask_tcp(tcp))?;
    ensure!(answer.contains("hello from jaco"), "{answer}");
    let process = node.engine.inspect("ports-web-0", "{{.State.Pid}}")?.parse()?;
    let echo = UdpEcho::start(process, 9000, "echo ")?;
    let answer = eventually(Duration::from_secs(10), "the published UDP port answers", || ask_udp(udp, "hello"))?;
    ensure!(answer == "echo hello", "{answer}");
    drop(echo);
    let bindings = node.engine.inspect("ports-web-0", "{{json .HostConfig.PortBindings}}")?;
    ensure!(matches!(bindings.as_str(), "{}" | "null"), "the engine publishes the port itself: {bindings}");

    let other = Project::new(&web_jaco("thief", 1), &with_ports)?;
    let cli = node.daemon.cli();
    let error = cli.refused(&["apply", &other.jaco()], 7, "port_conflict")?;
    ensure!(error.to_string().contains(&tcp.to_string()), "{error}");
    ensure!(node.deployments()? == ["ports"], "a refused apply left something behind");

    project.write("compose.yml", &web_compose("one"))?;
    node.apply(&project)?;
    eventually(Duration::from_secs(5), "the listener is gone", || {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, tcp)) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })?;
    Ok(())
}

/// Looks a name up in a container. Names, not connections: the engine of these tests leaves the machine's packet filter alone, and that
/// may drop what goes from one container to another.
fn resolve(node: &Node, from: &str, name: &str) -> Result<String, String> {
    node.engine.exec(from, &["timeout", "2", "nslookup", name])
}

pub(crate) fn networks_isolate_names(node: &mut Node) -> anyhow::Result<()> {
    let service = |name: &str, networks: &str| {
        format!("  {name}:\n    image: {WEB_IMAGE}\n    pull_policy: never\n    networks: {networks}\n")
    };
    let compose = format!(
        "services:\n{}{}{}networks:\n  front:\n  back:\n",
        service("web", "[front]"),
        service("middle", "[front, back]"),
        service("db", "{back: {aliases: [storage]}}"),
    );
    let project = Project::new(&web_jaco("nets", 1), &compose)?;
    node.apply(&project)?;
    let other = Project::new(&web_jaco("apart", 1), &web_compose("one"))?;
    node.apply(&other)?;
    let mut networks = node.engine.networks(&node.label()?)?;
    networks.sort();
    ensure!(networks == ["jaco_apart__default", "jaco_nets_back", "jaco_nets_front"], "{networks:?}");
    for (from, name) in [
        ("nets-web-0", "middle"),
        ("nets-middle-0", "web"),
        ("nets-middle-0", "db"),
        ("nets-db-0", "middle"),
        ("nets-middle-0", "storage"),
    ] {
        let answer = resolve(node, from, name);
        ensure!(answer.as_ref().is_ok_and(|text| text.contains("Address")), "{from} does not find {name}: {answer:?}");
    }
    for (from, name) in
        [("nets-web-0", "db"), ("nets-db-0", "web"), ("apart-web-0", "middle"), ("nets-web-0", "apart-web-0")]
    {
        let answer = resolve(node, from, name);
        ensure!(answer.is_err(), "{from} finds {name}: {answer:?}");
    }
    Ok(())
}

pub(crate) fn routes_choose_by_host_and_path(node: &mut Node) -> anyhow::Result<()> {
    let compose = web_compose("web")
        + &format!("  api:\n    image: {WEB_IMAGE}\n    pull_policy: never\n    environment:\n      VALUE: api\n");
    let jaco = web_jaco("paths", 1)
        + "  - domain: paths.test\n    path: /api\n    strip_path: true\n    service: api\n    port: 8080\n    tls: off\n";
    let project = Project::new(&jaco, &compose)?;
    node.apply(&project)?;
    for (path, ending) in [("/cgi-bin/show", "web\n"), ("/api/cgi-bin/show?x=1", "api\n")] {
        let reply = node.get("paths.test", path)?;
        ensure!(reply.status == 200 && reply.body.ends_with(ending), "{path}: {reply:?}");
    }
    // A prefix matches whole parts of a path: this one belongs to the catch-all, which has no such page.
    let beside = node.get("paths.test", "/apix/cgi-bin/show")?;
    ensure!(beside.status == 404 && !beside.head.to_lowercase().contains("server: jaco"), "{beside:?}");
    let thief = Project::new(&web_jaco("thief", 1).replace("thief.test", "PATHS.test"), &web_compose("one"))?;
    node.daemon.cli().refused(&["apply", &thief.jaco()], 7, "route_conflict")?;
    ensure!(node.deployments()? == ["paths"], "a refused apply left something behind");
    Ok(())
}
