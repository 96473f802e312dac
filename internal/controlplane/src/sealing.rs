//! What the store keeps sealed: the authority's key now, further secrets later.
//!
//! The data keys are in the store as copies, one for each member. A node opens its copies with a key that never leaves its disk, so
//! log, snapshots and backups give nothing away by themselves.

use jaco_identity::{Authority, DataKey, DataKeyCopy, Keyring, Place, SealPublicKey, SealSecretKey, Sealed};
use jaco_state::View;
use jaco_types::{ClusterMeta, ErrorCode, NodeId, UserError};

/// Where the authority's key belongs.
pub const AUTHORITY_PLACE: Place<'static> = Place { kind: "Authority", key: "authority" };

/// This node's way into what is sealed.
#[derive(Debug, Clone)]
pub struct Sealing {
    node: NodeId,
    secret: SealSecretKey,
}

fn closed(reason: impl std::fmt::Display) -> UserError {
    UserError::new(ErrorCode::Internal, "what the cluster keeps sealed cannot be opened on this node")
        .with("reason", reason)
}

fn uninitialised() -> UserError {
    UserError::new(ErrorCode::ClusterUninitialized, "this node does not belong to a cluster")
}

impl Sealing {
    /// With the node's own sealing key.
    pub fn new(node: NodeId, secret: SealSecretKey) -> Self {
        Sealing { node, secret }
    }

    /// The data keys of the cluster, as far as this node has copies.
    ///
    /// # Errors
    /// `internal` when a copy does not open: it was made for another key, or was changed.
    pub fn keyring(&self, view: &View) -> Result<Keyring, UserError> {
        let cluster = view.cluster().ok_or_else(uninitialised)?;
        let mut keyring = Keyring::new();
        for record in view.list::<jaco_types::DataKey>() {
            let Some(copy) = record.copies.get(&self.node.to_string()) else { continue };
            let opened = DataKeyCopy::from_text(copy).and_then(|copy| copy.open(&self.secret, &cluster.cluster_id));
            keyring.insert(opened.map_err(closed)?);
        }
        Ok(keyring)
    }

    /// The cluster's authority, ready to sign.
    ///
    /// # Errors
    /// `internal` when this node has no copy of the data key, or the sealed key does not open.
    pub fn authority(&self, view: &View) -> Result<Authority, UserError> {
        let record = view.list::<jaco_types::Authority>().next().ok_or_else(uninitialised)?;
        let sealed = Sealed::from_record(&record.key).map_err(closed)?;
        let key = self.keyring(view)?.open(AUTHORITY_PLACE, &sealed).map_err(closed)?;
        let key = std::str::from_utf8(&key).map_err(closed)?;
        Authority::from_pem(&record.certificate, key).map_err(closed)
    }

    /// The data keys, each with a copy for one more member.
    ///
    /// # Errors
    /// `internal` when this node lacks a key itself.
    pub fn copies_for(
        &self,
        view: &View,
        node: NodeId,
        recipient: &SealPublicKey,
    ) -> Result<Vec<jaco_types::DataKey>, UserError> {
        let cluster = view.cluster().ok_or_else(uninitialised)?;
        let keyring = self.keyring(view)?;
        view.list::<jaco_types::DataKey>()
            .map(|record| {
                let missing = || closed(format!("this node has no copy of data key {}", record.epoch));
                let key = keyring.get(record.epoch).ok_or_else(missing)?;
                let copy = DataKeyCopy::seal(key, recipient, &cluster.cluster_id).map_err(closed)?;
                let mut record = record.clone();
                record.copies.insert(node.to_string(), copy.to_text());
                Ok(record)
            })
            .collect()
    }
}

/// The first data key of a cluster: its record, and the authority's key sealed with it.
///
/// # Errors
/// `internal` when the system gives no random numbers.
pub fn first_data_key(
    cluster: &ClusterMeta,
    authority: &Authority,
    node: NodeId,
    own: &SealPublicKey,
    recovery: &SealPublicKey,
) -> Result<(jaco_types::DataKey, jaco_types::SealedValue), UserError> {
    let key = DataKey::generate(1).map_err(closed)?;
    let copy = |recipient| DataKeyCopy::seal(&key, recipient, &cluster.cluster_id).map_err(closed);
    let record = jaco_types::DataKey {
        epoch: key.epoch(),
        copies: [(node.to_string(), copy(own)?.to_text())].into(),
        recovery: copy(recovery)?.to_text(),
    };
    let sealed = key.seal(AUTHORITY_PLACE, authority.key_pem().as_bytes()).map_err(closed)?;
    Ok((record, sealed.to_record()))
}
