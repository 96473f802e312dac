//! Whom a certificate was made for, as one URI among its names.
//!
//! - `jaco://<cluster id>/authority`
//! - `jaco://<cluster id>/node/<node id>?incarnation=<16 hexadecimal digits>`
//! - `jaco://<cluster id>/operator/<identity>?role=<role>`
//!
//! The form is part of every certificate that is out there: it is read strictly, and a new kind gets a new first word.

use std::fmt;
use std::str::FromStr;

use jaco_types::{NodeId, OperatorName, Role};

const SCHEME: &str = "jaco://";

/// Whom a certificate was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The authority of the cluster.
    Authority {
        /// UUID of the cluster.
        cluster_id: String,
    },
    /// A node.
    Node {
        /// UUID of the cluster.
        cluster_id: String,
        /// The node.
        node_id: NodeId,
        /// The life of the cluster that the certificate was issued in.
        incarnation: u64,
    },
    /// An operator.
    Operator {
        /// UUID of the cluster.
        cluster_id: String,
        /// The identity.
        identity: OperatorName,
        /// Its role when the certificate was signed; the identity's record says what it is now.
        role: Role,
    },
}

/// A text that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not the name of an authority, a node or an operator")]
pub struct InvalidSubject {
    /// What was given, cut to 200 characters.
    pub given: String,
}

impl Subject {
    /// UUID of the cluster it belongs to.
    pub fn cluster_id(&self) -> &str {
        match self {
            Subject::Authority { cluster_id }
            | Subject::Node { cluster_id, .. }
            | Subject::Operator { cluster_id, .. } => cluster_id,
        }
    }
}

/// Whether a text may stand for a cluster in a name: letters, digits and hyphens, 1 to 64 of them.
pub(crate) fn is_cluster_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Authority { cluster_id } => write!(f, "{SCHEME}{cluster_id}/authority"),
            Subject::Node { cluster_id, node_id, incarnation } => {
                write!(f, "{SCHEME}{cluster_id}/node/{node_id}?incarnation={incarnation:016x}")
            }
            Subject::Operator { cluster_id, identity, role } => {
                write!(f, "{SCHEME}{cluster_id}/operator/{identity}?role={role}")
            }
        }
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        let subject = parse(text).ok_or_else(|| InvalidSubject { given: text.chars().take(200).collect() })?;
        // One text for one subject: upper-case digits, a sign or leading zeros would be a second spelling of the same name.
        if subject.to_string() == text {
            Ok(subject)
        } else {
            Err(InvalidSubject { given: text.chars().take(200).collect() })
        }
    }
}

fn parse(text: &str) -> Option<Subject> {
    let (cluster_id, path) = text.strip_prefix(SCHEME)?.split_once('/')?;
    if !is_cluster_id(cluster_id) {
        return None;
    }
    let cluster_id = cluster_id.to_owned();
    if path == "authority" {
        return Some(Subject::Authority { cluster_id });
    }
    let (kind, rest) = path.split_once('/')?;
    let (name, query) = rest.split_once('?')?;
    match kind {
        "node" => {
            let node_id = NodeId::try_from(name.to_owned()).ok()?;
            let incarnation = u64::from_str_radix(query.strip_prefix("incarnation=")?, 16).ok()?;
            Some(Subject::Node { cluster_id, node_id, incarnation })
        }
        "operator" => {
            let identity = OperatorName::new(name).ok()?;
            let role = Role::parse(query.strip_prefix("role=")?)?;
            Some(Subject::Operator { cluster_id, identity, role })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
