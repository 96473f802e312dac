//! Which replica answers, and what happens when one does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use hyper::body::Incoming;
use jaco_ingress::{Drained, Limits, UpstreamProtocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::support::*;

#[tokio::test]
async fn requests_spread_over_the_replicas() {
    let replicas = [Replica::named().await, Replica::named().await, Replica::named().await];
    let (_ingress, address) = start(&table(&replicas.each_ref().map(|replica| replica.address)));
    let mut client = Client::connect(address).await;
    for _ in 0..300 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let counts = replicas.each_ref().map(Replica::count);
    // One at a time, so every choice is between two idle ones: a fair die. 40 of 300 at a mean of 100 is 7 deviations away.
    assert!(counts.iter().all(|count| *count > 40), "{counts:?}");
}

#[tokio::test]
async fn a_slow_replica_gets_less() {
    let release = Arc::new(Notify::new());
    let held = Arc::clone(&release);
    let slow = Replica::start(move |_| {
        let held = Arc::clone(&held);
        async move {
            held.notified().await;
            Response::new(empty())
        }
    })
    .await;
    let fast = Replica::named().await;
    let (_ingress, address) = start(&table(&[slow.address, fast.address]));
    let mut stuck = JoinSet::new();
    while slow.count() == 0 {
        stuck.spawn(fetch(address, get("/")));
        let sent = stuck.len();
        eventually("the request arrived", async || slow.count() + fast.count() >= sent).await;
    }
    let before = fast.count();
    let mut client = Client::connect(address).await;
    for _ in 0..50 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(fast.count() - before, 50, "a replica with a request in flight was preferred to an idle one");
    release.notify_waiters();
}

#[tokio::test]
async fn a_refused_connection_is_tried_elsewhere_and_the_replica_left_out() {
    let dead = dead_address().await;
    let replica = Replica::named().await;
    let (ingress, address) = start(&table(&[dead, replica.address]));
    for _ in 0..50 {
        let reply = fetch(address, request("POST", "/", text("body"))).await;
        assert_eq!(reply.text(), replica.address.to_string());
    }
    let stats = ingress.stats();
    assert!((1..=2).contains(&stats.upstream_failures), "not left out: {stats:?}");
    assert_eq!(stats.retries, stats.upstream_failures);
    assert_eq!(stats.requests[1], 50);
}

#[tokio::test]
async fn the_last_replica_is_never_left_out() {
    let address_later = dead_address().await;
    let (_ingress, address) = start(&table(&[address_later]));
    assert_eq!(fetch(address, get("/")).await.status, 502);
    let _replica = Replica::start_at(address_later, |_| async { Response::new(text("back")) }).await;
    assert_eq!(fetch(address, get("/")).await.text(), "back");
}

/// Accepts, reads the request, and closes without an answer.
async fn silent(tasks: &mut JoinSet<()>) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            if stream.read(&mut buffer).await.unwrap_or(0) > 0 {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (address, seen)
}

#[tokio::test]
async fn a_connection_lost_before_the_answer_is_retried_only_for_what_may_be_repeated() {
    let mut tasks = JoinSet::new();
    let (bad, seen) = silent(&mut tasks).await;
    let good = Replica::named().await;
    let limits = Limits { eject_for: Duration::ZERO, ..Limits::default() };
    let (_ingress, address) = start_with(&table(&[bad, good.address]), limits);
    for _ in 0..30 {
        assert_eq!(fetch(address, get("/")).await.status, 200);
    }
    assert!(seen.load(Ordering::SeqCst) > 0, "the silent one was never chosen");
    let before = seen.load(Ordering::SeqCst);
    let mut failed = 0;
    for _ in 0..30 {
        failed += usize::from(fetch(address, request("POST", "/", text("once"))).await.status == 502);
    }
    assert_eq!(seen.load(Ordering::SeqCst) - before, failed, "a request with a body was sent twice");
    assert!(failed > 0);
}

#[tokio::test]
async fn at_most_two_retries() {
    let mut tasks = JoinSet::new();
    let mut seen = Vec::new();
    let mut addresses = Vec::new();
    for _ in 0..5 {
        let (address, counter) = silent(&mut tasks).await;
        addresses.push(address);
        seen.push(counter);
    }
    let (_ingress, address) = start(&table(&addresses));
    assert_eq!(fetch(address, get("/")).await.status, 502);
    assert_eq!(seen.iter().map(|seen| seen.load(Ordering::SeqCst)).sum::<usize>(), 3);
}

#[tokio::test]
async fn idle_connections_are_reused_and_dead_ones_cost_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let replica = listener.local_addr().unwrap();
    let (close, closed) = watch::channel(());
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            let mut closed = closed.clone();
            closed.mark_unchanged();
            connections.spawn(async move {
                let mut buffer = [0; 4096];
                loop {
                    tokio::select! {
                        _ = closed.changed() => return,
                        read = stream.read(&mut buffer) => match read {
                            Ok(1..) => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap(),
                            Ok(0) | Err(_) => return,
                        }
                    }
                }
            });
        }
    });
    let (_ingress, address) = start(&table(&[replica]));
    let mut client = Client::connect(address).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
    for _ in 0..20 {
        // The next request races with the news that its connection is closed.
        close.send(()).unwrap();
        assert_eq!(client.get("/").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_the_table_changes() {
    let replicas = [Replica::named().await, Replica::named().await];
    let addresses = replicas.each_ref().map(|replica| replica.address);
    let (ingress, address) = start(&table(&addresses));
    let done = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..8 {
        let done = Arc::clone(&done);
        clients.spawn(async move {
            let mut client = Client::connect(address).await;
            let mut served = 0;
            while !done.load(Ordering::SeqCst) {
                let request = if number % 2 == 0 { get("/") } else { request("POST", "/", text(vec![b'x'; 10_000])) };
                let reply = Reply::read(client.send(request).await.unwrap()).await;
                assert_eq!(reply.status, 200);
                served += 1;
            }
            served
        });
    }
    let until = Instant::now() + Duration::from_millis(1500);
    let mut swaps = 0;
    while Instant::now() < until {
        let only = addresses[swaps % 2];
        assert!(ingress.apply(&table(&[only])));
        assert!(ingress.apply(&table(&addresses)));
        swaps += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    done.store(true, Ordering::SeqCst);
    let mut served = 0;
    while let Some(client) = clients.join_next().await {
        served += client.unwrap();
    }
    assert!(swaps > 50 && served > 500, "{swaps} swaps, {served} requests");
    assert_eq!(ingress.stats().requests, [0, served, 0, 0, 0]);
}

/// A replica that answers with one chunk and then waits to be told the rest.
async fn held_open() -> (Replica, watch::Sender<bool>) {
    let (release, released) = watch::channel(false);
    let replica = Replica::start(move |_: Request<Incoming>| {
        let mut released = released.clone();
        async move {
            let (sender, body) = fed_body();
            let mut feed = JoinSet::new();
            feed.spawn(async move {
                let _sent = sender.send(Frame::data(Bytes::from_static(b"begin "))).await;
                drop(released.wait_for(|released| *released).await);
                let _sent = sender.send(Frame::data(Bytes::from_static(b"end"))).await;
            });
            feed.detach_all();
            Response::new(body)
        }
    })
    .await;
    (replica, release)
}

#[tokio::test]
async fn a_withdrawn_container_gets_nothing_new_and_finishes_what_it_has() {
    let (leaving, release) = held_open().await;
    let staying = Replica::named().await;
    let (ingress, address) = start(&table(&[leaving.address]));
    let mut client = Client::connect(address).await;
    let open = client.send(get("/")).await.unwrap();
    ingress.apply(&table(&[leaving.address, staying.address]));

    let withdrawn = ingress.withdraw(&container(leaving.address), PATIENCE);
    tokio::pin!(withdrawn);
    let before = leaving.count();
    for _ in 0..30 {
        assert_eq!(fetch(address, get("/")).await.text(), staying.address.to_string());
    }
    assert_eq!(leaving.count(), before);
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut withdrawn).await.is_err(), "it did not wait");
    // A new table that still names it changes nothing.
    ingress.apply(&table(&[leaving.address]));
    assert_eq!(fetch(address, get("/")).await.status, 503);
    release.send(true).unwrap();
    assert_eq!(Reply::read(open).await.text(), "begin end");
    assert_eq!(withdrawn.await, Drained::Idle);

    // Gone from the table and back again: it is used again.
    ingress.apply(&table(&[]));
    ingress.apply(&table(&[leaving.address]));
    assert_eq!(fetch(address, get("/")).await.status, 200);
}

#[tokio::test]
async fn a_container_that_left_the_table_before_its_withdrawal_may_come_back() {
    let replica = Replica::named().await;
    let (ingress, address) = start(&table(&[replica.address]));
    assert_eq!(fetch(address, get("/")).await.status, 200);
    ingress.apply(&table(&[]));
    assert_eq!(ingress.withdraw(&container(replica.address), PATIENCE).await, Drained::Idle);
    ingress.apply(&table(&[replica.address]));
    assert_eq!(fetch(address, get("/")).await.status, 200);
}

#[tokio::test]
async fn a_withdrawal_ends_at_its_deadline_or_when_given_up() {
    let (replica, _release) = held_open().await;
    let (ingress, address) = start(&table(&[replica.address]));
    let mut client = Client::connect(address).await;
    let _open = client.send(get("/")).await.unwrap();
    let name = container(replica.address);
    drop(ingress.withdraw(&name, PATIENCE));
    let mut second = Client::connect(address).await;
    let _open = second.send(get("/")).await.unwrap();
    assert_eq!(replica.count(), 2, "a withdrawal that was given up still holds");
    assert_eq!(ingress.withdraw(&name, Duration::from_millis(30)).await, Drained::InFlight(2));
    assert_eq!(fetch(address, get("/")).await.status, 503);
    assert_eq!(ingress.withdraw("unknown", PATIENCE).await, Drained::Idle);
}

/// A replica that is told to stop waits for its connections to end: idle ones must not hold it up.
#[tokio::test]
async fn a_withdrawal_closes_the_idle_connections_to_its_container() {
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::H2c] {
        let replica = Replica::named().await;
        let mut table = table(&[replica.address]);
        table.backends[0].protocol = protocol;
        // Well above the time that the closing takes, so that it is not their age that closes them.
        let limits = Limits { upstream_idle_timeout: PATIENCE * 3, ..Limits::default() };
        let (ingress, address) = start_with(&table, limits);
        assert_eq!(fetch(address, get("/")).await.status, 200);
        assert_eq!(replica.connections.load(Ordering::SeqCst), 1);
        assert_eq!(ingress.withdraw(&container(replica.address), PATIENCE).await, Drained::Idle);
        eventually("they are closed", async || replica.connections.load(Ordering::SeqCst) == 0).await;
    }
}
