//! `cluster init`.

use jaco_proto::v1;
use serde::Serialize;

use crate::printer::View;

/// A cluster that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Initialized {
    pub cluster_id: String,
    pub cluster_name: String,
    pub systemd_enabled: bool,
    /// What became of the unit, in words.
    #[serde(skip)]
    pub unit: String,
}

impl Initialized {
    /// The view of an answer and of what became of the systemd unit.
    pub fn new(wire: v1::InitResponse, systemd_enabled: bool, unit: String) -> Self {
        Initialized { cluster_id: wire.cluster_id, cluster_name: wire.cluster_name, systemd_enabled, unit }
    }
}

impl View for Initialized {
    fn table(&self) -> String {
        format!("cluster_id: {}\ncluster_name: {}\n{}\n", self.cluster_id, self.cluster_name, self.unit)
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.cluster_id)
    }
}
