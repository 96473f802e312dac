//! What was found on the machine.

use std::path::PathBuf;
use std::time::Duration;

/// Everything the judgement needs.
#[derive(Debug, Clone)]
pub struct Facts {
    pub config: Config,
    pub engine: Engine,
    pub apparmor: AppArmor,
    pub cgroup: Cgroup,
    pub ports: Vec<Port>,
    pub sync: Result<Sync, String>,
    pub clock: Clock,
    pub space: Result<Space, String>,
    /// Whether `/dev/net/tun` is there.
    pub tun: bool,
    /// Whether `nft` is there.
    pub nft: bool,
}

/// The container engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// No socket at this path.
    NoSocket(PathBuf),
    /// Not for this user.
    Denied(PathBuf),
    /// A socket and no sensible answer.
    NoAnswer(PathBuf, String),
    /// It answers.
    Answers { version: String, api: String },
}

/// AppArmor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppArmor {
    /// The kernel enforces it.
    pub in_kernel: bool,
    /// `apparmor_parser` is there.
    pub has_parser: bool,
}

/// How control groups are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cgroup {
    /// Version 1 alone.
    V1,
    /// Version 2 alone.
    V2,
    /// Version 1 with a version 2 hierarchy beside it.
    Hybrid,
    /// Not at all.
    Absent,
}

/// The daemon's own file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub path: PathBuf,
    /// Whether it is there, or why it cannot be used.
    pub file: Result<bool, String>,
}

/// What the daemon listens on TCP ports for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    Http,
    Https,
    Api,
    Cluster,
    Metrics,
}

impl Listener {
    /// Its key in the daemon's file.
    pub fn key(self) -> &'static str {
        match self {
            Listener::Http => "http_addr",
            Listener::Https => "https_addr",
            Listener::Api => "listen_addr",
            Listener::Cluster => "cluster_addr",
            Listener::Metrics => "metrics_addr",
        }
    }

    /// What it is for.
    pub fn purpose(self) -> &'static str {
        match self {
            Listener::Http => "HTTP ingress",
            Listener::Https => "HTTPS ingress",
            Listener::Api => "API between nodes",
            Listener::Cluster => "consensus between nodes",
            Listener::Metrics => "metrics and readiness",
        }
    }
}

/// A TCP port of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub listener: Listener,
    pub number: u16,
    pub holder: Holder,
}

/// Who listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Nobody.
    Nobody,
    /// A process of this name.
    Process(String),
    /// Somebody; seeing who takes root.
    Somebody,
}

/// How long the disk takes to make a write safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    pub directory: PathBuf,
    pub median: Duration,
    pub worst: Duration,
}

/// The system's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Whether a time service keeps it; `None` when nobody can tell.
    pub synchronized: Option<bool>,
    /// Whether it is before this program was built.
    pub before_build: bool,
}

/// Space on the file system of the data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    pub directory: PathBuf,
    pub available: u64,
    pub total: u64,
}
