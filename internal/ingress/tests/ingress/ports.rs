//! Published ports.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jaco_ingress::{Drained, Ingress, Limits, Options};
use jaco_types::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use crate::support::*;

mod restart;

/// A TCP server that greets with its port, then reads to the end and says how much it was.
async fn counting(tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let _sent = stream.write_all(format!("{:05}\n", address.port()).as_bytes()).await;
                let mut got = Vec::new();
                let _end = stream.read_to_end(&mut got).await;
                let _sent = stream.write_all(format!("{}", got.len()).as_bytes()).await;
            });
        }
    });
    address
}

async fn greeting(stream: &mut TcpStream) -> u16 {
    let mut greeting = [0; 6];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut greeting)).await.expect("no greeting").unwrap();
    std::str::from_utf8(&greeting).unwrap().trim().parse().unwrap()
}

async fn free_port() -> u16 {
    dead_address().await.port()
}

async fn connect(port: u16) -> TcpStream {
    let mut stream = None;
    eventually("the port is open", async || {
        stream = TcpStream::connect(("127.0.0.1", port)).await.ok();
        stream.is_some()
    })
    .await;
    stream.unwrap()
}

fn ingress(limits: Limits) -> Ingress {
    Ingress::start(Options { http: Vec::new(), limits, ..options() }).unwrap()
}

#[tokio::test]
async fn tcp_connections_take_turns_and_half_close_is_passed_on() {
    let mut tasks = JoinSet::new();
    let replicas = [counting(&mut tasks).await, counting(&mut tasks).await];
    let ingress = ingress(Limits::default());
    let port = free_port().await;
    ingress.apply(&port_table(Protocol::Tcp, port, &replicas));
    let mut seen = Vec::new();
    for _ in 0..6 {
        let mut stream = connect(port).await;
        seen.push(greeting(&mut stream).await);
        stream.write_all(&vec![7; 300_000]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "300000");
    }
    for replica in replicas {
        assert_eq!(seen.iter().filter(|port| **port == replica.port()).count(), 3, "{seen:?}");
    }
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "{seen:?}");
}

#[tokio::test]
async fn an_unreachable_replica_is_passed_over() {
    let mut tasks = JoinSet::new();
    let good = counting(&mut tasks).await;
    let replicas = [dead_address().await, good, dead_address().await];
    let ingress = ingress(Limits::default());
    let port = free_port().await;
    ingress.apply(&port_table(Protocol::Tcp, port, &replicas));
    for _ in 0..6 {
        assert_eq!(greeting(&mut connect(port).await).await, good.port());
    }
    // Without any replica a connection ends at once.
    ingress.apply(&port_table(Protocol::Tcp, port, &[]));
    let mut answer = Vec::new();
    let _end = tokio::time::timeout(PATIENCE, connect(port).await.read_to_end(&mut answer)).await.expect("left open");
    assert!(answer.is_empty());
}

#[tokio::test]
async fn a_removed_port_closes_while_its_connections_go_on_for_a_while() {
    let mut tasks = JoinSet::new();
    let replica = counting(&mut tasks).await;
    let ingress = ingress(Limits { port_linger: Duration::from_secs(2), ..Limits::default() });
    let port = free_port().await;
    ingress.apply(&port_table(Protocol::Tcp, port, &[replica]));
    let mut finishing = connect(port).await;
    let mut staying = connect(port).await;
    greeting(&mut finishing).await;
    greeting(&mut staying).await;
    let removed = std::time::Instant::now();
    ingress.apply(&port_table(Protocol::Tcp, free_port().await, &[replica]));
    eventually("the port is closed", async || TcpStream::connect(("127.0.0.1", port)).await.is_err()).await;
    assert!(removed.elapsed() < Duration::from_secs(2), "{:?}", removed.elapsed());
    finishing.write_all(b"abc").await.unwrap();
    finishing.shutdown().await.unwrap();
    let mut answer = String::new();
    finishing.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "3");
    let _end = tokio::time::timeout(PATIENCE, staying.read_to_string(&mut answer)).await.expect("never ended");
}

#[tokio::test]
async fn a_taken_port_is_reported_and_opened_when_it_is_free() {
    let mut tasks = JoinSet::new();
    let replica = counting(&mut tasks).await;
    let ingress = ingress(Limits::default());
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let udp = UdpSocket::bind(tcp.local_addr().unwrap()).await.unwrap();
        let port = tcp.local_addr().unwrap().port();
        ingress.apply(&port_table(protocol, port, &[replica]));
        eventually("it is reported", async || ingress.port_conditions().contains_key(&(protocol, port))).await;
        let conditions = ingress.port_conditions();
        assert!(conditions[&(protocol, port)].contains(&port.to_string()), "{conditions:?}");
        drop((tcp, udp));
        eventually("the report is gone", async || ingress.port_conditions().is_empty()).await;
        if protocol == Protocol::Tcp {
            assert_eq!(greeting(&mut connect(port).await).await, replica.port());
        }
    }
}

/// A UDP server that answers with its port and what it got; counts the addresses it heard from.
async fn answering(tasks: &mut JoinSet<()>) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let peers = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&peers);
    tasks.spawn(async move {
        let mut known = std::collections::HashSet::new();
        let mut buffer = vec![0; 70_000];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            if known.insert(peer) {
                counter.fetch_add(1, Ordering::SeqCst);
            }
            let answer = format!("{} {length}", address.port());
            let _sent = socket.send_to(answer.as_bytes(), peer).await;
        }
    });
    (address, peers)
}

/// Sends until there is an answer; returns the replica's port and the length it saw.
async fn ask(client: &UdpSocket, port: u16, datagram: &[u8]) -> (u16, usize) {
    let mut buffer = [0; 100];
    let mut length = 0;
    eventually("an answer", async || {
        client.send_to(datagram, ("127.0.0.1", port)).await.unwrap();
        match tokio::time::timeout(Duration::from_millis(200), client.recv_from(&mut buffer)).await {
            Ok(Ok((received, from))) => {
                assert_eq!(from.port(), port, "answered from another address");
                length = received;
                true
            }
            Ok(Err(_)) | Err(_) => false,
        }
    })
    .await;
    let answer = std::str::from_utf8(&buffer[..length]).unwrap();
    let (port, length) = answer.split_once(' ').unwrap();
    (port.parse().unwrap(), length.parse().unwrap())
}

#[tokio::test]
async fn udp_keeps_one_flow_per_client() {
    let mut tasks = JoinSet::new();
    let (one, one_peers) = answering(&mut tasks).await;
    let (two, two_peers) = answering(&mut tasks).await;
    let ingress = ingress(Limits::default());
    let port = free_port().await;
    ingress.apply(&port_table(Protocol::Udp, port, &[one, two]));
    let mut seen = std::collections::HashSet::new();
    for _ in 0..4 {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (first, _) = ask(&client, port, b"x").await;
        for length in [0, 1, 1400, 60_000] {
            assert_eq!(ask(&client, port, &vec![1; length]).await, (first, length));
        }
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2, "the flows did not spread");
    assert_eq!(one_peers.load(Ordering::SeqCst) + two_peers.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_udp_flow_moves_when_its_replica_leaves() {
    let mut tasks = JoinSet::new();
    let (one, _) = answering(&mut tasks).await;
    let (two, _) = answering(&mut tasks).await;
    let ingress = ingress(Limits::default());
    let port = free_port().await;
    ingress.apply(&port_table(Protocol::Udp, port, &[one, two]));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (first, _) = ask(&client, port, b"x").await;
    let (leaving, staying) = if first == one.port() { (one, two) } else { (two, one) };
    assert_eq!(ingress.withdraw(&container(leaving), PATIENCE).await, Drained::Idle);
    assert_eq!(ask(&client, port, b"x").await.0, staying.port());
    ingress.apply(&port_table(Protocol::Udp, port, &[leaving]));
    // It was not gone from the table in between, so it is still withdrawn.
    ingress.apply(&port_table(Protocol::Udp, port, &[]));
    ingress.apply(&port_table(Protocol::Udp, port, &[leaving]));
    assert_eq!(ask(&client, port, b"x").await.0, leaving.port());
}

#[tokio::test]
async fn an_idle_udp_flow_ends() {
    let mut tasks = JoinSet::new();
    let (replica, peers) = answering(&mut tasks).await;
    let limits = Limits { udp_idle: Duration::from_millis(100), udp_flows: 1, ..Limits::default() };
    let ingress = ingress(limits);
    let port = free_port().await;
    ingress.apply(&port_table(Protocol::Udp, port, &[replica]));
    let first = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    ask(&first, port, b"x").await;
    // There is room for one flow: the second client is served once the first one's has ended.
    let second = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    ask(&second, port, b"x").await;
    assert_eq!(peers.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_withdrawal_waits_for_tcp_connections() {
    let mut tasks = JoinSet::new();
    let replica = counting(&mut tasks).await;
    let ingress = ingress(Limits::default());
    let port = free_port().await;
    ingress.apply(&port_table(Protocol::Tcp, port, &[replica]));
    let mut stream = connect(port).await;
    greeting(&mut stream).await;
    let name = container(replica);
    assert_eq!(ingress.withdraw(&name, Duration::from_millis(50)).await, Drained::InFlight(1));
    let (drained, ()) = tokio::join!(ingress.withdraw(&name, PATIENCE), async { drop(stream) });
    assert_eq!(drained, Drained::Idle);
}
