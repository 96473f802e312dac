//! Processes this run starts: each ends with its owner. And what the system says about a process.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use jaco_e2e::eventually;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The kernel counts a process's time in hundredths of a second, whatever its own clock runs at (`proc(5)`, USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// Time a process has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(15);

/// A process of this run.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts it with its output in a file. Its id is noted in the file that `BENCH_PIDS` names, so that the caller of this program
    /// can end it should this program be killed.
    pub(crate) fn start(mut command: Command, log: &Path) -> anyhow::Result<Process> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} could not be started", command.get_program().display()))?;
        if let Some(path) = std::env::var_os("BENCH_PIDS") {
            let mut pids = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
            writeln!(pids, "{}", child.id())?;
        }
        Ok(Process { child })
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL, and returns when it is gone.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let ended = eventually(GRACE, "the process ends", || match self.child.try_wait() {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("it still runs".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        if ended.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Memory of a process, MiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Resident, shared pages and pages of the program file included.
    pub(crate) resident: f64,
    /// Resident, shared pages counted in part.
    pub(crate) proportional: f64,
    /// Resident and backed by no file: what it allocated.
    pub(crate) anonymous: f64,
}

/// The memory of a process now.
pub(crate) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("no memory map of the process")?;
    let mebibytes = |key: &str| -> anyhow::Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
        let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kibibytes / 1024.0)
    };
    Ok(Memory { resident: mebibytes("Rss:")?, proportional: mebibytes("Pss:")?, anonymous: mebibytes("Anonymous:")? })
}

/// Processor time a process has used so far, its ended threads included, seconds.
pub(crate) fn processor_seconds(pid: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    // The name in parentheses may hold anything; the 12th and 13th field after it are user and system time.
    let (_, fields) = text.rsplit_once(')').context("unreadable process status")?;
    let mut times = fields.split_whitespace().skip(11);
    let mut next = || -> anyhow::Result<f64> { Ok(times.next().context("unreadable process status")?.parse()?) };
    Ok((next()? + next()?) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_time() {
        let own = std::process::id();
        let memory = memory(own).unwrap();
        assert!(memory.resident >= memory.anonymous && memory.anonymous > 0.0);
        assert!(processor_seconds(own).unwrap() >= 0.0);
        assert!(processor_seconds(u32::MAX).is_err());
    }

    #[test]
    fn a_process_ends_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        command.arg("600");
        let process = Process::start(command, &folder.path().join("log")).unwrap();
        let id = process.id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
