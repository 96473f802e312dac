//! A process that commits as fast as it can and says what was acknowledged. It is the test binary itself, started again.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::{commit, committed, open, runtime};

const DIRECTORY: &str = "JACO_TEST_WRITER_DIRECTORY";

/// The body of the test that is started again as a writer; does nothing when it runs as a test.
pub fn run_as_writer() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    runtime().block_on(async {
        let store = open(Path::new(&directory)).await;
        let mut sequence = committed(&jaco_state::Store::view(&store)).len() as u64;
        say(&format!("begins {sequence}"));
        loop {
            if let Err(error) = commit(&store, sequence).await {
                say(&format!("fails {error}"));
                break;
            }
            say(&format!("ack {sequence}"));
            sequence += 1;
        }
        let fatal = store.fatal().await;
        say(&format!("fatal {fatal}"));
    });
}

/// One write per line, so that a line is whole or not there. A leading newline, since the test runner leaves its own line open.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("\n:{line}\n").as_bytes()).and_then(|()| out.flush());
}

/// A running writer. Killed when dropped.
pub struct WriterProcess {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl WriterProcess {
    /// Starts the test named `test` of this binary as a writer on a directory.
    pub fn start(test: &str, directory: &Path) -> WriterProcess {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        WriterProcess { child, lines }
    }

    /// The next thing it says; `None` at its end.
    pub fn next(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            // A line without its end was cut off by the kill: it was not said.
            if let Some(said) = line.strip_suffix('\n').and_then(|line| line.strip_prefix(':')) {
                return Some(said.to_owned());
            }
        }
    }

    /// Reads on until `count` more transactions were acknowledged; the last one's number.
    pub fn wait_for_acks(&mut self, count: u64) -> u64 {
        let mut seen = 0;
        loop {
            let said = self.next().expect("the writer ended");
            if let Some(sequence) = acknowledged(&said) {
                seen += 1;
                if seen >= count {
                    return sequence;
                }
            }
            assert!(!said.starts_with("fails") && !said.starts_with("fatal"), "the writer: {said}");
        }
    }

    /// Kills it (SIGKILL) and reads what it had still said; the last acknowledged number among it.
    pub fn kill(mut self) -> Option<u64> {
        self.child.kill().unwrap();
        let mut last = None;
        while let Some(said) = self.next() {
            last = acknowledged(&said).or(last);
        }
        self.child.wait().unwrap();
        last
    }
}

impl Drop for WriterProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn acknowledged(said: &str) -> Option<u64> {
    said.strip_prefix("ack ")?.parse().ok()
}
