//! The flags that every command takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::printer::Format;
use crate::text::parse_duration;

/// Flags accepted before and after the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Form of the output.
    #[arg(short, long, global = true, visible_alias = "format", value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
    /// Named entry of the clusters file (or JACO_CONTEXT) [default: the file's current one].
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "server")]
    pub context: Option<String>,
    /// Remote nodes, host:port separated by commas (or JACO_SERVER): the first that answers is used.
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub server: Option<String>,
    /// Operator token for a remote node (or JACO_TOKEN); for `node join` the join token (or JACO_JOIN_TOKEN).
    #[arg(long, global = true)]
    pub token: Option<String>,
    /// Cluster CA in PEM for a remote node (or JACO_CA_CERT) [default: /var/lib/jaco/node/ca.crt].
    #[arg(long, global = true, value_name = "PATH")]
    pub ca_cert: Option<String>,
    /// SHA-256 of the cluster CA, instead of its file (or JACO_CA_FINGERPRINT).
    #[arg(long, global = true, value_name = "HEX")]
    pub ca_fingerprint: Option<String>,
    /// Local control socket (or JACO_SOCKET) [default: /var/run/jaco/jaco.sock].
    #[arg(long, global = true, value_name = "PATH", value_parser = not_empty_path)]
    pub socket: Option<PathBuf>,
    /// How long the command may take, for example 30s or 5m; each command has its own default.
    #[arg(long, global = true, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Only the essential value on standard output.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Debug log on standard error.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Log on standard error: debug, info, warn or error (or JACO_LOG) [default: warn].
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

fn not_empty_path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("an empty path names nothing".to_owned()) } else { Ok(text.into()) }
}
