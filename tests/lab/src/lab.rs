//! The whole lab.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use jaco_e2e::{WEB_IMAGE, WEB_IMAGE_CHANGES, announce, pack_web_image};

use crate::agent::{Answer, Request, sweep};
use crate::host::{Host, read_answer};
use crate::network::Network;
use crate::options::LabOptions;
use crate::process::{PidRecord, wait_child};
use crate::program::program;
use crate::state::{HostFolder, Record, current};

/// How long the keeper may take to remove everything.
const CLEARING: Duration = Duration::from_secs(90);

/// How long the parts of a start took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Lock, what an earlier lab left, switch.
    pub switch: Duration,
    /// All hosts, booted at the same time.
    pub hosts: Duration,
}

/// Hosts and the network between them; at most one on a machine.
///
/// Dropping it ends and removes everything, and so does the end of this process in any other way, as the keeper notices.
#[derive(Debug)]
pub struct Lab {
    record: Record,
    hosts: Vec<Host>,
    network: Network,
    timings: Timings,
    /// Nothing for a lab that was attached to or let go.
    keeper: Option<(Child, ChildStdin)>,
}

impl Lab {
    /// Boots a lab; returns when its hosts are there. Engines go on starting, and are waited for when they are first used.
    ///
    /// # Errors
    /// [`crate::LockError`] when another lab is up. Whatever else: nothing is left behind.
    pub fn start(options: LabOptions) -> anyhow::Result<Lab> {
        ensure!((1..=64).contains(&options.hosts), "a lab has 1 to 64 hosts, not {}", options.hosts);
        let begin = Instant::now();
        let mut keeper = start_keeper(options)?;
        let stdin = keeper.stdin.take().context("the keeper's standard input")?;
        let stdout = keeper.stdout.take().context("the keeper's standard output")?;
        let record = match read_answer(stdout).context("the keeper")? {
            Answer::Switch(record) => *record,
            Answer::Taken(taken) => {
                keeper.wait()?;
                return Err(taken.into());
            }
            Answer::Failed(reason) => {
                keeper.wait()?;
                bail!("the lab could not be made: {reason}");
            }
            Answer::Host => bail!("jaco-lab keep gave the answer of another program"),
        };
        let mut lab = Lab::open(record)?;
        lab.keeper = Some((keeper, stdin));
        lab.timings.switch = begin.elapsed();
        lab.each(Host::boot)?;
        lab.timings.hosts = begin.elapsed() - lab.timings.switch;
        announce(&format!(
            "lab: {} hosts in {:.2} s (switch {:.2} s)",
            lab.hosts.len(),
            begin.elapsed().as_secs_f64(),
            lab.timings.switch.as_secs_f64()
        ));
        Ok(lab)
    }

    fn open(record: Record) -> anyhow::Result<Lab> {
        let numbers = 1..=record.options.hosts;
        let hosts =
            numbers.map(|number| Host::open(HostFolder::new(&record.folder, number))).collect::<Result<_, _>>()?;
        let network = Network::new(record.keeper, record.subnet, record.options.hosts);
        Ok(Lab { record, hosts, network, timings: Timings::default(), keeper: None })
    }

    /// The lab that is up on this machine, if there is one. Dropping this leaves it up.
    pub fn attach() -> anyhow::Result<Option<Lab>> {
        current()?.map(Lab::open).transpose()
    }

    /// Lets the lab live on after this process, until [`Lab::down`].
    pub fn detach(mut self) -> anyhow::Result<()> {
        match self.keeper.take() {
            Some((_, mut stdin)) => stdin.write_all(b"detach\n").context("the keeper"),
            None => Ok(()),
        }
    }

    /// Ends the lab and removes everything, whoever started it; returns when nothing is left.
    pub fn down(mut self) -> anyhow::Result<()> {
        match self.keeper.take() {
            Some(keeper) => end_keeper(keeper),
            None => {
                let keeper = self.record.keeper;
                keeper.signal(rustix::process::Signal::TERM)?;
                ensure!(keeper.wait(CLEARING)?, "the lab was not removed within {CLEARING:?}");
                Ok(())
            }
        }
    }

    /// Removes what a lab that is no longer up left behind, as every start does first.
    ///
    /// # Errors
    /// [`crate::LockError`] when a lab is up.
    pub fn sweep() -> anyhow::Result<()> {
        sweep().map(|_| ())
    }

    /// A host by its number, from 1 on.
    ///
    /// # Panics
    /// When there is no such host: a mistake in the test.
    #[allow(clippy::panic)] // A test that asks for a host it did not order is wrong.
    pub fn host(&self, number: usize) -> &Host {
        match number.checked_sub(1).and_then(|index| self.hosts.get(index)) {
            Some(host) => host,
            None => panic!("the lab has hosts 1 to {}, not {number}", self.hosts.len()),
        }
    }

    /// A host by its name, `host1` and so on.
    pub fn host_named(&self, name: &str) -> anyhow::Result<&Host> {
        let found = self.hosts.iter().find(|host| host.name() == name);
        found.with_context(|| format!("there is no {name}: the lab has host1 to host{}", self.hosts.len()))
    }

    /// All hosts, running or not.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The network between the hosts.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// How long the start took; zero for a lab attached to.
    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// The lab's folder.
    pub fn folder(&self) -> &std::path::Path {
        &self.record.folder
    }

    /// Process ids, as the machine sees them, of the keeper and of whoever started the lab.
    pub fn processes(&self) -> (i32, i32) {
        (self.record.keeper.pid, self.record.owner.pid)
    }

    /// Does the same on every host at the same time; gives the first error, with the host's name.
    pub fn each(&self, work: impl Fn(&Host) -> anyhow::Result<()> + Sync) -> anyhow::Result<()> {
        let work = &work;
        std::thread::scope(|scope| {
            let workers: Vec<_> = self.hosts.iter().map(|host| (host, scope.spawn(move || work(host)))).collect();
            let mut result = Ok(());
            for (host, worker) in workers {
                let done = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                result = result.and(done.with_context(|| host.name().to_owned()));
            }
            result
        })
    }

    /// Builds the small web image of the end-to-end tests, [`WEB_IMAGE`], on every engine.
    pub fn build_web_image(&self) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let tar = pack_web_image(folder.path())?;
        self.each(|host| host.import_image(&tar, WEB_IMAGE, WEB_IMAGE_CHANGES))
    }

    /// What helps to understand a failure: which hosts run, the rules of the switch, the end of each daemon's log.
    pub fn evidence(&self) -> String {
        let rules = self.network.rules().unwrap_or_else(|error| format!("{error:#}"));
        let hosts: String = self
            .hosts
            .iter()
            .map(|host| {
                let state = if host.is_running() { "running" } else { "off" };
                format!("{} is {state}; {}\n", host.name(), host.jacod().log_tail(25))
            })
            .collect();
        format!("{hosts}{rules}")
    }
}

fn start_keeper(options: LabOptions) -> anyhow::Result<Child> {
    let command: Vec<String> = std::env::args().collect();
    let request = Request { options, owner: PidRecord::of(std::process::id())?, command: command.join(" ") };
    let path = program("jaco-lab");
    Command::new(&path)
        .arg("keep")
        .arg(serde_json::to_string(&request)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("{} could not be started: build it with `cargo build -p jaco-lab`", path.display()))
}

fn end_keeper((mut keeper, stdin): (Child, ChildStdin)) -> anyhow::Result<()> {
    drop(stdin);
    let status = wait_child(&mut keeper, CLEARING)?.with_context(|| format!("not removed within {CLEARING:?}"))?;
    ensure!(status.success(), "not removed whole: the keeper ended with {status}");
    Ok(())
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.take()
            && let Err(error) = end_keeper(keeper)
        {
            announce(&format!("lab in {}: {error:#}", self.record.folder.display()));
        }
    }
}
