//! The cluster's feature level follows its members: it is the least that one of them is able to. Pure.
//!
//! It only ever grows. One that is able to less is refused when it joins, when it opens its session, and by its own store.

use std::collections::BTreeMap;

use jaco_state::{Transaction, View};
use jaco_types::{ClusterMeta, DataKey, Node, NodeId, Stored};

use crate::sessions::Peer;

/// The transaction that raises the level, when every member has said in this term that it is able to more. A member that has not been
/// heard yet is waited for.
///
/// It checks that nobody joined meanwhile: every join writes the data keys, and checks the record of the cluster.
pub(super) fn raise(view: &View, term: u64, peers: &BTreeMap<NodeId, Peer>) -> Option<Transaction> {
    let cluster = view.cluster()?;
    let levels = view.list::<Node>().map(|node| peers.get(&node.id).map(|peer| peer.hello.feature_level));
    let level = levels.collect::<Option<Vec<u32>>>()?.into_iter().min()?;
    if level <= cluster.feature_level {
        return None;
    }
    let key = cluster.key();
    let mut transaction = Transaction::new("system");
    transaction.check_term(term).check_unchanged::<ClusterMeta>(key.clone(), view.version::<ClusterMeta>(&key));
    for data_key in view.list::<DataKey>() {
        let key = DataKey::key_of(data_key.epoch);
        transaction.check_unchanged::<DataKey>(key.clone(), view.version::<DataKey>(&key));
    }
    let (from, to) = (cluster.feature_level.to_string(), level.to_string());
    transaction.audit("feature_level_raised", [("from", from), ("to", to)]);
    transaction.put(ClusterMeta { feature_level: level, ..cluster.clone() });
    Some(transaction)
}
