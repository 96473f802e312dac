//! `audit`.

use std::collections::BTreeMap;

use jaco_proto::v1;
use serde::Serialize;

use super::{pairs, upper};
use crate::printer::View;
use crate::table::{Table, or_dash};
use crate::text::{one_line, timestamp, timestamp_seconds};

/// An event of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    pub ts: String,
    pub raft_index: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub payload: BTreeMap<String, String>,
    #[serde(skip)]
    ts_ms: u64,
}

impl From<v1::AuditEvent> for Event {
    fn from(wire: v1::AuditEvent) -> Self {
        Event {
            kind: wire.r#type,
            identity: Some(wire.identity).filter(|identity| !identity.is_empty()),
            ts: timestamp(wire.ts_ms),
            raft_index: wire.raft_index,
            payload: wire.payload,
            ts_ms: wire.ts_ms,
        }
    }
}

impl Event {
    fn cells(&self) -> [String; 5] {
        [
            timestamp_seconds(self.ts_ms),
            upper(&self.kind),
            or_dash(self.identity.as_ref()),
            self.raft_index.to_string(),
            pairs(&self.payload),
        ]
    }
}

/// One line of a stream: the columns of the table, as wide as they usually are.
impl View for Event {
    fn table(&self) -> String {
        let [time, kind, identity, index, payload] = self.cells().map(|cell| one_line(&cell));
        format!("{}\n", format!("{time}   {kind:<28}   {identity:<10}   {index:<10}   {payload}").trim_end())
    }

    fn quiet(&self) -> String {
        format!("{}\n", one_line(&self.kind))
    }
}

/// The events that were asked for, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct List(pub Vec<Event>);

impl View for List {
    fn table(&self) -> String {
        let mut table = Table::new(&["TS", "TYPE", "IDENTITY", "RAFT_INDEX", "PAYLOAD"]);
        for event in &self.0 {
            table.row(event.cells());
        }
        table.render()
    }

    fn quiet(&self) -> String {
        self.0.iter().map(View::quiet).collect()
    }
}
