//! `logs`.

use jaco_proto::v1;
use serde::Serialize;

use crate::printer::View;
use crate::text::timestamp;

/// A line of a container's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub replica_id: String,
    pub host: String,
    pub stream: String,
    pub ts: String,
    pub line: String,
}

impl From<v1::LogLine> for Line {
    fn from(wire: v1::LogLine) -> Self {
        Line {
            replica_id: wire.replica_id,
            host: wire.host,
            stream: wire.stream,
            ts: timestamp(wire.ts_ms),
            line: wire.line,
        }
    }
}

impl View for Line {
    /// The line is passed on as it is, colours included: it is the application's own output.
    fn table(&self) -> String {
        format!("[{}@{}] {}\n", self.replica_id, self.host, self.line)
    }

    fn quiet(&self) -> String {
        self.table()
    }
}
