use std::sync::Arc;

use bollard::models::{ContainerCreateBody, NetworkCreateRequest};

use super::*;
use crate::engine::fake::FakeEngine;

fn labels(cluster: &str) -> std::collections::HashMap<String, String> {
    [(label::CLUSTER_ID.to_owned(), cluster.to_owned())].into()
}

async fn fill(engine: &Arc<FakeEngine>, cluster: &str) {
    engine
        .create_network(NetworkCreateRequest {
            name: format!("net-{cluster}"),
            labels: Some(labels(cluster)),
            ..Default::default()
        })
        .await
        .unwrap();
    for number in 0..2 {
        let body =
            ContainerCreateBody { image: Some("img".to_owned()), labels: Some(labels(cluster)), ..Default::default() };
        let name = format!("c-{cluster}-{number}");
        engine.create_container(&name, None, body).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_clusters_own_objects_go() {
    let engine = FakeEngine::new(crate::testing::TokioClock::start());
    engine.state().images.push("img".to_owned());
    fill(&engine, "ours").await;
    fill(&engine, "other").await;
    leave(&*engine, "ours").await.unwrap();
    leave(&*engine, "ours").await.unwrap();
    assert!(engine.list(label::CLUSTER_ID, "ours").await.unwrap().is_empty());
    assert!(engine.networks(label::CLUSTER_ID, "ours").await.unwrap().is_empty());
    assert_eq!(engine.list(label::CLUSTER_ID, "other").await.unwrap().len(), 2);
    assert_eq!(engine.networks(label::CLUSTER_ID, "other").await.unwrap().len(), 1);
}
