//! What happens to one request and its answer.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use jaco_ingress::{Limits, Table, UpstreamProtocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::*;

#[tokio::test]
async fn unknown_hosts_and_paths_are_404_and_routes_without_replica_503_by_jaco() {
    let replica = Replica::named().await;
    let mut table = table(&[]);
    table.routes[0].path = "/only".to_owned();
    table.backends.push(backend(&[replica.address]));
    let (_ingress, address) = start(&table);
    for (host, path, status) in [("b.example", "/only", 404), ("a.example", "/", 404), ("a.example", "/only/x", 503)] {
        let mut request = get(path);
        request.headers_mut().insert("host", HeaderValue::from_static(host));
        let reply = fetch(address, request).await;
        assert_eq!(
            (reply.status, &reply.headers["server"]),
            (status, &HeaderValue::from_static("jaco")),
            "{host}{path}"
        );
        assert!(reply.text().ends_with('\n'));
    }
    assert_eq!(replica.count(), 0);
}

#[tokio::test]
async fn paths_are_stripped_where_asked() {
    let replica = Replica::describing().await;
    let routes = vec![route("", false, 0), route("/api", true, 0), route("/keep", false, 0)];
    let (_ingress, address) = start(&Table { routes, ..table(&[replica.address]) });
    let mut client = Client::connect(address).await;
    for (sent, seen) in [
        ("/api/foo?x=1", "/foo?x=1"),
        ("/api", "/"),
        ("/api?x=1", "/?x=1"),
        ("/api/", "/"),
        ("/api//x", "//x"),
        ("/apix", "/apix"),
        ("/keep/x", "/keep/x"),
        ("/a%20b/?q=%2F", "/a%20b/?q=%2F"),
    ] {
        let reply = client.get(sent).await;
        assert!(reply.text().starts_with(&format!("GET {seen} HTTP/1.1\n")), "{sent}: {}", reply.text());
    }
}

#[tokio::test]
async fn the_upstream_sees_the_clients_host_and_what_the_proxy_knows() {
    let replica = Replica::describing().await;
    let (_ingress, address) = start(&table(&[replica.address]));
    let mut request = get("/");
    request.headers_mut().insert("host", HeaderValue::from_static("A.Example:8080"));
    request.headers_mut().insert("x-forwarded-for", HeaderValue::from_static("6.6.6.6"));
    request.headers_mut().insert("connection", HeaderValue::from_static("x-gone"));
    request.headers_mut().insert("x-gone", HeaderValue::from_static("1"));
    let reply = fetch(address, request).await;
    let seen = reply.text();
    for line in [
        "\nhost: A.Example:8080\n",
        "\nx-forwarded-host: A.Example:8080\n",
        "\nx-forwarded-for: 127.0.0.1\n",
        "\nx-forwarded-proto: http\n",
    ] {
        assert!(seen.contains(line), "{line:?} in {seen}");
    }
    assert!(!seen.contains("6.6.6.6") && !seen.contains("x-gone") && !seen.contains("connection"), "{seen}");
}

#[tokio::test]
async fn absolute_targets_win_over_the_host_field_and_are_forwarded_as_paths() {
    let replica = Replica::describing().await;
    let (_ingress, address) = start(&table(&[replica.address]));
    let answer =
        raw(address, b"GET http://a.example/x?y HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("GET /x?y HTTP/1.1\n") && answer.contains("\nhost: a.example\n"), "{answer}");
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    let replica = Replica::named().await;
    let (_ingress, address) = start(&table(&[replica.address]));
    for (request, status) in [
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\nConnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n", "400"),
        ("CONNECT a.example:80 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n", "405"),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"),
        ("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost : a.example\r\n\r\n", "400"),
        ("\u{1}\u{2}garbage\r\n\r\n", "400"),
    ] {
        let answer = raw(address, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
    }
    assert_eq!(replica.count(), 0);
}

/// Both framings at once is how requests are smuggled: only one may reach the upstream, and nothing after it on that connection.
#[tokio::test]
async fn of_two_framings_one_is_forwarded_and_the_connection_ends() {
    let replica = Replica::describing().await;
    let (_ingress, address) = start(&table(&[replica.address]));
    let answer = raw(
        address,
        b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("transfer-encoding: chunked") && !answer.contains("\ncontent-length: 4\n"), "{answer}");
    assert!(!answer.contains("/smuggled"), "{answer}");
    assert_eq!(replica.count(), 1);
}

#[tokio::test]
async fn http_1_0_is_served() {
    let replica = Replica::named().await;
    let (_ingress, address) = start(&table(&[replica.address]));
    let answer = raw(address, b"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with(&replica.address.to_string()), "{answer}");
    let answer = raw(address, b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 404"), "{answer}");
}

#[tokio::test]
async fn chunks_pass_both_ways_before_their_body_ends() {
    let replica = Replica::start(|request: Request<Incoming>| async move {
        // An echo that begins to answer before the request has ended.
        let (sender, body) = fed_body();
        let mut incoming = request.into_body();
        let mut pump = JoinSet::new();
        pump.spawn(async move {
            while let Some(Ok(frame)) = incoming.frame().await {
                if sender.send(frame).await.is_err() {
                    break;
                }
            }
        });
        pump.detach_all();
        Response::new(body)
    })
    .await;
    let (_ingress, address) = start(&table(&[replica.address]));
    let (sender, body) = fed_body();
    let mut client = Client::connect(address).await;
    let (first, answer) =
        tokio::join!(sender.send(Frame::data(Bytes::from_static(b"one"))), client.send(request("POST", "/", body)),);
    first.unwrap();
    let mut answer = answer.unwrap().into_body();
    for word in ["one", "two", "three"] {
        let frame = tokio::time::timeout(PATIENCE, answer.frame()).await.expect("held back").unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), word);
        let next = if word == "one" { "two" } else { "three" };
        if word != "three" {
            sender.send(Frame::data(Bytes::from_static(next.as_bytes()))).await.unwrap();
        }
    }
    drop(sender);
    assert!(answer.frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn big_bodies_pass_both_ways_whole() {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 512;
    let replica = Replica::start(|request: Request<Incoming>| async move {
        let sized = request.headers().contains_key("content-length");
        let got = request.into_body().collect().await.unwrap().to_bytes();
        let mut response = Response::new(text(got));
        response.headers_mut().insert("x-sized", HeaderValue::from_static(if sized { "yes" } else { "no" }));
        response
    })
    .await;
    let (_ingress, address) = start(&table(&[replica.address]));
    let mut whole = Vec::new();
    for chunk in 0..CHUNKS {
        whole.extend(std::iter::repeat_n(chunk as u8, CHUNK));
    }
    let whole = Bytes::from(whole);
    let reply = fetch(address, request("PUT", "/", text(whole.clone()))).await;
    assert_eq!(reply.headers["x-sized"], "yes");
    assert!(reply.body == whole);
    let (sender, body) = fed_body();
    let mut client = Client::connect(address).await;
    let send = async {
        for chunk in 0..CHUNKS {
            sender.send(Frame::data(whole.slice(chunk * CHUNK..(chunk + 1) * CHUNK))).await.unwrap();
        }
        drop(sender);
    };
    let (_, answer) = tokio::join!(send, client.send(request("POST", "/", body)));
    let reply = Reply::read(answer.unwrap()).await;
    assert_eq!(reply.headers["x-sized"], "no");
    assert!(reply.body == whole);
}

#[tokio::test]
async fn a_chunked_body_of_a_get_is_not_lost() {
    let replica = Replica::describing().await;
    let (_ingress, address) = start(&table(&[replica.address]));
    let answer = raw(
        address,
        b"GET / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    )
    .await;
    assert!(answer.contains("\n\nhello"), "{answer}");
}

#[tokio::test]
async fn head_answers_keep_their_length_and_have_no_body() {
    let replica = Replica::start(|_| async {
        let mut response = Response::new(empty());
        response.headers_mut().insert("content-length", HeaderValue::from_static("1234"));
        response
    })
    .await;
    let (_ingress, address) = start(&table(&[replica.address]));
    let mut client = Client::connect(address).await;
    for _ in 0..2 {
        let reply = Reply::read(client.send(request("HEAD", "/", empty())).await.unwrap()).await;
        assert_eq!((reply.status, &reply.headers["content-length"]), (200, &HeaderValue::from_static("1234")));
        assert!(reply.body.is_empty());
    }
}

#[tokio::test]
async fn expect_continue_is_answered_by_the_ingress() {
    let replica = Replica::describing().await;
    let (_ingress, address) = start(&table(&[replica.address]));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut interim = [0; 25];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut interim)).await.expect("no 100").unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hi").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\n\nhi") && !answer.contains("expect"), "{answer}");
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let replica = Replica::start(|request: Request<Incoming>| async move {
        let got = request.into_body().collect().await.unwrap();
        let mut trailers = HeaderMap::new();
        let seen = got.trailers().and_then(|trailers| trailers.get("x-sum")).cloned();
        trailers.insert("x-seen", seen.unwrap_or(HeaderValue::from_static("none")));
        let (sender, body) = fed_body();
        let mut feed = JoinSet::new();
        feed.spawn(async move {
            let _sent = sender.send(Frame::data(Bytes::from_static(b"data"))).await;
            let _sent = sender.send(Frame::trailers(trailers)).await;
        });
        feed.detach_all();
        let mut response = Response::new(body);
        response.headers_mut().insert("trailer", HeaderValue::from_static("x-seen"));
        response
    })
    .await;
    let (_ingress, address) = start(&table(&[replica.address]));
    let answer = raw(
        address,
        b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\nTE: trailers\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 42\r\n\r\n",
    )
    .await;
    assert!(answer.contains("x-seen: 42"), "{answer}");
}

#[tokio::test]
async fn websockets_pass_and_other_switches_do_not() {
    let replica = Replica::start(|mut request: Request<Incoming>| async move {
        let mut response = Response::new(empty());
        if request.headers().get("upgrade").is_some_and(|protocol| protocol == "websocket") {
            let upgrade = hyper::upgrade::on(&mut request);
            let mut echo = JoinSet::new();
            echo.spawn(async move {
                let mut io = TokioIo::new(upgrade.await.unwrap());
                let mut buffer = [0; 64];
                while let Ok(length @ 1..) = io.read(&mut buffer).await {
                    io.write_all(&buffer[..length]).await.unwrap();
                }
            });
            echo.detach_all();
            *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
            response.headers_mut().insert("upgrade", HeaderValue::from_static("websocket"));
            response.headers_mut().insert("sec-websocket-accept", HeaderValue::from_static("yes"));
        }
        response
    })
    .await;
    let (ingress, address) = start(&table(&[replica.address]));
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The first frame follows the request at once.
    stream
        .write_all(b"GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
        .await
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\nfirst") {
        let mut buffer = [0; 256];
        let length = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.expect("no echo").unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&head));
        head.extend_from_slice(&buffer[..length]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("sec-websocket-accept: yes"), "{head}");
    assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
    for _ in 0..3 {
        stream.write_all(b"ping").await.unwrap();
        let mut echoed = [0; 4];
        stream.read_exact(&mut echoed).await.unwrap();
        assert_eq!(&echoed, b"ping");
    }
    assert_eq!(ingress.stats().active_connections, 1);
    drop(stream);
    eventually("the tunnel is closed", async || ingress.stats().active_connections == 0).await;

    let answer =
        raw(address, b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn http2_is_spoken_to_clients_by_prior_knowledge() {
    let replica = Replica::describing().await;
    let (_ingress, address) = start(&table(&[replica.address]));
    let mut tasks = JoinSet::new();
    let sender = http2(address, &mut tasks).await;
    let mut requests = JoinSet::new();
    for number in 0..20 {
        let mut sender = sender.clone();
        requests.spawn(async move {
            let request = Request::post(format!("http://a.example/{number}"))
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .body(text(format!("body {number}")))
                .unwrap();
            let reply = Reply::read(sender.send_request(request).await.unwrap()).await;
            let seen = reply.text();
            assert!(seen.starts_with(&format!("POST /{number} HTTP/1.1\n")), "{seen}");
            assert!(seen.contains("\nhost: a.example\n") && seen.contains("\ncookie: a=1; b=2\n"), "{seen}");
            assert!(seen.ends_with(&format!("\n\nbody {number}")), "{seen}");
        });
    }
    while let Some(done) = requests.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn http2_is_spoken_to_replicas_that_ask_for_it_trailers_included() {
    let replica = Replica::start(|request: Request<Incoming>| async move {
        let seen = format!("{:?} {} {}", request.version(), request.uri(), request.headers().contains_key("te"));
        let got = request.into_body().collect().await.unwrap().to_bytes();
        let (sender, body) = fed_body();
        let mut feed = JoinSet::new();
        feed.spawn(async move {
            let _sent =
                sender.send(Frame::data(Bytes::from(format!("{seen} {}", String::from_utf8_lossy(&got))))).await;
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let _sent = sender.send(Frame::trailers(trailers)).await;
        });
        feed.detach_all();
        Response::new(body)
    })
    .await;
    let mut table = table(&[replica.address]);
    table.backends[0].protocol = UpstreamProtocol::H2c;
    table.routes.push(route("/rpc", true, 0));
    let (_ingress, address) = start(&table);
    let mut tasks = JoinSet::new();
    let mut sender = http2(address, &mut tasks).await;
    for _ in 0..3 {
        let request =
            Request::post("http://a.example/rpc/Call?x").header("te", "trailers").body(text("payload")).unwrap();
        let reply = Reply::read(sender.send_request(request).await.unwrap()).await;
        assert_eq!(reply.text(), "HTTP/2.0 http://a.example/Call?x true payload");
        assert_eq!(reply.trailers.unwrap()["grpc-status"], "0");
    }
    let reply = fetch(address, get("/plain")).await;
    assert_eq!(reply.text(), "HTTP/2.0 http://a.example/plain false ");
}

#[tokio::test]
async fn bodies_over_the_limit_are_413() {
    let replica = Replica::describing().await;
    let limits = Limits { request_body: Some(1000), ..Limits::default() };
    let (_ingress, address) = start_with(&table(&[replica.address]), limits);
    let reply = fetch(address, request("POST", "/", text(vec![b'x'; 1000]))).await;
    assert_eq!(reply.status, 200);
    let reply = fetch(address, request("POST", "/", text(vec![b'x'; 1001]))).await;
    assert_eq!((reply.status, &reply.headers["server"]), (413, &HeaderValue::from_static("jaco")));
    let (sender, body) = fed_body();
    let mut client = Client::connect(address).await;
    let feed = async {
        while sender.send(Frame::data(Bytes::from(vec![b'x'; 600]))).await.is_ok() {}
        std::future::pending::<()>().await;
    };
    let answer = tokio::select! {
        answer = client.send(request("POST", "/", body)) => answer.unwrap(),
        () = feed => unreachable!("it never ends"),
    };
    assert_eq!(answer.status(), 413);
}

#[tokio::test]
async fn an_unreadable_answer_is_502() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let replica = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _written = stream.write_all(b"SMTP nonsense\r\n\r\n").await;
        }
    });
    let (_ingress, address) = start(&table(&[replica]));
    let reply = fetch(address, get("/")).await;
    assert_eq!((reply.status, &reply.headers["server"]), (502, &HeaderValue::from_static("jaco")));
}

/// A length beside a transfer coding is void; passed on, it would cut the answer or let the rest of it stand for the next one.
#[tokio::test]
async fn an_answer_with_two_framings_is_passed_on_with_one() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let replica = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            while let Ok(1..) = stream.read(&mut buffer).await {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        }
    });
    let (_ingress, address) = start(&table(&[replica]));
    let mut client = Client::connect(address).await;
    for _ in 0..2 {
        let reply = client.get("/").await;
        assert_eq!((reply.text(), reply.headers.get("content-length")), ("hello", None));
    }
}
