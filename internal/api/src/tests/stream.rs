use super::*;

#[tokio::test]
async fn a_subscription_begins_with_everything_and_goes_on_with_changes() {
    let server = Server::cluster().await;
    let request = v1::SubscribeRequest { kinds: vec!["Deployment".into()], ..Default::default() };
    let mut stream = server.watch().subscribe(request).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    let Some(v1::subscribe_response::Event::Resync(resync)) = first.event else { panic!("{first:?}") };
    assert!(resync.entities.is_empty() && !resync.more);
    server.apply(JACO, COMPOSE).await.unwrap();
    let next = stream.message().await.unwrap().unwrap();
    let Some(v1::subscribe_response::Event::Changes(changes)) = next.event else { panic!("{next:?}") };
    assert_eq!(changes.changes.len(), 1, "only the kind asked for");
    assert_eq!((changes.changes[0].kind.as_str(), changes.changes[0].key.as_str()), ("Deployment", "shop"));
    assert!(changes.changes[0].body.is_some());
    server.end().await;
}

#[tokio::test]
async fn a_subscription_goes_on_after_its_cursor() {
    let server = Server::cluster().await;
    let mut stream = server.watch().subscribe(v1::SubscribeRequest::default()).await.unwrap().into_inner();
    let cursor = stream.message().await.unwrap().unwrap().cursor;
    drop(stream);
    server.apply(JACO, COMPOSE).await.unwrap();
    let request = v1::SubscribeRequest { since: cursor, deployment: "shop".into(), ..Default::default() };
    let mut stream = server.watch().subscribe(request).await.unwrap().into_inner();
    let next = stream.message().await.unwrap().unwrap();
    let Some(v1::subscribe_response::Event::Changes(changes)) = next.event else { panic!("{next:?}") };
    assert!(changes.changes.iter().any(|change| change.kind == "Route"), "{changes:?}");
    server.end().await;
}

#[tokio::test]
async fn an_unknown_kind_is_refused() {
    let server = Server::cluster().await;
    let request = v1::SubscribeRequest { kinds: vec!["Pod".into()], ..Default::default() };
    assert_eq!(code(server.watch().subscribe(request).await), ErrorCode::ValidationFailed);
    server.end().await;
}

async fn observe(server: &Server, index: u32, container: &str) {
    let view = server.store.view();
    let revision = view.list::<DeploymentRevision>().last().unwrap().clone();
    let node = view.list::<jaco_types::Node>().next().unwrap().clone();
    let desired = jaco_testkit::replica_desired(&revision, "web", index, &node);
    let mut observed = jaco_testkit::replica_observed(&desired, ReplicaState::Running);
    observed.container_id = Some(container.to_owned());
    server.write(|transaction| {
        transaction.put(desired).put(observed);
    });
}

#[tokio::test]
async fn logs_of_all_replicas_come_and_a_broken_one_is_a_warning() {
    let server = Server::cluster().await;
    server.apply(JACO, COMPOSE).await.unwrap();
    observe(&server, 0, "c0").await;
    observe(&server, 1, "broken").await;
    let request = v1::LogsRequest { deployment: "shop".into(), service: "web".into(), ..Default::default() };
    let mut stream = server.deploy().logs(request).await.unwrap().into_inner();
    let (mut lines, mut warnings) = (Vec::new(), Vec::new());
    while let Some(answer) = stream.message().await.unwrap() {
        match answer.event.unwrap() {
            v1::logs_response::Event::Line(line) => lines.push((line.replica_id, line.host, line.line)),
            v1::logs_response::Event::Warning(warning) => warnings.push(warning.message),
        }
    }
    assert_eq!(lines, [("shop-web-0".to_owned(), "node-a".to_owned(), "from c0".to_owned())]);
    assert!(warnings.len() == 1 && warnings[0].contains("shop-web-1"), "{warnings:?}");
    server.end().await;
}

#[tokio::test]
async fn following_picks_up_a_container_that_appears() {
    let server = Server::cluster().await;
    server.apply(JACO, COMPOSE).await.unwrap();
    let request =
        v1::LogsRequest { deployment: "shop".into(), service: "web".into(), follow: true, ..Default::default() };
    let mut stream = server.deploy().logs(request).await.unwrap().into_inner();
    observe(&server, 0, "c0").await;
    let answer = tokio::time::timeout(Duration::from_secs(5), stream.message()).await.unwrap().unwrap().unwrap();
    let Some(v1::logs_response::Event::Line(line)) = answer.event else { panic!("{answer:?}") };
    assert_eq!(line.line, "from c0");
    server.end().await;
}

#[tokio::test]
async fn logs_of_what_does_not_exist_are_refused_and_streams_are_limited() {
    let server = Server::start(cluster_store(&["node-a"]), Limits { log_streams: 1, ..Limits::default() }).await;
    server.apply(JACO, COMPOSE).await.unwrap();
    let mut deploy = server.deploy();
    let request = |deployment: &str, service: &str| v1::LogsRequest {
        deployment: deployment.into(),
        service: service.into(),
        follow: true,
        ..Default::default()
    };
    assert_eq!(code(deploy.logs(request("nope", "web")).await), ErrorCode::DeploymentNotFound);
    assert_eq!(code(deploy.logs(request("shop", "nope")).await), ErrorCode::UnknownService);
    let _open = deploy.logs(request("shop", "web")).await.unwrap();
    assert_eq!(code(deploy.logs(request("shop", "web")).await), ErrorCode::RequestTooLarge);
    server.end().await;
}

/// Polls until a condition holds, for ten seconds at most.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "{what}: not within 10 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_long_log_gives_its_stream_back() {
    let server = Server::start(cluster_store(&["node-a"]), Limits { log_streams: 1, ..Limits::default() }).await;
    server.apply(JACO, COMPOSE).await.unwrap();
    observe(&server, 0, "endless").await;
    let request = || v1::LogsRequest { deployment: "shop".into(), service: "web".into(), ..Default::default() };
    let mut stream = server.deploy().logs(request()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    drop(stream);
    eventually("the stream is given back", async || server.deploy().logs(request()).await.is_ok()).await;
    server.end().await;
}

#[tokio::test]
async fn following_goes_on_when_the_same_container_is_started_again() {
    let server = Server::cluster().await;
    server.apply(JACO, COMPOSE).await.unwrap();
    observe(&server, 0, "twice").await;
    let request =
        v1::LogsRequest { deployment: "shop".into(), service: "web".into(), follow: true, ..Default::default() };
    let mut stream = server.deploy().logs(request).await.unwrap().into_inner();
    let mut lines = Vec::new();
    while lines.len() < 3 {
        let answer = tokio::time::timeout(Duration::from_secs(10), stream.message()).await.unwrap().unwrap().unwrap();
        let Some(v1::logs_response::Event::Line(line)) = answer.event else { panic!("{answer:?}") };
        lines.push(line.line);
    }
    assert_eq!(lines, ["life 1", "life 2", "life 3"], "each once, although every reading begins with the first");
    server.end().await;
}

/// The HTTP/2 library serves a connection in a task of its own: without help it would go on to be served by a life that is over.
#[tokio::test]
async fn no_connection_outlives_its_server() {
    let limits = Limits { drain: Duration::from_millis(50), ..Limits::default() };
    let server = Server::start(cluster_store(&["node-a"]), limits).await;
    let mut changes = server.watch().subscribe(v1::SubscribeRequest::default()).await.unwrap().into_inner();
    let mut others = server.deploy();
    server.stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), server.serving).await.unwrap().unwrap().unwrap();
    let ended = async { while let Ok(Some(_change)) = changes.message().await {} };
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("a stream went on after its server");
    let asked = others.status(v1::StatusRequest::default()).await;
    assert!(asked.is_err(), "{asked:?}");
}
