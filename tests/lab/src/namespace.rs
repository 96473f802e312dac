//! Work in another network namespace, and the commands that set one up.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::PidRecord;

/// Does something on a thread in the network namespace of a process. Sockets made there stay there; children inherit it.
pub(crate) fn inside_network<T: Send>(process: PidRecord, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    ensure!(process.is_alive(), "process {} of the namespace is gone", process.pid);
    let path = format!("/proc/{}/ns/net", process.pid);
    let namespace = File::open(&path).context(path)?;
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().spawn_scoped(scope, || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .context("entering the network namespace")?;
            Ok(work())
        })?;
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs lines of `ip` commands in this thread's namespace; ends at the first that fails.
pub(crate) fn ip(lines: &str) -> anyhow::Result<()> {
    feed(Command::new("ip").args(["-batch", "-"]), lines)
}

/// Gives a script to `nft` in this thread's namespace; it is done whole or not at all.
pub(crate) fn nft(script: &str) -> anyhow::Result<()> {
    feed(Command::new("nft").args(["-f", "-"]), script)
}

/// Runs a command; an error with what it said unless it succeeds.
pub(crate) fn call(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().context(program.to_owned())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Sets what can be set of this thread's namespace, by paths below `/proc/sys/net`.
pub(crate) fn set_network(settings: &[(&str, &str)]) {
    for (name, value) in settings {
        // Not every kernel has every one of them, and none is needed for a lab to work at all.
        let _ = std::fs::write(format!("/proc/sys/net/{name}"), value);
    }
}

fn feed(command: &mut Command, text: &str) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| name.clone())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early says why on standard error.
        let _ = stdin.write_all(text.as_bytes());
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {}\nfor\n{text}", said.trim());
    Ok(())
}
