//! One lab at a time, and nothing left behind, whatever ends it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use jaco_e2e::eventually;
use jaco_lab::{Lab, LabOptions, LockError};

use crate::{OWNER, Rig};

fn small() -> LabOptions {
    LabOptions { hosts: 2, docker: false, ..LabOptions::default() }
}

/// The refusal names the one that is up, and does it no harm.
pub(crate) fn a_second_lab_is_refused(rig: &mut Rig) -> anyhow::Result<()> {
    let lab = rig.lab()?;
    let error = Lab::start(small()).err().context("two labs at once")?;
    let LockError::Taken { pid, folder, .. } = error.downcast_ref().with_context(|| format!("{error:#}"))?;
    ensure!(u32::try_from(*pid)? == std::process::id() && folder == lab.folder(), "{error:#}");
    lab.host(1).run(&["true"])?.ok().map(|_| ())
}

/// Starts a lab, says where it is and what runs in it, and waits to be killed.
pub(crate) fn own() -> ExitCode {
    let Ok(lab) = Lab::start(small()) else { return ExitCode::FAILURE };
    let Ok(mut process) = lab.host(1).spawn(&["sleep", "9874"]) else { return ExitCode::FAILURE };
    let Ok(pid) = process.pid() else { return ExitCode::FAILURE };
    // Standard output is the pipe to the case.
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{}\n{pid}\n{}", lab.folder().display(), lab.processes().0);
    let _ = std::io::stdin().read_line(&mut String::new());
    ExitCode::SUCCESS
}

/// A lab of another process: that process, the lab's folder, and the ids of a program in a host and of the keeper.
struct Other {
    owner: std::process::Child,
    folder: PathBuf,
    program: i32,
    keeper: i32,
}

fn other() -> anyhow::Result<Other> {
    let mut owner = Command::new(std::env::current_exe()?)
        .arg(OWNER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("this program, as an owner")?;
    let mut lines = BufReader::new(owner.stdout.take().context("no output")?).lines();
    let mut line = || lines.next().context("the owner ended")?.context("the owner's output");
    let (folder, program, keeper) = (PathBuf::from(line()?), line()?.parse()?, line()?.parse()?);
    ensure!(folder.exists() && is_running(program) && is_running(keeper));
    Ok(Other { owner, folder, program, keeper })
}

/// Zombies do not run; whose they are may be slow to look.
fn is_running(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn is_clear(folder: &Path, program: i32) -> Result<(), String> {
    let groups = ["/sys/fs/cgroup/jaco-lab", "/sys/fs/cgroup/freezer/jaco-lab", "/sys/fs/cgroup/unified/jaco-lab"];
    let left: Vec<&str> = groups.into_iter().filter(|group| Path::new(group).exists()).collect();
    if folder.exists() || is_running(program) || !left.is_empty() {
        return Err(format!("{} exists: {}, {program}, {left:?}", folder.display(), folder.exists()));
    }
    Ok(())
}

/// The keeper notices. A lab started at the same time waits for it instead of failing.
pub(crate) fn what_a_killed_owner_leaves_is_removed(rig: &mut Rig) -> anyhow::Result<()> {
    rig.down()?;
    let mut other = other()?;
    other.owner.kill()?;
    other.owner.wait()?;
    let lab = Lab::start(small()).context("right after the owner's death")?;
    ensure!(!other.folder.exists() && !is_running(other.program) && !is_running(other.keeper));
    let (folder, keeper) = (lab.folder().to_owned(), lab.processes().0);
    lab.down()?;
    ensure!(!is_running(keeper));
    is_clear(&folder, keeper).map_err(anyhow::Error::msg)?;

    // And without a next start.
    let mut other = self::other()?;
    other.owner.kill()?;
    other.owner.wait()?;
    eventually(Duration::from_secs(20), "nothing is left of a killed owner's lab", || {
        is_clear(&other.folder, other.program)
    })
}

/// With the keeper killed as well, nobody is there to clear away but the next start.
pub(crate) fn what_a_killed_keeper_leaves_is_removed_by_the_next_start(rig: &mut Rig) -> anyhow::Result<()> {
    rig.down()?;
    let mut other = other()?;
    for pid in [other.keeper, i32::try_from(other.owner.id())?] {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)?;
    }
    other.owner.wait()?;
    ensure!(is_running(other.program) && other.folder.exists(), "the hosts live on, or this case shows nothing");
    let lab = Lab::start(small())?;
    ensure!(!is_running(other.program) && !other.folder.exists(), "what was left is still there");
    lab.host(2).run(&["busybox", "ping", "-c", "1", "-W", "3", "host1"])?.ok()?;
    lab.down()
}
