//! Published ports that this node cannot open, as a detail of its status. Pure.

use std::collections::BTreeMap;

use jaco_state::{Transaction, View};
use jaco_types::{NodeId, NodeStatus, Protocol};

/// The detail of [`NodeStatus`] that this module owns; others' details are left alone.
pub const PORTS_DETAIL: &str = "ports";

/// The transaction that makes the node's status tell of these ports, or `None` when it does already, or when the node has no status
/// yet. Other nodes serve the port meanwhile.
pub fn port_details(view: &View, node: NodeId, conditions: &BTreeMap<(Protocol, u16), String>) -> Option<Transaction> {
    let key = node.to_string();
    let before = view.get::<NodeStatus>(&key)?;
    let text = describe(conditions);
    if before.details.get(PORTS_DETAIL) == text.as_ref() {
        return None;
    }
    let mut status = before.clone();
    match text {
        Some(text) => status.details.insert(PORTS_DETAIL.to_owned(), text),
        None => status.details.remove(PORTS_DETAIL),
    };
    let mut transaction = Transaction::new("ingress");
    transaction.check_unchanged::<NodeStatus>(key.clone(), view.version::<NodeStatus>(&key)).put(status);
    Some(transaction)
}

fn describe(conditions: &BTreeMap<(Protocol, u16), String>) -> Option<String> {
    let each: Vec<String> =
        conditions.iter().map(|((protocol, port), reason)| format!("{}/{port}: {reason}", protocol.as_str())).collect();
    (!each.is_empty()).then(|| each.join("; "))
}

#[cfg(test)]
mod tests {
    use jaco_state::Store;
    use jaco_testkit::cluster_store;

    use super::*;

    const NODE: NodeId = NodeId(1);

    #[test]
    fn a_taken_port_appears_once_and_goes_again() {
        let store = cluster_store(&["node-a"]);
        let taken = BTreeMap::from([((Protocol::Tcp, 8080), "address in use".to_owned())]);
        let transaction = port_details(&store.view(), NODE, &taken).unwrap();
        store.commit(transaction).unwrap();
        let details = || store.view().get::<NodeStatus>(&NODE.to_string()).unwrap().details.clone();
        assert_eq!(details()[PORTS_DETAIL], "tcp/8080: address in use");
        assert!(port_details(&store.view(), NODE, &taken).is_none(), "nothing new is nothing to write");
        store.commit(port_details(&store.view(), NODE, &BTreeMap::new()).unwrap()).unwrap();
        assert!(details().is_empty());
    }

    #[test]
    fn before_there_is_a_status_there_is_nothing_to_say() {
        let taken = BTreeMap::from([((Protocol::Udp, 53), "address in use".to_owned())]);
        assert!(port_details(&View::empty(), NODE, &taken).is_none());
    }
}
