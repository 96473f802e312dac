//! etcd's members: Debian's program with its defaults, and TLS with client certificates on both kinds of port.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use hyper_util::rt::TokioIo;
use jaco_e2e::eventually;
use jaco_identity::{Connector, ExpectedNode, TlsStream};
use jaco_types::NodeId;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

use super::trust::Trust;
use super::{Cluster, MEMBERS, PATIENCE, WRITE_DEADLINE};
use crate::node::free_addresses;
use crate::process::Process;

use api::kv_client::KvClient;
use api::maintenance_client::MaintenanceClient;

#[allow(missing_docs, unreachable_pub, clippy::all)] // Generated.
mod api {
    tonic::include_proto!("etcdserverpb");
}

/// For a member to say how it is.
const STATUS_DEADLINE: Duration = Duration::from_secs(2);

struct Member {
    number: u64,
    client: SocketAddr,
    arguments: Vec<String>,
    folder: PathBuf,
    process: Option<Process>,
    /// For looking at it only.
    channel: Channel,
}

impl Member {
    fn run(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new("etcd");
        // Its settings come from the environment as well.
        command.args(&self.arguments).env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        self.process = Some(Process::start(command, &self.folder.join("log"))?);
        Ok(())
    }
}

/// Three members of etcd.
pub(crate) struct Etcd {
    runtime: tokio::runtime::Handle,
    members: Vec<Member>,
    connector: Connector,
    // Last: the processes end before their folder goes.
    _folder: tempfile::TempDir,
}

/// Whether the program is there.
pub(crate) fn is_installed() -> bool {
    Command::new("etcd").arg("--version").output().is_ok_and(|output| output.status.success())
}

impl Etcd {
    /// Starts them, and waits until they have a leader. `None` without the program.
    pub(crate) fn start(runtime: &tokio::runtime::Handle) -> anyhow::Result<Option<Etcd>> {
        if !is_installed() {
            return Ok(None);
        }
        let folder = tempfile::Builder::new().prefix("etcd-").tempdir()?;
        let trust = Trust::new()?;
        let (clients, peers) = (free_addresses::<MEMBERS>()?, free_addresses::<MEMBERS>()?);
        let named: Vec<String> =
            (1..).zip(peers).map(|(number, peer): (u64, _)| format!("m{number}=https://{peer}")).collect();
        let connector = trust.connector(&trust.node(100, ([127, 0, 0, 1], 0).into())?)?;
        let mut members = Vec::new();
        for ((number, client), peer) in (1..).zip(clients).zip(peers) {
            let folder = folder.path().join(format!("m{number}"));
            std::fs::create_dir(&folder)?;
            trust.write(&trust.node(number, client)?, &folder)?;
            let arguments = arguments(number, &folder, (client, peer), &named.join(","));
            let channel = {
                let _entered = runtime.enter();
                channel(&connector, number, client)?
            };
            let mut member = Member { number, client, arguments, folder, process: None, channel };
            member.run()?;
            members.push(member);
        }
        let etcd = Etcd { runtime: runtime.clone(), members, connector, _folder: folder };
        eventually(PATIENCE, "etcd has a leader", || {
            etcd.leader().map_err(|error| format!("{error:#}; {}", etcd.log_tail()))
        })?;
        Ok(Some(etcd))
    }

    fn log_tail(&self) -> String {
        let log = self.members.first().map(|member| std::fs::read_to_string(member.folder.join("log")));
        let text = log.and_then(Result::ok).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(3).collect();
        format!("its log ends with: {}", lines.join(" | "))
    }

    fn status(&self, which: usize) -> anyhow::Result<api::StatusResponse> {
        let member = self.members.get(which).context("no such member")?;
        let mut client = MaintenanceClient::new(member.channel.clone());
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(STATUS_DEADLINE, client.status(api::StatusRequest {})).await });
        Ok(answer.context("etcd is silent")??.into_inner())
    }

    fn statuses(&self) -> impl Iterator<Item = (usize, api::StatusResponse)> {
        let running = self.members.iter().enumerate().filter(|(_, member)| member.process.is_some());
        running.filter_map(|(which, _)| Some((which, self.status(which).ok()?)))
    }
}

fn arguments(number: u64, folder: &std::path::Path, urls: (SocketAddr, SocketAddr), all: &str) -> Vec<String> {
    let path = |name: &str| folder.join(name).display().to_string();
    let (client, peer) = (format!("https://{}", urls.0), format!("https://{}", urls.1));
    let settings = [
        ("name", format!("m{number}")),
        ("data-dir", path("data")),
        ("listen-client-urls", client.clone()),
        ("advertise-client-urls", client),
        ("listen-peer-urls", peer.clone()),
        ("initial-advertise-peer-urls", peer),
        ("initial-cluster", all.to_owned()),
        ("initial-cluster-token", "bench".to_owned()),
        ("client-cert-auth", "true".to_owned()),
        ("trusted-ca-file", path("ca.crt")),
        ("cert-file", path("node.crt")),
        ("key-file", path("node.key")),
        ("peer-client-cert-auth", "true".to_owned()),
        ("peer-trusted-ca-file", path("ca.crt")),
        ("peer-cert-file", path("node.crt")),
        ("peer-key-file", path("node.key")),
        ("logger", "zap".to_owned()),
        ("log-outputs", "stderr".to_owned()),
    ];
    settings.into_iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

/// A connection that opens itself when it is first used.
fn channel(connector: &Connector, number: u64, address: SocketAddr) -> anyhow::Result<Channel> {
    let connector = connector.clone();
    let open = tower::service_fn(move |_| open(connector.clone(), number, address));
    // The connector does the TLS. The windows are those of our own clients.
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    Ok(endpoint.connect_with_connector_lazy(open))
}

async fn open(
    connector: Connector,
    number: u64,
    address: SocketAddr,
) -> std::io::Result<TokioIo<TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let connected = connector.connect(stream, ExpectedNode::Only(NodeId(number))).await;
    Ok(TokioIo::new(connected.map_err(std::io::Error::other)?))
}

impl Cluster for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn leader(&self) -> anyhow::Result<usize> {
        let statuses: Vec<_> = self.statuses().collect();
        let own = |status: &api::StatusResponse| status.header.as_ref().map_or(0, |header| header.member_id);
        let leads = statuses.iter().find(|(_, status)| status.leader != 0 && status.leader == own(status));
        leads.map(|(which, _)| *which).context("none of etcd's members leads")
    }

    fn last_index(&self) -> anyhow::Result<u64> {
        self.statuses().map(|(_, status)| status.raft_index).max().context("none of etcd's members answers")
    }

    fn kill(&mut self, which: usize) -> anyhow::Result<()> {
        let member = self.members.get_mut(which).context("no such member")?;
        member.process.take().map_or(Ok(()), Process::kill)
    }

    fn restart(&mut self, which: usize) -> anyhow::Result<()> {
        self.members.get_mut(which).context("no such member")?.run()?;
        let last = self.last_index()?;
        eventually(PATIENCE, "the member of etcd catches up", || match self.status(which) {
            Ok(status) if status.raft_applied_index >= last => Ok(()),
            Ok(status) => Err(format!("it is at {} of {last}", status.raft_applied_index)),
            Err(error) => Err(format!("{error:#}")),
        })
    }

    fn writer(&self, which: usize) -> anyhow::Result<super::Writer> {
        let member = self.members.get(which).context("no such member")?;
        let _entered = self.runtime.enter();
        Ok(super::Writer::Etcd(Writer(KvClient::new(channel(&self.connector, member.number, member.client)?))))
    }

    fn processes(&self) -> Vec<&Process> {
        self.members.iter().filter_map(|member| member.process.as_ref()).collect()
    }
}

/// A client of one of etcd's members.
#[derive(Clone)]
pub(crate) struct Writer(KvClient<Channel>);

impl Writer {
    /// Puts one key.
    pub(super) async fn write(&self, value: String) -> anyhow::Result<()> {
        let request = api::PutRequest { key: b"bench".to_vec(), value: value.into_bytes() };
        let mut client = self.0.clone();
        tokio::time::timeout(WRITE_DEADLINE, client.put(request)).await.context("etcd is silent")??;
        Ok(())
    }
}
