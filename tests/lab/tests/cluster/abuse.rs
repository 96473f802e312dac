//! Strangers at the open ports: each is closed or told, and the cluster does not notice.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jaco_e2e::{Project, announce, pause};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Rig;
use crate::cluster::{Cluster, DOWN_AFTER, refused};
use crate::workload::{apply, idle_project};

/// The ports that are open to the network.
const PORTS: [u16; 2] = [7000, 7001];

/// The ingress's, where strangers are guests: it closes those that say nothing, or not all of a request.
const INGRESS: u16 = 80;

/// A client that says nothing sensible is closed within this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nobody was deposed or called unreachable, and writes are accepted as ever.
fn unharmed(cluster: &Cluster<'_>, leader: usize) -> anyhow::Result<()> {
    let begin = Instant::now();
    apply(cluster.host(2), &idle_project("unharmed")?)?;
    ensure!(begin.elapsed() < Duration::from_secs(5), "a write took {:?}", begin.elapsed());
    ensure!(cluster.leader(&[1, 2, 3])? == leader, "another one leads");
    for number in 1..=3 {
        ensure!(cluster.host(number).jacod().is_running(), "the daemon of host{number} ended");
        let log = cluster.host(number).jacod().logs();
        ensure!(!log.contains("panicked"), "{}", cluster.host(number).jacod().log_tail(50));
    }
    cluster.settled(&[1, 2, 3])
}

/// Sends this, a byte at a time if asked to, and waits for the end of the connection.
fn is_closed(address: SocketAddr, text: &[u8], slowly: bool) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    let mut rest = text;
    let mut answer = [0; 1024];
    loop {
        ensure!(begin.elapsed() < PATIENCE, "{address} still listens after {PATIENCE:?}");
        let now = if slowly { rest.len().min(1) } else { rest.len() };
        if now > 0 && stream.write_all(&rest[..now]).is_err() {
            return Ok(begin.elapsed());
        }
        rest = &rest[now..];
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        match stream.read(&mut answer) {
            Ok(0) => return Ok(begin.elapsed()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return Ok(begin.elapsed()),
        }
    }
}

/// Noise, another protocol, nothing at all, half a handshake, and a handshake a byte at a time.
pub(crate) fn garbage_and_slow_clients_harm_nobody(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let leader = cluster.leader(&[1, 2, 3])?;
    let target = cluster.host(leader).address();
    let noise: Vec<u8> = (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    // The head of a TLS record that promises 16 KiB, and no more.
    let half = [0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3];
    let clients: Vec<(&str, Vec<u8>, bool)> = vec![
        ("noise", noise, false),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), false),
        ("HTTP/2 without TLS", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), false),
        ("nothing", Vec::new(), false),
        ("half a handshake", half.to_vec(), false),
        ("a slow handshake", half.iter().copied().chain([0; 200]).collect(), true),
    ];
    let guests = [
        ("noise", clients[0].1.clone(), false),
        ("nothing", Vec::new(), false),
        ("half a request", b"GET / HTTP/1.1\r\nHost: w".to_vec(), false),
        ("a slow request", b"GET / HTTP/1.1\r\nHost: ".iter().copied().chain([b'x'; 200]).collect(), true),
    ];
    let longest = rig.lab().network().inside(|| {
        std::thread::scope(|scope| {
            let mut waits = Vec::new();
            let of = |port: u16| if port == INGRESS { &guests[..] } else { &clients[..] };
            for port in PORTS.into_iter().chain([INGRESS]) {
                for (what, text, slowly) in of(port) {
                    let address = SocketAddr::from((target, port));
                    let work = move || is_closed(address, text, *slowly).with_context(|| format!("{what} on {port}"));
                    // In the namespace of the thread that starts them.
                    waits.push(scope.spawn(work));
                }
            }
            let ends =
                waits.into_iter().map(|wait| wait.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            let times = ends.collect::<anyhow::Result<Vec<Duration>>>()?;
            anyhow::Ok(times.into_iter().max().unwrap_or_default())
        })
    })??;
    announce(&format!("all were closed within {longest:.1?}"));
    unharmed(&cluster, leader)
}

/// Ten thousand at once on each port of the leader, held for longer than a node may be silent.
pub(crate) fn ten_thousand_connections_harm_nobody(rig: &mut Rig) -> anyhow::Result<()> {
    const CONNECTIONS: usize = 10_000;
    let cluster = rig.cluster(3)?;
    let leader = cluster.leader(&[1, 2, 3])?;
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.map_or(Some(65_536), |maximum| Some(maximum.min(65_536)));
    setrlimit(Resource::Nofile, Rlimit { ..limit }).context("the limit of open files")?;
    for port in PORTS {
        let address = SocketAddr::from((cluster.host(leader).address(), port));
        let held = rig.lab().network().inside(|| flood(address, CONNECTIONS))?;
        announce(&format!("{} connections of {CONNECTIONS} were made to port {port}", held.len()));
        let end = Instant::now() + DOWN_AFTER + Duration::from_secs(2);
        while Instant::now() < end {
            let begin = Instant::now();
            apply(cluster.host(2), &idle_project("meanwhile")?)?;
            ensure!(begin.elapsed() < Duration::from_secs(5), "a write took {:?} meanwhile", begin.elapsed());
            pause();
        }
        ensure!(cluster.leader(&[1, 2, 3])? == leader, "another one leads");
        drop(held);
        unharmed(&cluster, leader)?;
    }
    Ok(())
}

/// As many connections as are accepted within ten seconds, by several clients at once.
fn flood(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    const CLIENTS: usize = 16;
    let end = Instant::now() + Duration::from_secs(10);
    let connect = move || {
        let mut held = Vec::with_capacity(count / CLIENTS);
        while held.len() < count / CLIENTS && Instant::now() < end {
            // Longer than the second after which a kernel asks again: a full queue is no refusal.
            held.extend(TcpStream::connect_timeout(&address, Duration::from_millis(1500)));
        }
        held
    };
    // They are in the namespace of the thread that starts them.
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(connect)).collect();
        let held = clients.into_iter().map(|client| client.join().unwrap_or_default());
        held.flatten().collect()
    })
}

/// Larger than any transaction may be, on a follower's socket and over TLS: told by name, and nothing of it is there.
pub(crate) fn a_request_that_is_too_large_is_refused(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let leader = cluster.leader(&[1, 2, 3])?;
    let follower = cluster.host(leader % 3 + 1);
    let server = format!("{}:7000", cluster.host(leader).address());
    let text = |field: &str| cluster.founded[field].as_str().unwrap_or_default().to_owned();
    let (token, fingerprint) = (text("operator_token"), text("ca_fingerprint"));
    let remote = ["--server", &server, "--token", &token, "--ca-fingerprint", &fingerprint];
    for mebibytes in [2, 20] {
        let value = "x".repeat(mebibytes << 20);
        let compose =
            format!("services:\n  none:\n    image: jaco.test/web:1\n    environment:\n      LARGE: {value}\n");
        let project = Project::new("deployment: large\nservices:\n  - name: none\n    replicas: 0\n", &compose)?;
        for way in [&[][..], &remote] {
            let mut arguments = way.to_vec();
            let path = project.jaco();
            arguments.extend(["apply", &path]);
            refused(follower, &arguments, 3, &["request_too_large"]).with_context(|| format!("{mebibytes} MiB"))?;
        }
    }
    refused(follower, &["get", "deployment", "large"], 4, &["deployment_not_found"])?;
    unharmed(&cluster, leader)
}
