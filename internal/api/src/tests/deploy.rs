use super::*;

#[tokio::test]
async fn an_apply_answers_with_revision_diff_and_remarks() {
    let server = Server::cluster().await;
    let first = server.apply(JACO, COMPOSE).await.unwrap();
    assert_eq!((first.deployment.as_str(), first.applied_revision, first.previous_revision), ("shop", 1, None));
    assert!(first.changed && first.index > 0);
    assert!(first.diff.as_ref().unwrap().adds.iter().any(|item| item.kind == "service" && item.name == "web"));
    assert!(first.remarks.iter().any(|remark| remark.message.contains("plain HTTP")), "{:?}", first.remarks);
    let again = server.apply(JACO, COMPOSE).await.unwrap();
    assert_eq!((again.applied_revision, again.previous_revision, again.changed), (2, Some(1), false));
    server.end().await;
}

#[tokio::test]
async fn a_dry_run_leaves_no_trace() {
    let server = Server::cluster().await;
    let before = server.store.view().index();
    let request =
        v1::ApplyRequest { jaco_yaml: JACO.into(), compose_yaml: COMPOSE.into(), dry_run: true, ..Default::default() };
    let answer = server.deploy().apply(request).await.unwrap().into_inner();
    assert_eq!((answer.applied_revision, answer.index, answer.changed), (1, 0, true));
    assert_eq!(server.store.view().index(), before);
    server.end().await;
}

#[tokio::test]
async fn bad_manifests_are_refused_with_their_place_and_leave_no_trace() {
    let server = Server::cluster().await;
    let before = server.store.view().index();
    let cases = [
        ("deployment: shop\nrouts: []\n", COMPOSE, ErrorCode::ValidationFailed),
        (JACO, "services: {web: {image: a, prots: []}}", ErrorCode::ValidationFailed),
        (JACO, "services: [", ErrorCode::ParseFailed),
        (JACO, "services: {api: {image: a}}", ErrorCode::UnknownService),
        (JACO, "services: {web: {image: a, ports: ['80:80']}}", ErrorCode::ReservedPort),
        (JACO, "services: {web: {image: a, ports: ['7000:80']}}", ErrorCode::ReservedPort),
        (JACO, "services: {web: {image: a, env_file: x}}", ErrorCode::EnvFileUnresolved),
        ("\u{0}\u{1}", COMPOSE, ErrorCode::ParseFailed),
    ];
    for (jaco, compose, expected) in cases {
        let error = server.apply(jaco, compose).await.unwrap_err();
        assert_eq!(error.code, expected, "{compose}: {error}");
        assert!(error.details.contains_key("line"), "{compose}: {error:?}");
    }
    assert_eq!(server.store.view().index(), before);
    server.end().await;
}

#[tokio::test]
async fn all_problems_come_at_once() {
    let server = Server::cluster().await;
    let error = server.apply(JACO, "services: {web: {image: a, prots: [], tty: maybe}}").await.unwrap_err();
    let problems = &error.details["problems"];
    assert!(problems.contains("prots") && problems.contains("tty"), "{problems}");
    server.end().await;
}

#[tokio::test]
async fn limits_name_themselves() {
    let server = Server::start(
        cluster_store(&["node-a"]),
        Limits { manifest_bytes: 1000, deployment_replicas: 5, ..Limits::default() },
    )
    .await;
    let error = server.apply(JACO, &format!("# {}\n{COMPOSE}", "x".repeat(2000))).await.unwrap_err();
    assert_eq!((error.code, error.details["limit"].as_str()), (ErrorCode::RequestTooLarge, "1000"));
    let error = server.apply(JACO, "services: {web: {image: a, scale: 6}}").await.unwrap_err();
    assert_eq!((error.code, error.details["unit"].as_str()), (ErrorCode::RequestTooLarge, "replicas"));
    let oversized = "x".repeat(jaco_proto::MAX_MESSAGE_BYTES + 1);
    let error = server.apply(JACO, &oversized).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::RequestTooLarge, "{error}");
    server.end().await;
}

#[tokio::test]
async fn strict_turns_remarks_into_refusals() {
    let server = Server::cluster().await;
    let request = v1::ApplyRequest {
        jaco_yaml: JACO.into(),
        compose_yaml: format!("version: '3'\n{COMPOSE}"),
        strict: true,
        ..Default::default()
    };
    let error = from_status(&server.deploy().apply(request).await.unwrap_err());
    assert_eq!(error.code.exit_code(), 3, "{error}");
    server.end().await;
}

#[tokio::test]
async fn a_malformed_request_id_is_refused() {
    let server = Server::cluster().await;
    let request_id = Some(v1::RequestId { base_index: 0, token: vec![1, 2, 3] });
    let request = v1::DeleteRequest { deployment: "shop".into(), request_id };
    assert_eq!(code(server.deploy().delete(request).await), ErrorCode::ValidationFailed);
    server.end().await;
}

#[tokio::test]
async fn rollback_and_delete_of_nothing_say_so() {
    let server = Server::cluster().await;
    let mut deploy = server.deploy();
    let nothing = |deployment: &str| v1::RollbackRequest { deployment: deployment.into(), ..Default::default() };
    assert_eq!(code(deploy.rollback(nothing("shop")).await), ErrorCode::DeploymentNotFound);
    server.apply(JACO, COMPOSE).await.unwrap();
    assert_eq!(code(deploy.rollback(nothing("shop")).await), ErrorCode::NoPreviousRevision);
    let unknown = v1::RollbackRequest { to: Some(9), ..nothing("shop") };
    assert_eq!(code(deploy.rollback(unknown).await), ErrorCode::RevisionNotFound);
    deploy.delete(v1::DeleteRequest { deployment: "shop".into(), request_id: None }).await.unwrap();
    let again = v1::DeleteRequest { deployment: "shop".into(), request_id: None };
    assert_eq!(code(deploy.delete(again).await), ErrorCode::DeploymentNotFound);
    server.end().await;
}

#[tokio::test]
async fn a_refusal_of_thousands_of_problems_still_arrives_as_one() {
    let server = Server::cluster().await;
    let keys: String = (0..5_000).map(|number| format!("    wrong{number}: 1\n")).collect();
    let error = server.apply(JACO, &format!("services:\n  web:\n    image: a\n{keys}")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ValidationFailed, "{error:?}");
    let long = format!("services:\n  web:\n    image: a\n    ? {}\n    : 1\n", "k".repeat(100_000));
    let error = server.apply(JACO, &long).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::ValidationFailed, "{error:?}");
    server.end().await;
}

#[tokio::test]
async fn a_diff_never_shows_what_a_variable_put_into_a_command() {
    let server = Server::cluster().await;
    let compose = |word: &str| {
        format!(
            "services:\n  web:\n    image: a\n    command: [serve, {word}]\nx-jaco-interpolated: [/services/web/command/1]\n"
        )
    };
    server.apply("deployment: shop\n", &compose("hunter2")).await.unwrap();
    let diff = server.apply("deployment: shop\n", &compose("hunter3")).await.unwrap().diff.unwrap();
    let shown: Vec<_> = diff.updates.iter().map(|u| (u.old.as_deref(), u.new.as_deref())).collect();
    assert_eq!(shown, [(Some("(hidden)"), Some("(hidden)"))]);
    let request = v1::RollbackRequest { deployment: "shop".into(), ..Default::default() };
    let diff = server.deploy().rollback(request).await.unwrap().into_inner().diff.unwrap();
    assert!(!format!("{diff:?}").contains("hunter"), "{diff:?}");
    server.end().await;
}

#[test]
fn the_client_refuses_what_the_daemon_would_find_too_long() {
    assert_eq!(jaco_manifest::MAX_TEXT_BYTES, Limits::default().manifest_bytes);
}
