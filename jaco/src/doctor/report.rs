//! What `doctor` prints.

use serde::Serialize;

use crate::printer::View;
use crate::table::Table;

/// How one check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    /// A node works without it, less well or not for everything.
    Warning,
    /// A node does not work without it.
    Missing,
}

impl Verdict {
    fn upper(self) -> &'static str {
        match self {
            Verdict::Ok => "OK",
            Verdict::Warning => "WARNING",
            Verdict::Missing => "MISSING",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: String,
    pub result: Verdict,
    /// What was found.
    pub details: String,
    /// How to get what is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// All checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Nothing essential is missing.
    pub healthy: bool,
    pub checks: Vec<Check>,
}

impl Report {
    /// The report of these checks.
    pub fn new(checks: Vec<Check>) -> Self {
        Report { healthy: checks.iter().all(|check| check.result != Verdict::Missing), checks }
    }
}

impl View for Report {
    fn table(&self) -> String {
        let mut table = Table::new(&["CHECK", "RESULT", "DETAILS"]);
        for check in &self.checks {
            table.row([check.name.clone(), check.result.upper().to_owned(), check.details.clone()]);
        }
        let mut text = table.render();
        let fixes: Vec<String> = self
            .checks
            .iter()
            .filter_map(|check| check.fix.as_ref().map(|fix| format!("  {}: {fix}\n", check.name)))
            .collect();
        if !fixes.is_empty() {
            text += "\nWhat to do:\n";
            text += &fixes.concat();
        }
        text
    }

    fn quiet(&self) -> String {
        self.checks.iter().filter(|c| c.result == Verdict::Missing).map(|c| format!("{}\n", c.name)).collect()
    }
}
