//! Who may call what: the one table of calls, and the two pure decisions about it.
//!
//! [`judge`] says who somebody is, from what they showed and a view of the store; [`permit`] says whether that is enough for a call. Both
//! are asked before any handler runs, and again while a stream is open ([`crate::guard`]).

use std::sync::Arc;

use jaco_identity::{PeerIdentity, TokenHash};
use jaco_state::View;
use jaco_types::{ErrorCode, Node, NodeId, OperatorName, Role, Token, Tombstone, UserError};

use crate::caller::{Caller, Identity, LOCAL};
use crate::uninitialized;

/// What a call asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing. Its handler judges what the call carries, or tells a stranger next to nothing.
    Anyone,
    /// The control socket.
    Socket,
    /// A node's certificate, which may have ended a while ago.
    Node,
    /// This port does not answer it.
    Nobody,
    /// A viewer. Answered from what this node has applied, so without a leader, too.
    Read,
    /// A viewer. What it shows is not in the store, so never answered on the word of a node that may have missed a revocation.
    Logs,
    /// A deployer.
    Deploy,
    /// An admin.
    Administer,
}

/// Every call of the API. One that is not listed is not answered, and a test fails.
pub(crate) const CALLS: &[(&str, Rule)] = &[
    ("/jaco.v1.Audit/Query", Rule::Read),
    ("/jaco.v1.Cluster/Backup", Rule::Administer),
    ("/jaco.v1.Cluster/Init", Rule::Socket),
    ("/jaco.v1.Cluster/IssueJoinToken", Rule::Administer),
    ("/jaco.v1.Cluster/Join", Rule::Anyone),
    ("/jaco.v1.Cluster/NodeDrain", Rule::Administer),
    ("/jaco.v1.Cluster/NodeJoin", Rule::Socket),
    ("/jaco.v1.Cluster/NodeList", Rule::Read),
    ("/jaco.v1.Cluster/NodeProgress", Rule::Read),
    ("/jaco.v1.Cluster/NodeRemove", Rule::Administer),
    ("/jaco.v1.Cluster/NodeUncordon", Rule::Administer),
    ("/jaco.v1.Cluster/RotateKey", Rule::Administer),
    ("/jaco.v1.Cluster/Status", Rule::Anyone),
    ("/jaco.v1.Deploy/Apply", Rule::Deploy),
    ("/jaco.v1.Deploy/Delete", Rule::Deploy),
    ("/jaco.v1.Deploy/GetDeployment", Rule::Read),
    ("/jaco.v1.Deploy/GetDeployments", Rule::Read),
    ("/jaco.v1.Deploy/GetReplicas", Rule::Read),
    ("/jaco.v1.Deploy/GetRoute", Rule::Read),
    ("/jaco.v1.Deploy/GetRoutes", Rule::Read),
    ("/jaco.v1.Deploy/History", Rule::Read),
    ("/jaco.v1.Deploy/Logs", Rule::Logs),
    ("/jaco.v1.Deploy/Rollback", Rule::Deploy),
    ("/jaco.v1.Deploy/Status", Rule::Read),
    ("/jaco.v1.Internal/Diagnose", Rule::Nobody),
    ("/jaco.v1.Internal/Logs", Rule::Nobody),
    ("/jaco.v1.Internal/NodeStatus", Rule::Nobody),
    ("/jaco.v1.Internal/Peer", Rule::Nobody),
    ("/jaco.v1.Internal/PeerStream", Rule::Nobody),
    ("/jaco.v1.Internal/Session", Rule::Nobody),
    ("/jaco.v1.Internal/SetLogLevel", Rule::Nobody),
    ("/jaco.v1.Internal/SignNodeCert", Rule::Node),
    ("/jaco.v1.Node/Diagnose", Rule::Administer),
    ("/jaco.v1.Node/SetLogLevel", Rule::Administer),
    ("/jaco.v1.Node/Status", Rule::Read),
    ("/jaco.v1.Tokens/Issue", Rule::Administer),
    ("/jaco.v1.Tokens/List", Rule::Administer),
    ("/jaco.v1.Tokens/Revoke", Rule::Administer),
    ("/jaco.v1.Watch/Subscribe", Rule::Read),
];

/// What a call asks of its caller; `None` for one that there is not.
pub(crate) fn rule(path: &str) -> Option<Rule> {
    let place = CALLS.binary_search_by_key(&path, |(name, _)| name).ok()?;
    CALLS.get(place).map(|(_, rule)| *rule)
}

/// What a call asks of this node's side of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: it is about one daemon, or has no answer of its own.
    Nothing,
    /// What this node has applied. Without a majority that may be old, and the answer says so.
    View,
    /// A majority: it changes something, or answers only with what is acknowledged now.
    Majority,
}

/// What a call asks of this node's side of the cluster.
pub(crate) fn need(path: &str, rule: Rule) -> Need {
    match path {
        "/jaco.v1.Cluster/Join" => Need::Majority,
        "/jaco.v1.Cluster/Status" | "/jaco.v1.Tokens/List" => Need::View,
        "/jaco.v1.Node/Diagnose" | "/jaco.v1.Node/SetLogLevel" | "/jaco.v1.Node/Status" => Need::Nothing,
        _ => match rule {
            Rule::Deploy | Rule::Administer => Need::Majority,
            Rule::Read => Need::View,
            Rule::Anyone | Rule::Socket | Rule::Node | Rule::Nobody | Rule::Logs => Need::Nothing,
        },
    }
}

/// The calls whose answers go on, so that their callers are judged again meanwhile.
pub(crate) const STREAMS: &[&str] =
    &["/jaco.v1.Audit/Query", "/jaco.v1.Cluster/Backup", "/jaco.v1.Deploy/Logs", "/jaco.v1.Watch/Subscribe"];

/// What a caller showed of itself. Kept while a stream is open; holds no secret.
#[derive(Debug, Clone)]
pub(crate) enum Credentials {
    /// The control socket, and the kernel says who is at the other end.
    Socket,
    /// A bearer token.
    Bearer(TokenHash),
    /// A certificate that the cluster's authority signed.
    Certificate(Arc<PeerIdentity>),
    /// Nothing.
    Nothing,
}

/// Who somebody is now.
///
/// Errors: `token_invalid`, `token_revoked`, `node_removed`, `cluster_incarnation_mismatch`, `cluster_uninitialized`.
pub(crate) fn judge(view: &View, credentials: &Credentials, now_ms: u64) -> Result<Caller, UserError> {
    match credentials {
        Credentials::Socket => {
            let identity = Identity { name: LOCAL.into(), role: Role::Admin, allows_privileged: true, local: true };
            Ok(Caller::Known(identity))
        }
        Credentials::Bearer(hash) => judge_bearer(view, hash),
        Credentials::Certificate(identity) => match &**identity {
            PeerIdentity::None => Ok(Caller::Stranger),
            PeerIdentity::Node { node_id, public_key, incarnation, .. } => {
                judge_node(view, *node_id, &public_key.to_string(), *incarnation)
            }
            PeerIdentity::Operator { identity, public_key, not_after_ms, .. } => {
                judge_certificate(view, identity, &public_key.to_string(), (now_ms, *not_after_ms))
            }
        },
        Credentials::Nothing => Ok(Caller::Stranger),
    }
}

fn judge_bearer(view: &View, hash: &TokenHash) -> Result<Caller, UserError> {
    if view.cluster().is_none() {
        return Err(uninitialized());
    }
    let mut found = None;
    // Every record is compared, and each in constant time: how long it takes says nothing about any of them.
    for token in view.list::<Token>() {
        if token.hash.parse::<TokenHash>().is_ok_and(|known| known.matches(hash)) {
            found = Some(token);
        }
    }
    let token = found
        .ok_or_else(|| UserError::new(ErrorCode::TokenInvalid, "the operator token is not one of this cluster's"))?;
    known(token)
}

fn judge_certificate(
    view: &View,
    identity: &OperatorName,
    public_key: &str,
    (now_ms, not_after_ms): (u64, u64),
) -> Result<Caller, UserError> {
    if view.cluster().is_none() {
        return Err(uninitialized());
    }
    if now_ms > not_after_ms {
        return Err(UserError::new(
            ErrorCode::TokenInvalid,
            format!("the client certificate of {identity} has expired; have a new one issued with `jaco token issue --certificate`"),
        )
        .with("identity", identity));
    }
    let token = view.get::<Token>(identity.as_str()).ok_or_else(|| {
        UserError::new(ErrorCode::TokenInvalid, format!("there is no identity {identity} in this cluster"))
            .with("identity", identity)
    })?;
    if token.revoked_at_ms.is_none() && !token.certificate_keys.contains(public_key) {
        return Err(revoked("client certificate", identity));
    }
    known(token)
}

fn known(token: &Token) -> Result<Caller, UserError> {
    if token.revoked_at_ms.is_some() {
        return Err(revoked("token", &token.identity));
    }
    Ok(Caller::Known(Identity {
        name: token.identity.as_str().into(),
        role: token.role,
        allows_privileged: token.allows_privileged,
        local: false,
    }))
}

fn revoked(what: &str, identity: &OperatorName) -> UserError {
    UserError::new(ErrorCode::TokenRevoked, format!("this {what} of {identity} was revoked")).with("identity", identity)
}

/// Whether the holder of a node's certificate is a member now. A node that the authority signed and that is in no record has joined, and
/// this node has not heard of it yet; nor has a node that has only just joined itself, and whose view knows no cluster yet.
///
/// Errors: `node_removed`, `cluster_incarnation_mismatch`.
pub(crate) fn judge_node(view: &View, node: NodeId, public_key: &str, incarnation: u64) -> Result<Caller, UserError> {
    let known = Caller::Node(node);
    let Some(cluster) = view.cluster() else { return Ok(known) };
    if incarnation != cluster.incarnation {
        return Err(UserError::new(
            ErrorCode::ClusterIncarnationMismatch,
            "this certificate belongs to an older life of the cluster: the node has to join anew",
        ));
    }
    let key = node.to_string();
    let member = view.get::<Node>(&key);
    let holds_key = member.is_none_or(|member| member.public_keys.iter().any(|known| known == public_key));
    if view.get::<Tombstone>(&key).is_some() || !holds_key {
        let text = "this node is no member of the cluster any more";
        return Err(UserError::new(ErrorCode::NodeRemoved, text).with("node_id", &key));
    }
    Ok(known)
}

/// Whether this caller may make a call of this rule.
///
/// Errors: `permission_denied`; `token_invalid` for a stranger.
pub(crate) fn permit(rule: Rule, caller: &Caller) -> Result<(), UserError> {
    match rule {
        Rule::Anyone => Ok(()),
        Rule::Nobody => Err(denied("this is answered on the members' port only")),
        Rule::Socket => match caller {
            Caller::Known(Identity { local: true, .. }) => Ok(()),
            Caller::Known(_) | Caller::Node(_) | Caller::Stranger => {
                Err(denied("this can be asked for on the node itself only, by its control socket"))
            }
        },
        Rule::Node => match caller {
            Caller::Node(_) => Ok(()),
            Caller::Known(_) | Caller::Stranger => Err(denied("this is for members of the cluster only")),
        },
        Rule::Read | Rule::Logs => permit_role(Role::Viewer, caller),
        Rule::Deploy => permit_role(Role::Deployer, caller),
        Rule::Administer => permit_role(Role::Admin, caller),
    }
}

fn permit_role(needed: Role, caller: &Caller) -> Result<(), UserError> {
    match caller {
        Caller::Known(identity) if identity.role.allows(needed) => Ok(()),
        Caller::Known(identity) => {
            Err(denied(&format!("{} has the role {}, and this needs the role {needed}", identity.name, identity.role))
                .with("identity", &identity.name)
                .with("role", identity.role)
                .with("needed", needed))
        }
        Caller::Node(_) => Err(denied("a node's certificate is no operator's: this needs a token")),
        Caller::Stranger => Err(UserError::new(
            ErrorCode::TokenInvalid,
            "an operator token is missing: give it with --token or JACO_TOKEN",
        )),
    }
}

fn denied(text: &str) -> UserError {
    UserError::new(ErrorCode::PermissionDenied, text)
}

/// Whether an operator who came over the network may make this call on a node that knows no leader: it may have missed that they were
/// revoked.
pub(crate) fn is_answered_without_leader(rule: Rule, caller: &Caller) -> bool {
    match caller {
        Caller::Known(Identity { local: false, .. }) => match rule {
            Rule::Anyone | Rule::Socket | Rule::Node | Rule::Nobody | Rule::Read => true,
            Rule::Logs | Rule::Deploy | Rule::Administer => false,
        },
        Caller::Known(Identity { local: true, .. }) | Caller::Node(_) | Caller::Stranger => true,
    }
}
