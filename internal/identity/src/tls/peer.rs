//! Who is at the other end of a verified connection.

use jaco_types::{NodeId, OperatorName, Role};

use crate::certificate::Certificate;
use crate::hash::PublicKeyHash;
use crate::subject::Subject;

/// Whom the peer's certificate, verified in the handshake, was made for. It says nothing about membership, revocation or the
/// present: the caller asks the store, and compares `not_after_ms` with the clock while the connection lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerIdentity {
    /// A node.
    Node {
        /// Its id.
        node_id: NodeId,
        /// The key it proved to hold. A member is (node id, public key).
        public_key: PublicKeyHash,
        /// The life of the cluster that the certificate was issued in.
        incarnation: u64,
        /// End of its certificate, milliseconds since the Unix epoch.
        not_after_ms: u64,
        /// Its certificate had ended at the handshake: it may renew it, and nothing else.
        expired: bool,
    },
    /// An operator with a client certificate.
    Operator {
        /// The identity.
        identity: OperatorName,
        /// Its role when the certificate was signed. The identity's record says what it is now.
        role: Role,
        /// The key it proved to hold: one of those on the identity's record, or the certificate is not taken.
        public_key: PublicKeyHash,
        /// Serial number of the certificate, lower-case hexadecimal.
        serial: String,
        /// End of its certificate, milliseconds since the Unix epoch.
        not_after_ms: u64,
    },
    /// The peer showed no certificate.
    None,
}

impl PeerIdentity {
    /// The identity in a verified certificate. `None` for an authority, which speaks to nobody.
    pub(super) fn of(certificate: &Certificate, now_ms: u64) -> Option<PeerIdentity> {
        let facts = certificate.facts();
        match &facts.subject {
            Subject::Authority { .. } => None,
            Subject::Node { node_id, incarnation, .. } => Some(PeerIdentity::Node {
                node_id: *node_id,
                public_key: facts.public_key,
                incarnation: *incarnation,
                not_after_ms: facts.not_after_ms,
                expired: now_ms > facts.not_after_ms,
            }),
            Subject::Operator { identity, role, .. } => Some(PeerIdentity::Operator {
                identity: identity.clone(),
                role: *role,
                public_key: facts.public_key,
                serial: facts.serial.clone(),
                not_after_ms: facts.not_after_ms,
            }),
        }
    }

    /// The node, when the peer is one whose certificate had not ended.
    pub fn node_id(&self) -> Option<NodeId> {
        match self {
            PeerIdentity::Node { node_id, expired: false, .. } => Some(*node_id),
            PeerIdentity::Node { expired: true, .. } | PeerIdentity::Operator { .. } | PeerIdentity::None => None,
        }
    }
}
