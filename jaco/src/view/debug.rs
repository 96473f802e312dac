//! `debug`.

use serde::Serialize;

use crate::printer::View;
use crate::text::one_line;

/// What there is of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    pub hostname: String,
    /// Whether its daemon told of itself.
    pub collected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A bundle that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Debug {
    pub path: String,
    pub bytes: usize,
    pub nodes: Vec<Node>,
}

impl View for Debug {
    fn table(&self) -> String {
        let collected: Vec<String> =
            self.nodes.iter().filter(|node| node.collected).map(|node| one_line(&node.hostname)).collect();
        let of = if collected.is_empty() { String::new() } else { format!(" (nodes: {})", collected.join(", ")) };
        format!("Wrote {} bytes to {}{of}\n", self.bytes, self.path)
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.path)
    }
}
