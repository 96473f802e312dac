//! `history`.

use jaco_proto::v1;
use serde::Serialize;

use super::upper;
use crate::printer::View;
use crate::table::Table;
use crate::text::{timestamp, timestamp_seconds};

/// A stored revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Revision {
    pub revision: u64,
    pub applied_at: String,
    pub identity: String,
    pub kind: String,
    pub active: bool,
    pub result: String,
    #[serde(skip)]
    applied_at_ms: u64,
}

/// The stored revisions of a deployment, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct History {
    pub deployment: String,
    pub revisions: Vec<Revision>,
}

impl From<v1::HistoryResponse> for History {
    fn from(wire: v1::HistoryResponse) -> Self {
        let revision = |wire: v1::Revision| Revision {
            revision: wire.revision,
            applied_at: timestamp(wire.applied_at_ms),
            identity: wire.identity,
            kind: wire.kind,
            active: wire.active,
            result: wire.result,
            applied_at_ms: wire.applied_at_ms,
        };
        History { deployment: wire.deployment, revisions: wire.revisions.into_iter().map(revision).collect() }
    }
}

impl View for History {
    fn table(&self) -> String {
        let mut table = Table::new(&["REVISION", "APPLIED_AT", "IDENTITY", "KIND", "RESULT"]);
        for row in &self.revisions {
            table.row([
                format!("{}{}", row.revision, if row.active { "*" } else { "" }),
                timestamp_seconds(row.applied_at_ms),
                row.identity.clone(),
                upper(&row.kind),
                upper(&row.result),
            ]);
        }
        table.render()
    }

    fn quiet(&self) -> String {
        self.revisions.iter().map(|row| format!("{}\n", row.revision)).collect()
    }
}
