//! Start, stop, restart, and following the store.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use jaco_ingress::{HttpListener, Ingress, Limits, Options};
use jaco_state::{LocalStore, Store, SystemClock, Transaction};
use jaco_types::{ClusterMeta, DeploymentName, Domain, Route, RouteTls, ServiceName};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::*;

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight_and_closes_what_is_idle() {
    let replica = Replica::start(|_: Request<Incoming>| async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        Response::new(text("late"))
    })
    .await;
    let (ingress, address) = start(&table(&[replica.address]));
    let mut idle = Client::connect(address).await;
    assert_eq!(idle.get("/").await.text(), "late");
    let mut busy = JoinSet::new();
    busy.spawn(fetch(address, get("/")));
    eventually("the request is in flight", async || replica.count() == 2).await;
    let begun = Instant::now();
    ingress.stop(PATIENCE).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "an idle connection held the stop up: {:?}", begun.elapsed());
    assert_eq!(busy.join_next().await.unwrap().unwrap().text(), "late");
    assert!(idle.send(get("/")).await.is_err());
    assert!(TcpStream::connect(address).await.is_err(), "the socket is still open");
}

#[tokio::test]
async fn a_stop_ends_at_its_deadline() {
    let replica = Replica::start(|_: Request<Incoming>| std::future::pending::<Response<TestBody>>()).await;
    let (ingress, address) = start(&table(&[replica.address]));
    let mut busy = JoinSet::new();
    busy.spawn(async move { Client::connect(address).await.send(get("/")).await.is_err() });
    eventually("the request is in flight", async || replica.count() == 1).await;
    let begun = Instant::now();
    ingress.stop(Duration::from_millis(700)).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(busy.join_next().await.unwrap().unwrap());
}

#[test]
fn an_address_that_is_taken_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = vec![HttpListener::Bind(taken.local_addr().unwrap())];
    assert!(Ingress::start(Options::new(http)).is_err());
}

#[test]
fn a_second_ingress_does_not_share_the_address_of_a_first() {
    let first = Ingress::start(Options::new(vec![HttpListener::Bind("127.0.0.1:0".parse().unwrap())])).unwrap();
    let http = first.addresses().iter().copied().map(HttpListener::Bind).collect();
    assert!(Ingress::start(Options::new(http)).is_err());
}

#[tokio::test]
async fn every_inherited_socket_is_served_by_any_number_of_workers() {
    let replica = Replica::named().await;
    for workers in [1, 2, 3] {
        let sockets: Vec<TcpListener> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        let http = sockets.into_iter().map(HttpListener::Inherited).collect();
        let ingress = Ingress::start(Options { workers, ..Options::new(http) }).unwrap();
        ingress.apply(&table(&[replica.address]));
        assert_eq!(ingress.addresses(), addresses);
        assert_eq!(ingress.listeners().unwrap().len(), 2);
        for address in addresses {
            for _ in 0..10 {
                assert_eq!(fetch(address, get("/")).await.status, 200);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_on_the_same_sockets_refuses_no_connection() {
    let replica = Replica::named().await;
    // As in a real restart, the next process begins with the routes of the one before.
    let folder = tempfile::tempdir().unwrap();
    let cache_file = folder.path().join("routes.json");
    let cached = serde_json::json!({ "version": 1, "table": table(&[replica.address]) });
    std::fs::write(&cache_file, cached.to_string()).unwrap();
    let (mut current, address) = start(&table(&[replica.address]));
    let done = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for number in 0..6 {
        let (done, served) = (Arc::clone(&done), Arc::clone(&served));
        clients.spawn(async move {
            let mut kept: Option<Client> = None;
            while !done.load(Ordering::SeqCst) {
                // Half of the clients keep their connection until they are told that it closes.
                let mut client = match kept.take() {
                    Some(client) => client,
                    None => Client::connect(address).await,
                };
                let reply = Reply::read(client.send(get("/")).await.unwrap()).await;
                assert_eq!(reply.status, 200);
                if number % 2 == 0 && reply.headers.get("connection").is_none_or(|value| value != "close") {
                    kept = Some(client);
                }
                served.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    for _ in 0..3 {
        let before = served.load(Ordering::SeqCst);
        eventually("requests flow", async || served.load(Ordering::SeqCst) > before + 50).await;
        let inherited = current.listeners().unwrap();
        assert_eq!(inherited.len(), 2);
        let http = inherited.into_iter().map(|socket| HttpListener::Inherited(socket.into())).collect();
        let next = Ingress::start(Options { http, cache_file: Some(cache_file.clone()), ..options() }).unwrap();
        current.stop(PATIENCE).await;
        current = next;
    }
    done.store(true, Ordering::SeqCst);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}

#[tokio::test]
async fn a_start_serves_the_last_known_routes_at_once() {
    let replica = Replica::named().await;
    let folder = tempfile::tempdir().unwrap();
    let cache_file = folder.path().join("ingress/cache/routes.json");
    let with_cache = || Ingress::start(Options { cache_file: Some(cache_file.clone()), ..options() }).unwrap();
    let store = store();
    put_route(&store, "a.example");
    let ingress = with_cache();
    follow_until(&ingress, &store, || cache_file.exists()).await;
    assert_eq!(fetch(ingress.addresses()[0], get("/")).await.status, 503);
    drop(ingress);
    // The cached table with a replica, as a running cluster would have it.
    let text = std::fs::read_to_string(&cache_file).unwrap();
    let endpoint = format!(r#""endpoints":[{{"address":"{}","container":"c"}}]"#, replica.address);
    std::fs::write(&cache_file, text.replace(r#""endpoints":[]"#, &endpoint)).unwrap();

    let ingress = with_cache();
    let address = ingress.addresses()[0];
    assert_eq!(fetch(address, get("/")).await.status, 200);
    // A store that holds no cluster yet is no reason to forget them; the first real view is.
    let blank: Arc<dyn Store> = Arc::new(LocalStore::new(Arc::new(SystemClock::new())));
    follow(&ingress, &blank, async { assert_eq!(fetch(address, get("/")).await.status, 200) }).await;
    let other = self::store();
    follow(&ingress, &other, async {
        eventually("the cache is replaced", async || fetch(address, get("/")).await.status == 404).await;
    })
    .await;
    drop(ingress);

    std::fs::write(&cache_file, "damaged").unwrap();
    assert_eq!(fetch(with_cache().addresses()[0], get("/")).await.status, 404);
}

#[tokio::test]
async fn changes_of_the_store_are_served_within_a_second() {
    let store = store();
    let (ingress, address) = start_with(&jaco_ingress::Table::default(), Limits::default());
    follow(&ingress, &store, async {
        for number in 0..5 {
            let domain = format!("n{number}.example");
            put_route(&store, &domain);
            let committed = Instant::now();
            eventually("the route is served", async || {
                let mut request = get("/");
                request.headers_mut().insert("host", domain.parse().unwrap());
                fetch(address, request).await.status == 503
            })
            .await;
            assert!(committed.elapsed() < Duration::from_secs(1), "{:?}", committed.elapsed());
        }
        // A steady stream of changes does not put rendering off.
        let mut flood = 0;
        let begun = Instant::now();
        eventually("a route in a flood is served", async || {
            flood += 1;
            put_route(&store, &format!("flood{flood}.example"));
            let mut request = get("/");
            request.headers_mut().insert("host", "flood1.example".parse().unwrap());
            fetch(address, request).await.status == 503
        })
        .await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    })
    .await;
}

fn store() -> Arc<dyn Store> {
    let store = LocalStore::new(Arc::new(SystemClock::new()));
    let mut transaction = Transaction::new("test");
    transaction.put(ClusterMeta {
        cluster_id: "id".to_owned(),
        name: "name".to_owned(),
        incarnation: 1,
        feature_level: 1,
        created_at_ms: 0,
        ipam_pool: "10.0.0.0/8".parse().unwrap(),
        mesh_cidr: "10.255.0.0/16".parse().unwrap(),
        node_down_after_ms: 10_000,
    });
    store.commit(transaction).unwrap();
    Arc::new(store)
}

fn put_route(store: &Arc<dyn Store>, domain: &str) {
    let mut transaction = Transaction::new("test");
    transaction.put(Route {
        domain: Domain::new(domain).unwrap(),
        path: String::new(),
        deployment: DeploymentName::new("d").unwrap(),
        service: ServiceName::new("s").unwrap(),
        port: 80,
        tls: RouteTls::Off,
        strip_path: false,
    });
    // The local store answers at once.
    let mut proposed = store.propose(transaction);
    let waker = std::task::Waker::noop();
    let polled = proposed.as_mut().poll(&mut std::task::Context::from_waker(waker));
    assert!(matches!(polled, std::task::Poll::Ready(Ok(_))));
}

/// Runs the route loop as long as the test's part runs; then stops it.
async fn follow(ingress: &Ingress, store: &Arc<dyn Store>, part: impl Future<Output = ()>) {
    let stop = CancellationToken::new();
    let stopper = stop.clone();
    let ((), ()) = tokio::join!(ingress.route_loop(Arc::clone(store), stop, |_report| {}), async move {
        part.await;
        stopper.cancel();
    });
}

async fn follow_until(ingress: &Ingress, store: &Arc<dyn Store>, holds: impl Fn() -> bool) {
    follow(ingress, store, eventually("the loop has done it", async || holds())).await;
}
