//! Running the binary.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A command line of the binary, with nothing of this machine's environment.
pub fn jaco(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jaco"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// A command line that talks to a socket.
pub fn jaco_at(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = jaco(arguments);
    command.env("JACO_SOCKET", socket);
    command
}

/// How a run ended.
#[derive(Debug)]
pub struct End {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl End {
    /// Standard output as one JSON value.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Standard error as the one JSON object of a failure.
    pub fn error(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stderr).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert_eq!(value["error"]["exit_code"], self.code, "{self:?}");
        value["error"].clone()
    }
}

impl From<Output> for End {
    fn from(output: Output) -> End {
        End {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs to the end.
pub fn run(command: &mut Command) -> End {
    command.output().unwrap().into()
}

/// Starts with piped output.
pub fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Reads standard output until it contains a text.
pub fn read_until(child: &mut Child, wanted: &str) -> String {
    let stdout = child.stdout.as_mut().unwrap();
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&read).contains(wanted) {
        let count = stdout.read(&mut buffer).unwrap();
        assert!(count > 0, "ended before {wanted:?}: {}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(read).unwrap()
}

/// Waits for a condition, for ten seconds at most.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within 10 s");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A directory with a `jaco.yaml` and a `compose.yml`.
pub fn project(jaco: &str, compose: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("jaco.yaml"), jaco).unwrap();
    std::fs::write(directory.path().join("compose.yml"), compose).unwrap();
    let path = directory.path().join("jaco.yaml");
    (directory, path)
}

/// The smallest project.
pub fn small_project() -> (tempfile::TempDir, PathBuf) {
    project("deployment: shop\n", "services:\n  web:\n    image: web:1\n")
}

/// SIGINT, as Ctrl-C sends it.
pub fn interrupt(child: &Child) {
    let id = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
}
