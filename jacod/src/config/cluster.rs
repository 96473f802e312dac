//! Values that the cluster fixed at its init: its own record wins over a node's file.

use jaco_types::ClusterMeta;

use super::Config;

impl Config {
    /// Keys of the file that say something other than the cluster's record, each with both values. The record is what is in force.
    pub(crate) fn disagreements(&self, cluster: &ClusterMeta) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |key: &str, file: String, record: String| {
            if file != record {
                found.push(format!("{key}: the file says {file}, the cluster {record}"));
            }
        };
        compare("ipam_pool", self.ipam_pool.to_string(), cluster.ipam_pool.to_string());
        compare("mesh_cidr", self.mesh_cidr.to_string(), cluster.mesh_cidr.to_string());
        let duration = |value| humantime::format_duration(value).to_string();
        compare("node_down_after", duration(self.node_down_after), duration(cluster.node_down_after()));
        found
    }
}
