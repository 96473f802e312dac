//! Running a command in a host.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use nix::sched::{CloneFlags, setns};

use crate::cgroup;
use crate::process::{PidRecord, exit_code};
use crate::program::program;
use crate::state::{HostFolder, HostSpec, current, read_json};

/// Variables of the machine that would lead programs in a host astray. Whoever starts this helper removes them, as it may mean to set
/// one for the program.
pub(crate) const FOREIGN: [&str; 8] = [
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "JACO_CONFIG",
    "JACO_CONTEXT",
    "JACO_LOG",
    "JACO_SERVER",
    "JACO_SOCKET",
    "JOURNAL_STREAM",
];

/// Runs a command in the host of this folder to its end, and gives its exit code as a shell would. With `apart` the command leads a
/// process group of its own, knows no terminal, and has the environment of this process as it is.
///
/// # Errors
/// When the host does not run, or the command cannot be started.
pub fn enter(folder: &Path, apart: bool, command: &[OsString]) -> anyhow::Result<u8> {
    let folder = HostFolder::at(folder);
    let spec: HostSpec = read_json(&folder.spec())?;
    let name = spec.name();
    let init = read_json::<PidRecord>(&folder.init()).ok().map(PidRecord::open).transpose()?.flatten();
    let init = init.with_context(|| format!("{name} is not running"))?;
    if apart {
        nix::unistd::setsid().context("a session of its own")?;
    }
    cgroup::join(&name)?;
    let kinds = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWCGROUP;
    let path = search_path();
    setns(&init, kinds).with_context(|| format!("the namespaces of {name}"))?;
    drop(init);
    run(command, apart, &path)
}

/// Runs a command in the network namespace of the switch.
///
/// # Errors
/// When no lab is up, or the command cannot be started.
pub fn enter_switch(command: &[OsString]) -> anyhow::Result<u8> {
    let keeper = current()?.context("no lab is up")?.keeper.open()?.context("the lab ended")?;
    let path = search_path();
    setns(&keeper, CloneFlags::CLONE_NEWNET).context("the switch's namespace")?;
    run(command, false, &path)
}

/// The programs under test are found before what the machine has installed.
fn search_path() -> OsString {
    let mut path = program("jaco").parent().unwrap_or(Path::new("/")).as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}

fn run(command: &[OsString], apart: bool, path: &OsString) -> anyhow::Result<u8> {
    let (name, arguments) = command.split_first().context("no command")?;
    let mut child = Command::new(name);
    child.args(arguments).env("PATH", path);
    if !apart {
        for variable in FOREIGN {
            child.env_remove(variable);
        }
    }
    if apart {
        child.process_group(0);
    }
    let mut child = child.spawn().with_context(|| name.display().to_string())?;
    Ok(u8::try_from(exit_code(child.wait()?)).unwrap_or(1))
}
