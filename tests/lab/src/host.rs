//! One host of a lab.

mod clock;
mod disk;
mod engine;
mod jacod;

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::agent::{Answer, FOREIGN, end_host};
use crate::cgroup;
use crate::namespace::inside_network;
use crate::network::Network;
use crate::process::{Output, PidRecord, Process, read_lossy, run};
use crate::program::program;
use crate::state::{HostFolder, HostSpec, host_address, read_json};

pub use jacod::Jacod;

/// Deadline of a command that names none.
const COMMAND: Duration = Duration::from_secs(120);

/// A host: running, or dead with its disks kept.
///
/// All methods take `&self`, so that threads of a test can use a host at the same time.
#[derive(Debug)]
pub struct Host {
    name: String,
    spec: HostSpec,
    folder: HostFolder,
    /// The launcher, when it is this process's child.
    launcher: Mutex<Option<Child>>,
    /// Helpers of programs that end with the host: held to be reaped.
    helpers: Mutex<Vec<Process>>,
    /// Numbers the log files of spawned programs.
    spawned: AtomicUsize,
}

impl Host {
    /// The host with these files, running or not.
    pub(crate) fn open(folder: HostFolder) -> anyhow::Result<Host> {
        let spec: HostSpec = read_json(&folder.spec())?;
        Ok(Host {
            name: spec.name(),
            spec,
            folder,
            launcher: Mutex::new(None),
            helpers: Mutex::new(Vec::new()),
            spawned: AtomicUsize::new(0),
        })
    }

    /// Its name, which is its host name as well.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number, from 1 on.
    pub fn number(&self) -> usize {
        self.spec.number
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        host_address(self.spec.subnet, self.spec.number)
    }

    /// Process 1 of the running host.
    fn init(&self) -> anyhow::Result<PidRecord> {
        let init = read_json::<PidRecord>(&self.folder.init()).ok().filter(|init| init.is_alive());
        init.with_context(|| format!("{} is not running", self.name))
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.init().is_ok()
    }

    /// Where a file of the running host is to be found from outside. Links with absolute targets lead out of the host.
    pub fn path(&self, inside: &str) -> anyhow::Result<PathBuf> {
        Ok(PathBuf::from(format!("/proc/{}/root", self.init()?.pid)).join(inside.trim_start_matches('/')))
    }

    /// Folder of the host's files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Folder of the logs: `jacod.log`, `dockerd.log`, `init.log`, and those of spawned programs.
    pub fn log_folder(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Boots it with the disks it has; returns when its network and file system are there. Its engine, if it has one, goes on starting.
    pub fn boot(&self) -> anyhow::Result<()> {
        ensure!(!self.is_running(), "{} is running", self.name);
        self.start_launcher().with_context(|| format!("{} did not boot", self.name))
    }

    fn start_launcher(&self) -> anyhow::Result<()> {
        // What a killed one left; nothing in the usual case.
        end_host(&self.folder, &self.name)?;
        let path = self.folder.log("init.log");
        let log = std::fs::File::options().create(true).append(true).open(&path)?;
        let mut launcher = Command::new(program("jaco-lab"))
            .arg("launch")
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("jaco-lab could not be started")?;
        let stdout = launcher.stdout.take().context("no standard output")?;
        hold(&self.launcher).replace(launcher);
        match read_answer(stdout).with_context(|| read_lossy(&path))? {
            Answer::Host => Ok(()),
            Answer::Failed(reason) => bail!(reason),
            Answer::Switch(_) | Answer::Taken(_) => bail!("jaco-lab launch gave the answer of another program"),
        }
    }

    /// Kills the whole host at once, as a power cut does: it falls silent on the network first, so that no farewell of a dying socket
    /// gets out. Disks stay, with the machine's page cache: what was not synced is not lost.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.init()?;
        Network::unplug(self.spec.keeper, &self.name)?;
        end_host(&self.folder, &self.name)?;
        if let Some(mut launcher) = hold(&self.launcher).take() {
            launcher.wait()?;
        }
        hold(&self.helpers).retain_mut(Process::is_running);
        for file in [self.folder.init(), self.folder.launcher(), self.folder.jacod()] {
            let _ = std::fs::remove_file(file);
        }
        Network::remove_port(self.spec.keeper, &self.name)
    }

    /// Stops every process of the host without killing it: a machine that hangs. Its kernel still answers pings and takes connections.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.init()?;
        cgroup::set_frozen(&self.name, true)
    }

    /// Undoes [`Host::freeze`].
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.init()?;
        cgroup::set_frozen(&self.name, false)
    }

    /// What joins a frozen host is frozen with it, and cannot even be killed.
    fn ensure_awake(&self) -> anyhow::Result<()> {
        self.init()?;
        ensure!(!cgroup::is_frozen(&self.name), "{} is frozen: nothing can be started in it", self.name);
        Ok(())
    }

    /// Runs a command in the host, whatever its end; after two minutes it is killed, which gives status 137.
    ///
    /// # Errors
    /// When the host does not run, or is frozen.
    pub fn run(&self, command: &[&str]) -> anyhow::Result<Output> {
        self.run_within(COMMAND, command)
    }

    /// The same with another deadline.
    pub fn run_within(&self, deadline: Duration, command: &[&str]) -> anyhow::Result<Output> {
        self.ensure_awake()?;
        run(self.enter(command), &command.join(" "), deadline)
    }

    /// Starts a program in the host. It ends when what is returned is dropped, or the host dies.
    pub fn spawn(&self, command: &[&str]) -> anyhow::Result<Process> {
        self.ensure_awake()?;
        let number = self.spawned.fetch_add(1, Ordering::Relaxed);
        let program = Path::new(command.first().unwrap_or(&"")).file_name().unwrap_or_default().to_string_lossy();
        let log = self.folder.log(&format!("{program}-{}-{number}.log", std::process::id()));
        Process::start(self.enter(command), &command.join(" "), log)
    }

    /// Does something on a thread whose sockets are in the host's network: a server or client without a program of its own.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        inside_network(self.init()?, work)
    }

    /// The helper that runs a command in here, not started yet.
    fn enter(&self, command: &[&str]) -> Command {
        let mut enter = Command::new(program("jaco-lab"));
        enter.arg("enter").arg(self.folder.path()).arg("--").args(command);
        for variable in FOREIGN {
            enter.env_remove(variable);
        }
        enter
    }

    /// Runs the real `jaco` on the default socket, whatever its end; after two minutes it is killed, which gives status 137.
    ///
    /// # Errors
    /// When the host does not run.
    pub fn jaco(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.jaco_within(COMMAND, arguments)
    }

    /// The same with another deadline.
    pub fn jaco_within(&self, deadline: Duration, arguments: &[&str]) -> anyhow::Result<Output> {
        let client = program("jaco").display().to_string();
        let mut command = vec![client.as_str()];
        command.extend(arguments);
        self.run_within(deadline, &command)
    }

    /// Runs `jaco -o json` and reads the answer.
    ///
    /// # Errors
    /// When it ends with anything but exit code 0, or prints no JSON.
    pub fn jaco_json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let mut all = vec!["-o", "json"];
        all.extend(arguments);
        let what = || format!("jaco {} on {}", all.join(" "), self.name);
        let text = self.jaco(&all)?.ok().with_context(what)?;
        serde_json::from_str(&text).with_context(|| format!("{}: no JSON: {text}", what()))
    }
}

/// Reads the line that says what became of a start; the writer's end without one is an error.
pub(crate) fn read_answer(stdout: impl std::io::Read) -> anyhow::Result<Answer> {
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).context("no answer")?;
    serde_json::from_str(&line).with_context(|| format!("it ended without an answer ({line:?})"))
}

/// A lock whose holder panicked protects nothing that could be half done.
fn hold<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
