//! What a change did or would do: `apply`, `rollback`, `delete`, and their dry runs.

use jaco_proto::v1;
use jaco_types::UserError;
use serde::Serialize;

use super::remark::{Remark, remarks};
use crate::printer::View;
use crate::text::one_line;

/// A thing that comes or goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    pub kind: String,
    pub name: String,
}

/// A field that changes. Secret values are replaced by the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Update {
    pub kind: String,
    pub name: String,
    pub field: String,
    /// Absent when the field was not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// Absent when the field is not set any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

/// The difference between two revisions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Diff {
    pub adds: Vec<Item>,
    pub updates: Vec<Update>,
    pub removes: Vec<Item>,
    /// Replicas whose container is replaced.
    pub restarts: Vec<String>,
}

impl From<Option<v1::Diff>> for Diff {
    fn from(wire: Option<v1::Diff>) -> Self {
        let Some(wire) = wire else { return Diff::default() };
        let item = |item: v1::DiffItem| Item { kind: item.kind, name: item.name };
        let update = |update: v1::DiffUpdate| Update {
            kind: update.kind,
            name: update.name,
            field: update.field,
            old: update.old,
            new: update.new,
        };
        Diff {
            adds: wire.adds.into_iter().map(item).collect(),
            updates: wire.updates.into_iter().map(update).collect(),
            removes: wire.removes.into_iter().map(item).collect(),
            restarts: wire.restarts,
        }
    }
}

impl Diff {
    /// One line per difference; empty when there is none.
    fn lines(&self) -> String {
        let adds = self.adds.iter().map(|item| format!("+ {}/{}", item.kind, item.name));
        let updates = self.updates.iter().map(|update| {
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
            let (old, new) = (shown(&update.old), shown(&update.new));
            format!("~ {}/{} {}: {old} -> {new}", update.kind, update.name, update.field)
        });
        let removes = self.removes.iter().map(|item| format!("- {}/{}", item.kind, item.name));
        let restarts = self.restarts.iter().map(|id| format!("restarts replica/{id}"));
        adds.chain(updates).chain(removes).chain(restarts).map(|line| one_line(&line) + "\n").collect()
    }

    fn is_empty(&self) -> bool {
        self.adds.is_empty() && self.updates.is_empty() && self.removes.is_empty() && self.restarts.is_empty()
    }
}

/// How a change ended, as far as the command looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Accepted; nobody waited.
    Pending,
    /// Every replica runs.
    Active,
    /// It did not become healthy.
    Aborted,
    /// The wait's deadline passed first.
    Timeout,
}

/// `apply`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    pub deployment: String,
    pub applied_revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_revision: Option<u64>,
    pub changed: bool,
    pub diff: Diff,
    pub waited: bool,
    pub result: Outcome,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<Remark>,
}

impl Applied {
    /// The view of an answer; `outcome` is `None` when nobody waited.
    pub fn new(wire: v1::ApplyResponse, outcome: Option<Outcome>, local: Vec<Remark>) -> Result<Self, UserError> {
        Ok(Applied {
            deployment: wire.deployment,
            applied_revision: wire.applied_revision,
            previous_revision: wire.previous_revision,
            changed: wire.changed,
            diff: wire.diff.into(),
            waited: outcome.is_some(),
            result: outcome.unwrap_or(Outcome::Pending),
            remarks: joined(local, wire.remarks)?,
        })
    }
}

impl View for Applied {
    fn table(&self) -> String {
        format!("Applied revision: {}\n", self.applied_revision)
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.applied_revision)
    }
}

/// `rollback`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RolledBack {
    pub deployment: String,
    pub revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_revision: Option<u64>,
    pub diff: Diff,
    pub waited: bool,
    pub result: Outcome,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<Remark>,
}

impl RolledBack {
    /// The view of an answer; `outcome` is `None` when nobody waited.
    pub fn new(wire: v1::RollbackResponse, outcome: Option<Outcome>) -> Result<Self, UserError> {
        Ok(RolledBack {
            deployment: wire.deployment,
            revision: wire.revision,
            previous_revision: wire.previous_revision,
            diff: wire.diff.into(),
            waited: outcome.is_some(),
            result: outcome.unwrap_or(Outcome::Pending),
            remarks: remarks(wire.remarks)?,
        })
    }
}

impl View for RolledBack {
    fn table(&self) -> String {
        format!("Rolled back to revision: {}\n", self.revision)
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.revision)
    }
}

/// `apply --dry-run` and `rollback --dry-run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DryRun {
    pub deployment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_revision: Option<u64>,
    pub changed: bool,
    pub diff: Diff,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<Remark>,
}

impl DryRun {
    /// The view of a dry run of `apply`.
    pub fn of_apply(wire: v1::ApplyResponse, local: Vec<Remark>) -> Result<Self, UserError> {
        Ok(DryRun {
            deployment: wire.deployment,
            current_revision: wire.previous_revision,
            changed: wire.changed,
            diff: wire.diff.into(),
            remarks: joined(local, wire.remarks)?,
        })
    }

    /// The view of a dry run of `rollback`.
    pub fn of_rollback(wire: v1::RollbackResponse) -> Result<Self, UserError> {
        let diff = Diff::from(wire.diff);
        Ok(DryRun {
            deployment: wire.deployment,
            current_revision: wire.previous_revision,
            changed: !diff.is_empty(),
            diff,
            remarks: remarks(wire.remarks)?,
        })
    }
}

impl View for DryRun {
    fn table(&self) -> String {
        if self.changed && !self.diff.is_empty() { self.diff.lines() } else { "No changes\n".to_owned() }
    }

    fn quiet(&self) -> String {
        self.diff.lines()
    }
}

/// `delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deleted {
    pub deployment: String,
    pub deleted: bool,
}

impl View for Deleted {
    fn table(&self) -> String {
        format!("Deleted deployment: {}\n", self.deployment)
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.deployment)
    }
}

/// Remarks found on this side first; the daemon's repeat of one of them is left out.
fn joined(local: Vec<Remark>, wire: Vec<v1::Remark>) -> Result<Vec<Remark>, UserError> {
    let mut all = local;
    for remark in remarks(wire)? {
        if !all.iter().any(|known| known.says_the_same(&remark)) {
            all.push(remark);
        }
    }
    Ok(all)
}
