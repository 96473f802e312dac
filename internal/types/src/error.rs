//! The one place where an error gets its user-visible code.
//!
//! Every failure that reaches a user is a [`UserError`]: a stable [`ErrorCode`], one line of text, and a flat map of details.
//! The codes, their exit classes and whether a retry may help are fixed here; `docs/errors` has one page for each, and a test
//! keeps the two sets equal.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Declares the closed set of codes: variant, text, exit code, retryable.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $exit:literal, $retry:literal;)*) => {
        /// A stable, user-visible error code. New ones may be added; none is ever renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            /// Every code, in the order of the reference pages.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The text form, lower `snake_case`.
            pub fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $text,)* }
            }

            /// The exit code of the command line client for this error.
            pub fn exit_code(self) -> u8 {
                match self { $(ErrorCode::$variant => $exit,)* }
            }

            /// Whether the same call may succeed later without any change by the user.
            pub fn retryable(self) -> bool {
                match self { $(ErrorCode::$variant => $retry,)* }
            }

            /// The code with this text, or `None` when a newer peer sent one that this version does not know.
            pub fn parse(text: &str) -> Option<ErrorCode> {
                match text { $($text => Some(ErrorCode::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    /// Anything not covered by another code; `details.reason` has the cause.
    Internal = "internal", 1, false;
    /// A flag, an argument or an output format is wrong.
    Usage = "usage", 2, false;

    /// The manifest says something that cannot be accepted; `details.field` holds the path.
    ValidationFailed = "validation_failed", 3, false;
    /// The text is not YAML, or not one YAML document.
    ParseFailed = "parse_failed", 3, false;
    /// `services[].name` or `routes[].service` names a service that compose does not define.
    UnknownService = "unknown_service", 3, false;
    /// A pinned host is not a member.
    UnknownHost = "unknown_host", 3, false;
    /// A network is used and not declared.
    UnknownNetwork = "unknown_network", 3, false;
    /// A published host port belongs to the ingress or to the daemon.
    ReservedPort = "reserved_port", 3, false;
    /// A key of the compose v1 file format; `details.modern_equivalent` names today's.
    LegacyComposeField = "legacy_compose_field", 3, false;
    /// A text that still has `env_file` reached the daemon.
    EnvFileUnresolved = "env_file_unresolved", 3, false;
    /// `placement: hosts` with fewer hosts than replicas.
    ReplicasExceedPinnedHosts = "replicas_exceed_pinned_hosts", 3, false;
    /// The routes of one domain disagree about TLS.
    RouteTlsMixed = "route_tls_mixed", 3, false;
    /// Two routes of one domain have no path.
    RouteMultipleCatchall = "route_multiple_catchall", 3, false;
    /// `depends_on` names the service itself, or a cycle.
    InvalidDependsOn = "invalid_depends_on", 3, false;
    /// `depends_on` names a service that does not exist.
    UnknownDependsOnService = "unknown_depends_on_service", 3, false;
    /// `depends_on` has a condition that does not exist.
    UnsupportedDependsOnCondition = "unsupported_depends_on_condition", 3, false;
    /// A certificate request is malformed or names somebody else.
    CsrInvalid = "csr_invalid", 3, false;
    /// The identity's name is kept for the system.
    ReservedIdentity = "reserved_identity", 3, false;
    /// A known feature that is not built yet; the message has the way out.
    NotSupportedYet = "not_supported_yet", 3, false;
    /// A request or manifest over a limit; `details.limit` has it.
    RequestTooLarge = "request_too_large", 3, false;

    /// The node does not belong to a cluster yet.
    ClusterUninitialized = "cluster_uninitialized", 6, false;
    /// Init or join on a node that already has cluster state.
    ClusterAlreadyInitialized = "cluster_already_initialized", 7, false;
    /// A join with a host name that is in use.
    NodeAlreadyMember = "node_already_member", 7, false;
    /// An election is running.
    NoLeader = "no_leader", 6, true;
    /// This side of the cluster has no majority.
    QuorumLost = "quorum_lost", 6, true;
    /// The transport failed: nobody answered.
    Unreachable = "unreachable", 6, true;
    /// The bearer token is unknown or missing.
    TokenInvalid = "token_invalid", 5, false;
    /// The bearer token was revoked.
    TokenRevoked = "token_revoked", 5, false;
    /// The join token is not one of this cluster.
    JoinTokenInvalid = "join_token_invalid", 5, false;
    /// The join token was used by another key.
    JoinTokenConsumed = "join_token_consumed", 5, false;
    /// The join token is too old.
    JoinTokenExpired = "join_token_expired", 5, false;
    /// The peer's CA differs from the pinned one; nothing secret was sent.
    CaFingerprintMismatch = "ca_fingerprint_mismatch", 5, false;
    /// A gated compose field without the permission for it.
    PrivilegeDenied = "privilege_denied", 5, false;
    /// No deployment of that name.
    DeploymentNotFound = "deployment_not_found", 4, false;
    /// No replica with that id.
    ReplicaNotFound = "replica_not_found", 4, false;
    /// No route for that domain.
    RouteNotFound = "route_not_found", 4, false;
    /// No node of that name.
    NodeNotFound = "node_not_found", 4, false;
    /// The deployment has no such stored revision.
    RevisionNotFound = "revision_not_found", 4, false;
    /// No identity of that name.
    IdentityNotFound = "identity_not_found", 4, false;
    /// A rollback with nothing older.
    NoPreviousRevision = "no_previous_revision", 7, false;
    /// A published host port is taken twice or by another deployment.
    PortConflict = "port_conflict", 7, false;
    /// A (domain, path) or a domain's TLS mode belongs to another deployment.
    RouteConflict = "route_conflict", 7, false;
    /// A derived name belongs to another deployment.
    NameConflict = "name_conflict", 7, false;
    /// An active identity of that name exists.
    IdentityExists = "identity_exists", 7, false;
    /// No eligible node for the placement asked for.
    CannotSatisfyHostPlacement = "cannot_satisfy_host_placement", 1, true;
    /// Removing the node would strand replicas.
    DrainNoPlacement = "drain_no_placement", 7, false;
    /// A drain took longer than its limit.
    DrainTimeout = "drain_timeout", 8, true;
    /// `--wait` reached its deadline.
    WaitTimeout = "wait_timeout", 8, true;
    /// The new revision did not become healthy.
    RolloutAborted = "rollout_aborted", 9, false;
    /// The image could not be pulled.
    ImagePullFailed = "image_pull_failed", 1, true;
    /// The engine refused or failed.
    DockerError = "docker_error", 1, true;
    /// The container's process ended.
    ContainerExited = "container_exited", 1, true;
    /// The engine could not say what the container is doing.
    InspectFailed = "inspect_failed", 1, true;
    /// Three failures in a row; waits for the next apply.
    RestartExhausted = "restart_exhausted", 1, false;
    /// A dependency is not there yet; `details.waiting_on` names it.
    DependsOnUnmet = "depends_on_unmet", 1, true;
    /// The host path of a bind does not exist on the node.
    BindSourceMissing = "bind_source_missing", 1, true;
    /// No free subnet is left in the pool.
    SubnetPoolExhausted = "subnet_pool_exhausted", 1, true;
    /// The replica's node is down.
    NodeDown = "node_down", 1, true;
    /// The packet filter could not be loaded.
    IsolationUnavailable = "isolation_unavailable", 1, true;
    /// The packet filter is not what it should be.
    IsolationSelfTestFailed = "isolation_self_test_failed", 1, true;
    /// A certificate could not be had.
    CertFailed = "cert_failed", 1, true;
    /// The backup is newer than this program, or not one.
    BackupIncompatible = "backup_incompatible", 7, false;
    /// Restore into a directory with cluster state.
    RestoreNotEmpty = "restore_not_empty", 7, false;
    /// The download's signature or digest is wrong.
    UpgradeVerificationFailed = "upgrade_verification_failed", 9, false;
    /// The upgraded daemon did not become ready; the old one is back.
    UpgradeFailed = "upgrade_failed", 9, false;
    /// The caller's role is too low.
    PermissionDenied = "permission_denied", 5, false;
    /// The caller is no longer a member.
    NodeRemoved = "node_removed", 5, false;
    /// The caller belongs to an older life of this cluster.
    ClusterIncarnationMismatch = "cluster_incarnation_mismatch", 5, false;
    /// The log's reserve of disk space is used up.
    DiskFull = "disk_full", 6, true;
    /// The deadline passed before the outcome was known; the same request id may be sent again.
    OutcomeUnknown = "outcome_unknown", 6, true;
    /// State kept changing under the request.
    Conflict = "conflict", 7, true;
    /// Versions too far apart.
    VersionIncompatible = "version_incompatible", 7, false;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        ErrorCode::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("unknown error code {text:?}")))
    }
}

/// What a user sees of a failure: the triple that every API error carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct UserError {
    /// The stable code.
    pub code: ErrorCode,
    /// One line: what happened, where, what to do.
    pub message: String,
    /// Flat facts for programs: `field`, `service`, `line`, `limit`, …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

impl UserError {
    /// An error without details.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        UserError { code, message: message.into(), details: BTreeMap::new() }
    }

    /// Adds one detail; an existing one of that name is replaced.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.details.insert(key.to_owned(), value.to_string());
        self
    }

    /// An [`ErrorCode::Internal`] error with its cause in `details.reason`.
    pub fn internal(message: impl Into<String>, reason: impl fmt::Display) -> Self {
        UserError::new(ErrorCode::Internal, message).with("reason", reason)
    }
}
