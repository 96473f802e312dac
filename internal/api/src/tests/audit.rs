use jaco_proto::v1::audit_client::AuditClient;

use super::*;

async fn query(server: &Server, request: v1::AuditQueryRequest) -> Vec<v1::AuditEvent> {
    let mut stream = AuditClient::new(server.channel.clone()).query(request).await.unwrap().into_inner();
    let mut events = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        events.extend(message.events);
    }
    events
}

fn types(events: &[v1::AuditEvent]) -> Vec<&str> {
    events.iter().map(|event| event.r#type.as_str()).collect()
}

async fn busy() -> Server {
    let server = Server::cluster().await;
    server.apply(JACO, COMPOSE).await.unwrap();
    server.apply(JACO, &COMPOSE.replace("nginx:1", "nginx:2")).await.unwrap();
    server.deploy().rollback(v1::RollbackRequest { deployment: "shop".into(), ..Default::default() }).await.unwrap();
    server.deploy().delete(v1::DeleteRequest { deployment: "shop".into(), ..Default::default() }).await.unwrap();
    server
}

#[tokio::test]
async fn every_change_leaves_an_event_of_a_known_type_with_identity_and_facts() {
    let server = busy().await;
    let events = query(&server, v1::AuditQueryRequest::default()).await;
    assert!(types(&events).ends_with(&["apply", "apply", "rollback", "delete"]), "{events:?}");
    for event in &events {
        assert!(jaco_types::audit_type(&event.r#type).is_some(), "{event:?}");
        assert!(event.ts_ms > 0 && event.raft_index > 0 && !event.identity.is_empty(), "{event:?}");
    }
    let apply = events.iter().find(|event| event.r#type == "apply").unwrap();
    assert_eq!((apply.identity.as_str(), apply.payload["deployment"].as_str()), ("local", "shop"));
    server.end().await;
}

#[tokio::test]
async fn events_are_chosen_by_type_and_age_and_an_unknown_type_is_named() {
    let server = busy().await;
    let of = |names: &[&str]| v1::AuditQueryRequest {
        types: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    };
    assert_eq!(types(&query(&server, of(&["ROLLBACK", "delete"])).await), ["rollback", "delete"]);
    assert!(query(&server, of(&["node_down"])).await.is_empty());
    // The store of the tests has a clock of its own, long ago.
    let recent = v1::AuditQueryRequest { since_ms: Some(1_000), ..Default::default() };
    assert!(query(&server, recent).await.is_empty());
    let error = AuditClient::new(server.channel.clone()).query(of(&["apply", "aplly"])).await.unwrap_err();
    let error = from_status(&error);
    assert_eq!((error.code, error.details["type"].as_str()), (ErrorCode::Usage, "aplly"));
    server.end().await;
}

#[tokio::test]
async fn a_query_goes_on_after_the_place_it_reached() {
    let server = busy().await;
    let all = query(&server, v1::AuditQueryRequest::default()).await;
    for (index, event) in all.iter().enumerate() {
        let after = Some(v1::AuditPlace { raft_index: event.raft_index, sequence: event.sequence });
        let rest = query(&server, v1::AuditQueryRequest { after, ..Default::default() }).await;
        assert_eq!(rest, all[index + 1..], "after event {index}");
    }
    server.end().await;
}

#[tokio::test]
async fn following_tells_events_as_they_come_each_once() {
    let server = Server::cluster().await;
    server.apply(JACO, COMPOSE).await.unwrap();
    let request = v1::AuditQueryRequest { follow: true, types: vec!["apply".into()], ..Default::default() };
    let mut stream = AuditClient::new(server.channel.clone()).query(request).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(types(&first.events), ["apply"]);
    for round in 2..5 {
        server.apply(JACO, &COMPOSE.replace("nginx:1", &format!("nginx:{round}"))).await.unwrap();
        let next = tokio::time::timeout(Duration::from_secs(5), stream.message()).await.unwrap().unwrap().unwrap();
        assert_eq!(next.events.len(), 1, "{next:?}");
        assert_eq!(next.events[0].payload["revision"], round.to_string());
        assert!(next.reached.is_some());
    }
    drop(stream);
    server.end().await;
}

#[tokio::test]
async fn a_transaction_with_more_events_than_a_message_holds_comes_whole() {
    let server = Server::cluster().await;
    let request = v1::AuditQueryRequest { follow: true, ..Default::default() };
    let mut stream = AuditClient::new(server.channel.clone()).query(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    server.write(|transaction| {
        for number in 0..150 {
            transaction.audit("backup_taken", [("number", number.to_string())]);
        }
    });
    let mut numbers = Vec::new();
    while numbers.len() < 150 {
        let next = tokio::time::timeout(Duration::from_secs(5), stream.message()).await.unwrap().unwrap().unwrap();
        numbers.extend(next.events.iter().map(|event| event.payload["number"].clone()));
    }
    let expected: Vec<String> = (0..150).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
    drop(stream);
    server.end().await;
}

#[tokio::test]
async fn many_events_come_in_parts_that_lose_none() {
    let server = Server::cluster().await;
    for number in 0..300 {
        server.write(|transaction| {
            transaction.audit("backup_taken", [("number", number.to_string())]);
        });
    }
    let request = v1::AuditQueryRequest { types: vec!["backup_taken".into()], ..Default::default() };
    let numbers: Vec<String> =
        query(&server, request).await.iter().map(|event| event.payload["number"].clone()).collect();
    let expected: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
    server.end().await;
}
