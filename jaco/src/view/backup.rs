//! `backup`, `restore`, `cluster recover` and `cluster rotate-key`.

use serde::{Deserialize, Serialize};

use crate::printer::View;

/// A backup that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backup {
    pub path: String,
    pub bytes: u64,
    pub snapshot_index: u64,
    pub cluster_id: String,
    /// Of the file, lower-case hex.
    pub sha256: String,
}

impl View for Backup {
    fn table(&self) -> String {
        format!("Wrote {} bytes to {}\n", self.bytes, self.path)
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.path)
    }
}

/// A cluster that was restored, as `jacod restore` says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    pub data_dir: String,
    pub cluster_id: String,
    pub snapshot_index: u64,
    pub hostname: String,
    /// The name in jacod.yaml, when it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured_hostname: Option<String>,
}

impl View for Restored {
    fn table(&self) -> String {
        let Restored { data_dir, cluster_id, snapshot_index, hostname, configured_hostname } = self;
        let mut text = format!("Restored cluster {cluster_id} at index {snapshot_index} into {data_dir}.\n");
        if let Some(configured) = configured_hostname {
            text +=
                &format!("Set `hostname: {hostname}` in jacod.yaml before the first start: it says {configured}.\n");
        }
        text + "Next: sudo systemctl start jaco; then let the other nodes join anew.\n"
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.data_dir)
    }
}

/// A cluster that was recovered, as `jacod recover` says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    pub data_dir: String,
    pub cluster_id: String,
    pub state_index: u64,
    pub hostname: String,
    pub old_nodes: Vec<String>,
}

impl View for Recovered {
    fn table(&self) -> String {
        let Recovered { data_dir, cluster_id, state_index, hostname, old_nodes } = self;
        let mut text = format!(
            "Recovered cluster {cluster_id} at index {state_index} in {data_dir}: {hostname} is its only node.\n"
        );
        if !old_nodes.is_empty() {
            text += &format!("Refused until they have joined anew: {}\n", old_nodes.join(", "));
        }
        text + "Next: sudo systemctl start jaco\n"
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.cluster_id)
    }
}

/// A new data key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RotatedKey {
    pub epoch: u64,
}

impl View for RotatedKey {
    fn table(&self) -> String {
        format!("Everything is sealed with data key {}\n", self.epoch)
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_daemon_program_says_is_read_and_shown() {
        let said = r#"{"data_dir":"/d","cluster_id":"c","snapshot_index":7,"hostname":"a","configured_hostname":"b"}"#;
        let restored: Restored = serde_json::from_str(said).unwrap();
        assert!(restored.table().contains("Set `hostname: a` in jacod.yaml"), "{}", restored.table());
        let said = r#"{"data_dir":"/d","cluster_id":"c","state_index":7,"hostname":"a","old_nodes":["b","c"]}"#;
        let recovered: Recovered = serde_json::from_str(said).unwrap();
        assert!(recovered.table().contains("joined anew: b, c\n"), "{}", recovered.table());
    }

    #[test]
    fn a_backup_says_how_large_it_is_and_where() {
        let backup =
            Backup { path: "/b".into(), bytes: 9, snapshot_index: 7, cluster_id: "c".into(), sha256: "ab".into() };
        assert_eq!(backup.table(), "Wrote 9 bytes to /b\n");
        assert_eq!(
            serde_json::to_string(&backup).unwrap(),
            r#"{"path":"/b","bytes":9,"snapshot_index":7,"cluster_id":"c","sha256":"ab"}"#
        );
    }
}
