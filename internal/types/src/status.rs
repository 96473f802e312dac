//! The states a user sees, as closed sets with one text form each.

use serde::{Deserialize, Serialize};

macro_rules! states {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $type { $($(#[$vdoc])* #[serde(rename = $text)] $variant,)* }

        impl $type {
            /// Every state.
            pub const ALL: &'static [$type] = &[$($type::$variant,)*];

            /// The text form, lower `snake_case`.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $text,)* }
            }

            /// The state with this text.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some($type::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

states! {
    /// The state of a replica.
    ReplicaState {
        /// Scheduled and not yet up: waiting, retrying a pull, or its health check is starting.
        Pending = "pending",
        /// The first pull is under way.
        Pulling = "pulling",
        /// Healthy.
        Running = "running",
        /// The engine reports it unhealthy.
        Degraded = "degraded",
        /// Being replaced.
        Updating = "updating",
        /// See its code.
        Failed = "failed",
        /// Removed from desired state.
        Stopped = "stopped",
    }
}

states! {
    /// The state of a deployment.
    DeploymentStatus {
        /// Not every desired replica of the active revision is running.
        Pending = "pending",
        /// Every desired replica of the active revision is running.
        Active = "active",
    }
}

states! {
    /// The state of a node.
    NodeState {
        /// A member that was not ready yet.
        Joining = "joining",
        /// It takes replicas.
        Ready = "ready",
        /// Its packet filter is not in force; no new containers.
        IsolationUnavailable = "isolation_unavailable",
        /// A drain took too long.
        DrainTimeout = "drain_timeout",
        /// It takes no new replicas and gives its own away.
        Draining = "draining",
        /// Heartbeats are missing; nothing moved yet.
        Unreachable = "unreachable",
        /// Silent for `node_down_after`.
        Down = "down",
    }
}

states! {
    /// The state of a rolling change.
    RolloutState {
        /// Steps are left.
        InProgress = "in_progress",
        /// Every replica runs the target revision.
        Completed = "completed",
        /// Given up; the previous revision is active again.
        Aborted = "aborted",
    }
}
