//! `cluster status`.

use std::collections::BTreeMap;

use jaco_proto::v1;
use jaco_types::{NodeState, UserError};
use serde::Serialize;

use super::{node_state, out_of_range, pairs, upper};
use crate::printer::View;
use crate::text::timestamp;

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    pub hostname: String,
    pub address: String,
    pub grpc_address: String,
    pub status: NodeState,
    pub suffrage: &'static str,
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub status_details: BTreeMap<String, String>,
}

impl TryFrom<v1::Member> for Member {
    type Error = UserError;

    fn try_from(wire: v1::Member) -> Result<Self, UserError> {
        Ok(Member {
            status: node_state(wire.status)?,
            suffrage: suffrage(wire.suffrage)?,
            hostname: wire.hostname,
            address: wire.address,
            grpc_address: wire.grpc_address,
            version: wire.version,
            last_seen_at: wire.last_seen_at_ms.map(timestamp),
            status_details: wire.status_details,
        })
    }
}

/// The cluster, or that there is none yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cluster {
    pub initialized: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader_addr: Option<String>,
    pub raft_index: u64,
    pub quorum: bool,
    pub nodes: Vec<Member>,
    /// Missing in the answer of an older daemon.
    #[serde(skip_serializing_if = "is_zero")]
    pub feature_level: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
fn is_zero(level: &u32) -> bool {
    *level == 0
}

impl TryFrom<v1::ClusterStatusResponse> for Cluster {
    type Error = UserError;

    fn try_from(wire: v1::ClusterStatusResponse) -> Result<Self, UserError> {
        Ok(Cluster {
            initialized: wire.initialized,
            cluster_id: wire.cluster_id,
            cluster_name: wire.cluster_name,
            leader: wire.leader,
            leader_addr: wire.leader_addr,
            raft_index: wire.raft_index,
            quorum: wire.quorum,
            nodes: wire.nodes.into_iter().map(Member::try_from).collect::<Result<_, _>>()?,
            feature_level: wire.feature_level,
        })
    }
}

fn suffrage(value: i32) -> Result<&'static str, UserError> {
    match v1::Suffrage::try_from(value) {
        Ok(v1::Suffrage::Voter) => Ok("voter"),
        Ok(v1::Suffrage::Nonvoter) => Ok("nonvoter"),
        Ok(v1::Suffrage::Unknown) => Ok("unknown"),
        Ok(v1::Suffrage::Unspecified) | Err(_) => Err(out_of_range("suffrage", value)),
    }
}

impl View for Cluster {
    fn table(&self) -> String {
        if !self.initialized {
            return "Status:    uninitialized\n\nThis node belongs to no cluster yet. Make one with it:\n  sudo jaco cluster init\nor have it join one, with the line that `jaco node issue-join-token` prints on a member.\n"
                .to_owned();
        }
        let leader = match (&self.leader, &self.leader_addr) {
            (Some(leader), Some(address)) => format!("{leader} ({address})"),
            (Some(leader), None) => leader.clone(),
            (None, _) => "none".to_owned(),
        };
        let level = match self.feature_level {
            0 => String::new(),
            level => format!("Feature level: {level}\n"),
        };
        let mut text = format!(
            "Status:    {}\nCluster:   {} ({})\nLeader:    {leader}\nRaft index: {}\n{level}Nodes ({}):\n",
            if self.quorum { "initialized" } else { "initialized, no quorum" },
            self.cluster_name,
            self.cluster_id,
            self.raft_index,
            self.nodes.len(),
        );
        for node in &self.nodes {
            text += &format!(
                "  - {} @ {} [{}, {}]",
                node.hostname,
                node.address,
                upper(node.status.as_str()),
                upper(node.suffrage)
            );
            if !node.status_details.is_empty() {
                text += &format!(" {}", crate::text::one_line(&pairs(&node.status_details)));
            }
            text.push('\n');
        }
        text
    }

    fn quiet(&self) -> String {
        if self.initialized { format!("{}\n", self.cluster_id) } else { "uninitialized\n".to_owned() }
    }
}
