//! Clients that are slow, greedy or idle.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use hyper::body::Incoming;
use jaco_ingress::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::*;

const SHORT: Duration = Duration::from_millis(300);

/// Reads to the end; the time until the other side closed.
async fn closed_after(stream: &mut TcpStream) -> Duration {
    let start = Instant::now();
    let mut answer = Vec::new();
    let _end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("never closed");
    start.elapsed()
}

#[tokio::test]
async fn a_client_that_never_finishes_its_head_is_closed() {
    let replica = Replica::named().await;
    let limits = Limits { header_timeout: SHORT, ..Limits::default() };
    let (ingress, address) = start_with(&table(&[replica.address]), limits);
    for start in ["", "P", "GET / HTTP/1.1\r\nHost: a.example\r\nX-Slow: "] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let mut drip = JoinSet::new();
        let silent = start.is_empty();
        drip.spawn(async move {
            // One byte now and then must not count as progress.
            while !silent && writing.write_all(b"x").await.is_ok() {
                tokio::time::sleep(SHORT / 10).await;
            }
            std::future::pending::<()>().await;
        });
        let begun = Instant::now();
        let mut answer = Vec::new();
        let _end = tokio::time::timeout(PATIENCE, reading.read_to_end(&mut answer)).await.expect("never closed");
        assert!(begun.elapsed() >= SHORT / 2, "{start:?}: closed after {:?}", begun.elapsed());
    }
    eventually("no connection is left", async || ingress.stats().active_connections == 0).await;
    assert_eq!(replica.count(), 0);
}

#[tokio::test]
async fn a_second_slow_head_on_a_kept_connection_is_closed_too() {
    let replica = Replica::named().await;
    let limits = Limits { header_timeout: SHORT, ..Limits::default() };
    let (ingress, address) = start_with(&table(&[replica.address]), limits);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let mut first = [0; 1];
    stream.read_exact(&mut first).await.unwrap();
    eventually("the first request is done", async || ingress.stats().requests[1] == 1).await;
    stream.write_all(b"GET / HT").await.unwrap();
    closed_after(&mut stream).await;
    assert_eq!(replica.count(), 1);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let replica = Replica::start(|_: Request<Incoming>| async {
        tokio::time::sleep(SHORT * 3).await;
        Response::new(text("late"))
    })
    .await;
    let limits = Limits { idle_timeout: SHORT, stall_timeout: SHORT, header_timeout: SHORT, ..Limits::default() };
    let (_ingress, address) = start_with(&table(&[replica.address]), limits);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("never closed").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("late"), "{answer}");
}

#[tokio::test]
async fn a_stalled_upload_is_closed_and_a_slow_one_is_not() {
    let replica = Replica::describing().await;
    let limits = Limits { stall_timeout: SHORT, ..Limits::default() };
    let (_ingress, address) = start_with(&table(&[replica.address]), limits);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
    assert!(closed_after(&mut stream).await >= SHORT / 2);

    let (sender, body) = fed_body();
    let mut client = Client::connect(address).await;
    let feed = async {
        for _ in 0..8 {
            sender.send(Frame::data(Bytes::from_static(b"x"))).await.unwrap();
            tokio::time::sleep(SHORT / 4).await;
        }
        drop(sender);
    };
    let (_, answer) = tokio::join!(feed, client.send(request("POST", "/", body)));
    let reply = Reply::read(answer.unwrap()).await;
    assert!(reply.text().ends_with("\n\nxxxxxxxx"), "{}", reply.text());
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_closed() {
    let replica =
        Replica::start(|_: Request<Incoming>| async { Response::new(text(vec![b'x'; 64 * 1024 * 1024])) }).await;
    let limits = Limits { stall_timeout: SHORT, ..Limits::default() };
    let (ingress, address) = start_with(&table(&[replica.address]), limits);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    eventually("it is connected", async || ingress.stats().active_connections == 1).await;
    eventually("it is closed", async || ingress.stats().active_connections == 0).await;
}

#[tokio::test]
async fn heads_over_the_limits_are_431() {
    let replica = Replica::named().await;
    let limits = Limits { header_bytes: 16 * 1024, ..Limits::default() };
    let (_ingress, address) = start_with(&table(&[replica.address]), limits);
    let large = |bytes: usize| {
        format!("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nX: {}\r\n\r\n", "x".repeat(bytes))
    };
    let many = |count: usize| {
        format!("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{}\r\n", "X: 1\r\n".repeat(count))
    };
    assert!(raw(address, large(15 * 1024).as_bytes()).await.starts_with("HTTP/1.1 200"));
    assert!(raw(address, large(17 * 1024).as_bytes()).await.starts_with("HTTP/1.1 431"));
    // The replica has a limit of its own, and gets three fields more than the client sent.
    assert!(raw(address, many(90).as_bytes()).await.starts_with("HTTP/1.1 200"));
    assert!(raw(address, many(99).as_bytes()).await.starts_with("HTTP/1.1 431"));
    assert_eq!(replica.count(), 2);
}

#[tokio::test]
async fn one_client_cannot_take_every_connection() {
    let replica = Replica::named().await;
    let limits = Limits { connections_per_client: 3, ..Limits::default() };
    let (ingress, address) = start_with(&table(&[replica.address]), limits);
    let mut kept = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(address).await;
        assert_eq!(client.get("/").await.status, 200);
        kept.push(client);
    }
    let mut refused = TcpStream::connect(address).await.unwrap();
    let mut answer = String::new();
    refused.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("Server: jaco"), "{answer}");
    assert_eq!(ingress.stats().refused_connections, 1);
    // Another address has connections of its own.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(address).await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    kept.clear();
    eventually("the connections are counted out", async || ingress.stats().active_connections == 0).await;
    assert_eq!(fetch(address, get("/")).await.status, 200);
}

#[tokio::test]
async fn an_upstream_that_takes_too_long_is_504_where_a_bound_is_set() {
    let replica = Replica::start(|_: Request<Incoming>| std::future::pending::<Response<TestBody>>()).await;
    let limits = Limits { response_timeout: Some(SHORT), ..Limits::default() };
    let (_ingress, address) = start_with(&table(&[replica.address]), limits);
    assert_eq!(fetch(address, get("/")).await.status, 504);
    assert_eq!(replica.count(), 1);
}
