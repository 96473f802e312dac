//! Whose store a node with a certificate opens.

use jaco_identity::JoinRecord;

use super::{ControlPlane, OpenError};
use crate::data_dir::sync_directory;
use crate::identity::IdentityError;
use crate::options::Options;
use crate::restore::read_state;

/// Opens the store in the life of the cluster that the record names. A daemon makes an empty store at its first start, before the node has
/// a place: when it has joined since, that store is of no life, and is removed.
pub(super) async fn open_member(options: Options, record: &JoinRecord) -> Result<ControlPlane, OpenError> {
    let options = Options { incarnation: Some(record.incarnation), ..options };
    match ControlPlane::open(options.clone()).await {
        // One without peers has founded or restored its cluster: another life in its directory is never what was there before.
        Err(OpenError::Identity(IdentityError::OtherIncarnation { .. })) if !record.peers.is_empty() => {}
        opened => return opened,
    }
    let before = options.clone();
    let removed = tokio::task::spawn_blocking(move || remove_if_empty(&before)).await;
    removed.map_err(|error| OpenError::Raft { reason: error.to_string() })??;
    ControlPlane::open(options).await
}

fn remove_if_empty(options: &Options) -> Result<(), OpenError> {
    let path = options.data_dir.join("raft");
    let state = read_state(&options.data_dir, options.node_id)?;
    if state.is_some_and(|state| state.machine.view().cluster().is_some()) {
        return Err(OpenError::OtherLife { path });
    }
    std::fs::remove_dir_all(&path)
        .and_then(|()| sync_directory(&options.data_dir))
        .map_err(|source| OpenError::Directory { path, source })
}

#[cfg(test)]
mod tests {
    use jaco_state::{Store, Transaction};
    use jaco_testkit::cluster_meta;
    use jaco_types::{Hostname, NodeId};

    use super::*;
    use crate::control_plane::Phase;

    const OWN: NodeId = NodeId(7);
    const LIFE: u64 = 0xabcd;

    fn record(peers: &[&str]) -> JoinRecord {
        JoinRecord {
            cluster_id: "c".to_owned(),
            node_id: OWN,
            hostname: Hostname::new("a").unwrap(),
            incarnation: LIFE,
            ca_fingerprint: "ab".repeat(32),
            peers: peers.iter().map(|peer| (*peer).to_owned()).collect(),
        }
    }

    fn options(folder: &tempfile::TempDir) -> Options {
        Options { address: "n7:7001".to_owned(), ..Options::new(folder.path(), OWN) }
    }

    /// What a daemon leaves that was started and is no member.
    async fn started(folder: &tempfile::TempDir) -> u64 {
        let store = ControlPlane::open(options(folder)).await.unwrap();
        let incarnation = store.incarnation();
        store.halt().await;
        incarnation
    }

    #[tokio::test]
    async fn a_joiner_begins_anew_in_the_life_that_it_joined() {
        let folder = tempfile::tempdir().unwrap();
        assert_ne!(started(&folder).await, LIFE);
        let store = ControlPlane::open_member(options(&folder), &record(&["n1:7001"])).await.unwrap();
        assert_eq!((store.incarnation(), store.phase()), (LIFE, Phase::Uninitialised));
        store.halt().await;
        drop(store);
        // From then on it is its own.
        let again = ControlPlane::open_member(options(&folder), &record(&["n1:7001"])).await.unwrap();
        assert_eq!(again.incarnation(), LIFE);
        again.halt().await;
    }

    #[tokio::test]
    async fn a_cluster_of_another_life_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = ControlPlane::open(options(&folder)).await.unwrap();
        store.initialise(cluster_meta(), Transaction::new("local")).await.unwrap();
        let (incarnation, index) = (store.incarnation(), store.view().index());
        store.halt().await;
        drop(store);
        let refused = ControlPlane::open_member(options(&folder), &record(&["n1:7001"])).await.err().unwrap();
        assert!(matches!(refused, OpenError::OtherLife { .. }), "{refused}");
        let founder = JoinRecord { incarnation, ..record(&[]) };
        let store = ControlPlane::open_member(options(&folder), &founder).await.unwrap();
        let view = store.ready().await.unwrap();
        assert!(view.cluster().is_some() && view.index() >= index);
        store.halt().await;
    }

    #[tokio::test]
    async fn one_that_founded_its_cluster_never_loses_its_store_to_a_record_of_another_life() {
        let folder = tempfile::tempdir().unwrap();
        let incarnation = started(&folder).await;
        let refused = ControlPlane::open_member(options(&folder), &record(&[])).await.err().unwrap();
        assert!(matches!(refused, OpenError::Identity(IdentityError::OtherIncarnation { .. })), "{refused}");
        assert_eq!(started(&folder).await, incarnation);
    }

    #[tokio::test]
    async fn a_cluster_that_has_grown_beyond_this_version_is_not_served() {
        let folder = tempfile::tempdir().unwrap();
        let store = ControlPlane::open(options(&folder)).await.unwrap();
        store.initialise(cluster_meta(), Transaction::new("local")).await.unwrap();
        let meta = store.view().cluster().unwrap().clone();
        let fatal = store.fatal();
        let mut raise = Transaction::new("system");
        raise.put(jaco_types::ClusterMeta { feature_level: store.feature_level() + 1, ..meta });
        // Whether its answer comes before the end is of no matter.
        let _ = store.propose(raise).await;
        let told = tokio::time::timeout(std::time::Duration::from_secs(20), fatal).await.unwrap();
        assert!(told.reason.contains("install a newer jacod"), "{}", told.reason);
        // One that is able to it goes on where this one stopped.
        let able = Options { feature_level: store.feature_level() + 1, ..options(&folder) };
        store.halt().await;
        drop(store);
        let store = ControlPlane::open(able).await.unwrap();
        store.ready().await.unwrap();
        store.compact().await.unwrap();
        store.halt().await;
        drop(store);
        let refused = ControlPlane::open(options(&folder)).await.err().unwrap();
        assert!(matches!(refused, OpenError::TooOld(_)), "{refused}");
    }
}
