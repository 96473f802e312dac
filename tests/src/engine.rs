//! A Docker engine of the test's own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::announce;
use crate::wait::eventually;

/// A real `dockerd` with its own data, socket, containerd and default bridge. It leaves the machine's packet filter alone, and the
/// bridge of the machine's own engine, which an engine started without any bridge would remove.
pub struct Engine {
    folder: tempfile::TempDir,
    live_restore: bool,
    bridge: String,
    child: Option<Child>,
}

impl Engine {
    /// Starts an engine; with `live_restore` containers go on while it restarts.
    pub fn start(live_restore: bool) -> anyhow::Result<Engine> {
        let folder = tempfile::Builder::new().prefix("jaco-engine-").tempdir()?;
        let bridge = make_bridge(folder.path())?;
        let mut engine = Engine { folder, live_restore, bridge, child: None };
        engine.boot()?;
        Ok(engine)
    }

    /// The engine's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the engine again after [`Engine::stop`] or [`Engine::kill`].
    pub fn boot(&mut self) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("dockerd.log"))?;
        let mut command = Command::new("dockerd");
        command
            .arg(format!("--host=unix://{}", self.socket().display()))
            .arg(format!("--data-root={}", self.path("data").display()))
            .arg(format!("--exec-root={}", self.path("exec").display()))
            .arg(format!("--pidfile={}", self.path("dockerd.pid").display()))
            .arg(format!("--bridge={}", self.bridge))
            .args(["--iptables=false", "--ip6tables=false", "--log-level=warn"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if self.live_restore {
            command.arg("--live-restore");
        }
        self.child = Some(command.spawn().context("dockerd could not be started")?);
        eventually(Duration::from_secs(60), "the test's engine answers", || self.try_docker(&["version"]).map(|_| ()))
            .with_context(|| self.log_tail())
    }

    /// Stops the engine as an operator does, and waits for its end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.end(Signal::SIGTERM)
    }

    /// Kills the engine without warning. Its containers' shims live on; its containerd dies with it, and a new engine must not take the
    /// dying one for its own.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let containerd = std::fs::read_to_string(self.path("exec/containerd/containerd.pid")).unwrap_or_default();
        let process = Path::new("/proc").join(containerd.trim());
        self.end(Signal::SIGKILL)?;
        eventually(Duration::from_secs(30), "the killed engine's containerd is gone", || {
            if containerd.trim().is_empty() || !process.exists() { Ok(()) } else { Err(containerd.clone()) }
        })
    }

    /// Starts the engine if it was stopped or killed.
    pub fn revive(&mut self) -> anyhow::Result<()> {
        if self.child.is_none() { self.boot() } else { Ok(()) }
    }

    fn end(&mut self, signal: Signal) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            kill(Pid::from_raw(i32::try_from(child.id())?), signal)?;
            child.wait()?;
        }
        Ok(())
    }

    /// Runs the `docker` client against this engine and gives its output.
    pub fn docker(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.try_docker(arguments).map_err(|text| anyhow::anyhow!("docker {}: {text}", arguments.join(" ")))
    }

    fn try_docker(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("timeout")
            .args(["--signal=KILL", "90", "docker"])
            .arg(format!("--host=unix://{}", self.socket().display()))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    /// Loads a root file system as an image.
    pub fn import(&self, tar: &Path, tag: &str, changes: &[&str]) -> anyhow::Result<()> {
        let mut arguments = vec!["import"];
        for change in changes {
            arguments.extend(["--change", change]);
        }
        let tar = tar.display().to_string();
        arguments.extend([tar.as_str(), tag]);
        self.docker(&arguments).map(|_| ())
    }

    /// Names of all containers that carry a label, running or not.
    pub fn containers(&self, label: &str) -> anyhow::Result<Vec<String>> {
        let filter = format!("label={label}");
        let output = self.docker(&["ps", "--all", "--no-trunc", "--filter", &filter, "--format", "{{.Names}}"])?;
        let mut names: Vec<String> = output.lines().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// Names of all networks that carry a label.
    pub fn networks(&self, label: &str) -> anyhow::Result<Vec<String>> {
        let filter = format!("label={label}");
        let output = self.docker(&["network", "ls", "--filter", &filter, "--format", "{{.Name}}"])?;
        Ok(output.lines().map(str::to_owned).collect())
    }

    /// The engine's ids of these containers.
    pub fn container_ids(&self, names: &[&str]) -> anyhow::Result<Vec<String>> {
        names.iter().map(|name| self.container_id(name)).collect()
    }

    /// One field of a container, as a template of `docker inspect`.
    pub fn inspect(&self, name: &str, template: &str) -> anyhow::Result<String> {
        self.docker(&["inspect", "--type", "container", "--format", template, name])
    }

    /// Runs a command in a container and gives its output, or what it failed with.
    pub fn exec(&self, name: &str, command: &[&str]) -> Result<String, String> {
        let mut arguments = vec!["exec", name];
        arguments.extend(command);
        self.try_docker(&arguments)
    }

    /// Removes every container, network and volume.
    pub fn clear(&self) -> anyhow::Result<()> {
        for (list, remove) in [
            (&["ps", "--all", "--quiet"][..], &["rm", "--force", "--volumes"][..]),
            (&["network", "ls", "--quiet", "--filter", "type=custom"], &["network", "rm"]),
            (&["volume", "ls", "--quiet"], &["volume", "rm", "--force"]),
        ] {
            let found = self.docker(list)?;
            if !found.is_empty() {
                let mut arguments = remove.to_vec();
                arguments.extend(found.lines());
                self.docker(&arguments)?;
            }
        }
        Ok(())
    }

    /// The engine's id of a container by name.
    pub fn container_id(&self, name: &str) -> anyhow::Result<String> {
        let id = self.docker(&["inspect", "--type", "container", "--format", "{{.Id}}", name])?;
        ensure!(!id.is_empty(), "container {name} has no id");
        Ok(id)
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.path("dockerd.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("the engine's log ends with:\n{}", lines[lines.len().saturating_sub(15)..].join("\n"))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.child.is_none() && self.boot().is_err() {
            announce("the test's engine did not come back to clean up");
        }
        // Bridges of user networks stay behind an engine that is merely stopped.
        if let Err(error) = self.clear() {
            announce(&format!("the test's engine was not cleared: {error:#}"));
        }
        let _ = self.stop();
        self.unmount();
        let _ = Command::new("ip").args(["link", "delete", &self.bridge]).output();
    }
}

impl Engine {
    /// An engine that was killed leaves mounts below its folder, which would keep it from being removed.
    fn unmount(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let prefix = self.folder.path().display().to_string();
        for target in
            mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|target| target.starts_with(&prefix))
        {
            let _ = Command::new("umount").args(["--lazy", target]).output();
        }
    }
}

/// A bridge for one engine, named after its folder, with the first free network of 10.255.0.0/16.
fn make_bridge(folder: &Path) -> anyhow::Result<String> {
    let unique = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.rsplit('-').next());
    let name = format!("jt-{}", unique.context("the engine's folder has no name")?);
    run_ip(&["link", "add", "name", &name, "type", "bridge"])?;
    let addresses = run_ip(&["-4", "-oneline", "address", "show"])?;
    let free = (0..=255).find(|number| !addresses.contains(&format!("10.255.{number}.")));
    let number = free.context("no free network for the engine's bridge")?;
    run_ip(&["address", "add", &format!("10.255.{number}.1/24"), "dev", &name])?;
    run_ip(&["link", "set", &name, "up"])?;
    Ok(name)
}

fn run_ip(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("ip").args(arguments).output().context("ip")?;
    ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
