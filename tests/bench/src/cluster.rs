//! Clusters of three members on this machine, ours and etcd's, under one shape: client and peer TLS on, loopback addresses, data on the
//! same disk, each member a process of its own.

mod etcd;
mod member;
mod ours;
mod trust;

use std::time::Duration;

pub(crate) use etcd::Etcd;
pub(crate) use member::run as run_member;
pub(crate) use ours::{Installed, Ours, Single};

use crate::process::Process;

/// Bytes that one write carries.
pub(crate) const VALUE: usize = 256;
/// Members of a cluster.
pub(crate) const MEMBERS: usize = 3;
/// For a cluster to come up, or for a member to catch up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// A write without an answer counts as failed after this long: longer than either side's own limit.
const WRITE_DEADLINE: Duration = Duration::from_secs(15);

/// Three members. They are named by position, 0 to 2.
pub(crate) trait Cluster {
    /// What it is called in the table.
    fn name(&self) -> &'static str;

    /// Which member leads, as one of them says.
    fn leader(&self) -> anyhow::Result<usize>;

    /// Index of the last entry of the replicated log.
    fn last_index(&self) -> anyhow::Result<u64>;

    /// Kills a member with SIGKILL, and returns when it is gone.
    fn kill(&mut self, which: usize) -> anyhow::Result<()>;

    /// Starts a member that was killed, and returns when it has caught up.
    fn restart(&mut self, which: usize) -> anyhow::Result<()>;

    /// A client on a connection of its own to one member.
    fn writer(&self, which: usize) -> anyhow::Result<Writer>;

    /// The members that run.
    fn processes(&self) -> Vec<&Process>;
}

/// A client of one member. Clones share its connection.
#[derive(Clone)]
pub(crate) enum Writer {
    /// Of ours.
    Ours(Box<ours::Writer>),
    /// Of etcd's.
    Etcd(etcd::Writer),
}

impl Writer {
    /// Writes one value, and returns when it is acknowledged.
    pub(crate) async fn write(&self, sequence: u64) -> anyhow::Result<()> {
        let value = format!("{sequence:0VALUE$}");
        match self {
            Writer::Ours(writer) => writer.write(value).await,
            Writer::Etcd(writer) => writer.write(value).await,
        }
    }
}
