//! Processes: how they are named without mistaking a reused id, waited for and ended; and what a command gave.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jaco_e2e::eventually;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// How long a killed process may take to be gone.
const DYING: Duration = Duration::from_secs(20);

/// A process id with the process's start, in clock ticks since boot: together they are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PidRecord {
    /// Id as the machine sees it.
    pub(crate) pid: i32,
    /// Field 22 of `/proc/<pid>/stat`, see proc(5).
    pub(crate) started: u64,
}

impl PidRecord {
    /// The record of a process that exists.
    pub(crate) fn of(pid: u32) -> anyhow::Result<PidRecord> {
        let pid = i32::try_from(pid)?;
        let (_, started) = stat(pid).with_context(|| format!("process {pid} is gone"))?;
        Ok(PidRecord { pid, started })
    }

    /// Whether it runs: zombies do not.
    pub(crate) fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|(state, started)| started == self.started && state != 'Z' && state != 'X')
    }

    /// Sends a signal; false when the process is gone.
    pub(crate) fn signal(self, signal: Signal) -> anyhow::Result<bool> {
        let Some(descriptor) = self.open()? else { return Ok(false) };
        match pidfd_send_signal(&descriptor, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("signal to process {}", self.pid)),
        }
    }

    /// Waits for its end; false when the deadline passes first.
    pub(crate) fn wait(self, deadline: Duration) -> anyhow::Result<bool> {
        let Some(descriptor) = self.open()? else { return Ok(true) };
        until_readable(&descriptor, deadline)
    }

    /// Kills it and waits for its end.
    pub(crate) fn kill(self) -> anyhow::Result<()> {
        if self.signal(Signal::KILL)? {
            ensure!(self.wait(DYING)?, "process {} did not die within {DYING:?}", self.pid);
        }
        Ok(())
    }

    /// A descriptor of the process, if it is still the same one.
    pub(crate) fn open(self) -> anyhow::Result<Option<OwnedFd>> {
        let pid = Pid::from_raw(self.pid).context("no process id")?;
        let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("process {pid}")),
        };
        // Looked at after opening: from here on the descriptor cannot mean another process.
        Ok(self.is_alive().then_some(descriptor))
    }
}

/// State and start of a process.
fn stat(pid: i32) -> Option<(char, u64)> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name in parentheses may hold anything, so the fields are counted from the last closing one.
fn parse_stat(text: &str) -> Option<(char, u64)> {
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

fn until_readable(descriptor: &OwnedFd, deadline: Duration) -> anyhow::Result<bool> {
    let end = Instant::now() + deadline;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut descriptors = [PollFd::new(descriptor, PollFlags::IN)];
        match poll(&mut descriptors, Some(&left.try_into()?)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("poll"),
        }
    }
}

/// What a command gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code; 128 plus the signal's number when a signal ended it, 137 also when the deadline did.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Whether it ended with exit code 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status == 0
    }

    /// Standard output; an error with all it said unless it ended with exit code 0.
    pub fn ok(self) -> anyhow::Result<String> {
        ensure!(self.is_success(), "it ended with {}\nstdout: {}\nstderr: {}", self.status, self.stdout, self.stderr);
        Ok(self.stdout)
    }
}

/// A program that runs in a host, ended when this is dropped and when the host is.
///
/// What is held is the helper outside, whose one child is the program.
#[derive(Debug)]
pub struct Process {
    helper: Child,
    command: String,
    log: PathBuf,
    ends_with_this: bool,
}

impl Process {
    /// Starts a helper whose output goes to a log file, which is appended to.
    pub(crate) fn start(mut enter: Command, command: &str, log: PathBuf) -> anyhow::Result<Process> {
        let file = File::options().create(true).append(true).open(&log).with_context(|| log.display().to_string())?;
        let helper = enter
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{command} could not be started"))?;
        Ok(Process { helper, command: command.to_owned(), log, ends_with_this: true })
    }

    /// What it printed so far, both streams.
    pub fn output(&self) -> String {
        read_lossy(&self.log)
    }

    /// Process id as the machine sees it.
    ///
    /// # Errors
    /// When it has ended, or did not begin within ten seconds.
    pub fn pid(&mut self) -> anyhow::Result<u32> {
        let helper = self.helper.id();
        let what = format!("{} runs", self.command);

        eventually(Duration::from_secs(10), &what, || {
            if let Ok(Some(status)) = self.helper.try_wait() {
                return Ok(Err(anyhow::anyhow!("{} has ended with {status}: {}", self.command, self.output())));
            }
            child_of(helper).map(Ok).ok_or_else(|| "not yet".to_owned())
        })?
    }

    /// Sends a signal by number, as in signal(7), to the program.
    pub fn signal(&mut self, number: i32) -> anyhow::Result<()> {
        let signal = Signal::from_named_raw(number).with_context(|| format!("no signal {number}"))?;
        PidRecord::of(self.pid()?)?.signal(signal).map(|_| ())
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.helper.try_wait(), Ok(None))
    }

    /// Waits for its end; its exit code as in [`Output::status`], or nothing when the deadline passes first.
    pub fn wait(&mut self, deadline: Duration) -> anyhow::Result<Option<i32>> {
        wait_child(&mut self.helper, deadline).map(|status| status.map(exit_code))
    }

    /// Kills it, with its process group, and waits for its end.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        kill_helper(&mut self.helper).map(|_| ())
    }

    /// Lets it run on when this is dropped.
    pub(crate) fn detach(&mut self) {
        self.ends_with_this = false;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ends_with_this {
            let _ = kill_helper(&mut self.helper);
        } else {
            let _ = self.helper.try_wait();
        }
    }
}

/// Runs a helper to its end or the deadline. Files take the output, as what the program leaves running could hold a pipe open.
pub(crate) fn run(mut enter: Command, command: &str, deadline: Duration) -> anyhow::Result<Output> {
    let mut stdout = tempfile::tempfile()?;
    let mut stderr = tempfile::tempfile()?;
    let mut helper = enter
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .spawn()
        .with_context(|| format!("{command} could not be started"))?;
    let ended = wait_child(&mut helper, deadline)?;
    let mut said = String::new();
    let status = match ended {
        Some(status) => exit_code(status),
        None => {
            kill_helper(&mut helper)?;
            said = format!("\nkilled: it had not ended within {deadline:?}");
            137
        }
    };
    Ok(Output { status, stdout: rewind(&mut stdout)?, stderr: rewind(&mut stderr)? + &said })
}

fn rewind(file: &mut File) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits for a child of this process.
pub(crate) fn wait_child(child: &mut Child, deadline: Duration) -> anyhow::Result<Option<ExitStatus>> {
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    // Not reaped yet, so the id cannot mean another process.
    let pid = Pid::from_raw(i32::try_from(child.id())?).context("no process id")?;
    let descriptor = pidfd_open(pid, PidfdFlags::empty()).context("the child's descriptor")?;
    if until_readable(&descriptor, deadline)? { Ok(Some(child.wait()?)) } else { Ok(None) }
}

/// Kills what a helper started, which ends the helper; and the helper itself if that does not.
fn kill_helper(helper: &mut Child) -> anyhow::Result<ExitStatus> {
    let child = child_of(helper.id()).and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    if let Some(group) = child.filter(|child| rustix::process::getpgid(Some(*child)) == Ok(*child)) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        if let Some(status) = wait_child(helper, Duration::from_secs(5))? {
            return Ok(status);
        }
    }
    let _ = helper.kill();
    // Never without an end: in a frozen v1 group not even a kill gets through.
    wait_child(helper, Duration::from_secs(5))?.context("the helper does not die: is its host frozen?")
}

/// The first child of a process that has one thread.
fn child_of(pid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// A shell's reading of how a process ended.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// A file's text, or nothing.
pub(crate) fn read_lossy(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
