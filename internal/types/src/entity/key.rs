//! Kinds and keys: how a typed record is found in the store.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;

/// The closed set of record kinds. The numbers are stored: never reuse or change one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Kind {
    /// [`ClusterMeta`].
    ClusterMeta = 1,
    /// [`Node`].
    Node = 2,
    /// [`NodeStatus`].
    NodeStatus = 3,
    /// [`NodeSchedulability`].
    NodeSchedulability = 4,
    /// [`Deployment`].
    Deployment = 5,
    /// [`DeploymentRevision`].
    DeploymentRevision = 6,
    /// [`RevisionCounter`].
    RevisionCounter = 7,
    /// [`Route`].
    Route = 8,
    /// [`PortRoute`].
    PortRoute = 9,
    /// [`ReplicaDesired`].
    ReplicaDesired = 10,
    /// [`ReplicaObserved`].
    ReplicaObserved = 11,
    /// [`Subnet`].
    Subnet = 12,
    /// [`Claim`].
    Claim = 13,
    /// [`Token`].
    Token = 14,
    /// [`JoinToken`].
    JoinToken = 15,
    /// [`Tombstone`].
    Tombstone = 16,
    /// [`Authority`].
    Authority = 17,
    /// [`DataKey`].
    DataKey = 18,
    /// [`RecoveryRecipient`].
    RecoveryRecipient = 19,
    /// [`NodeOperation`].
    NodeOperation = 20,
    /// [`ExclusiveSlot`].
    ExclusiveSlot = 21,
}

/// A record type of the store.
pub trait Stored: Serialize + DeserializeOwned + Sized {
    /// Its kind.
    const KIND: Kind;
    /// Its key among the records of its kind.
    fn key(&self) -> String;
    /// The record out of the closed set, or `None` when it is of another kind.
    fn from_entity(entity: &Entity) -> Option<&Self>;
    /// The record in the closed set.
    fn into_entity(self) -> Entity;
}

macro_rules! entities {
    ($($type:ident, |$record:ident| $key:expr;)*) => {
        /// A record of any kind.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[allow(missing_docs, clippy::large_enum_variant)]
        pub enum Entity { $($type($type),)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Kind] = &[$(Kind::$type,)*];

            /// The kind's name, as in this code.
            pub fn as_str(self) -> &'static str {
                match self { $(Kind::$type => stringify!($type),)* }
            }

            /// The kind with this stored number, or `None` when a newer version wrote it.
            pub fn from_number(number: u32) -> Option<Kind> {
                Kind::ALL.iter().copied().find(|kind| *kind as u32 == number)
            }
        }

        impl Entity {
            /// The record's kind.
            pub fn kind(&self) -> Kind {
                match self { $(Entity::$type(_) => Kind::$type,)* }
            }

            /// The record's key.
            pub fn key(&self) -> String {
                match self { $(Entity::$type(record) => record.key(),)* }
            }

            /// The stored body.
            pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
                match self { $(Entity::$type(record) => serde_json::to_vec(record),)* }
            }

            /// Reads a stored body. Fields this version does not know are ignored here; the store keeps the bytes.
            pub fn decode(kind: Kind, body: &[u8]) -> Result<Entity, serde_json::Error> {
                match kind { $(Kind::$type => serde_json::from_slice(body).map(Entity::$type),)* }
            }
        }

        $(impl Stored for $type {
            const KIND: Kind = Kind::$type;
            fn key(&self) -> String {
                let $record = self;
                $key
            }
            fn from_entity(entity: &Entity) -> Option<&Self> {
                #[allow(unreachable_patterns)]
                match entity { Entity::$type(record) => Some(record), _ => None }
            }
            fn into_entity(self) -> Entity {
                Entity::$type(self)
            }
        })*
    };
}

// Numbers inside keys are padded so that the order of keys is the order of numbers.
entities! {
    ClusterMeta, |_record| "cluster".to_owned();
    Node, |record| record.id.to_string();
    NodeStatus, |record| record.id.to_string();
    NodeSchedulability, |record| record.id.to_string();
    Deployment, |record| record.name.to_string();
    DeploymentRevision, |record| DeploymentRevision::key_of(&record.deployment, record.revision);
    RevisionCounter, |record| record.deployment.to_string();
    Route, |record| Route::key_of(&record.domain, &record.path);
    PortRoute, |record| PortRoute::key_of(record.protocol, record.host_port);
    ReplicaDesired, |record| record.id.to_string();
    ReplicaObserved, |record| record.id.to_string();
    Subnet, |record| Subnet::key_of(&record.deployment, &record.network, record.node);
    Claim, |record| Claim::key_of(record.kind, &record.key);
    Token, |record| record.identity.to_string();
    JoinToken, |record| record.hash.clone();
    Tombstone, |record| record.node.to_string();
    Authority, |_record| "authority".to_owned();
    DataKey, |record| DataKey::key_of(record.epoch);
    RecoveryRecipient, |_record| "recovery".to_owned();
    NodeOperation, |record| record.node.to_string();
    ExclusiveSlot, |record| record.replica.to_string();
}

impl DeploymentRevision {
    /// Key of one revision; a deployment's revisions follow each other in order.
    pub fn key_of(deployment: &crate::DeploymentName, revision: u64) -> String {
        format!("{deployment}/{revision:020}")
    }
}

impl Route {
    /// Key of the route of a domain and a normalised path.
    pub fn key_of(domain: &crate::Domain, path: &str) -> String {
        format!("{domain}{path}")
    }
}

impl PortRoute {
    /// Key of a published port.
    pub fn key_of(protocol: crate::Protocol, host_port: u16) -> String {
        format!("{}/{host_port:05}", protocol.as_str())
    }
}

impl Subnet {
    /// Key of a network's subnet on a node.
    pub fn key_of(deployment: &crate::DeploymentName, network: &crate::NetworkName, node: crate::NodeId) -> String {
        format!("{deployment}/{network}/{node}")
    }
}

impl Claim {
    /// Key of a claim.
    pub fn key_of(kind: ClaimKind, key: &str) -> String {
        format!("{}:{key}", kind.as_str())
    }
}
