//! Notes and warnings about a manifest or about how it is served.

use std::collections::BTreeMap;

use jaco_proto::{remark_from_wire, v1};
use jaco_types::UserError;
use serde::Serialize;

use super::newer_daemon;
use crate::text::one_line;

/// A remark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// `note` or `warning`.
    pub severity: &'static str,
    /// Its code.
    pub code: String,
    /// What, and the way out.
    pub message: String,
    /// Facts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

impl TryFrom<v1::Remark> for Remark {
    type Error = UserError;

    fn try_from(wire: v1::Remark) -> Result<Self, UserError> {
        let severity = remark_from_wire(&wire).map_err(|unknown| newer_daemon(&unknown))?;
        Ok(Remark { severity, code: wire.code, message: wire.message, details: wire.details })
    }
}

impl Remark {
    /// Whether another remark is about the same: both sides read the same texts, but call their places by other names.
    pub fn says_the_same(&self, other: &Remark) -> bool {
        let place = |remark: &Remark| (remark.details.get("service").cloned(), remark.details.get("field").cloned());
        self.message == other.message
            || (self.code == other.code && place(self) == place(other) && place(self) != (None, None))
    }

    /// The line on standard error.
    pub fn line(&self) -> String {
        let word = if self.severity == "warning" { "Warning" } else { "Note" };
        format!("{word}: {}", one_line(&self.message))
    }
}

/// Converts a list.
pub fn remarks(wire: Vec<v1::Remark>) -> Result<Vec<Remark>, UserError> {
    wire.into_iter().map(Remark::try_from).collect()
}
