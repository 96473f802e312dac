//! The released `jacod` as a user would run it, in a folder of its own.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use jaco_client::{Client, Endpoint};
use jaco_e2e::{Cli, eventually, program};

use crate::process::Process;

/// A cluster of one node. Its subnets are cut from a pool of its own, so that the bridges of other tests on this machine, which use the
/// default pool, take no traffic away.
pub(crate) struct Node {
    process: Process,
    http: SocketAddr,
    // Last: the daemon ends before its folder goes.
    folder: tempfile::TempDir,
}

impl Node {
    /// Starts the daemon with the product's own defaults wherever a second one on the machine allows it, and makes it a cluster.
    pub(crate) fn start(engine_socket: &Path) -> anyhow::Result<Node> {
        let folder = tempfile::Builder::new().prefix("node-").tempdir()?;
        let ports = free_addresses::<4>()?;
        let [listen, cluster, http, metrics] = ports;
        let path = |name: &str| folder.path().join(name);
        let config = format!(
            "data_dir: {}\nunix_socket: {}\ndocker_socket: {}\nhostname: bench-node\nlisten_addr: {listen}\n\
             cluster_addr: {cluster}\nhttp_addr: {http}\nmetrics_addr: {metrics}\nipam_pool: 10.199.0.0/16\n",
            path("data").display(),
            path("jaco.sock").display(),
            engine_socket.display(),
        );
        std::fs::write(path("jacod.yaml"), config)?;
        let mut command = Command::new(program("jacod"));
        command.arg("--config").arg(path("jacod.yaml")).env_remove("JACO_LOG");
        let process = Process::start(command, &path("jacod.log"))?;
        let mut node = Node { process, http, folder };
        let cli = node.cli();
        let answered = eventually(Duration::from_secs(20), "jacod answers", || {
            let answer = cli.try_run(&["cluster", "status"]);
            if answer.code == 0 { Ok(()) } else { Err(answer.stderr) }
        });
        if let Err(error) = answered {
            let ended = if node.process.has_ended() { "it has ended" } else { "it runs" };
            bail!("{error:#}; {ended}; {}", node.log_tail());
        }
        node.cli().run(&["cluster", "init", "--no-systemd-enable"])?;
        Ok(node)
    }

    /// The daemon without an engine: for what needs no containers.
    pub(crate) fn start_without_engine() -> anyhow::Result<Node> {
        Node::start(Path::new("/nonexistent/docker.sock"))
    }

    /// The command line client.
    pub(crate) fn cli(&self) -> Cli {
        Cli::new(self.socket())
    }

    /// A connection of this program's own.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        Client::connect(Endpoint::Socket(self.socket())).await.map_err(|error| anyhow::anyhow!("{}", error.message))
    }

    /// The ingress.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// Process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Writes a project into the node's folder; the path of its `jaco.yaml`.
    pub(crate) fn project(&self, jaco_yaml: &str, compose_yaml: &str) -> anyhow::Result<String> {
        let folder = self.folder.path().join("project");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("compose.yaml"), compose_yaml)?;
        std::fs::write(folder.join("jaco.yaml"), jaco_yaml)?;
        Ok(folder.join("jaco.yaml").display().to_string())
    }

    /// Index of the last entry of the replicated log.
    pub(crate) fn raft_index(&self) -> anyhow::Result<u64> {
        let status = self.cli().json(&["cluster", "status"])?;
        status["raft_index"].as_u64().with_context(|| format!("no raft_index in {status}"))
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("jaco.sock")
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("jacod.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(10).collect();
        format!("jacod's log ends with: {}", lines.into_iter().rev().collect::<Vec<_>>().join(" | "))
    }
}

/// Loopback addresses that were free a moment ago.
pub(crate) fn free_addresses<const COUNT: usize>() -> anyhow::Result<[SocketAddr; COUNT]> {
    let listeners = (0..COUNT).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<Result<Vec<_>, _>>()?;
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    addresses.try_into().map_err(|_| anyhow::anyhow!("no free ports"))
}
