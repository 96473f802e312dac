//! Checked names and typed ids: a value of one of these types has passed its rule.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given:?} is not valid: {rule}")]
pub struct InvalidName {
    /// What kind of name it is, for example "deployment name".
    pub what: &'static str,
    /// What was given, cut to 80 characters.
    pub given: String,
    /// The rule it breaks, as a sentence for the user.
    pub rule: &'static str,
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks the rule of this kind of name.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) {
                    Ok($type(text))
                } else {
                    Err(InvalidName { what: $what, given: text.chars().take(80).collect(), rule: $rule })
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                $type::new(text)
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                $type::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

/// `[A-Za-z0-9][A-Za-z0-9_.-]*`, at most `max` bytes: what the engine accepts in a container's name.
fn engine_name(text: &str, max: usize) -> bool {
    text.len() <= max
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// A key of the compose file's `services`, `networks` or `volumes`: `[A-Za-z0-9._-]+`, at most 128 bytes.
fn compose_key(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// A DNS host name: labels of letters, digits and inner hyphens, at most 253 bytes. Underscores are accepted, as real hosts have them.
fn host_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        })
}

name_type!(
    /// The name of a deployment, unique in the cluster.
    DeploymentName,
    "deployment name",
    "it starts with a letter or digit, goes on with letters, digits, `_`, `.` or `-`, and has at most 63 characters",
    |text| engine_name(text, 63)
);
name_type!(
    /// A compose service key.
    ServiceName,
    "service name",
    "it has letters, digits, `_`, `.` or `-` only, and at most 128 characters",
    compose_key
);
name_type!(
    /// A compose network key; the implicit one is `default`.
    NetworkName,
    "network name",
    "it has letters, digits, `_`, `.` or `-` only, and at most 128 characters",
    compose_key
);
name_type!(
    /// A compose volume key.
    VolumeName,
    "volume name",
    "it has letters, digits, `_`, `.` or `-` only, and at most 128 characters",
    compose_key
);
name_type!(
    /// A node's host name: its name in the cluster.
    Hostname,
    "host name",
    "it is a DNS name: labels of letters, digits and inner hyphens, at most 253 characters",
    host_name
);
name_type!(
    /// The identity of a replica and the name of its container: `<deployment>-<service>-<index or host>`.
    ReplicaId,
    "replica id",
    "it starts with a letter or digit, goes on with letters, digits, `_`, `.` or `-`, and has at most 255 characters",
    |text| engine_name(text, 255)
);
name_type!(
    /// The name of an operator's identity, which tokens and client certificates are bound to.
    OperatorName,
    "identity",
    "it starts with a letter or digit, goes on with letters, digits, `_`, `.`, `-` or `@`, has at most 63 characters, \
     and is none of those kept for the system (local, system, scheduler, rollout, runtime, ingress, discovery)",
    |text| {
        let plain: String = text.chars().map(|c| if c == '@' { '-' } else { c }).collect();
        !OperatorName::is_reserved(text) && !text.starts_with('@') && engine_name(&plain, 63)
    }
);

impl OperatorName {
    /// Whether a text is kept for the system (the user's error is `reserved_identity`): the actors of the audit log that are
    /// no operators, and everything with a `:`, which separates the parts of such an actor.
    pub fn is_reserved(text: &str) -> bool {
        const ACTORS: [&str; 7] = ["local", "system", "scheduler", "rollout", "runtime", "ingress", "discovery"];
        text.contains(':') || ACTORS.contains(&text)
    }
}

/// A domain a route serves, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(String);

impl Domain {
    /// Checks that the text is a host name and folds it to lower case; a trailing dot is dropped.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let folded = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if host_name(&folded) {
            Ok(Domain(folded))
        } else {
            Err(InvalidName {
                what: "domain",
                given: text.chars().take(80).collect(),
                rule: "it is a DNS name: labels of letters, digits and inner hyphens, at most 253 characters",
            })
        }
    }

    /// The domain as text, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Domain {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Domain::new(&text)
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> String {
        domain.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A node's identity: random 64 bits, never reused. A node that lost its disk gets a new one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl TryFrom<String> for NodeId {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        match (text.len(), u64::from_str_radix(&text, 16)) {
            (16, Ok(id)) => Ok(NodeId(id)),
            _ => Err(InvalidName { what: "node id", given: text, rule: "it has 16 hexadecimal digits" }),
        }
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> String {
        id.to_string()
    }
}

impl ReplicaId {
    /// The id of replica `index` of a service that counts its replicas.
    pub fn indexed(deployment: &DeploymentName, service: &ServiceName, index: u32) -> Result<Self, InvalidName> {
        ReplicaId::new(format!("{deployment}-{service}-{index}"))
    }

    /// The id of the replica of a `global` service on one host.
    pub fn global(deployment: &DeploymentName, service: &ServiceName, host: &Hostname) -> Result<Self, InvalidName> {
        ReplicaId::new(format!("{deployment}-{service}-{host}"))
    }
}

#[cfg(test)]
mod tests;
