//! What a lab and a daemon in it are started with.

use serde::{Deserialize, Serialize};

use crate::program::program;

/// What a lab is started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabOptions {
    /// Number of hosts, 1 to 64; they are called `host1`, `host2`, …
    pub hosts: usize,
    /// Whether each host has a Docker engine, started at boot on the default paths.
    pub docker: bool,
    /// More arguments for `dockerd`, for example `--live-restore`.
    pub docker_args: Vec<String>,
    /// What `/var/lib/jaco` lies on.
    pub data_disk: DataDisk,
}

impl Default for LabOptions {
    /// Three hosts with engines, their data in plain folders.
    fn default() -> Self {
        LabOptions { hosts: 3, docker: true, docker_args: Vec::new(), data_disk: DataDisk::Folder }
    }
}

/// What `/var/lib/jaco` of a host lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataDisk {
    /// A folder of the machine's file system: cannot be filled up.
    Folder,
    /// An ext4 of so many MiB (at least 8) on a loop device: kept when the host is killed, and can be filled up.
    Ext4 {
        /// Size of the image file in MiB.
        mib: u32,
    },
    /// A tmpfs of so many MiB: lost when the host is killed, and can be filled up.
    Tmpfs {
        /// Limit in MiB.
        mib: u32,
    },
}

/// What a `jacod` is started with; the defaults are those of the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JacodOptions {
    config: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    program: Option<String>,
    arguments: Vec<String>,
    clock: bool,
}

impl JacodOptions {
    /// Sets a key of `jacod.yaml` to a YAML value, for example `("node_down_after", "5s")`.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.config.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Sets a variable of the daemon's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs this program instead of the `jacod` that was built here.
    #[must_use]
    pub fn program(mut self, path: &str) -> Self {
        self.program = Some(path.to_owned());
        self
    }

    /// Adds an argument on the daemon's command line.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Gives the daemon a wall clock that [`crate::Host::shift_clock`] can shift; needs libfaketime.
    #[must_use]
    pub fn with_own_clock(mut self) -> Self {
        self.clock = true;
        self
    }

    /// The text of `jacod.yaml`.
    pub(crate) fn to_yaml(&self) -> String {
        self.config.iter().map(|(key, value)| format!("{key}: {value}\n")).collect()
    }

    /// The daemon's command line.
    pub(crate) fn command(&self) -> Vec<String> {
        let own = || program("jacod").display().to_string();
        std::iter::once(self.program.clone().unwrap_or_else(own)).chain(self.arguments.iter().cloned()).collect()
    }

    /// Variables of the environment.
    pub(crate) fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// Whether the daemon has a clock of its own.
    pub(crate) fn has_own_clock(&self) -> bool {
        self.clock
    }
}
