//! `node status` and `node log-level`.

use std::collections::BTreeMap;
use std::time::Duration;

use jaco_proto::v1;
use jaco_types::{NodeState, UserError};
use serde::Serialize;

use super::{node_state, pairs, replica::cell_time, upper};
use crate::printer::View;
use crate::table::{Table, or_dash};
use crate::text::{duration, timestamp};

/// A loop of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loop {
    pub name: String,
    pub state: String,
    pub runs: u64,
    pub errors_in_a_row: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_at: Option<String>,
    /// Milliseconds since it was woken and has not run.
    pub lag_ms: u64,
    #[serde(skip)]
    last_run_at_ms: Option<u64>,
}

/// A node's daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    pub hostname: String,
    pub version: String,
    pub status: NodeState,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub status_details: BTreeMap<String, String>,
    pub log_level: String,
    pub loops: Vec<Loop>,
}

impl TryFrom<v1::NodeStatusResponse> for Node {
    type Error = UserError;

    fn try_from(wire: v1::NodeStatusResponse) -> Result<Self, UserError> {
        let one = |wire: v1::Loop| Loop {
            name: wire.name,
            state: wire.state,
            runs: wire.runs,
            errors_in_a_row: wire.errors_in_a_row,
            last_error: wire.last_error,
            last_run_at: wire.last_run_at_ms.map(timestamp),
            lag_ms: wire.lag_ms,
            last_run_at_ms: wire.last_run_at_ms,
        };
        Ok(Node {
            status: node_state(wire.status)?,
            hostname: wire.hostname,
            version: wire.version,
            status_details: wire.status_details,
            log_level: wire.log_level,
            loops: wire.loops.into_iter().map(one).collect(),
        })
    }
}

impl View for Node {
    fn table(&self) -> String {
        let mut text = format!(
            "Node:      {}\nVersion:   {}\nStatus:    {}\nLog level: {}\n",
            self.hostname,
            self.version,
            upper(self.status.as_str()),
            self.log_level
        );
        if !self.status_details.is_empty() {
            text += &format!("Details:   {}\n", crate::text::one_line(&pairs(&self.status_details)));
        }
        let mut table = Table::new(&["LOOP", "STATE", "RUNS", "ERRORS", "LAST_RUN_AT", "LAG", "LAST_ERROR"]);
        for row in &self.loops {
            table.row([
                row.name.clone(),
                upper(&row.state),
                row.runs.to_string(),
                row.errors_in_a_row.to_string(),
                cell_time(row.last_run_at_ms),
                if row.lag_ms == 0 { "-".to_owned() } else { duration(Duration::from_millis(row.lag_ms)) },
                or_dash(row.last_error.clone()),
            ]);
        }
        text + "\nLoops:\n" + &table.render()
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.status)
    }
}

/// `node log-level`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLevel {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    pub level: String,
}

impl View for LogLevel {
    fn table(&self) -> String {
        if self.hostname.is_empty() {
            return format!("Log level: {}\n", self.level);
        }
        format!("Log level of {}: {}\n", self.hostname, self.level)
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.level)
    }
}
