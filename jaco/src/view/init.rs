//! `cluster init`.

use std::path::PathBuf;

use serde::Serialize;

use crate::printer::View;

/// A cluster that was just made, with the secrets that are shown this once.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Initialized {
    pub cluster_id: String,
    pub cluster_name: String,
    pub operator_token: String,
    pub recovery_key: String,
    pub ca_fingerprint: String,
    pub systemd_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_file: Option<PathBuf>,
    /// What became of the unit, in words.
    #[serde(skip)]
    pub unit: String,
}

impl View for Initialized {
    fn table(&self) -> String {
        let mut text = format!(
            "cluster_id: {}\noperator_token: {}\nrecovery_key: {}\ncluster_name: {}\nca_fingerprint: {}\n",
            self.cluster_id, self.operator_token, self.recovery_key, self.cluster_name, self.ca_fingerprint
        );
        text += "\nSave the operator token and the recovery key now: neither is shown again. The token lets an operator in\nfrom elsewhere (identity bootstrap); without the recovery key no backup can be restored.\n";
        if let Some(path) = &self.context_file {
            text += &format!("Context for remote use: {} (jaco context import)\n", path.display());
        }
        text + &self.unit + "\n"
    }

    fn quiet(&self) -> String {
        format!("{}\n{}\n{}\n", self.cluster_id, self.operator_token, self.recovery_key)
    }
}
