//! Domain types to and from their wire form.

use jaco_types::{DeploymentStatus, NodeState, ReplicaState, Role};

use crate::v1;

/// A value on the wire that this version does not know, or that is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value} is not known to this version")]
pub struct Unknown {
    /// What kind of value.
    pub what: &'static str,
    /// The number on the wire.
    pub value: i32,
}

macro_rules! enums {
    ($($domain:ident <-> $wire:path { $($variant:ident),* $(,)? })*) => {$(
        impl From<$domain> for $wire {
            fn from(value: $domain) -> Self {
                match value { $($domain::$variant => <$wire>::$variant,)* }
            }
        }

        impl TryFrom<$wire> for $domain {
            type Error = Unknown;
            fn try_from(value: $wire) -> Result<Self, Unknown> {
                match value {
                    <$wire>::Unspecified => Err(Unknown { what: stringify!($domain), value: 0 }),
                    $(<$wire>::$variant => Ok($domain::$variant),)*
                }
            }
        }
    )*};
}

enums! {
    ReplicaState <-> v1::ReplicaState { Pending, Pulling, Running, Degraded, Updating, Failed, Stopped }
    DeploymentStatus <-> v1::DeploymentStatus { Pending, Active }
    NodeState <-> v1::NodeState { Joining, Ready, IsolationUnavailable, DrainTimeout, Draining, Unreachable, Down }
    Role <-> v1::Role { Viewer, Deployer, Admin }
}

/// A remark on its way out.
pub fn remark_to_wire(severity: v1::remark::Severity, error: jaco_types::UserError) -> v1::Remark {
    v1::Remark {
        severity: severity.into(),
        code: error.code.as_str().to_owned(),
        message: error.message,
        details: error.details,
    }
}

/// The word of a remark's severity: `note` or `warning`.
pub fn remark_from_wire(remark: &v1::Remark) -> Result<&'static str, Unknown> {
    match remark.severity() {
        v1::remark::Severity::Note => Ok("note"),
        v1::remark::Severity::Warning => Ok("warning"),
        v1::remark::Severity::Unspecified => Err(Unknown { what: "remark severity", value: remark.severity }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_the_way_over_the_wire() {
        for state in ReplicaState::ALL {
            assert_eq!(ReplicaState::try_from(v1::ReplicaState::from(*state)), Ok(*state));
        }
        for state in NodeState::ALL {
            assert_eq!(NodeState::try_from(v1::NodeState::from(*state)), Ok(*state));
        }
        for role in Role::ALL {
            assert_eq!(Role::try_from(v1::Role::from(*role)), Ok(*role));
        }
        for state in DeploymentStatus::ALL {
            assert_eq!(DeploymentStatus::try_from(v1::DeploymentStatus::from(*state)), Ok(*state));
        }
    }

    #[test]
    fn unspecified_is_an_error_and_never_a_default() {
        assert!(ReplicaState::try_from(v1::ReplicaState::Unspecified).is_err());
        assert!(NodeState::try_from(v1::NodeState::Unspecified).is_err());
    }
}
