//! A real `jacod`.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::eventually;
use crate::{Cli, program};

/// Below Linux's default `net.ipv4.ip_local_port_range`, above the usual ports of servers.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A `jacod` in a folder of its own, with its ingress on a loopback port.
pub struct Daemon {
    folder: tempfile::TempDir,
    http: SocketAddr,
    metrics: SocketAddr,
    child: Option<Child>,
}

impl Daemon {
    /// Writes the configuration of a daemon that uses the engine behind this socket; nothing is started yet.
    pub fn prepare(engine_socket: &Path) -> anyhow::Result<Daemon> {
        let folder = tempfile::Builder::new().prefix("jaco-node-").tempdir()?;
        let ports = free_ports(4)?;
        let address = |index: usize| SocketAddr::from(([127, 0, 0, 1], ports[index]));
        let config = format!(
            "ipam_pool: {pool}\ndata_dir: {data}\nunix_socket: {socket}\ndocker_socket: {engine}\nhostname: node-a\nlisten_addr: {listen}\n\
             cluster_addr: {cluster}\nhttp_addr: {http}\nmetrics_addr: {metrics}\nlog_level: debug\n",
            pool = pool(),
            data = folder.path().join("data").display(),
            socket = folder.path().join("jaco.sock").display(),
            engine = engine_socket.display(),
            listen = address(0),
            cluster = address(1),
            http = address(2),
            metrics = address(3),
        );
        std::fs::write(folder.path().join("jacod.yaml"), config)?;
        Ok(Daemon { folder, http: address(2), metrics: address(3), child: None })
    }

    /// Starts a daemon that uses the engine behind this socket. The cluster is not initialised yet.
    pub fn start(engine_socket: &Path) -> anyhow::Result<Daemon> {
        let mut daemon = Daemon::prepare(engine_socket)?;
        daemon.boot()?;
        Ok(daemon)
    }

    /// Starts a daemon and makes it the first member of a cluster.
    pub fn start_cluster(engine_socket: &Path) -> anyhow::Result<Daemon> {
        let daemon = Daemon::start(engine_socket)?;
        let initialised = daemon.cli().run(&["cluster", "init", "--no-systemd-enable"]);
        initialised.map_err(|error| error.context(daemon.log_tail(30)))?;
        Ok(daemon)
    }

    /// The folder that holds everything of this node.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The ingress.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// `/metrics` and `/ready`.
    pub fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    /// The command line client, pointed at this node.
    pub fn cli(&self) -> Cli {
        Cli::new(self.folder.path().join("jaco.sock"))
    }

    /// Process id of the running daemon.
    pub fn pid(&self) -> anyhow::Result<Pid> {
        let child = self.child.as_ref().context("the daemon does not run")?;
        Ok(Pid::from_raw(i32::try_from(child.id())?))
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("jacod.yaml")
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("jaco.sock")
    }

    /// Starts the daemon again, and waits until its socket answers.
    pub fn boot(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(program("jacod"));
        command.arg("--config").arg(self.config());
        self.boot_as(command)
    }

    /// Starts the daemon again and waits for nothing.
    pub fn spawn(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(program("jacod"));
        command.arg("--config").arg(self.config());
        self.spawn_as(command)
    }

    /// Starts it by this command, and waits until its socket answers.
    pub fn boot_as(&mut self, command: Command) -> anyhow::Result<()> {
        self.spawn_as(command)?;
        self.wait_until_up()
    }

    fn spawn_as(&mut self, mut command: Command) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_path())?;
        command.env_remove("JACO_LOG").env_remove("JOURNAL_STREAM");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("jacod could not be started")?;
        self.child = Some(child);
        Ok(())
    }

    fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let cli = self.cli();
        eventually(Duration::from_secs(20), "jacod answers", || {
            // The socket file first: starting a client costs more than a look.
            if let Err(error) = std::os::unix::net::UnixStream::connect(self.socket()) {
                return Err(error.to_string());
            }
            let answer = cli.try_run(&["cluster", "status"]);
            if answer.code == 0 { Ok(()) } else { Err(answer.stderr) }
        })
        .with_context(|| self.log_tail(30))
    }

    /// Stops the daemon as the service manager does and waits for its end; gives the time it took.
    pub fn stop(&mut self) -> anyhow::Result<Duration> {
        let begin = std::time::Instant::now();
        self.end(Signal::SIGTERM)?;
        Ok(begin.elapsed())
    }

    /// Kills the daemon without warning.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.end(Signal::SIGKILL)
    }

    fn end(&mut self, signal: Signal) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            kill(Pid::from_raw(i32::try_from(child.id())?), signal)?;
            child.wait()?;
        }
        Ok(())
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("jacod.log")
    }

    /// Everything the daemon logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The last lines of the daemon's log.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = self.log();
        let all: Vec<&str> = text.lines().collect();
        format!("jacod's log ends with:\n{}", all[all.len().saturating_sub(lines)..].join("\n"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ports of loopback that nobody has, each given out once by this process. They lie below the range that the kernel takes the ports of
/// outgoing connections from, so that none of those can come in between while a daemon is down.
pub fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let first = std::process::id() % PORTS.len() as u32;
    let mut found = Vec::new();
    while found.len() < count {
        let given = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        anyhow::ensure!(given < PORTS.len() as u32, "no {count} ports are free in {PORTS:?}");
        let port = PORTS.start + ((first + given) % PORTS.len() as u32) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            found.push(port);
        }
    }
    Ok(found)
}

/// A pool for containers' addresses of its own: daemons of several tests share the machine's routing table.
fn pool() -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("10.{}.{}.0/20", 100 + std::process::id() % 100, count % 16 * 16)
}
