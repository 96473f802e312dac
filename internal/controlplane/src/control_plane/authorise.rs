//! What another member may have this leader write. Pure: the command and the leader's view decide.
//!
//! The node that took a request has judged it by its own view, which may be behind, and a node may be wrong or taken over. So the leader
//! judges again: a node by itself writes only its own observations and the few records that members write for each other; all else
//! needs an identity that is active now, with the role for it.
//!
//! Invariant: what is let through unjudged (see [`is_overtaken`]) never applies.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use jaco_state::{Check, Command, View};
use jaco_types::{
    Authority, Claim, ClaimKind, DataKey, Entity, ExclusiveSlot, JoinToken, Kind, Node, NodeId, NodeSchedulability,
    ReplicaDesired, ReplicaObserved, Role, Stored, Subnet, Token, Tombstone,
};

/// Actor of what members write for each other, and of the first word of a node about itself.
const SYSTEM: &str = "system";
/// Actors of a node's own observations.
const NODE_ACTORS: &[&str] = &[SYSTEM, "runtime", "ingress"];
/// Whoever is allowed to open the socket of a node.
const LOCAL: &str = "local";

/// One write: a record, or the place of one to be removed.
struct Change<'a> {
    kind: Option<Kind>,
    key: &'a str,
    /// What is put; `None` for a delete, and for what this version cannot read.
    record: Option<Entity>,
    is_delete: bool,
}

impl<'a> Change<'a> {
    fn read((kind, key, body): (u32, &'a str, Option<&Bytes>)) -> Self {
        let kind = Kind::from_number(kind);
        let decoded = kind.zip(body).and_then(|(kind, body)| Entity::decode(kind, body).ok());
        Change { kind, key, record: decoded.filter(|record| record.key() == key), is_delete: body.is_none() }
    }

    fn put<T: Stored>(&self) -> Option<&T> {
        self.record.as_ref().and_then(T::from_entity)
    }

    fn deletes(&self, kind: Kind) -> bool {
        self.is_delete && self.kind == Some(kind)
    }
}

/// Whether the actor speaks for a node and not for a person. Only the node itself may have it forwarded.
pub(super) fn is_of_node(command: &Command) -> bool {
    NODE_ACTORS.contains(&command.actor())
}

/// Judges a command that `from` sends, by a view that is not behind what this leader has acknowledged.
///
/// # Errors
/// What is not allowed, for people.
pub(super) fn authorise(view: &View, from: NodeId, command: &Command) -> Result<(), String> {
    if is_overtaken(view, command) {
        return Ok(());
    }
    let actor = command.actor();
    let changes: Vec<Change<'_>> = command.written().map(Change::read).collect();
    if is_of_node(command) {
        let Some(foreign) = changes.iter().find(|change| !is_own(view, from, change, &changes)) else { return Ok(()) };
        if actor == SYSTEM && is_of_members(view, &changes) {
            return Ok(());
        }
        // An operator may have such a name.
        if view.get::<Token>(actor).is_none() {
            return Err(format!("node {from} may not write {}", describe(foreign)));
        }
    }
    let role = role_of(view, actor)?;
    if role == Role::Viewer {
        return Err(format!("{actor:?} has the role {role}, which changes nothing"));
    }
    match changes.iter().find(|change| !role.allows(needed(change.kind))) {
        None => Ok(()),
        Some(change) => Err(format!("{actor:?} has the role {role}, which may not write {}", describe(change))),
    }
}

fn describe(change: &Change<'_>) -> String {
    format!("{} {:?}", change.kind.map_or("a record of an unknown kind", Kind::as_str), change.key)
}

/// Whether a check can never hold again, so that apply refuses the command whatever it writes. The proposer is to learn that it was
/// overtaken and look again, not that it may not.
fn is_overtaken(view: &View, command: &Command) -> bool {
    command.checks().any(|check| match check {
        // A version is a log index: of a record that was written or removed after it, it never comes back.
        Check::Version { kind, key, version } => {
            version <= view.index() && view.record(kind as u32, &key).is_none_or(|record| record.version > version)
        }
        Check::Absent { .. } | Check::Term(_) => false,
    })
}

/// The role an identity has now.
fn role_of(view: &View, actor: &str) -> Result<Role, String> {
    if actor == LOCAL {
        return Ok(Role::Admin);
    }
    match view.get::<Token>(actor) {
        Some(token) if token.revoked_at_ms.is_none() => Ok(token.role),
        Some(_) => Err(format!("the identity {actor:?} was revoked")),
        None => Err(format!("there is no identity {actor:?}")),
    }
}

/// The role that a change of records of this kind needs.
fn needed(kind: Option<Kind>) -> Role {
    let Some(kind) = kind else { return Role::Admin };
    match kind {
        Kind::Deployment
        | Kind::DeploymentRevision
        | Kind::RevisionCounter
        | Kind::Route
        | Kind::PortRoute
        | Kind::Claim
        | Kind::ReplicaDesired => Role::Deployer,
        Kind::ClusterMeta
        | Kind::Node
        | Kind::NodeStatus
        | Kind::NodeSchedulability
        | Kind::ReplicaObserved
        | Kind::Subnet
        | Kind::Token
        | Kind::JoinToken
        | Kind::Tombstone
        | Kind::Authority
        | Kind::DataKey
        | Kind::RecoveryRecipient
        | Kind::NodeOperation
        | Kind::ExclusiveSlot => Role::Admin,
    }
}

/// Whether a node may write this about itself: its state, what it sees of replicas that are or were to run there, its subnets, and that
/// it has let go of a slot of its own.
fn is_own(view: &View, from: NodeId, change: &Change<'_>, all: &[Change<'_>]) -> bool {
    let own_key = || change.key == from.to_string();
    let Some(kind) = change.kind else { return false };
    match kind {
        Kind::NodeStatus | Kind::NodeSchedulability => own_key() && change.record.is_some(),
        Kind::ReplicaObserved => {
            let before = view.get::<ReplicaObserved>(change.key).map(|observed| observed.node);
            let desired = view.get::<ReplicaDesired>(change.key).map(|desired| desired.node);
            match change.put::<ReplicaObserved>() {
                Some(observed) => observed.node == from && [before, desired].contains(&Some(from)),
                None => change.is_delete && before.is_none_or(|node| node == from),
            }
        }
        Kind::Subnet => match change.put::<Subnet>() {
            Some(subnet) => subnet.node == from,
            None => change.is_delete && view.get::<Subnet>(change.key).is_none_or(|subnet| subnet.node == from),
        },
        Kind::Claim => is_own_range(view, from, change, all),
        Kind::ExclusiveSlot => {
            let held = view.get::<ExclusiveSlot>(change.key).filter(|slot| slot.owner == from);
            let put = change.put::<ExclusiveSlot>();
            held.zip(put).is_some_and(|(held, put)| *put == ExclusiveSlot { released: true, ..held.clone() })
        }
        Kind::ClusterMeta
        | Kind::Node
        | Kind::Deployment
        | Kind::DeploymentRevision
        | Kind::RevisionCounter
        | Kind::Route
        | Kind::PortRoute
        | Kind::ReplicaDesired
        | Kind::Token
        | Kind::JoinToken
        | Kind::Tombstone
        | Kind::Authority
        | Kind::DataKey
        | Kind::RecoveryRecipient
        | Kind::NodeOperation => false,
    }
}

/// Whether a claim is of the range of a subnet that the node takes or gives back in the same step, and that no other node has.
fn is_own_range(view: &View, from: NodeId, change: &Change<'_>, all: &[Change<'_>]) -> bool {
    let claimed = |subnet: &Subnet| Claim::key_of(ClaimKind::Subnet, &subnet.cidr.to_string()) == change.key;
    if view.list::<Subnet>().any(|subnet| subnet.node != from && claimed(subnet)) {
        return false;
    }
    let taken = all.iter().filter_map(|other| other.put::<Subnet>()).any(claimed);
    let freed = all.iter().filter(|other| other.deletes(Kind::Subnet));
    let freed = freed.filter_map(|other| view.get::<Subnet>(other.key)).any(claimed);
    if change.is_delete { freed } else { taken && change.put::<Claim>().is_some() }
}

/// Whether this is what a member writes for another one: it lets it in with a token, takes note of its new key, or seals anew.
fn is_of_members(view: &View, changes: &[Change<'_>]) -> bool {
    is_join(view, changes) || is_new_key(view, changes) || is_sealing(view, changes)
}

fn is_join(view: &View, changes: &[Change<'_>]) -> bool {
    let tokens: Vec<&JoinToken> = changes.iter().filter_map(Change::put).collect();
    let [token] = tokens.as_slice() else { return false };
    let Some(joiner) = &token.used_by else { return false };
    let unused = JoinToken { used_by: None, ..(*token).clone() };
    if view.get::<JoinToken>(&token.hash) != Some(&unused) {
        return false;
    }
    let joining = joiner.node.to_string();
    // One that joined and was never heard of gives way.
    let replaced = |key: &str| view.get::<Node>(key).is_some() && view.get::<NodeSchedulability>(key).is_none();
    let is_known = view.get::<Node>(&joining).is_some() || view.get::<Tombstone>(&joining).is_some();
    !is_known
        && changes.iter().all(|change| match change.kind {
            Some(Kind::JoinToken) => change.put::<JoinToken>().is_some(),
            Some(Kind::Node | Kind::NodeStatus) if change.record.is_some() => change.key == joining,
            Some(Kind::Node | Kind::NodeStatus | Kind::NodeSchedulability | Kind::NodeOperation) => {
                change.is_delete && replaced(change.key)
            }
            Some(Kind::Tombstone) => change.put::<Tombstone>().is_some() && replaced(change.key),
            Some(Kind::DataKey) => change.put::<DataKey>().is_some_and(|key| adds_copy(view, key, &joining)),
            Some(_) | None => false,
        })
}

/// The data key with a copy for the joiner, and otherwise as it is.
fn adds_copy(view: &View, key: &DataKey, joining: &str) -> bool {
    view.get::<DataKey>(&key.key()).is_some_and(|known| {
        let mut copies = key.copies.clone();
        copies.remove(joining);
        copies == known.copies && key.recovery == known.recovery
    })
}

fn is_new_key(view: &View, changes: &[Change<'_>]) -> bool {
    let [change] = changes else { return false };
    let Some((node, known)) = change.put::<Node>().zip(view.get::<Node>(change.key)) else { return false };
    *known == Node { public_keys: known.public_keys.clone(), ..node.clone() }
}

/// Every member holds the data keys; none can make a new one by itself.
fn is_sealing(view: &View, changes: &[Change<'_>]) -> bool {
    !changes.is_empty()
        && changes.iter().all(|change| {
            change.deletes(Kind::DataKey)
                || change.put::<Authority>().is_some_and(|authority| {
                    let known = view.get::<Authority>(change.key);
                    known.is_some_and(|known| known.certificate == authority.certificate)
                })
        })
}
