//! The whole daemon on a disk that fills up.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use jaco_e2e::{Daemon, Project, eventually, web_compose, web_jaco};

use crate::{Lab, NO_ENGINE};

/// A small file system of its own.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount() -> anyhow::Result<Disk> {
        let folder = tempfile::Builder::new().prefix("jaco-disk-").tempdir()?;
        let output =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=128m", "jaco-test"]).arg(folder.path()).output()?;
        ensure!(output.status.success(), "mount: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Disk(folder))
    }

    /// Takes all the room that is left.
    fn fill(&self) -> anyhow::Result<PathBuf> {
        let path = self.0.path().join("filler");
        let mut file = std::fs::File::create(&path)?;
        for size in [1 << 20, 4096] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        Ok(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).output();
    }
}

pub(crate) fn a_full_disk_refuses_and_passes(lab: &mut Lab) -> anyhow::Result<()> {
    let disk = Disk::mount()?;
    let mut daemon = Daemon::prepare(Path::new(NO_ENGINE))?;
    let own = std::fs::read_to_string(daemon.config())?;
    let folder = format!("data_dir: {}", disk.0.path().join("data").display());
    let before = own.lines().find(|line| line.starts_with("data_dir:")).context("no data_dir")?.to_owned();
    std::fs::write(daemon.config(), own.replace(&before, &folder))?;
    daemon.boot()?;
    let result = fill_and_free(&disk, &mut daemon);
    lab.evidence = if result.is_err() { daemon.log_tail(30) } else { String::new() };
    daemon.kill()?;
    result
}

fn fill_and_free(disk: &Disk, daemon: &mut Daemon) -> anyhow::Result<()> {
    let cli = daemon.cli();
    cli.run(&["cluster", "init", "--no-systemd-enable"])?;
    let project = Project::new(&web_jaco("full", 0), &web_compose("one"))?;
    let path = project.jaco();
    cli.run(&["apply", &path])?;
    let filler = disk.fill()?;
    let mut accepted = 1_u64;
    let refused = eventually(Duration::from_secs(30), "a full disk is told", || {
        let answer = cli.try_run(&["-o", "json", "apply", &path]);
        if answer.code == 0 {
            accepted += 1;
            return Err("still accepted".to_owned());
        }
        Ok(answer)
    })?;
    ensure!(refused.code == 6 && refused.stderr.contains("disk_full"), "{refused:?}");
    ensure!(daemon.is_running(), "a full disk ended the daemon");
    ensure!(cli.json(&["get", "deployment", "full"])?["applied_revision"] == accepted, "a refused change was made");
    ensure!(cli.json(&["node", "status"])?["hostname"] == "node-a");
    std::fs::remove_file(filler)?;
    eventually(Duration::from_secs(20), "writes are taken again", || {
        let answer = cli.try_run(&["apply", &path]);
        if answer.code == 0 { Ok(()) } else { Err(answer.stderr) }
    })?;
    daemon.kill()?;
    daemon.boot()?;
    ensure!(cli.json(&["get", "deployment", "full"])?["applied_revision"] == accepted + 1);
    ensure!(!daemon.log().contains("panicked"), "{}", daemon.log_tail(50));
    Ok(())
}
