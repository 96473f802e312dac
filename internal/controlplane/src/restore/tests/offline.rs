//! On a real data directory, with the real store before and after.

use std::path::Path;

use jaco_state::{Store, Transaction, View, write_snapshot};
use jaco_testkit::claim;
use jaco_types::{Claim, ClaimKind, NodeId};

use crate::founded::Founded;
use crate::restore::{INDEX_GAP, LifeEvent, NewLife, begin_life, read_state, write_state};
use crate::{ControlPlane, Options, Phase};

fn bytes(view: &View) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_snapshot(view, &mut bytes).unwrap();
    bytes
}

fn port(number: u32) -> Transaction {
    let mut transaction = Transaction::new("test");
    transaction.put(claim(ClaimKind::Port, &format!("tcp/{number}"), "shop"));
    transaction
}

pub(super) async fn open(data_dir: &Path, node: NodeId, incarnation: Option<u64>) -> ControlPlane {
    ControlPlane::open(Options { incarnation, ..Options::new(data_dir, node) }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_read_as_its_store_had_it() {
    let folder = tempfile::tempdir().unwrap();
    let founded = Founded::new(1, "a");
    let id = founded.node.id;
    assert!(read_state(folder.path(), id).unwrap().is_none());
    let store = open(folder.path(), id, None).await;
    let meta = founded.view().cluster().unwrap().clone();
    let mut first = founded.first.clone();
    // The store adds the record of the cluster itself.
    first.writes.retain(|write| !matches!(write, jaco_state::Write::Put(jaco_types::Entity::ClusterMeta(_))));
    first.checks.clear();
    store.initialise(meta, first).await.unwrap();
    for number in 0..50 {
        store.propose(port(number)).await.unwrap();
        if number == 30 {
            store.compact().await.unwrap();
        }
    }
    let view = store.view();
    store.shutdown().await;
    drop(store);
    let state = read_state(folder.path(), id).unwrap().unwrap();
    assert_eq!(state.incarnation, view.incarnation());
    assert_eq!(bytes(&state.machine.view()), bytes(&view));
    // Another node's directory is refused.
    assert!(read_state(folder.path(), NodeId(99)).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_life_elects_its_only_voter_and_survives_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let old = Founded::new(1, "a");
    let life = NewLife {
        event: LifeEvent::Recovered,
        node: old.node.clone(),
        incarnation: 0xbeef,
        now_ms: crate::founded::NOW_MS,
        old_nodes_are_off: false,
    };
    let machine = begin_life(old.machine.clone(), &life, &old.keyring(), &old.sealing()).unwrap();
    write_state(folder.path(), &machine, old.node.id, "127.0.0.1:7001").unwrap();
    let read = read_state(folder.path(), old.node.id).unwrap().unwrap();
    assert_eq!(bytes(&read.machine.view()), bytes(&machine.view()));

    let mut committed = machine.view().index();
    for round in 0..3u32 {
        let store = open(folder.path(), old.node.id, Some(0xbeef)).await;
        let view = store.ready().await.unwrap();
        assert_eq!(store.phase(), Phase::Member);
        assert!(view.index() >= committed);
        let status = store.status();
        assert_eq!((status.leader, status.voters), (Some(old.node.id), vec![old.node.id]));
        let commit = store.propose(port(round)).await.unwrap();
        assert!(commit.index > committed && commit.index > INDEX_GAP);
        committed = commit.index;
        if round == 1 {
            store.compact().await.unwrap();
        }
        assert!(store.view().term() > old.view().term());
        assert_eq!(store.view().count::<Claim>(), round as usize + 1);
        store.shutdown().await;
    }
    // The old life's certificate has the old incarnation.
    let opened = ControlPlane::open(Options { incarnation: Some(1), ..Options::new(folder.path(), old.node.id) }).await;
    assert!(opened.is_err());
}
