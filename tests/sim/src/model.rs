//! The one history that all nodes must share, and what must be true of it.
//!
//! Entries are taken from the logs of nodes as soon as they are applied anywhere, and applied to a state machine of the model's own. So
//! every node's state is compared with one that never crashed, at the index it has got to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jaco_controlplane::{LogEntry, LogStorage, Payload, Vote};
use jaco_state::{Batch, Check, Entry, EntryMeta, Outcome, StateMachine, View};
use jaco_types::{Deployment, DeploymentRevision, JoinToken, Kind, NodeId, Protocol, ReplicaDesired};

use crate::world::Acknowledged;

/// The committed history.
pub(crate) struct Model {
    machine: StateMachine,
    entries: BTreeMap<u64, LogEntry>,
    views: BTreeMap<u64, View>,
    /// Where each request was committed.
    requests: BTreeMap<[u8; 16], u64>,
    /// Term of the last entry.
    term: u64,
    /// Who led each term.
    leaders: BTreeMap<u64, u64>,
    /// How far each node's log was compared.
    compared: BTreeMap<NodeId, u64>,
    acknowledged: Vec<Acknowledged>,
    /// Nodes that joined with each token.
    joined: BTreeMap<String, BTreeSet<NodeId>>,
    time_ms: u64,
}

/// A broken promise.
pub(crate) type Broken = String;

impl Default for Model {
    fn default() -> Self {
        let machine = StateMachine::new();
        let views = BTreeMap::from([(0, machine.view())]);
        Model {
            machine,
            entries: BTreeMap::new(),
            views,
            requests: BTreeMap::new(),
            term: 0,
            leaders: BTreeMap::new(),
            compared: BTreeMap::new(),
            acknowledged: Vec::new(),
            joined: BTreeMap::new(),
            time_ms: 0,
        }
    }
}

impl Model {
    /// The last index of the history.
    pub(crate) fn tip(&self) -> u64 {
        self.machine.view().index()
    }

    /// The state at the end of it.
    pub(crate) fn view(&self) -> View {
        self.machine.view()
    }

    /// The state at an index of it.
    pub(crate) fn view_at(&self, index: u64) -> Option<&View> {
        self.views.get(&index)
    }

    /// A node began to live again: its log is compared anew.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.compared.remove(&node);
    }

    /// Somebody has learnt that a node was elected.
    ///
    /// # Errors
    /// Another one was, in the same term.
    pub(crate) fn elected(&mut self, vote: Vote) -> Result<(), Broken> {
        match *self.leaders.entry(vote.term).or_insert(vote.node_id) {
            first if first == vote.node_id => Ok(()),
            first => Err(format!("term {} has two leaders, node {first} and node {}", vote.term, vote.node_id)),
        }
    }

    /// How many elections were won.
    pub(crate) fn elections(&self) -> u64 {
        self.leaders.len() as u64
    }

    /// Compares what a node has applied with the history, and adds what is new.
    ///
    /// # Errors
    /// What differs, or is wrong with what is new.
    pub(crate) fn follow(&mut self, node: NodeId, log: &dyn LogStorage, view: &View) -> Result<(), Broken> {
        let from = self.compared.get(&node).copied().unwrap_or(0) + 1;
        if view.index() < from {
            return Ok(());
        }
        let entries = log.read(from..view.index() + 1, u64::MAX).map_err(|error| error.to_string())?;
        for entry in entries {
            let index = entry.id.index;
            match self.entries.get(&index) {
                Some(known) if *known == entry => {}
                Some(known) => {
                    return Err(format!("index {index} was committed as {known:?}, and node {node} applied {entry:?}"));
                }
                // What came before it was dropped here already, and is taken from another node.
                None if index != self.tip() + 1 => break,
                None => self.commit(entry)?,
            }
        }
        if let Some(expected) = self.views.get(&view.index()) {
            if let Some(change) = view.changes_since(expected).first() {
                return Err(format!("node {node} at index {} has another state: {change:?}", view.index()));
            }
            self.compared.insert(node, view.index());
        }
        Ok(())
    }

    fn commit(&mut self, entry: LogEntry) -> Result<(), Broken> {
        let id = entry.id;
        let before = std::mem::replace(&mut self.term, id.term);
        if id.term < before {
            return Err(format!("index {} of term {} follows one of term {before}", id.index, id.term));
        }
        // The first entry of all is nobody's.
        if id.index > 0 && !self.leaders.contains_key(&id.term) {
            return Err(format!("index {} is of term {}, which nobody was elected in", id.index, id.term));
        }
        match &entry.payload {
            Some(Payload::Command(bytes)) => {
                let read = Entry::decode(bytes.clone()).map_err(|error| format!("index {}: {error}", id.index))?;
                let time_ms = read.stamp.time_ms;
                let meta = EntryMeta { index: id.index, term: id.term, time_ms };
                let outcome = self.machine.apply(meta, &read.command);
                if let Outcome::Committed { commit, batch } = outcome {
                    if let Some(batch) = &batch {
                        leader_only(&read, id.term, batch)?;
                    }
                    self.committed(&read, commit.index)?;
                    if commit.time_ms < self.time_ms {
                        return Err(format!("cluster time goes back at index {}", id.index));
                    }
                    self.time_ms = commit.time_ms;
                    batch.map_or(Ok(()), |batch| self.changed(&batch))?;
                }
            }
            Some(Payload::Blank(_) | Payload::Membership(_)) | None => self.machine.advance(id.index, id.term),
        }
        self.views.insert(id.index, self.machine.view());
        self.entries.insert(id.index, entry);
        Ok(())
    }

    fn committed(&mut self, entry: &Entry, index: u64) -> Result<(), Broken> {
        let Some(request) = entry.command.request_id() else { return Ok(()) };
        match self.requests.insert(request.token, index) {
            None => Ok(()),
            Some(first) => Err(format!("one request was committed at index {first} and again at index {index}")),
        }
    }

    fn changed(&mut self, batch: &Batch) -> Result<(), Broken> {
        for change in &batch.changes {
            let versions = (change.before.as_ref(), change.after.as_ref());
            let is_later = match versions {
                (Some(before), Some(after)) => before.version < after.version && after.version == batch.index,
                (None, Some(after)) => after.version == batch.index,
                (_, None) => true,
            };
            if !is_later {
                return Err(format!("the version of {} does not grow: {versions:?}", change.key));
            }
            if let Some(token) = change.after::<JoinToken>()
                && let Some(joiner) = &token.used_by
            {
                let joined = self.joined.entry(token.hash.clone()).or_default();
                joined.insert(joiner.node);
                if joined.len() > 1 {
                    return Err(format!("join token {} was used twice: {joined:?}", token.hash));
                }
            }
        }
        if batch.touches(Kind::Deployment) || batch.touches(Kind::DeploymentRevision) {
            exclusive_claims(&self.machine.view())?;
        }
        Ok(())
    }

    /// Holds what clients were told against the history.
    ///
    /// # Errors
    /// An acknowledged transaction is not where it was said to be.
    pub(crate) fn acknowledged(&mut self, new: Vec<Acknowledged>) -> Result<(), Broken> {
        self.acknowledged.extend(new);
        let tip = self.tip();
        let (due, waiting) = std::mem::take(&mut self.acknowledged).into_iter().partition(|told| told.index <= tip);
        self.acknowledged = waiting;
        let due: Vec<Acknowledged> = due;
        match due.iter().find(|told| self.requests.get(&told.token) != Some(&told.index)) {
            None => Ok(()),
            Some(told) => Err(format!(
                "a transaction was acknowledged at index {}, and the history has it at {:?}",
                told.index,
                self.requests.get(&told.token)
            )),
        }
    }

    /// At the end: nothing that was acknowledged may still be missing.
    ///
    /// # Errors
    /// Something is.
    pub(crate) fn complete(&self) -> Result<(), Broken> {
        match self.acknowledged.first() {
            None => Ok(()),
            Some(told) => Err(format!(
                "a transaction was acknowledged at index {}, and the history ends at {}",
                told.index,
                self.tip()
            )),
        }
    }
}

/// Decisions of leaders say in which term they were made, and are committed in it.
fn leader_only(entry: &Entry, term: u64, batch: &Batch) -> Result<(), Broken> {
    let of_terms = entry.command.checks().filter_map(|check| match check {
        Check::Term(term) => Some(term),
        Check::Absent { .. } | Check::Version { .. } => None,
    });
    let of_terms: Vec<u64> = of_terms.collect();
    // To take one away is a client's right as well.
    let is_decision = batch.changes.iter().any(|change| change.after::<ReplicaDesired>().is_some());
    if of_terms.iter().any(|of| *of != term) || (is_decision && of_terms.is_empty()) {
        return Err(format!(
            "index {} of term {term} holds a decision of the leader of term {of_terms:?}",
            batch.index
        ));
    }
    Ok(())
}

/// No two deployments may have the same port or route in what is active.
fn exclusive_claims(view: &View) -> Result<(), Broken> {
    let mut ports: BTreeMap<(Protocol, u16), Arc<str>> = BTreeMap::new();
    let mut routes: BTreeMap<String, Arc<str>> = BTreeMap::new();
    for deployment in view.list::<Deployment>() {
        let name: Arc<str> = deployment.name.as_str().into();
        let key = DeploymentRevision::key_of(&deployment.name, deployment.active_revision);
        let Some(revision) = view.get::<DeploymentRevision>(&key) else {
            return Err(format!("the active revision of {name} is not there"));
        };
        for port in revision.spec.services.values().flat_map(|service| &service.ports) {
            if let Some(other) = ports.insert((port.protocol, port.host_port), name.clone())
                && other != name
            {
                return Err(format!("port {} belongs to {other} and {name}", port.host_port));
            }
        }
        for route in &revision.spec.routes {
            let path = format!("{}{}", route.domain, route.path);
            if let Some(other) = routes.insert(path.clone(), name.clone())
                && other != name
            {
                return Err(format!("route {path} belongs to {other} and {name}"));
            }
        }
    }
    Ok(())
}
