//! Tests of the test stores and of the records they are filled with.

use jaco_state::Store;
use jaco_types::{Deployment, Node, NodeSchedulability, ReplicaDesired, ReplicaObserved, ReplicaState, Route};

use super::*;
use crate::{INCARNATION, deployed, deployment_spec, replica_desired, replica_observed, route, service};

#[test]
fn a_cluster_store_holds_its_members() {
    let store = cluster_store(&["n1", "n2"]);
    let view = store.view();
    assert_eq!(view.incarnation(), INCARNATION);
    assert_eq!(view.list::<Node>().map(|node| node.hostname.as_str()).collect::<Vec<_>>(), ["n1", "n2"]);
    assert!(view.list::<NodeSchedulability>().all(|node| node.schedulable));
    assert_eq!(view.now_ms(), 1_000_000);
}

#[test]
fn every_record_of_a_deployment_can_be_stored_and_read_back() {
    let store = cluster_store(&["n1"]);
    let node = ready_node(1, "n1").node;
    let web = deployed(deployment_spec("shop", [("web", service("web:1", 1))]));
    let desired = replica_desired(&web.revision, "web", 0, &node);
    let observed = replica_observed(&desired, ReplicaState::Running);
    store
        .write(|transaction| {
            web.put_into(transaction);
            transaction.put(desired.clone()).put(observed.clone()).put(route("shop.test", "shop", "web", 80));
        })
        .unwrap();
    let view = store.view();
    assert_eq!(view.get::<Deployment>("shop"), Some(&web.deployment));
    assert_eq!(view.get::<ReplicaDesired>("shop-web-0"), Some(&desired));
    assert_eq!(view.get::<ReplicaObserved>("shop-web-0"), Some(&observed));
    assert_eq!(view.list_prefix::<Route>("shop.test").count(), 1);
}
