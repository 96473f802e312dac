//! Networks and volumes of a deployment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::serde_help::is_default;

/// One network of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSpec {
    /// No way out of the network.
    #[serde(skip_serializing_if = "is_default")]
    pub internal: bool,
    /// The user's labels.
    #[serde(skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
}

/// One named volume of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeSpec {
    /// The engine's name for it when it was given (`name:`) or the volume is external; else derived from the deployment.
    #[serde(skip_serializing_if = "is_default")]
    pub literal_name: Option<String>,
    /// It must exist already and is never created.
    #[serde(skip_serializing_if = "is_default")]
    pub external: bool,
    /// The user's labels.
    #[serde(skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
}
