//! Replicas: in `status`, `get replicas` and `get replica`.

use std::collections::BTreeMap;

use jaco_proto::v1;
use jaco_types::{ReplicaState, UserError};
use serde::Serialize;

use super::{pairs, replica_state, upper};
use crate::printer::View;
use crate::table::{Table, or_dash};
use crate::text::{bytes, timestamp, timestamp_seconds};

/// A replica in `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub id: String,
    pub state: ReplicaState,
    pub host: String,
    pub container_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_health_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
    pub deployment: String,
    pub service: String,
    pub revision: u64,
    pub spec_current: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull: Option<Pull>,
}

/// What a pull is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pull {
    pub bytes_done: u64,
    pub bytes_total: u64,
    pub layers_done: u32,
    pub layers_total: u32,
}

impl From<v1::PullProgress> for Pull {
    fn from(wire: v1::PullProgress) -> Self {
        Pull {
            bytes_done: wire.bytes_done,
            bytes_total: wire.bytes_total,
            layers_done: wire.layers_done,
            layers_total: wire.layers_total,
        }
    }
}

impl Pull {
    /// For people: `layers 2/5, 10.0MB of 45.0MB`.
    pub fn text(&self) -> String {
        let layers = format!("layers {}/{}", self.layers_done, self.layers_total);
        if self.bytes_total == 0 {
            return layers;
        }
        format!("{layers}, {} of {}", bytes(self.bytes_done), bytes(self.bytes_total))
    }
}

impl TryFrom<v1::Replica> for Summary {
    type Error = UserError;

    fn try_from(wire: v1::Replica) -> Result<Self, UserError> {
        Ok(Summary {
            state: replica_state(wire.state)?,
            id: wire.id,
            host: wire.host,
            container_id: wire.container_id.unwrap_or_default(),
            last_health_at: wire.last_health_at_ms.map(timestamp),
            code: wire.code,
            message: wire.message,
            details: wire.details,
            deployment: wire.deployment,
            service: wire.service,
            revision: wire.revision,
            spec_current: wire.spec_current,
            pull: wire.pull.map(Pull::from),
        })
    }
}

impl Summary {
    /// Why it is not simply up; empty for a healthy one.
    pub fn reason(&self) -> String {
        let reason = reason(self.code.as_deref(), self.message.as_deref(), &self.details);
        match (&self.pull, reason.is_empty()) {
            (Some(pull), true) => pull.text(),
            (Some(_) | None, _) => reason,
        }
    }
}

/// `code: message`, or the details' own reason, with the exit code of the container's process.
pub fn reason(code: Option<&str>, message: Option<&str>, details: &BTreeMap<String, String>) -> String {
    let message = message.or_else(|| details.get("reason").map(String::as_str)).filter(|text| !text.is_empty());
    let mut text = match (code, message) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, Some(message)) => message.to_owned(),
        (None, None) => return String::new(),
    };
    if let Some(exit) = details.get("exit_code") {
        text += &format!(" (exit {exit})");
    }
    text
}

/// The first twelve characters, as engines show ids.
pub fn short_id(container_id: &str) -> String {
    if container_id.is_empty() { "-".to_owned() } else { container_id.chars().take(12).collect() }
}

/// A replica's index: a number, or the host for a global service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Index {
    Number(u64),
    Host(String),
}

/// A dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DependsOn {
    pub service: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub condition: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<ReplicaState>,
    pub satisfied: bool,
}

/// A step of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StateChange {
    pub state: ReplicaState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    pub at: String,
}

/// `get replica <id>`, and each element of `get replicas`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Detail {
    pub id: String,
    pub deployment: String,
    pub service: String,
    pub index: Index,
    pub state: ReplicaState,
    pub host: String,
    pub image: String,
    pub revision: u64,
    pub spec_current: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    pub restart_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_health_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempt_at: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<DependsOn>,
    pub state_history: Vec<StateChange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull: Option<Pull>,
}

impl TryFrom<v1::Replica> for Detail {
    type Error = UserError;

    fn try_from(wire: v1::Replica) -> Result<Self, UserError> {
        let depends_on = |wire: v1::DependsOn| -> Result<DependsOn, UserError> {
            let state = wire.state.map(replica_state).transpose()?;
            Ok(DependsOn { service: wire.service, condition: wire.condition, state, satisfied: wire.satisfied })
        };
        let change = |wire: v1::StateChange| -> Result<StateChange, UserError> {
            Ok(StateChange { state: replica_state(wire.state)?, code: wire.code, at: timestamp(wire.at_ms) })
        };
        Ok(Detail {
            state: replica_state(wire.state)?,
            id: wire.id,
            deployment: wire.deployment,
            service: wire.service,
            index: wire.index.parse().map_or(Index::Host(wire.index), Index::Number),
            host: wire.host,
            image: wire.image,
            revision: wire.revision,
            spec_current: wire.spec_current,
            container_id: wire.container_id,
            restart_count: wire.restart_count,
            code: wire.code,
            message: wire.message,
            details: wire.details,
            started_at: wire.started_at_ms.map(timestamp),
            last_health_at: wire.last_health_at_ms.map(timestamp),
            last_attempt_at: wire.last_attempt_at_ms.map(timestamp),
            depends_on: wire.depends_on.into_iter().map(depends_on).collect::<Result<_, _>>()?,
            state_history: wire.state_history.into_iter().map(change).collect::<Result<_, _>>()?,
            pull: wire.pull.map(Pull::from),
        })
    }
}

impl View for Detail {
    fn table(&self) -> String {
        let lines = [
            ("Replica", self.id.clone()),
            ("Deployment", self.deployment.clone()),
            ("Service", self.service.clone()),
            ("State", upper(self.state.as_str())),
            ("Reason", reason(self.code.as_deref(), self.message.as_deref(), &self.details)),
            ("Details", pairs(&self.details)),
            ("Pull", self.pull.as_ref().map(Pull::text).unwrap_or_default()),
            ("Host", self.host.clone()),
            ("Image", self.image.clone()),
            (
                "Revision",
                format!("{}{}", self.revision, if self.spec_current { "" } else { " (container of an older one)" }),
            ),
            ("Container", self.container_id.clone().unwrap_or_default()),
            ("Restarts", self.restart_count.to_string()),
            ("Started at", self.started_at.clone().unwrap_or_default()),
            ("Last health at", self.last_health_at.clone().unwrap_or_default()),
            ("Last attempt at", self.last_attempt_at.clone().unwrap_or_default()),
        ];
        let mut text: String = lines
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{:<17}{}\n", format!("{name}:"), crate::text::one_line(value)))
            .collect();
        if !self.depends_on.is_empty() {
            let mut table = Table::new(&["SERVICE", "CONDITION", "STATE", "SATISFIED"]);
            for dependency in &self.depends_on {
                table.row([
                    dependency.service.clone(),
                    dependency.condition.clone(),
                    or_dash(dependency.state.map(|state| upper(state.as_str()))),
                    if dependency.satisfied { "yes" } else { "no" }.to_owned(),
                ]);
            }
            text += &format!("\nDepends on:\n{}", table.render());
        }
        if !self.state_history.is_empty() {
            let mut table = Table::new(&["AT", "STATE", "CODE"]);
            for change in &self.state_history {
                table.row([change.at.clone(), upper(change.state.as_str()), or_dash(change.code.clone())]);
            }
            text += &format!("\nHistory:\n{}", table.render());
        }
        text
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.state)
    }
}

/// `get replicas`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct List(pub Vec<Detail>);

impl TryFrom<v1::GetReplicasResponse> for List {
    type Error = UserError;

    fn try_from(wire: v1::GetReplicasResponse) -> Result<Self, UserError> {
        Ok(List(wire.replicas.into_iter().map(Detail::try_from).collect::<Result<_, _>>()?))
    }
}

impl View for List {
    fn table(&self) -> String {
        let mut table = Table::new(&["REPLICA_ID", "DEPLOYMENT", "SERVICE", "STATE", "HOST", "RESTARTS", "IMAGE"]);
        for replica in &self.0 {
            table.row([
                replica.id.clone(),
                replica.deployment.clone(),
                replica.service.clone(),
                upper(replica.state.as_str()),
                replica.host.clone(),
                replica.restart_count.to_string(),
                replica.image.clone(),
            ]);
        }
        table.render()
    }

    fn quiet(&self) -> String {
        self.0.iter().map(|replica| format!("{}\n", replica.id)).collect()
    }
}

/// A row of the replica table of `status`.
pub fn status_row(replica: &Summary) -> [String; 6] {
    let health = replica.last_health_at.as_deref().map(seconds_only);
    [
        replica.id.clone(),
        upper(replica.state.as_str()),
        replica.host.clone(),
        short_id(&replica.container_id),
        or_dash(health),
        replica.reason(),
    ]
}

/// Tables show whole seconds.
fn seconds_only(timestamp: &str) -> String {
    match timestamp.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => timestamp.to_owned(),
    }
}

/// The time of a table cell from the wire.
pub fn cell_time(ms: Option<u64>) -> String {
    or_dash(ms.map(timestamp_seconds))
}
