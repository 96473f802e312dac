//! A host's Docker engine, on the default paths.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use jaco_e2e::eventually;
use rustix::process::Signal;

use super::{Host, hold};
use crate::agent::engine_arguments;
use crate::process::{Process, read_lossy};

/// How long an engine may take to answer.
const STARTING: Duration = Duration::from_secs(60);

impl Host {
    /// Runs the `docker` client in the host, once the engine answers; gives what it printed.
    ///
    /// # Errors
    /// When it ends with anything but exit code 0.
    pub fn docker(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.wait_for_docker(STARTING)?;
        let mut command = vec!["docker"];
        command.extend(arguments);
        let output = self.run(&command)?.ok();
        output
            .map(|text| text.trim().to_owned())
            .with_context(|| format!("docker {} on {}", arguments.join(" "), self.name()))
    }

    /// Waits until the engine answers.
    pub fn wait_for_docker(&self, deadline: Duration) -> anyhow::Result<()> {
        ensure!(self.spec.docker, "{} has no engine: see LabOptions::docker", self.name());
        eventually(deadline, &format!("the engine of {} answers", self.name()), || {
            self.ping().map_err(|error| format!("{error:#}"))
        })
        .with_context(|| read_lossy(&self.log_folder().join("dockerd.log")))
    }

    /// Asks the engine from outside: no client has to be started.
    fn ping(&self) -> anyhow::Result<()> {
        let mut stream = UnixStream::connect(self.path("/run/docker.sock")?)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.contains(" 200 "), "{answer}");
        Ok(())
    }

    /// Starts the engine again after it was stopped or killed; does not wait for it.
    pub fn start_docker(&self) -> anyhow::Result<()> {
        self.ensure_awake()?;
        let arguments = engine_arguments(&self.spec);
        let mut command = vec!["dockerd"];
        command.extend(arguments.iter().map(String::as_str));
        let mut process = Process::start(self.enter(&command), "dockerd", self.log_folder().join("dockerd.log"))?;
        process.detach();
        hold(&self.helpers).push(process);
        Ok(())
    }

    /// Stops the engine as an operator does and waits for its end.
    pub fn stop_docker(&self) -> anyhow::Result<()> {
        self.end_docker(Signal::TERM)
    }

    /// Kills the engine without warning. What holds its containers lives on; its containerd dies with it.
    pub fn kill_docker(&self) -> anyhow::Result<()> {
        self.end_docker(Signal::KILL)
    }

    fn end_docker(&self, signal: Signal) -> anyhow::Result<()> {
        let number = if signal == Signal::KILL { "-KILL" } else { "-TERM" };
        // Its containerd has a moment more to live, and a new engine must not take the dying one for its own.
        let script = "engine=$(cat /run/docker.pid); containerd=$(cat /run/docker/containerd/containerd.pid || true)\n\
                      kill $0 $engine\n\
                      while [ -d /proc/$engine ] || [ -n \"$containerd\" -a -d /proc/$containerd ]; do sleep 0.05; done\n\
                      rm -f /run/docker.pid";
        self.run(&["sh", "-c", script, number])?.ok().map(|_| ()).context("ending the engine")
    }

    /// Loads images from what `docker save` wrote.
    pub fn load_image(&self, tar: &Path) -> anyhow::Result<()> {
        self.with_file(tar, |inside| self.docker(&["load", "--quiet", "--input", inside]).map(|_| ()))
    }

    /// Makes an image of a root file system; `changes` are lines of a Dockerfile.
    pub fn import_image(&self, tar: &Path, tag: &str, changes: &[&str]) -> anyhow::Result<()> {
        self.with_file(tar, |inside| {
            let mut arguments = vec!["import"];
            for change in changes {
                arguments.extend(["--change", change]);
            }
            arguments.extend([inside, tag]);
            self.docker(&arguments).map(|_| ())
        })
    }

    /// Does something with a copy of a file that the host can see: not every folder of the machine is there.
    fn with_file(&self, file: &Path, work: impl FnOnce(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let copy = self.folder.path().join("image.tar");
        std::fs::copy(file, &copy).with_context(|| file.display().to_string())?;
        let result = work(&copy.display().to_string());
        let _ = std::fs::remove_file(&copy);
        result
    }
}
