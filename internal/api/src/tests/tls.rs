//! The API's port: who gets in over the network, and what those who do not cost.

use jaco_client::{Deadline, RemoteChoice};
use jaco_state::Leadership;
use jaco_types::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::secured::{Secured, connect};
use super::*;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

async fn status(client: &jaco_client::Client) -> Result<v1::StatusResponse, UserError> {
    client.status(v1::StatusRequest::default(), soon()).await
}

#[tokio::test]
async fn a_token_opens_what_its_role_allows() {
    let server = Secured::cluster().await;
    let viewer = server.client(&server.operator("eve", Role::Viewer)).await;
    status(&viewer).await.unwrap();
    let request = || v1::ApplyRequest { jaco_yaml: JACO.into(), compose_yaml: COMPOSE.into(), ..Default::default() };
    assert_eq!(viewer.apply(request(), soon()).await.unwrap_err().code, ErrorCode::PermissionDenied);
    let deployer = server.client(&server.operator("dan", Role::Deployer)).await;
    assert_eq!(deployer.apply(request(), soon()).await.unwrap().applied_revision, 1);
    let view = server.store.view();
    let key = DeploymentRevision::key_of(&jaco_testkit::deployment_name("shop"), 1);
    assert_eq!(view.get::<DeploymentRevision>(&key).unwrap().identity, "dan", "what the audit log says");
    let level = v1::SetLogLevelRequest { level: "debug".into(), ..Default::default() };
    assert_eq!(deployer.set_log_level(level, soon()).await.unwrap_err().code, ErrorCode::PermissionDenied);
    server.end().await;
}

#[tokio::test]
async fn secrets_in_manifests_stay_on_the_node() {
    let server = Secured::cluster().await;
    let client = server.client(&server.operator("dan", Role::Admin)).await;
    let compose = "services: {web: {image: a, environment: {LEVEL: info, DB_PASSWORD: hunter2}}}\n";
    let apply = v1::ApplyRequest { jaco_yaml: JACO.into(), compose_yaml: compose.into(), ..Default::default() };
    client.apply(apply, soon()).await.unwrap();
    let request = v1::GetDeploymentRequest { name: "shop".into(), revision: None };
    let text = client.get_deployment(request, soon()).await.unwrap().compose_yaml;
    assert!(text.contains("info") && !text.contains("hunter2"), "{text}");
    let mut watch = client.subscribe(v1::SubscribeRequest::default(), soon()).await.unwrap();
    loop {
        let event = watch.next().await.unwrap().unwrap().event;
        let Some(v1::subscribe_response::Event::Resync(resync)) = event else { panic!("{event:?}") };
        for change in &resync.entities {
            let body = String::from_utf8_lossy(change.body.as_deref().unwrap()).into_owned();
            assert!(!body.contains("hunter2"), "{body}");
        }
        if !resync.more {
            break;
        }
    }
    server.end().await;
}

#[tokio::test]
async fn a_stranger_learns_whether_there_is_a_cluster_and_nothing_else() {
    let server = Secured::cluster().await;
    let stream = server.tls().await;
    let mut once = Some(hyper_util::rt::TokioIo::new(stream));
    let open = tower::service_fn(move |_| {
        let stream = once.take();
        async move { stream.ok_or_else(|| std::io::Error::other("used")) }
    });
    let channel = tonic::transport::Endpoint::from_static("http://node").connect_with_connector(open).await.unwrap();
    let mut cluster = ClusterClient::new(channel.clone());
    let answer = cluster.status(v1::ClusterStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(answer, v1::ClusterStatusResponse { initialized: true, ..Default::default() });
    let mut deploy = DeployClient::new(channel);
    assert_eq!(code(deploy.status(v1::StatusRequest::default()).await), ErrorCode::TokenInvalid);
    server.end().await;
}

#[tokio::test]
async fn a_revoked_token_is_refused_and_its_streams_end() {
    let server = Secured::cluster().await;
    let (viewer, other) = (server.operator("eve", Role::Viewer), server.operator("kim", Role::Viewer));
    let (viewer, other) = (server.client(&viewer).await, server.client(&other).await);
    let subscribe = || v1::SubscribeRequest { kinds: vec!["Deployment".into()], ..Default::default() };
    let mut watch = viewer.subscribe(subscribe(), soon()).await.unwrap();
    let mut kept = other.subscribe(subscribe(), soon()).await.unwrap();
    let follow = v1::AuditQueryRequest { follow: true, ..Default::default() };
    let mut audit = viewer.audit(follow, soon()).await.unwrap();
    assert!(watch.next().await.unwrap().is_some() && kept.next().await.unwrap().is_some());
    assert!(audit.next().await.unwrap().is_some());
    server.revoke("eve");
    let ended = tokio::time::timeout(Duration::from_secs(5), watch.next()).await.unwrap();
    assert_eq!(ended.unwrap_err().code, ErrorCode::TokenRevoked);
    let ended = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            match audit.next().await {
                Ok(Some(_)) => {}
                other => return other,
            }
        }
    });
    assert_eq!(ended.await.unwrap().unwrap_err().code, ErrorCode::TokenRevoked);
    assert_eq!(status(&viewer).await.unwrap_err().code, ErrorCode::TokenRevoked);
    let silent = tokio::time::timeout(Duration::from_millis(200), kept.next()).await;
    assert!(silent.is_err(), "{silent:?}: somebody else's stream goes on");
    server.end().await;
}

#[tokio::test]
async fn streams_of_operators_end_when_the_leader_stays_away() {
    let server = Secured::cluster().await;
    let viewer = server.client(&server.operator("eve", Role::Viewer)).await;
    let mut watch = viewer.subscribe(v1::SubscribeRequest::default(), soon()).await.unwrap();
    assert!(watch.next().await.unwrap().is_some());
    server.store.set_leadership(Leadership::Follower { leader: None });
    status(&viewer).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(9), watch.next()).await.unwrap();
    assert_eq!(ended.unwrap_err().code, ErrorCode::QuorumLost);
    server.end().await;
}

#[tokio::test]
async fn only_the_clusters_own_authority_is_trusted() {
    let server = Secured::cluster().await;
    let other = Secured::cluster().await;
    let token = server.operator("eve", Role::Viewer).reveal().to_string();
    let with = |choice: RemoteChoice| RemoteChoice { token: Some(token.clone()), ..choice };
    let wrong = RemoteChoice { ca_cert: other.remote().ca_cert, ..server.remote() };
    assert_eq!(connect(with(wrong)).await.unwrap_err().code, ErrorCode::CaFingerprintMismatch);
    let pinned =
        |fingerprint: String| RemoteChoice { ca_cert: None, ca_fingerprint: Some(fingerprint), ..server.remote() };
    let error = connect(with(pinned(other.authority.fingerprint().to_string()))).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::CaFingerprintMismatch, "{error}");
    let client = connect(with(pinned(server.authority.fingerprint().to_string()))).await.unwrap();
    status(&client).await.unwrap();
    for path in ["", "/nonexistent/ca.crt"] {
        let error = connect(with(RemoteChoice { ca_cert: Some(path.into()), ..server.remote() })).await.unwrap_err();
        for part in [format!("{path:?}").as_str(), "--ca-cert", "JACO_CA_CERT"] {
            assert!(error.message.contains(part), "{part} in {error}");
        }
    }
    server.end().await;
    other.end().await;
}

#[tokio::test]
async fn the_first_server_that_answers_is_used() {
    let server = Secured::cluster().await;
    let token = server.operator("eve", Role::Viewer).reveal().to_string();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = format!("{dead},{}", server.address);
    let choice = RemoteChoice { servers, token: Some(token.clone()), ..server.remote() };
    status(&connect(choice).await.unwrap()).await.unwrap();
    let choice = RemoteChoice { servers: dead.to_string(), token: Some(token), ..server.remote() };
    let error = connect(choice).await.unwrap_err();
    assert!(error.code == ErrorCode::Unreachable && error.message.contains(&dead.to_string()), "{error}");
    server.end().await;
}

/// Reads until the other side closes; how many bytes came.
async fn until_closed(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> usize {
    let mut bytes = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(8), stream.read_to_end(&mut bytes)).await;
    assert!(closed.is_ok(), "not closed within 8 s");
    bytes.len()
}

#[tokio::test]
async fn garbage_and_silence_cost_a_closed_connection() {
    let server = Secured::start(PortLimits::default(), Duration::from_millis(300)).await;
    let client = server.client(&server.operator("eve", Role::Viewer)).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // The other side may close before all of it is written.
        stream.write_all(garbage).await.ok();
        until_closed(&mut stream).await;
    }
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(until_closed(&mut silent).await, 0);
    let mut garbled = server.tls().await;
    garbled.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    until_closed(&mut garbled).await;
    status(&client).await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn a_byte_a_moment_does_not_keep_a_handshake_open() {
    let server = Secured::start(PortLimits::default(), Duration::from_millis(500)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The beginning of a handshake record that announces more than ever comes.
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let closed = tokio::time::timeout(Duration::from_secs(8), async {
        for byte in [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc].into_iter().chain(std::iter::repeat(0)) {
            tick.tick().await;
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    });
    assert!(closed.await.is_ok(), "still open");
    server.end().await;
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_and_the_others_go_on() {
    let limits = PortLimits { connections: 8, per_address: 4, handshakes: 2 };
    let server = Secured::start(limits, Duration::from_secs(5)).await;
    let client = server.client(&server.operator("eve", Role::Viewer)).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(server.tls().await);
    }
    for _ in 0..50 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        until_closed(&mut stream).await;
    }
    status(&client).await.unwrap();
    drop(open);
    // A place is free again once the server has seen that a connection ended.
    let end = tokio::time::Instant::now() + Duration::from_secs(5);
    loop {
        let token = server.operator("kim", Role::Viewer).reveal().to_string();
        let again = connect(RemoteChoice { token: Some(token), ..server.remote() }).await;
        if again.is_ok() {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "{again:?}");
    }
    server.end().await;
}

#[tokio::test]
async fn a_flood_of_silent_connections_disturbs_nobody_for_long() {
    let limits = PortLimits { connections: 256, per_address: 200, handshakes: 16 };
    let server = Secured::start(limits, Duration::from_millis(300)).await;
    let token = server.operator("eve", Role::Viewer);
    let client = server.client(&token).await;
    let mut silent = Vec::new();
    for _ in 0..500 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    // Who is in is served at once; who comes now waits for those before.
    let answered = tokio::time::timeout(Duration::from_secs(2), status(&client)).await;
    answered.unwrap().unwrap();
    let end = tokio::time::Instant::now() + Duration::from_secs(30);
    let another = loop {
        let choice = RemoteChoice { token: Some(token.reveal().to_string()), ..server.remote() };
        match connect(choice).await {
            Ok(another) => break another,
            Err(error) => assert!(tokio::time::Instant::now() < end, "{error}"),
        }
    };
    status(&another).await.unwrap();
    drop(silent);
    server.end().await;
}

#[tokio::test]
async fn a_request_that_is_too_large_is_told_so() {
    let server = Secured::cluster().await;
    let client = server.client(&server.operator("dan", Role::Admin)).await;
    let request = |bytes: usize| v1::ApplyRequest { jaco_yaml: "x".repeat(bytes), dry_run: true, ..Default::default() };
    for bytes in [jaco_proto::MAX_MANIFEST_BYTES + 1, jaco_proto::MAX_MESSAGE_BYTES + 1] {
        assert_eq!(client.apply(request(bytes), soon()).await.unwrap_err().code, ErrorCode::RequestTooLarge, "{bytes}");
    }
    status(&client).await.unwrap();
    server.end().await;
}
