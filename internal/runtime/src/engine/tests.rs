//! One suite for the fake and the real engine: what the loop relies on.

use std::collections::HashMap;

use bollard::models::ContainerCreateBody;
use futures_util::StreamExt;
use jaco_state::SystemClock;

use super::*;
use crate::engine::fake::FakeEngine;
use crate::testing::lab::Lab;

async fn contract(engine: &dyn Engine, image: &str, run: &str) {
    let name = format!("jaco-contract-{run}");
    let other = format!("{name}-b");
    assert!(engine.version().await.unwrap().api >= ApiVersion(1, 40));
    engine.ping().await.unwrap();
    assert!(engine.image(image).await.unwrap().is_some());
    assert!(engine.image("no-such-image-here").await.unwrap().is_none());

    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(vec!["sleep".to_owned(), "1000".to_owned()]),
        labels: Some(HashMap::from([("jaco.test".to_owned(), run.to_owned())])),
        ..Default::default()
    };
    let mut events = engine.events("jaco.test", run, 0);
    let mut heard = Vec::new();
    let listen = async {
        while let Some(event) = events.next().await {
            heard.push(event.unwrap().action);
            if heard.last().map(String::as_str) == Some("destroy") {
                return;
            }
        }
    };
    let work = async {
        let absent = engine.create_container(
            &name,
            None,
            ContainerCreateBody { image: Some("no-such-image-here".to_owned()), ..body.clone() },
        );
        assert!(absent.await.unwrap_err().is_not_found());
        let id = engine.create_container(&name, None, body.clone()).await.unwrap();
        assert!(matches!(engine.create_container(&name, None, body.clone()).await, Err(EngineError::Conflict { .. })));
        let found = engine.inspect(&name).await.unwrap().unwrap();
        assert_eq!((found.id.as_str(), found.state, found.started_at_ms), (id.as_str(), ProcessState::Created, None));
        engine.start(&id).await.unwrap();
        let found = engine.inspect(&id).await.unwrap().unwrap();
        assert_eq!((found.state, found.health), (ProcessState::Running, None));
        assert!(found.started_at_ms.is_some());
        engine.rename(&id, &other).await.unwrap();
        assert_eq!(engine.inspect(&id).await.unwrap().unwrap().name, other);
        assert_eq!(engine.list("jaco.test", run).await.unwrap(), std::slice::from_ref(&id));
        engine.kill(&id, "SIGKILL").await.unwrap();
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while engine.inspect(&id).await.unwrap().unwrap().state != ProcessState::Exited {
            assert!(std::time::Instant::now() < end);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(engine.inspect(&id).await.unwrap().unwrap().exit_code, 137);
        engine.stop(&id, Duration::from_secs(1)).await.unwrap();
        engine.remove(&id).await.unwrap();
        engine.remove(&id).await.unwrap();
        engine.stop(&id, Duration::ZERO).await.unwrap();
        assert!(engine.inspect(&id).await.unwrap().is_none());
    };
    tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(listen, work) }).await.unwrap();
    for expected in ["create", "start", "die", "destroy"] {
        assert!(heard.iter().any(|action| action == expected), "{expected} is not in {heard:?}");
    }

    let volume = VolumeCreateRequest { name: Some(name.clone()), ..Default::default() };
    assert!(engine.volume(&name).await.unwrap().is_none());
    engine.create_volume(volume.clone()).await.unwrap();
    engine.create_volume(volume).await.unwrap();
    assert!(engine.volume(&name).await.unwrap().is_some());
    assert!(engine.network(&name).await.unwrap().is_none());
    engine.remove_network(&name).await.unwrap();
}

#[tokio::test]
async fn the_fake_engine_keeps_the_contract() {
    let engine = FakeEngine::new(Arc::new(SystemClock::new()));
    engine.state().images.push("image".to_owned());
    contract(engine.as_ref(), "image", "fake").await;
}

#[tokio::test]
async fn a_real_engine_keeps_the_contract() {
    let Some(lab) = Lab::new("a_real_engine_keeps_the_contract").await else { return };
    contract(lab.engine.as_ref(), &lab.image, &lab.cluster).await;
}

#[tokio::test]
async fn an_absent_engine_is_unreachable_and_not_a_panic() {
    let engine = DockerEngine::new("/nonexistent/docker.sock");
    assert!(engine.version().await.unwrap_err().is_unreachable());
    assert!(engine.events("a", "b", 0).next().await.unwrap().unwrap_err().is_unreachable());
    assert!(engine.logs("x", LogOptions::default()).next().await.unwrap().unwrap_err().is_unreachable());
}
