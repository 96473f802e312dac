//! Sockets of published ports across a restart.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};

use jaco_ingress::{PortKeeper, PortRule, PortSocket, Table};

use super::*;

/// Keeps duplicates as a service manager does.
#[derive(Debug, Default)]
struct Keeper(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    sockets: BTreeMap<(Protocol, u16), OwnedFd>,
    forgotten: Vec<(Protocol, u16)>,
}

impl PortKeeper for Keeper {
    fn keep(&self, protocol: Protocol, port: u16, socket: BorrowedFd<'_>) {
        let socket = socket.try_clone_to_owned().unwrap();
        self.0.lock().unwrap().sockets.insert((protocol, port), socket);
    }

    fn forget(&self, protocol: Protocol, port: u16) {
        let mut kept = self.0.lock().unwrap();
        kept.sockets.remove(&(protocol, port));
        kept.forgotten.push((protocol, port));
    }
}

impl Keeper {
    /// What the next process is given; the keeper goes on keeping it.
    fn inherited(&self) -> Vec<PortSocket> {
        let kept = self.0.lock().unwrap();
        let duplicates = kept.sockets.iter().map(|((protocol, _), socket)| {
            let socket = socket.try_clone().unwrap();
            match protocol {
                Protocol::Tcp => PortSocket::Tcp(socket.into()),
                Protocol::Udp => PortSocket::Udp(socket.into()),
            }
        });
        duplicates.collect()
    }

    fn keeps(&self, protocol: Protocol, port: u16) -> bool {
        self.0.lock().unwrap().sockets.contains_key(&(protocol, port))
    }

    fn forgotten(&self) -> Vec<(Protocol, u16)> {
        self.0.lock().unwrap().forgotten.clone()
    }
}

/// A process that takes over what the keeper has.
fn take_over(keeper: &Arc<Keeper>, cache_file: Option<PathBuf>) -> Ingress {
    Ingress::start(Options {
        http: Vec::new(),
        ports: keeper.inherited(),
        port_keeper: Arc::clone(keeper) as Arc<dyn PortKeeper>,
        cache_file,
        ..options()
    })
    .unwrap()
}

/// As in a real restart, the next process begins with the table of the one before.
fn cached(folder: &Path, table: &Table) -> PathBuf {
    let file = folder.join("routes.json");
    std::fs::write(&file, serde_json::json!({ "version": 1, "table": table }).to_string()).unwrap();
    file
}

async fn is_refused(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).await.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_refuses_no_connection_to_a_port() {
    let mut replicas = JoinSet::new();
    let replica = counting(&mut replicas).await;
    let port = free_port().await;
    let table = port_table(Protocol::Tcp, port, &[replica]);
    let folder = tempfile::tempdir().unwrap();
    let cache_file = cached(folder.path(), &table);
    let keeper = Arc::new(Keeper::default());
    let mut current = take_over(&keeper, None);
    current.apply(&table);
    eventually("the port is open", async || keeper.keeps(Protocol::Tcp, port)).await;
    let done = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..6 {
        let (done, served) = (Arc::clone(&done), Arc::clone(&served));
        clients.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection was refused");
                greeting(&mut stream).await;
                stream.write_all(b"abc").await.unwrap();
                stream.shutdown().await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                assert_eq!(answer, "3");
                served.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    for _ in 0..4 {
        let before = served.load(Ordering::SeqCst);
        eventually("connections are served", async || {
            assert!(clients.try_join_next().is_none(), "a client has ended");
            served.load(Ordering::SeqCst) > before + 50
        })
        .await;
        // Nobody accepts between the two; what arrives waits.
        current.stop(PATIENCE).await;
        let waiting = TcpStream::connect(("127.0.0.1", port)).await;
        current = take_over(&keeper, Some(cache_file.clone()));
        greeting(&mut waiting.unwrap()).await;
        current.apply(&table);
    }
    done.store(true, Ordering::SeqCst);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    assert_eq!(keeper.forgotten(), []);
}

#[tokio::test]
async fn datagrams_wait_for_the_next_process() {
    let mut replicas = JoinSet::new();
    let (replica, _) = answering(&mut replicas).await;
    let port = free_port().await;
    let table = port_table(Protocol::Udp, port, &[replica]);
    let folder = tempfile::tempdir().unwrap();
    let cache_file = cached(folder.path(), &table);
    let keeper = Arc::new(Keeper::default());
    let ingress = take_over(&keeper, None);
    ingress.apply(&table);
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    ask(&client, port, b"x").await;
    // Answers to datagrams that were sent twice must not be taken for those below.
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    ingress.stop(PATIENCE).await;
    for length in 1..=3 {
        client.send_to(&vec![1; length], ("127.0.0.1", port)).await.unwrap();
    }
    let _ingress = take_over(&keeper, Some(cache_file));
    let mut lengths = Vec::new();
    for _ in 0..3 {
        let mut answer = [0; 100];
        let received = tokio::time::timeout(PATIENCE, client.recv_from(&mut answer)).await.expect("no answer");
        let (length, from) = received.unwrap();
        assert_eq!(from.port(), port);
        lengths.push(String::from_utf8_lossy(&answer[..length]).into_owned());
    }
    lengths.sort();
    assert_eq!(lengths, [1, 2, 3].map(|length| format!("{} {length}", replica.port())));
}

#[tokio::test]
async fn a_port_that_leaves_the_table_is_forgotten_and_one_that_is_stopped_is_not() {
    let mut replicas = JoinSet::new();
    let replica = counting(&mut replicas).await;
    let (leaving, staying) = (free_port().await, free_port().await);
    let keeper = Arc::new(Keeper::default());
    let ingress = take_over(&keeper, None);
    let mut table = port_table(Protocol::Tcp, leaving, &[replica]);
    table.ports.push(PortRule { protocol: Protocol::Tcp, host_port: staying, backend: 0 });
    table.ports.push(PortRule { protocol: Protocol::Udp, host_port: leaving, backend: 0 });
    ingress.apply(&table);
    eventually("all are kept", async || keeper.inherited().len() == 3).await;
    // A manager may take its time: what it still has must not take connections.
    let slow = keeper.inherited();
    greeting(&mut connect(leaving).await).await;
    ingress.apply(&port_table(Protocol::Tcp, staying, &[replica]));
    eventually("the port is closed", async || is_refused(leaving).await).await;
    eventually("both are forgotten", async || keeper.forgotten().len() == 2).await;
    assert_eq!(keeper.forgotten(), [(Protocol::Tcp, leaving), (Protocol::Udp, leaving)]);
    // Nor be in the way of the next listener.
    ingress.apply(&table);
    greeting(&mut connect(leaving).await).await;
    drop(slow);
    eventually("all are kept again", async || keeper.inherited().len() == 3).await;

    ingress.stop(PATIENCE).await;
    assert_eq!(keeper.forgotten().len(), 2);
    for port in [leaving, staying] {
        assert!(!is_refused(port).await, "{port} does not wait for the next process");
    }
}

#[tokio::test]
async fn an_inherited_port_that_the_store_does_not_name_is_closed() {
    let mut replicas = JoinSet::new();
    let replica = counting(&mut replicas).await;
    let (named, unnamed) = (free_port().await, free_port().await);
    let keeper = Arc::new(Keeper::default());
    let ingress = take_over(&keeper, None);
    let mut table = port_table(Protocol::Tcp, named, &[replica]);
    table.ports.push(PortRule { protocol: Protocol::Tcp, host_port: unnamed, backend: 0 });
    table.ports.push(PortRule { protocol: Protocol::Udp, host_port: unnamed, backend: 0 });
    ingress.apply(&table);
    eventually("all are kept", async || keeper.inherited().len() == 3).await;
    ingress.stop(PATIENCE).await;

    let table = port_table(Protocol::Tcp, named, &[replica]);
    let folder = tempfile::tempdir().unwrap();
    let ingress = take_over(&keeper, Some(cached(folder.path(), &table)));
    greeting(&mut connect(named).await).await;
    // The cache is no reason to close anything: the store may name the port.
    assert!(!is_refused(unnamed).await);
    assert_eq!(keeper.forgotten(), []);
    assert!(!ingress.apply(&table), "the store has the cached table");
    eventually("both are forgotten", async || keeper.forgotten().len() == 2).await;
    assert_eq!(keeper.forgotten(), [(Protocol::Tcp, unnamed), (Protocol::Udp, unnamed)]);
    assert!(is_refused(unnamed).await);
    eventually("the UDP port is free", async || UdpSocket::bind(("127.0.0.1", unnamed)).await.is_ok()).await;
    greeting(&mut connect(named).await).await;
}

#[tokio::test]
async fn an_inherited_port_is_served_once_the_store_names_it() {
    let mut replicas = JoinSet::new();
    let replica = counting(&mut replicas).await;
    let keeper = Arc::new(Keeper::default());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    keeper.keep(Protocol::Tcp, port, std::os::fd::AsFd::as_fd(&listener));
    drop(listener);
    let ingress = take_over(&keeper, None);
    let mut waiting = connect(port).await;
    ingress.apply(&port_table(Protocol::Tcp, port, &[replica]));
    assert_eq!(greeting(&mut waiting).await, replica.port());
    assert_eq!(keeper.forgotten(), []);
}

#[tokio::test]
async fn an_inherited_socket_that_cannot_serve_is_replaced() {
    let mut replicas = JoinSet::new();
    let replica = counting(&mut replicas).await;
    let elsewhere = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // What stays behind when a manager has not heard that a port was closed.
    let bound = socket2::SockRef::from(&dead);
    bound.shutdown(std::net::Shutdown::Both).unwrap();
    let ports = [elsewhere.local_addr().unwrap().port(), dead.local_addr().unwrap().port()];
    let keeper = Arc::new(Keeper::default());
    let ingress = Ingress::start(Options {
        http: Vec::new(),
        ports: vec![PortSocket::Tcp(elsewhere), PortSocket::Tcp(dead)],
        port_keeper: Arc::clone(&keeper) as Arc<dyn PortKeeper>,
        ..options()
    })
    .unwrap();
    eventually("they are forgotten", async || keeper.forgotten() == ports.map(|port| (Protocol::Tcp, port))).await;
    for port in ports {
        ingress.apply(&port_table(Protocol::Tcp, port, &[replica]));
        assert_eq!(greeting(&mut connect(port).await).await, replica.port());
    }
}
