//! A client command that goes on (`logs -f`, `status -w`), its output kept in a file.

use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::Context;

use crate::Cli;
use crate::wait::eventually;

/// A command under way.
pub struct Stream {
    folder: tempfile::TempDir,
    child: Child,
}

impl Stream {
    /// Starts it.
    pub fn start(cli: &Cli, arguments: &[&str]) -> anyhow::Result<Stream> {
        let folder = tempfile::Builder::new().prefix("jaco-stream-").tempdir()?;
        let output = std::fs::File::create(folder.path().join("out"))?;
        let errors = std::fs::File::create(folder.path().join("err"))?;
        let child = cli
            .command(arguments)
            .stdout(Stdio::from(output))
            .stderr(Stdio::from(errors))
            .spawn()
            .with_context(|| format!("jaco {}", arguments.join(" ")))?;
        Ok(Stream { folder, child })
    }

    /// What it printed so far.
    pub fn text(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("out")).unwrap_or_default()
    }

    /// Waits until its output is as wanted.
    pub fn wait_for(&self, deadline: Duration, what: &str, wanted: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        eventually(deadline, what, || {
            let text = self.text();
            let errors = std::fs::read_to_string(self.folder.path().join("err")).unwrap_or_default();
            if wanted(&text) { Ok(text) } else { Err(format!("it printed:\n{text}\nand on stderr:\n{errors}")) }
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
