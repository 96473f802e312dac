use std::sync::Arc;

use jaco_state::{LocalStore, RequestId, Store};
use jaco_testkit::{ManualClock, cluster_store, deployment_spec, service};
use jaco_types::{Deployment, ErrorCode};

use super::*;

struct Fixture {
    store: Arc<LocalStore>,
    deployments: Deployments,
}

fn fixture() -> Fixture {
    let test = cluster_store(&["node-a"]);
    let store: Arc<LocalStore> = test.store;
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    Fixture { deployments: Deployments::new(store.clone(), clock), store }
}

fn command(image: &str, id: Option<RequestId>) -> ApplyCommand {
    ApplyCommand {
        spec: deployment_spec("shop", [("web", service(image, 2))]),
        jaco_yaml: "deployment: shop\n".into(),
        compose_yaml: format!("services: {{web: {{image: {image}}}}}\n"),
        identity: "local".into(),
        request_id: id,
    }
}

fn id(token: u8) -> RequestId {
    RequestId { base_index: 0, token: [token; 16] }
}

#[tokio::test]
async fn an_apply_becomes_the_next_revision_and_names_what_was_before() {
    let f = fixture();
    let first = f.deployments.apply(command("a:1", None)).await.unwrap();
    assert_eq!((first.revision, first.previous_revision), (1, None));
    assert!(first.before.is_none());
    let second = f.deployments.apply(command("a:2", None)).await.unwrap();
    assert_eq!((second.revision, second.previous_revision), (2, Some(1)));
    assert_eq!(second.before.unwrap().services.values().next().unwrap().container.image, "a:1");
    assert!(second.attempt > first.attempt);
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_answer_and_happens_once() {
    let f = fixture();
    let first = f.deployments.apply(command("a:1", Some(id(1)))).await.unwrap();
    let again = f.deployments.apply(command("a:1", Some(id(1)))).await.unwrap();
    assert_eq!((first.revision, first.attempt, first.index), (again.revision, again.attempt, again.index));
    assert_eq!(f.store.view().get::<Deployment>("shop").unwrap().active_revision, 1);
}

#[tokio::test]
async fn a_repeated_delete_gets_its_answer_although_nothing_is_left_to_delete() {
    let f = fixture();
    f.deployments.apply(command("a:1", None)).await.unwrap();
    let first = f.deployments.delete("shop", "local", Some(id(2))).await.unwrap();
    assert_eq!(f.deployments.delete("shop", "local", Some(id(2))).await.unwrap(), first);
    let other = f.deployments.delete("shop", "local", Some(id(3))).await.unwrap_err();
    assert_eq!(other.code, ErrorCode::DeploymentNotFound);
}

#[tokio::test]
async fn a_refusal_writes_nothing() {
    let f = fixture();
    let before = f.store.view().index();
    f.deployments.delete("shop", "local", Some(id(4))).await.unwrap_err();
    assert_eq!(f.store.view().index(), before);
}

#[tokio::test]
async fn a_preview_writes_nothing() {
    let f = fixture();
    let before = f.store.view().index();
    let preview = f.deployments.preview_apply(&f.store.view(), &command("a:1", None)).unwrap();
    assert_eq!((preview.revision, preview.index), (1, 0));
    assert_eq!(f.store.view().index(), before);
}

#[tokio::test]
async fn a_rollback_restores_and_numbers_go_on_from_the_highest() {
    let f = fixture();
    f.deployments.apply(command("a:1", None)).await.unwrap();
    f.deployments.apply(command("a:2", None)).await.unwrap();
    let back = f.deployments.rollback("shop", None, "local", None).await.unwrap();
    assert_eq!((back.revision, back.previous_revision), (1, Some(2)));
    assert_eq!(back.after.services.values().next().unwrap().container.image, "a:1");
    assert_eq!(f.deployments.apply(command("a:3", None)).await.unwrap().revision, 3);
}

#[tokio::test]
async fn names_that_cannot_be_are_not_found() {
    let f = fixture();
    for name in ["", "no such name", "nope"] {
        let error = f.deployments.delete(name, "local", None).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::DeploymentNotFound, "{name:?}");
    }
}

#[tokio::test]
async fn two_applies_at_once_both_commit_in_some_order() {
    let f = fixture();
    let (a, b) = tokio::join!(f.deployments.apply(command("a:1", None)), f.deployments.apply(command("a:2", None)));
    let mut revisions = [a.unwrap().revision, b.unwrap().revision];
    revisions.sort_unstable();
    assert_eq!(revisions, [1, 2]);
}
