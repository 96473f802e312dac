//! The real `jacod` of a host.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jaco_e2e::eventually;
use rustix::process::Signal;

use super::{Host, hold};
use crate::options::JacodOptions;
use crate::process::{PidRecord, Process, read_lossy};
use crate::state::{read_json, write_json};

/// How long a daemon may take to answer.
const STARTING: Duration = Duration::from_secs(40);

/// How long a daemon may take to stop.
const STOPPING: Duration = Duration::from_secs(90);

/// The daemon of a host, running or not.
#[derive(Debug, Clone, Copy)]
pub struct Jacod<'a> {
    host: &'a Host,
}

impl Host {
    /// Writes `/etc/jaco/jacod.yaml` and starts the real `jacod` on the default paths; returns when it answers on its socket.
    pub fn start_jacod(&self, options: &JacodOptions) -> anyhow::Result<Jacod<'_>> {
        let daemon = self.spawn_jacod(options)?;
        daemon.wait_until_up(STARTING)?;
        Ok(daemon)
    }

    /// The same without waiting for an answer.
    pub fn spawn_jacod(&self, options: &JacodOptions) -> anyhow::Result<Jacod<'_>> {
        self.ensure_awake()?;
        ensure!(!self.jacod().is_running(), "{} has a jacod already", self.name());
        std::fs::write(self.path("/etc/jaco/jacod.yaml")?, options.to_yaml())?;
        let line = options.command();
        let mut command = self.enter(&line.iter().map(String::as_str).collect::<Vec<_>>());
        for (name, value) in options.environment() {
            command.env(name, value);
        }
        if options.has_own_clock() {
            self.prepare_clock(&mut command)?;
        }
        let mut process = Process::start(command, "jacod", self.log_folder().join("jacod.log"))?;
        // Its life is the host's: whoever started it may go.
        process.detach();
        write_json(&self.folder.jacod(), &PidRecord::of(process.pid()?)?)?;
        hold(&self.helpers).push(process);
        Ok(self.jacod())
    }

    /// Its `jacod`, running or not.
    pub fn jacod(&self) -> Jacod<'_> {
        Jacod { host: self }
    }
}

impl Jacod<'_> {
    fn record(&self) -> anyhow::Result<PidRecord> {
        let record = read_json::<PidRecord>(&self.host.folder.jacod()).ok().filter(|record| record.is_alive());
        record.with_context(|| format!("{} has no jacod", self.host.name()))
    }

    /// Process id as the machine sees it.
    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(u32::try_from(self.record()?.pid)?)
    }

    /// Whether it runs; a paused one does.
    pub fn is_running(&self) -> bool {
        self.record().is_ok()
    }

    /// Kills it without warning and waits for its end.
    pub fn kill9(&self) -> anyhow::Result<()> {
        self.record()?.kill()?;
        self.reap();
        Ok(())
    }

    /// Stops it as the service manager does and waits for its end, a minute and a half at most; gives the time it took.
    pub fn stop(&self) -> anyhow::Result<Duration> {
        let (record, begin) = (self.record()?, Instant::now());
        record.signal(Signal::TERM)?;
        ensure!(record.wait(STOPPING)?, "jacod of {} did not stop\n{}", self.host.name(), self.log_tail(30));
        self.reap();
        Ok(begin.elapsed())
    }

    fn reap(&self) {
        hold(&self.host.helpers).retain_mut(Process::is_running);
    }

    /// Stops its execution: SIGSTOP.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.record()?.signal(Signal::STOP).map(|_| ())
    }

    /// Lets it go on: SIGCONT.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.record()?.signal(Signal::CONT).map(|_| ())
    }

    /// Waits until it answers on its socket.
    pub fn wait_until_up(&self, deadline: Duration) -> anyhow::Result<()> {
        let name = self.host.name();
        eventually(deadline, &format!("jacod of {name} answers"), || {
            if !self.is_running() {
                return Ok(Err(anyhow::anyhow!("jacod of {name} ended")));
            }
            // The socket first: starting a client costs more than a look.
            let socket = self.host.path("/run/jaco/jaco.sock").map_err(|error| error.to_string())?;
            UnixStream::connect(socket).map_err(|error| error.to_string())?;
            let answer = self.host.jaco(&["cluster", "status"]).map_err(|error| error.to_string())?;
            if answer.is_success() { Ok(Ok(())) } else { Err(answer.stderr) }
        })
        .and_then(|ended| ended)
        .with_context(|| self.log_tail(30))
    }

    /// All that this host's daemons logged, one after the other.
    pub fn logs(&self) -> String {
        read_lossy(&self.host.log_folder().join("jacod.log"))
    }

    /// The last lines of [`Jacod::logs`], with the host's name above.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = self.logs();
        let all: Vec<&str> = text.lines().collect();
        let tail = all.get(all.len().saturating_sub(lines)..).unwrap_or_default();
        format!("jacod's log on {} ends with:\n{}", self.host.name(), tail.join("\n"))
    }
}
