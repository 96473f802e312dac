//! For tests: a cluster as its init makes it, with every secret it has.

use jaco_identity::{Authority, Keyring, OperatorToken, RecoveryKey, SealSecretKey};
use jaco_scheduler::intent::{self, Founding, NewToken};
use jaco_state::{Command, EntryMeta, Outcome, StateMachine, Transaction, View};
use jaco_testkit::{cluster_meta, ready_node};
use jaco_types::{JoinToken, Node, NodeId, OperatorName, RecoveryRecipient, Role, Token};

use crate::sealing::{Sealing, first_data_key};

/// 2023-11-14: the authority's certificate begins there.
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

/// The cluster, and what only its founder knows.
pub(crate) struct Founded {
    pub(crate) machine: StateMachine,
    pub(crate) first: Transaction,
    pub(crate) node: Node,
    pub(crate) seal: SealSecretKey,
    pub(crate) recovery: RecoveryKey,
    pub(crate) authority_key: String,
    pub(crate) token: String,
}

impl Founded {
    /// A cluster of this node.
    pub(crate) fn new(id: u64, name: &str) -> Founded {
        let seal = SealSecretKey::generate().unwrap();
        let recovery = RecoveryKey::generate().unwrap();
        let meta = cluster_meta();
        let authority = Authority::generate(&meta.cluster_id, NOW_MS).unwrap();
        let token = OperatorToken::generate().unwrap();
        let node = member(id, name, &seal);
        let (data_key, authority_key) =
            first_data_key(&meta, &authority, node.id, &seal.public(), &recovery.public()).unwrap();
        let mut first = intent::init(&View::empty(), meta, node.clone(), "local").unwrap();
        let operator = NewToken {
            identity: OperatorName::new("bootstrap").unwrap(),
            hash: token.hash().to_string(),
            role: Role::Admin,
            allows_privileged: false,
            certificate_keys: Default::default(),
        };
        let founding = Founding {
            authority: authority.certificate().to_pem(),
            authority_key,
            data_key,
            recovery: RecoveryRecipient { public_key: recovery.public().to_string() },
            operator: Some(operator),
        };
        intent::found(&mut first, founding, NOW_MS);
        let (authority_key, token) = (authority.key_pem().to_string(), token.reveal().to_string());
        let mut founded =
            Founded { machine: StateMachine::new(), first: first.clone(), node, seal, recovery, authority_key, token };
        founded.commit(first);
        founded
    }

    pub(crate) fn view(&self) -> View {
        self.machine.view()
    }

    pub(crate) fn sealing(&self) -> Sealing {
        Sealing::new(self.node.id, self.seal.clone())
    }

    pub(crate) fn keyring(&self) -> Keyring {
        self.sealing().keyring(&self.view()).unwrap()
    }

    /// Applies a transaction, all of whose checks hold.
    pub(crate) fn commit(&mut self, transaction: Transaction) {
        let index = self.machine.view().index() + 1;
        let meta = EntryMeta { index, term: 3, time_ms: NOW_MS + index };
        let outcome = self.machine.apply(meta, &Command::new(transaction).unwrap());
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    }

    /// Lets another node join; gives its sealing key.
    pub(crate) fn join(&mut self, id: u64, name: &str) -> (Node, SealSecretKey) {
        let seal = SealSecretKey::generate().unwrap();
        let node = member(id, name, &seal);
        let mut transaction = Transaction::new("system");
        for record in self.sealing().copies_for(&self.view(), node.id, &seal.public()).unwrap() {
            transaction.put(record);
        }
        let ready = ready_node(id, name);
        transaction.put(node.clone()).put(ready.status).put(ready.schedulability);
        self.commit(transaction);
        (node, seal)
    }
}

/// A member with keys.
pub(crate) fn member(id: u64, name: &str, seal: &SealSecretKey) -> Node {
    let ready = ready_node(id, name).node;
    Node {
        public_keys: vec![format!("{id:064x}")],
        seal_key: seal.public().to_string(),
        cluster_address: format!("{}:7001", ready.address),
        ..ready
    }
}

/// An issued join token.
pub(crate) fn join_token() -> JoinToken {
    JoinToken {
        hash: "ab".repeat(32),
        issued_by: "local".to_owned(),
        issued_at_ms: NOW_MS,
        expires_at_ms: NOW_MS + 1_000_000,
        used_by: None,
    }
}

/// The operators' records.
pub(crate) fn tokens(view: &View) -> Vec<Token> {
    view.list::<Token>().cloned().collect()
}

/// The ids of the members.
pub(crate) fn members(view: &View) -> Vec<NodeId> {
    view.list::<Node>().map(|node| node.id).collect()
}
