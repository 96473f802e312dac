//! The real `jaco`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::program;

/// What a run of the client gave.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// The client, pointed at one control socket.
#[derive(Debug, Clone)]
pub struct Cli {
    socket: PathBuf,
}

impl Cli {
    /// A client of the node with this socket.
    pub fn new(socket: PathBuf) -> Self {
        Cli { socket }
    }

    /// The command, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("jaco"));
        command.arg("--socket").arg(&self.socket).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs it, whatever its end; after two minutes it is killed, which gives code 137.
    pub fn try_run(&self, arguments: &[&str]) -> Answer {
        let inner = self.command(arguments);
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", "120"]).arg(inner.get_program()).args(inner.get_args()).stdin(Stdio::null());
        match command.output() {
            Ok(output) => Answer {
                code: output.status.code().unwrap_or(-1),
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            },
            Err(error) => Answer { code: -1, stdout: String::new(), stderr: error.to_string() },
        }
    }

    /// Runs it; anything but exit code 0 is an error with all it said.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let answer = self.try_run(arguments);
        ensure!(
            answer.code == 0,
            "jaco {} ended with {}\nstdout: {}\nstderr: {}",
            arguments.join(" "),
            answer.code,
            answer.stdout,
            answer.stderr
        );
        Ok(answer.stdout)
    }

    /// Runs it and expects a failure with this exit code and error code; gives the error object of `-o json`.
    pub fn refused(&self, arguments: &[&str], exit: i32, code: &str) -> anyhow::Result<Value> {
        let mut all = vec!["-o", "json"];
        all.extend(arguments);
        let answer = self.try_run(&all);
        let said = format!("jaco {} ended with {}: {}{}", all.join(" "), answer.code, answer.stdout, answer.stderr);
        ensure!(answer.code == exit, "exit code {exit} expected; {said}");
        let line = answer
            .stderr
            .lines()
            .find(|line| line.starts_with('{'))
            .with_context(|| format!("no error object; {said}"))?;
        let value: Value = serde_json::from_str(line).with_context(|| said.clone())?;
        ensure!(value["error"]["code"] == code, "code {code} expected; {said}");
        ensure!(value["error"]["exit_code"] == exit, "exit_code {exit} expected in the object; {said}");
        Ok(value["error"].clone())
    }

    /// Runs it with `-o json` and reads the answer.
    pub fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let mut all = vec!["-o", "json"];
        all.extend(arguments);
        let output = self.run(&all)?;
        serde_json::from_str(&output).with_context(|| format!("jaco {} printed no JSON: {output}", arguments.join(" ")))
    }
}
