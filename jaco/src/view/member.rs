//! `node list`, `join`, `issue-join-token`, `drain`, `uncordon` and `remove`.

use jaco_proto::v1;
use jaco_types::{NodeState, UserError};
use serde::Serialize;

use super::cluster::Member;
use super::upper;
use crate::printer::View;
use crate::text::{one_line, timestamp};

/// The members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Members {
    pub nodes: Vec<Member>,
}

impl TryFrom<v1::NodeListResponse> for Members {
    type Error = UserError;

    fn try_from(wire: v1::NodeListResponse) -> Result<Self, UserError> {
        Ok(Members { nodes: wire.nodes.into_iter().map(Member::try_from).collect::<Result<_, _>>()? })
    }
}

impl View for Members {
    fn table(&self) -> String {
        let row = |node: &Member| {
            let cells = [
                one_line(&node.hostname),
                one_line(&node.address),
                format!("NODE_STATUS_{}", upper(node.status.as_str())),
                upper(node.suffrage),
                one_line(&node.version),
            ];
            cells.join("\t") + "\n"
        };
        self.nodes.iter().map(row).collect()
    }

    fn quiet(&self) -> String {
        self.nodes.iter().map(|node| format!("{}\n", one_line(&node.hostname))).collect()
    }
}

/// A join token that was just made.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct JoinToken {
    pub token: String,
    pub expires_at: String,
    pub peer_addrs: Vec<String>,
    pub ca_fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_cert: Option<String>,
}

impl JoinToken {
    /// The view of an answer and of the token that the client made.
    pub fn new(token: String, wire: v1::IssueJoinTokenResponse, show_ca: bool) -> Self {
        JoinToken {
            token,
            expires_at: timestamp(wire.expires_at_ms),
            peer_addrs: wire.peer_addrs,
            ca_fingerprint: wire.ca_fingerprint,
            ca_cert: show_ca.then_some(wire.ca_certificate),
        }
    }
}

impl View for JoinToken {
    fn table(&self) -> String {
        let peer = self.peer_addrs.first().map_or("<host:port of a member>", String::as_str);
        let text = format!(
            "Run this on the machine that is to join; it works once, until {}:\n  sudo jaco node join --peer={peer} --token={}\n",
            self.expires_at, self.token
        );
        match &self.ca_cert {
            Some(pem) => format!("{text}\n{}\n", pem.trim_end()),
            None => text,
        }
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.token)
    }
}

/// A node that has joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Joined {
    pub cluster_id: String,
    pub hostname: String,
    pub status: NodeState,
    pub systemd_enabled: bool,
    /// What became of the unit, in words.
    #[serde(skip)]
    pub unit: String,
}

impl View for Joined {
    fn table(&self) -> String {
        format!("Joined cluster.\n{}\n", self.unit)
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.cluster_id)
    }
}

/// A replica that moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Migrated {
    pub replica_id: String,
    pub from: String,
    pub to: String,
}

impl From<v1::MigratedReplica> for Migrated {
    fn from(wire: v1::MigratedReplica) -> Self {
        Migrated { replica_id: wire.replica_id, from: wire.from, to: wire.to }
    }
}

fn moved(migrated: &[Migrated], dropped: &[String]) -> String {
    let to = |row: &Migrated| one_line(&format!("  {} -> {}", row.replica_id, row.to)) + "\n";
    let gone = |id: &String| one_line(&format!("  {id} dropped")) + "\n";
    migrated.iter().map(to).chain(dropped.iter().map(gone)).collect()
}

/// `node remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    pub hostname: String,
    /// Whether it is gone already.
    pub removed: bool,
    pub forced: bool,
    pub migrated: Vec<Migrated>,
    pub dropped: Vec<String>,
}

impl Removed {
    /// The view of the last progress; `None` when nobody waited.
    pub fn new(hostname: String, forced: bool, progress: Option<v1::NodeProgressResponse>) -> Self {
        let removed = progress.is_some();
        let progress = progress.unwrap_or_default();
        let migrated = progress.migrated.into_iter().map(Migrated::from).collect();
        Removed { hostname, removed, forced, migrated, dropped: progress.dropped }
    }
}

impl View for Removed {
    fn table(&self) -> String {
        let doing = if self.removed { "Removed" } else { "Removing" };
        format!("{doing} node {}\n{}", self.hostname, moved(&self.migrated, &self.dropped))
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.hostname)
    }
}

/// `node drain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drained {
    pub hostname: String,
    /// Whether it is empty already.
    pub drained: bool,
    pub migrated: Vec<Migrated>,
    pub dropped: Vec<String>,
}

impl Drained {
    /// The view of the last progress; `None` when nobody waited.
    pub fn new(hostname: String, progress: Option<v1::NodeProgressResponse>) -> Self {
        let drained = progress.is_some();
        let progress = progress.unwrap_or_default();
        let migrated = progress.migrated.into_iter().map(Migrated::from).collect();
        Drained { hostname, drained, migrated, dropped: progress.dropped }
    }
}

impl View for Drained {
    fn table(&self) -> String {
        let doing = if self.drained { "Drained" } else { "Draining" };
        format!("{doing} node {}\n{}", self.hostname, moved(&self.migrated, &self.dropped))
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.hostname)
    }
}

/// `node uncordon`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Uncordoned {
    pub hostname: String,
    pub schedulable: bool,
}

impl View for Uncordoned {
    fn table(&self) -> String {
        format!("Node {} takes replicas again\n", self.hostname)
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.hostname)
    }
}
