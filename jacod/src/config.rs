//! `jacod.yaml`: a closed set of keys, checked whole before anything starts.
//!
//! Reading gives either a [`Config`] in which every value has passed its rule, or every problem at once. Nothing is read again
//! while the daemon runs.

mod address;
mod cluster;
mod file;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::Ipv4Net;
use jaco_types::Hostname;

pub(crate) use address::{Interface, choose_address, interfaces};
pub(crate) use file::default_path;

/// The level of the daemon's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogLevel {
    /// Everything.
    Debug,
    /// The course of things.
    Info,
    /// What an operator should look at.
    Warn,
    /// What failed.
    Error,
}

impl LogLevel {
    /// The word used in the file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        }
    }

    /// The level with this word.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "debug" => Some(LogLevel::Debug),
            "info" => Some(LogLevel::Info),
            "warn" => Some(LogLevel::Warn),
            "error" => Some(LogLevel::Error),
            _ => None,
        }
    }
}

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Everything the daemon keeps.
    pub(crate) data_dir: PathBuf,
    /// Address of the API over TLS, for operators and joiners.
    pub(crate) listen_addr: SocketAddr,
    /// Address of the members' own traffic: consensus and sessions.
    pub(crate) cluster_addr: SocketAddr,
    /// Address other nodes and users reach this node by.
    pub(crate) advertise: std::net::IpAddr,
    /// The control socket.
    pub(crate) unix_socket: PathBuf,
    /// Port of the mesh.
    pub(crate) wg_port: u16,
    /// Level of the log.
    pub(crate) log_level: LogLevel,
    /// Pool that container subnets are cut from; fixed at init.
    pub(crate) ipam_pool: Ipv4Net,
    /// Addresses of the mesh; fixed at init.
    pub(crate) mesh_cidr: Ipv4Net,
    /// Interval of the pressure samples.
    pub(crate) node_status_interval: Duration,
    /// Contact of the ACME account; empty: none.
    pub(crate) acme_email: String,
    /// ACME directory.
    pub(crate) acme_ca: String,
    /// PEM file of a private ACME server's root.
    pub(crate) acme_ca_root: Option<PathBuf>,
    /// Whether any ACME traffic may leave the node.
    pub(crate) acme_enabled: bool,
    /// Whether new domains go straight to the production directory.
    pub(crate) acme_skip_staging: bool,
    /// Upstream resolvers; empty: the host's.
    pub(crate) dns_forwarders: Vec<SocketAddr>,
    /// Deadline of one upstream.
    pub(crate) dns_forwarder_timeout: Duration,
    /// Silence after which a node is down; fixed at init.
    pub(crate) node_down_after: Duration,
    /// The node's name.
    pub(crate) hostname: Hostname,
    /// The ingress's HTTP listener.
    pub(crate) http_addr: SocketAddr,
    /// The ingress's HTTPS listener; nothing listens there yet.
    pub(crate) https_addr: SocketAddr,
    /// The engine's socket.
    pub(crate) docker_socket: PathBuf,
    /// Local address of `/metrics` and `/ready`.
    pub(crate) metrics_addr: SocketAddr,
    /// Newest feature level that this daemon is able to. Not in the file: the version's own, unless an upgrade is rehearsed.
    pub(crate) feature_level: u32,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file exists and cannot be read.
    #[error("{path}: cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be; one line per problem.
    #[error("{path}: {}", problems.join("\n  "))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Every problem, each naming its key.
        problems: Vec<String>,
    },
}

/// What the rules look at besides the file.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// The system's host name.
    pub(crate) system_hostname: String,
    /// The node's interfaces.
    pub(crate) interfaces: Vec<Interface>,
    /// `JACO_LOG`.
    pub(crate) log_override: Option<String>,
}

impl Config {
    /// Reads and checks the file; a missing file means the defaults.
    pub(crate) fn load(path: &Path, surroundings: &Surroundings) -> Result<Config, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
        };
        Config::parse(&text, surroundings).map_err(|problems| ConfigError::Invalid { path: path.to_owned(), problems })
    }

    /// Checks a file's text.
    pub(crate) fn parse(text: &str, surroundings: &Surroundings) -> Result<Config, Vec<String>> {
        file::read(text)?.check(surroundings)
    }

    /// Takes the data directory that `JACO_DATA_DIR` names, for the commands that work on one without a daemon.
    pub(crate) fn override_data_dir(&mut self) {
        if let Some(path) = std::env::var_os("JACO_DATA_DIR").filter(|path| !path.is_empty()) {
            self.data_dir = path.into();
        }
    }

    /// What is in force, as the text of a file that means the same.
    pub(crate) fn to_yaml(&self) -> String {
        file::write(self)
    }
}
