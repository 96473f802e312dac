use super::*;

/// A desired replica of `shop`/`web` and, with a state, its observation.
fn replica(server: &Server, index: u32, state: Option<ReplicaState>) -> ReplicaDesired {
    let view = server.store.view();
    let revision = view.list::<DeploymentRevision>().last().unwrap().clone();
    let node = view.list::<jaco_types::Node>().next().unwrap().clone();
    let desired = jaco_testkit::replica_desired(&revision, "web", index, &node);
    server.write(|transaction| {
        transaction.put(desired.clone());
        if let Some(state) = state {
            transaction.put(jaco_testkit::replica_observed(&desired, state));
        }
    });
    desired
}

#[tokio::test]
async fn status_shows_what_is_desired_beside_what_is_observed() {
    let server = Server::cluster().await;
    server.apply(JACO, COMPOSE).await.unwrap();
    replica(&server, 0, Some(ReplicaState::Running));
    replica(&server, 1, None);
    let status = server.deploy().status(v1::StatusRequest::default()).await.unwrap().into_inner();
    assert_eq!(status.deployments.len(), 1);
    assert_eq!(status.deployments[0].services, ["web"]);
    let states: Vec<(&str, v1::ReplicaState)> =
        status.replicas.iter().map(|replica| (replica.id.as_str(), replica.state())).collect();
    assert_eq!(states, [("shop-web-0", v1::ReplicaState::Running), ("shop-web-1", v1::ReplicaState::Pending)]);
    assert!(status.replicas[0].spec_current && !status.replicas[1].spec_current);
    assert!(status.replicas.iter().all(|replica| replica.host == "node-a"));
    assert_eq!(status.replicas[0].last_health_at_ms, Some(11));
    let route = &status.routes[0];
    assert_eq!((route.path.as_str(), route.ready_replicas, route.total_replicas), ("/", 1, 2));
    assert_eq!(status.remarks.len(), 1, "the domain is served in plain HTTP for now");
    server.end().await;
}

#[tokio::test]
async fn a_container_of_the_generation_before_is_being_updated() {
    let server = Server::cluster().await;
    server.apply(JACO, COMPOSE).await.unwrap();
    let desired = replica(&server, 0, Some(ReplicaState::Running));
    server.write(|transaction| {
        transaction.put(ReplicaDesired { generation: desired.generation + 1, ..desired.clone() });
    });
    let status = server.deploy().status(v1::StatusRequest::default()).await.unwrap().into_inner();
    assert_eq!(status.replicas[0].state(), v1::ReplicaState::Updating);
    assert!(!status.replicas[0].spec_current);
    assert_eq!(status.routes[0].ready_replicas, 0);
    server.end().await;
}

#[tokio::test]
async fn a_waiting_replica_names_what_it_waits_for() {
    let server = Server::cluster().await;
    let compose = "services:\n  web: {image: a, depends_on: {db: {condition: service_healthy}}}\n  db: {image: b}\n";
    server.apply(JACO, compose).await.unwrap();
    let desired = replica(&server, 0, None);
    let db = jaco_types::ServiceName::new("db").unwrap();
    server.write(|transaction| {
        transaction.put(ReplicaDesired { waiting_on: vec![db], ..desired });
    });
    let request = v1::GetReplicasRequest { id: "shop-web-0".into(), ..Default::default() };
    let replica = server.deploy().get_replicas(request).await.unwrap().into_inner().replicas.remove(0);
    assert_eq!(replica.code.as_deref(), Some("depends_on_unmet"));
    assert_eq!(replica.details["waiting_on"], "db");
    assert_eq!((replica.depends_on[0].service.as_str(), replica.depends_on[0].satisfied), ("db", false));
    server.end().await;
}

#[tokio::test]
async fn a_deleted_deployment_is_shown_until_its_containers_are_gone() {
    let server = Server::cluster().await;
    server.apply(JACO, COMPOSE).await.unwrap();
    let desired = replica(&server, 0, Some(ReplicaState::Running));
    let mut deploy = server.deploy();
    deploy.delete(v1::DeleteRequest { deployment: "shop".into(), request_id: None }).await.unwrap();
    let request = || v1::StatusRequest { deployment: "shop".into(), service: String::new() };
    let status = deploy.status(request()).await.unwrap().into_inner();
    assert_eq!(status.replicas[0].state(), v1::ReplicaState::Stopped);
    server.write(|transaction| {
        transaction.delete::<ReplicaObserved>(desired.id.as_str());
    });
    assert_eq!(code(deploy.status(request()).await), ErrorCode::DeploymentNotFound);
    server.end().await;
}

#[tokio::test]
async fn what_does_not_exist_is_told_apart_from_what_is_empty() {
    let server = Server::cluster().await;
    server.apply(JACO, COMPOSE).await.unwrap();
    let mut deploy = server.deploy();
    let status = v1::StatusRequest { deployment: "shop".into(), service: "db".into() };
    assert_eq!(code(deploy.status(status).await), ErrorCode::UnknownService);
    let replica = v1::GetReplicasRequest { id: "nope".into(), ..Default::default() };
    assert_eq!(code(deploy.get_replicas(replica).await), ErrorCode::ReplicaNotFound);
    let route = v1::GetRouteRequest { domain: "other.test".into() };
    assert_eq!(code(deploy.get_route(route).await), ErrorCode::RouteNotFound);
    let route = v1::GetRouteRequest { domain: "not a domain".into() };
    assert_eq!(code(deploy.get_route(route).await), ErrorCode::ValidationFailed);
    let revision = v1::GetDeploymentRequest { name: "shop".into(), revision: Some(9) };
    assert_eq!(code(deploy.get_deployment(revision).await), ErrorCode::RevisionNotFound);
    let routes = deploy.get_routes(v1::GetRoutesRequest { domain: "other.test".into() }).await.unwrap().into_inner();
    assert!(routes.routes.is_empty());
    let by_case = deploy.get_route(v1::GetRouteRequest { domain: "SHOP.test".into() }).await.unwrap().into_inner();
    assert_eq!(by_case.routes.len(), 1);
    server.end().await;
}

#[tokio::test]
async fn history_is_newest_first_and_marks_the_active_one() {
    let server = Server::cluster().await;
    server.apply(JACO, COMPOSE).await.unwrap();
    server.apply(JACO, &COMPOSE.replace("nginx:1", "nginx:2")).await.unwrap();
    let mut deploy = server.deploy();
    let request = || v1::HistoryRequest { deployment: "shop".into() };
    let history = deploy.history(request()).await.unwrap().into_inner().revisions;
    let rows: Vec<(u64, bool, &str)> = history.iter().map(|r| (r.revision, r.active, r.kind.as_str())).collect();
    assert_eq!(rows, [(2, true, "apply"), (1, false, "apply")]);
    deploy.rollback(v1::RollbackRequest { deployment: "shop".into(), ..Default::default() }).await.unwrap();
    let history = deploy.history(request()).await.unwrap().into_inner().revisions;
    let rows: Vec<(u64, bool, &str)> = history.iter().map(|r| (r.revision, r.active, r.kind.as_str())).collect();
    assert_eq!(rows, [(2, false, "apply"), (1, true, "rollback")]);
    let stored = v1::GetDeploymentRequest { name: "shop".into(), revision: Some(2) };
    let stored = deploy.get_deployment(stored).await.unwrap().into_inner();
    assert!(stored.compose_yaml.contains("nginx:2") && stored.revision == 2);
    assert_eq!(stored.services[0].image, "nginx:2");
    server.end().await;
}
